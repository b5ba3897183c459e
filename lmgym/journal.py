"""Finished games of an evaluation, kept while it runs, so that one that is interrupted goes on where it was.

FILE.journal/games.jsonl: first what is being played, then a line for each finished game, in the order they ended.
The folder goes when the whole evaluation has been written to FILE.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.files import locked, replacing
from lmgym.store import from_row, to_row

FORMAT = 1


class Journal:
    """The games that are over, by their place in the series. Failed ones are not kept: they are played again."""

    def __init__(self, file: TextIO, games: dict[int, Episode]) -> None:
        self._file, self.games = file, games

    def add(self, place: int, episode: Episode) -> None:
        """Keep a game; it is on its way to the disk before this returns."""
        if episode.error is None:
            self._file.write(json.dumps({"place": place, **to_row(episode)}) + "\n")
            self._file.flush()


@contextmanager
def journal(path: Path, played: Mapping[str, Any]) -> Iterator[Journal]:
    """Yield the journal of what will be written to `path`, with what an interrupted command has left there.

    `played`: what makes the games what they are (`env_id`, `env_kwargs`, `agent`, their series, settings), as JSON;
    raises UsageError where the games that are there were played otherwise, or are being played by another process.
    """
    folder = path.with_name(f"{path.name}.journal")
    head = {"format": FORMAT, **json.loads(json.dumps(played))}
    with locked(folder):
        file = folder / "games.jsonl"
        games: dict[int, Episode] = {}
        try:
            lines = _sound_lines(file)
            if len(lines) > 1:
                _require_same(folder, json.loads(lines[0]), head)
            games = dict(_game(folder, line, head) for line in lines[1:])
            # A process that is killed may leave half a line.
            with replacing(file) as partial:
                partial.write_text("".join([json.dumps(head) + "\n", *lines[1:]]), encoding="utf-8")
            with file.open("a", encoding="utf-8") as opened:
                yield Journal(opened, games)
        except BaseException:
            if len(_sound_lines(file)) > 1:
                raise
            shutil.rmtree(folder)  # nothing was played
            raise
        shutil.rmtree(folder)


def _sound_lines(file: Path) -> list[str]:
    """Return the lines up to the first that is damaged."""
    sound: list[str] = []
    if not file.exists():
        return sound
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            whole = line.endswith("\n") and isinstance(json.loads(line), dict)
        except ValueError:
            whole = False
        if not whole:
            break
        sound.append(line)
    return sound


def _require_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise UsageError(
                f"{folder} keeps games of another command ({name}={before.get(name)!r}, now {now.get(name)!r}); "
                "repeat that one to go on, remove the folder, or choose another --save"
            )


def _game(folder: Path, line: str, head: Mapping[str, Any]) -> tuple[int, Episode]:
    row = json.loads(line)
    try:
        return int(row["place"]), from_row(row, head["env_id"], head["env_kwargs"], head["agent"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{folder} was changed by somebody else ({error!r}); remove it to start over") from error
