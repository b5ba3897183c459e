"""Who may import whom, what importing costs, and that folders are imported by their installed names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SIDES = ("envs", "algorithms", "leaderboard")


def imported(path: Path) -> set[str]:
    """Names of all modules that a file imports anywhere in it, `from a import b` as both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*.py"))
    assert found
    return found


def test_the_core_imports_no_game_and_no_method(root: Path) -> None:
    for path in files(root / "lmgym"):
        for name in imported(path):
            assert not name.startswith(tuple(f"lmgym.{side}" for side in SIDES)), f"{path.name} imports {name}"


@pytest.mark.parametrize("side", SIDES)
def test_games_and_methods_import_the_core_only(root: Path, side: str) -> None:
    """Not each other; but a game that is too long for one file may have a part in `_part.py`, which imports none. The
    files of the leaderboard are one program, which reaches games and methods by name."""
    for path in files(root / side):
        own = f"lmgym.{side}."
        for name in imported(path):
            if name.startswith(f"{own}_") and not path.name.startswith("_"):
                continue
            others = tuple(f"lmgym.{other}" for other in SIDES if other != side)
            assert side == "leaderboard" or not name.startswith(own), f"{path.name} imports its neighbour {name}"
            assert side == "leaderboard" or not name.startswith(others), f"{path.name} imports {name}"


def test_the_core_names_no_game_and_no_method(root: Path) -> None:
    words = [path.stem for side in ("envs", "algorithms") for path in files(root / side) if path.stem != "__init__"]
    assert "maze" in words
    for path in files(root / "lmgym"):
        code = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
        assert not names & set(words), f"{path.name} names {names & set(words)}"


@pytest.mark.parametrize("command", ["import lmgym", "import lmgym.__main__ as m; m.main(['--help'])"])
def test_light_imports(command: str) -> None:
    heavy = "('torch', 'transformers', 'openai', 'pyarrow', 'accelerate', 'chess')"
    code = f"{command}\nimport sys\nprint('heavy:', [name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_listing_games_imports_no_torch() -> None:
    code = "import lmgym.__main__ as m; m.main(['tasks'])\nimport sys\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("side", SIDES)
def test_folders_refuse_generic_names(root: Path, side: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {side}"], cwd=root, capture_output=True, text=True, check=False
    )
    assert f"ImportError: import this folder as `lmgym.{side}`" in done.stderr


@pytest.mark.parametrize("side", SIDES)
def test_symlinks_lead_to_the_folders(root: Path, side: str) -> None:
    assert (root / "lmgym" / side).is_symlink()
    assert (root / "lmgym" / side).resolve() == root / side


def test_public_names_resolve() -> None:
    import lmgym

    for name in lmgym.__all__:
        assert getattr(lmgym, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lmgym.nonsense  # noqa: B018


@pytest.mark.parametrize("first", ["", "import lmgym.evaluate, lmgym.rollout, lmgym.play\n"])
def test_functions_that_are_named_like_their_modules_are_functions(first: str) -> None:
    code = f"{first}from lmgym import evaluate, rollout\nimport lmgym\nfrom lmgym.rollout import rollout as same\n"
    code += "print(evaluate is lmgym.evaluate, rollout is same, callable(evaluate))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n"


def test_no_global_random_state_in_the_package(root: Path) -> None:
    """Nothing draws from a generator of the process; the checker alone looks at its state."""
    for folder in ("lmgym", *SIDES):
        for path in files(root / folder):
            code = path.read_text(encoding="utf-8")
            if path.name == "check.py":
                continue
            assert "random" not in {name.split(".")[0] for name in imported(path)}, f"{path} imports random"
            for word in ("np.random.seed", "np.random.rand", "np.random.choice", "random.seed("):
                assert word not in code, f"{path} uses {word}"
