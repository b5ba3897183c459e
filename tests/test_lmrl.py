"""The published data files of LMRL-Gym, in each of their shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.lmrl import import_lmrl

STEPS = [
    {"state": "at 1\n", "action": "move up\n", "reward": -1.0, "done": False},
    {"state": "at 2\n", "action": "move down\n", "reward": 0.0, "done": True},
]
HISTORY: dict[str, Any] = {"text_history": ["wall\n", "move up\n", "walls\n", "move up\n", "Success\n"]}
HISTORY |= {"rewards": [0.0, -1.0, 0.0, 0.0, 0.0], "dones": [False, False, False, False, True]}
SEQUENCE: dict[str, Any] = {"sequence": [["Wordle:\n", False], ["s h i r e\n", True], ["b y g g b\n", False]]}
SEQUENCE |= {"reward": [0.0, -1.0, 0.0], "done": False}
QUESTIONS = {"lines": ["Is it a cat? No.", "Is it what? I ask? Yes."], "correct": True, "word": ["Dog"]}
MOVE = {"from_state": "8/8 w - - 0 1", "action": "N f 3\n"}


def imported(tmp_path: Path, text: str) -> list[Episode]:
    path = tmp_path / "f.jsonl"
    path.write_text(text, encoding="utf-8")
    return list(import_lmrl(path, "lmgym/FOMaze-v0"))


def told(episode: Episode) -> list[tuple[str, float]]:
    return [(turn.text, turn.reward) for turn in episode.turns]


@pytest.mark.parametrize(
    ("record", "pieces", "terminated"),
    [
        (STEPS, [("at 1", 0), ("move up", -1), ("at 2", 0), ("move down", 0)], True),
        (HISTORY, [("wall", 0), ("move up", -1), ("walls", 0), ("move up", 0), ("Success", 0)], True),
        (SEQUENCE, [("Wordle:", 0), ("s h i r e", -1), ("b y g g b", 0)], False),
        (
            QUESTIONS,
            [("Questions:", 0), ("Is it a cat?", -1), ("No.", 0), ("Is it what? I ask?", 0), ("Yes.", 0)],
            True,
        ),
        (MOVE, [("8/8 w - - 0 1", 0), ("N f 3", 0)], False),
    ],
)
@pytest.mark.parametrize("form", ["lines", "list", "one"])
def test_each_shape_as_lines_and_as_one_list(
    tmp_path: Path, record: Any, pieces: list[Any], terminated: bool, form: str
) -> None:
    line = json.dumps(record)
    text = {"lines": f"{line}\n{line}\n\n", "list": f"[{line}, {line}]", "one": line}[form]
    episodes = imported(tmp_path, text)
    assert len(episodes) == (1 if form == "one" else 2)
    for number, episode in enumerate(episodes):
        assert told(episode) == pieces
        assert (episode.terminated, episode.truncated, episode.seed) == (terminated, not terminated, number)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"lines": ["x? y"]}', "record 1 .* has no published shape"),
        ('{"a": 1}\n{"b": 2}\n', "record 1 .* has no published shape"),
        (json.dumps(STEPS) + "\nnot json\n", "line 2 .* is not JSON"),
        (json.dumps({**SEQUENCE, "reward": [0.0]}), "record 1"),
        ("7\n8\n", "record 1"),
    ],
)
def test_other_files_are_refused_by_record(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        imported(tmp_path, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(import_lmrl(tmp_path / "none", "lmgym/FOMaze-v0"))
