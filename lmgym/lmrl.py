"""Reads the published data files of LMRL-Gym (arXiv 2311.18232), which come in five shapes of JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError

AGENT = "lmrl-gym"


def import_lmrl(path: str | Path, env_id: str) -> Iterator[Episode]:
    """Yield the games of a published file (JSON lines, or one JSON list) as episodes of `env_id`.

    Shapes: mazes FO and chess `[{state, action, reward, done}, ...]`; chess BC `{from_state, action}`; PO maze
    and Text-Nav `{text_history, rewards, dones}`; Wordle `{sequence, reward, done}`; 20 Questions and Guess My
    City `{lines, correct, word}`. Newlines at the end of a piece are dropped: tokens add them again. Seeds are
    not published; a game's number stands for its seed. Raises UsageError, naming the record, for anything else.
    """
    path = Path(path)
    for number, record in enumerate(_records(path)):
        try:
            turns, terminated, outcome = _read(record)
            if len(turns) < 2:
                raise ValueError("no action in it")
            yield Episode(
                turns=tuple(turns),
                terminated=terminated,
                truncated=not terminated,
                env_id=env_id,
                seed=number,
                agent=AGENT,
                outcome=outcome,
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"record {number + 1} of {path} has no published shape: {error!r}") from error


def _records(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from error
    try:
        whole = json.loads(text)
    except ValueError:
        yield from _lines(path, text)
        return
    is_list_of_games = isinstance(whole, list) and not (whole and _is_step(whole[0]))
    yield from whole if is_list_of_games else [whole]


def _lines(path: Path, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UsageError(f"line {number} of {path} is not JSON: {error}") from error


def _is_step(value: Any) -> bool:
    return isinstance(value, dict) and {"state", "action", "reward", "done"} <= value.keys()


Read = tuple[list[Turn], bool, dict[str, Any]]


def _read(record: Any) -> Read:
    if isinstance(record, list):
        return _from_steps(record)
    if "text_history" in record:
        pieces = [(text, index % 2 == 1) for index, text in enumerate(record["text_history"])]
        return _from_pieces(pieces, record["rewards"]), bool(record["dones"][-1]), {}
    if "sequence" in record:
        return _from_pieces(record["sequence"], record["reward"]), bool(record["done"]), {}
    if "lines" in record:
        return _from_questions(record)
    return [_observation(record["from_state"]), _action(record["action"], 0.0)], False, {}


def _from_steps(steps: list[dict[str, Any]]) -> Read:
    turns = []
    for step in steps:
        turns += [_observation(step["state"]), _action(step["action"], step["reward"])]
    return turns, bool(steps[-1]["done"]), {}


def _from_pieces(pieces: list[Any], rewards: list[float]) -> list[Turn]:
    joined = zip(pieces, rewards, strict=True)
    return [_action(text, reward) if by_agent else _observation(text) for (text, by_agent), reward in joined]


def _from_questions(record: dict[str, Any]) -> Read:
    turns, correct, lines = [_observation("Questions:")], bool(record["correct"]), record["lines"]
    for number, line in enumerate(lines, start=1):
        question, _, answer = line.rpartition("? ")
        won = correct and number == len(lines)
        turns += [_action(question + "?", 0.0 if won else -1.0), _observation(answer)]
    return turns, correct or len(lines) >= 20, {"success": correct, "answer": record["word"]}


def _observation(text: str) -> Turn:
    return Turn(text.rstrip("\n"), by_agent=False)


def _action(text: str, reward: float) -> Turn:
    return Turn(text.rstrip("\n"), by_agent=True, reward=float(reward))
