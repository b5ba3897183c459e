"""The examples do what their README files say: every command in them is run, in a fresh folder, as a newcomer would."""

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from lmgym.scores import bootstrap_mean
from lmgym.store import read_episodes, read_metadata


def commands(readme: Path) -> list[str]:
    """The lines of the README's shell blocks, in order, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", readme.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"(^|\s+)# .*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def newcomer(root: Path, tmp_path: Path) -> Path:
    """A folder with the examples and an environment in which lmgym and pip work without network, but nothing of the
    examples is installed."""
    home = tmp_path
    shutil.copytree(root / "examples", home / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    venv.create(home / "venv", with_pip=False)
    site = next((home / "venv").glob("lib/python*/site-packages"))
    # The packages of this environment, lmgym's dependencies among them, and lmgym itself from where it is tested.
    (site / "installed.pth").write_text(f"{root}\n{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    for program in ("lmgym", "pip"):
        launcher = home / "venv" / "bin" / program
        launcher.write_text(f'#!/bin/sh\nexec "{home}/venv/bin/python" -m {program} "$@"\n', encoding="utf-8")
        launcher.chmod(0o755)
    return home


def run(command: str, home: Path) -> str:
    """Run a command as typed in `home`; return what it printed."""
    own = {"PATH": f"{home}/venv/bin{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env={**environment, **own, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
def test_the_readme_of_a_game_of_ones_own(newcomer: Path, root: Path) -> None:
    lines = commands(root / "examples" / "custom_env" / "README.md")
    said = {line: run(line, newcomer) for line in lines}
    words = [line.split()[:2] for line in lines]
    assert words[0] == ["pip", "install"]
    for command in ("check", "collect", "tune", "eval", "inspect"):
        assert ["lmgym", command] in words
    assert any("train ilql" in line for line in lines)
    (checked,) = (text for line, text in said.items() if line.startswith("lmgym check"))
    assert "all rules kept" in checked
    returns = [episode.total_reward for episode in read_episodes(newcomer / "price-ilql.parquet")]
    data = read_metadata(newcomer / "price.parquet").statistics.mean_return
    assert bootstrap_mean(returns, seed=0).low > data
    assert "Sold!" in (newcomer / "price.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readme_of_a_method_of_ones_own(newcomer: Path, root: Path) -> None:
    lines = commands(root / "examples" / "custom_method" / "README.md")
    for line in lines:
        run(line, newcomer)
    assert any("train custom_method.awr" in line for line in lines)
    clone, weighted = (
        [episode.total_reward for episode in read_episodes(newcomer / f"{name}.parquet")]
        for name in ("wordle-bc", "wordle-awr")
    )
    assert bootstrap_mean(weighted, seed=0).low > bootstrap_mean(clone, seed=0).high


def test_commands_are_read_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "```sh\na --b 1   # why\n# only a remark\n\nc '#d'\n```\n```\nno command\n```\n"
    )
    assert commands(tmp_path / "README.md") == ["a --b 1", "c '#d'"]
