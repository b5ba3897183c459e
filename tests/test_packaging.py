"""The wheel, installed where nothing of the repository is at hand, holds every module and every data file."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

FOLDERS = {"lmgym": "lmgym", "envs": "lmgym.envs", "algorithms": "lmgym.algorithms", "leaderboard": "lmgym.leaderboard"}


@pytest.mark.slow
def test_the_wheel_imports_everything(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv*", ".git", "runs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(root, source, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = tmp_path.glob("lmgym-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / version / "site-packages"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(built)], check=True, capture_output=True)
    # Dependencies come from this environment, but not lmgym itself: the editable install's hook is left out.
    (site / "dependencies.pth").write_text(dependencies(tmp_path))
    names = [name for folder, package in FOLDERS.items() for name in modules(root / folder, package)]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "import lmgym; print(lmgym.__file__)"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(site / "lmgym" / "__init__.py")
    data = [path for path in (root / "envs" / "data").rglob("*") if path.suffix in (".csv", ".json", ".txt")]
    for pattern in ("*.json", "*.toml", "site_assets/*"):
        data += sorted((root / "leaderboard").glob(pattern))
    for path in data:
        assert (site / "lmgym" / path.relative_to(root)).read_bytes() == path.read_bytes()
    listed = subprocess.run([str(python), "-m", "lmgym", "tasks"], capture_output=True, text=True, check=False)
    assert "lmgym/FOMaze-v0" in listed.stdout, listed.stderr


def dependencies(tmp_path: Path) -> str:
    """A folder of links to the installed packages, without lmgym."""
    links = tmp_path / "dependencies"
    links.mkdir()
    for item in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "lmgym" not in item.name and item.suffix != ".pth":
            (links / item.name).symlink_to(item)
    return str(links)


def modules(folder: Path, package: str) -> list[str]:
    stems = [path.stem for path in sorted(folder.glob("*.py"))]
    return [package if stem == "__init__" else f"{package}.{stem}" for stem in stems]
