"""What a newcomer has: a folder with the examples and an installed lmgym; and the commands of a page, as they stand."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import warm

PROGRAMS = {"pip": "pip", "transformers": "transformers.cli.transformers"}
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language and its lines."""

    kind: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page of Markdown."""
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(kind, text)


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, in order, without comments."""
    texts = [block.text for block in blocks(page) if block.kind == "sh"]
    lines = [re.sub(r"(^|\s+)# .*", "", line).strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line]


def prepare(home: Path, root: Path, server: str) -> Path:
    """Put the examples and an environment into `home` in which lmgym and pip work without network, but nothing of the
    examples is installed. `lmgym` is run by the server of `tests.warm`. Returns `home`."""
    shutil.copytree(root / "examples", home / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    venv.create(home / "venv", with_pip=False)
    site = next((home / "venv").glob("lib/python*/site-packages"))
    # The packages of this environment, lmgym's dependencies among them, and lmgym itself from where it is tested.
    (site / "installed.pth").write_text(f"{root}\n{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    launched = {program: f'"{home}/venv/bin/python" -m {module}' for program, module in PROGRAMS.items()}
    launched["lmgym"] = f'"{sys.executable}" -IS "{warm.__file__}" run "{server}" "{home}/venv"'
    for program, command in launched.items():
        launcher = home / "venv" / "bin" / program
        launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
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
