"""Files that are whole or absent: everything is written beside its place and then moved there."""

import fcntl
import glob
import hashlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmgym.errors import UsageError


def require_absent(path: Path) -> None:
    """Raise UsageError where writing to `path` would replace something."""
    if path.exists():
        raise UsageError(f"{path} exists already; choose another name or remove it")


@contextmanager
def replacing(path: Path, *, only_new: bool = False) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `path` when the block ends well, else it is removed.

    With `only_new`, raises UsageError instead of replacing a file that has come into being meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        if only_new:
            _link(partial, path)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


_numbers = itertools.count()


def _partial(path: Path) -> Path:
    """Return a name beside `path` for this process, and clear away what killed processes have left there."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        owner = old.name.split(".")[-2].partition("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.partial")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _link(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError:
        raise UsageError(f"{path} was written by another process meanwhile; this result is dropped") from None


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a folder that does not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises UsageError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, name: str = "", *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, or what will be called `name` in it, for this process; the system lets go of it however the
    process ends. Where another process holds it, waits for that, or raises UsageError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock".replace("..", ".")).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise UsageError(f"another process is at work in {folder}") from None
        yield


def cache_folder() -> Path:
    """Return where this user's cached files live: LMGYM_CACHE, else the platform's convention."""
    named = os.environ.get("LMGYM_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lmgym" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lmgym"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmgym"
