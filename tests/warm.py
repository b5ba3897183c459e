"""A process that has imported the large packages lmgym stands on and forks one for each command of a page.

torch and transformers cost a command four seconds of processor time, and pages have about fifty. What is lmgym's is
imported by each command anew, as by a process of its own.

    python warm.py serve ADDRESS                answers until it is ended; prints a line when it can
    python warm.py run ADDRESS VENV [WORD ...]  runs `lmgym WORD ...` there: with the environment, folder and streams of
                                                the caller, and as if the Python of the virtual environment VENV ran it
"""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import site
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

PRELOADED = ("accelerate", "gymnasium", "pyarrow.parquet", "torch", "transformers.models.llama.modeling_llama", "tyro")
# Read when transformers and torch are imported: a command cannot choose them any more.
FIXED = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Keep a server while the context lasts; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "serve", f"{folder}/socket"]
        with subprocess.Popen(command, env={**os.environ, **FIXED}, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield command[-1]
            finally:
                process.terminate()


def serve(address: str) -> NoReturn:
    """Fork a process for every command, until somebody ends this one."""
    for name in PRELOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they say themselves how they ended
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    become(connection)


def become(connection: socket.socket) -> NoReturn:
    """Become the command that is asked for, and tell how it ended."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile().readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    connection.sendall(b"%d\n" % os.getpid())
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["folder"]  # as with `python -m`
    (packages,) = Path(asked["venv"]).glob("lib/python*/site-packages")
    site.addsitedir(str(packages))
    sys.executable = f"{asked['venv']}/bin/python"
    multiprocessing.set_executable(sys.executable)
    sys.argv = ["lmgym", *asked["words"]]
    status = 1
    try:
        runpy.run_module("lmgym", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    for written in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            written.flush()
    connection.sendall(b"%d\n" % status)
    os._exit(status)  # an end in good order takes all packages apart, in seconds


def run(address: str, venv: str, words: list[str]) -> int:
    """Have a command run, pass on what ends it, and return its exit status."""
    asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "venv": venv, "words": words}
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile() as answers:
        connection.connect(address)
        socket.send_fds(connection, [b"."], [0, 1, 2])
        connection.sendall(json.dumps(asked).encode() + b"\n")
        process = int(answers.readline())

        def pass_on(number: int, _: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, pass_on)
        return int(answers.readline() or 128 + signal.SIGTERM)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(run(sys.argv[2], sys.argv[3], sys.argv[4:]))
