"""What code, packages and machine a result was made with."""

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import lmgym

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "gymnasium", "chess", "numpy", "pyarrow")


@cache
def commit() -> str | None:
    """Return the commit of a git checkout of lmgym (`+` appended where files differ), None elsewhere."""
    folder = Path(lmgym.__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def code() -> dict[str, Any]:
    """Return version and commit of lmgym."""
    return {"lmgym": lmgym.__version__, "commit": commit()}


def environment() -> dict[str, Any]:
    """Return the versions of Python and of the packages that numbers depend on, and the hardware."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def computing() -> dict[str, Any]:
    """Return the GPU, None where there is none, and the number of processor threads and the vector instructions that
    PyTorch computes with, on which the last digits depend."""
    torch = sys.modules.get("torch")  # an agent without a model leaves it unloaded and plays on one thread
    if torch is None:
        return {"gpu": None, "threads": 1, "instructions": None}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def processor() -> str | None:
    """Return the name of the processor, None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def peak_memory_mib() -> int:
    """Return the most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
