"""Seconds and peak memory of each stage of work on a game, each a process of its own as a user would start it."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def timed(words: list[str]) -> tuple[float, float]:
    """Run a command; return its wall seconds and its peak resident memory in MiB. Raises on failure."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {said.decode()}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Time the stages of one game and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="lmgym/FOMaze-v0")
    parser.add_argument("--episodes", default="200", help="evaluation episodes")
    parser.add_argument("--train", nargs="*", default=[], help="further options of `lmgym train bc`")
    options = parser.parse_args()
    table = Table("stage", "seconds", "peak MiB", title=options.env)
    with tempfile.TemporaryDirectory() as folder:
        data, run = str(Path(folder) / "data.parquet"), str(Path(folder) / "run")
        stages = {
            "start Python, do nothing": ["-c", "pass"],
            "import lmgym": ["-c", "import lmgym"],
            "lmgym --help": ["-m", "lmgym", "--help"],
            "collect": ["-m", "lmgym", "collect", options.env, "--out", data],
            "data info": ["-m", "lmgym", "data", "info", data],
            "import torch": ["-c", "import torch, transformers, accelerate"],
            "train bc": [
                "-m",
                "lmgym",
                "train",
                "bc",
                "--env",
                options.env,
                "--data",
                data,
                "--out",
                run,
                *options.train,
            ],
            "eval expert": ["-m", "lmgym", "eval", "expert", "--env", options.env, "--episodes", options.episodes],
            "eval bc": ["-m", "lmgym", "eval", run, "--episodes", options.episodes],
        }
        for name, words in stages.items():
            seconds, memory = timed(words)
            table.add_row(name, f"{seconds:.2f}", f"{memory:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
