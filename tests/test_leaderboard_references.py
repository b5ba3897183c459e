"""References of the leaderboard: measured, not typed in; and fingerprints, which change when a game does."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmgym.env import contract_of
from lmgym.errors import UsageError
from lmgym.leaderboard import references
from lmgym.leaderboard.references import FILE, fingerprint, require_agreement, stale, stored, write
from lmgym.leaderboard.suites import TITLES, env_id
from lmgym.scores import Reference, Score
from tests.games import Echo

SMALL = "POTextNav-v0"


ECHO = "test/Echo-v0"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the fingerprints of games that a test has changed."""
    yield
    references._fingerprint.cache_clear()


def again(game: str) -> str:
    """Return the fingerprint of a game as it is now."""
    references._fingerprint.cache_clear()
    return fingerprint(game)


def test_fingerprints_are_the_same_in_every_process() -> None:
    games = ["lmgym/FOMaze-v0", "lmgym/EndgamesMini-v0", "lmgym/TwentyQuestionsMini-v0", "lmgym/CarDealerMini-v0"]
    code = f"from lmgym.leaderboard.references import fingerprint\nfor game in {games}: print(fingerprint(game))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [fingerprint(game) for game in games]
    assert len(set(done.stdout.split())) == 4


def test_other_arguments_are_another_game() -> None:
    assert fingerprint("lmgym/FOMaze-v0", {}) == fingerprint("lmgym/FOMaze-v0")
    assert fingerprint("lmgym/FOMaze-v0", {"invalid_reward": -4}) != fingerprint("lmgym/FOMaze-v0")


def test_a_fingerprint_notices_what_the_game_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {again(ECHO)}
    assert again(ECHO) in found

    def changed(**members: object) -> None:
        with monkeypatch.context() as patch:
            for name, value in members.items():
                patch.setattr(Echo, name, value)
            found.add(again(ECHO))

    original = Echo.step

    def step(self: Echo, action: str) -> Any:
        observation, reward, terminated, truncated, info = original(self, action)
        return observation, reward * 2, terminated, truncated, info

    def longer(self: Echo, action: str) -> Any:
        observation, *rest = original(self, action)
        return (observation + "x", *rest)

    changed(step=step)
    changed(step=longer)
    changed(behaviour=lambda self: "blue")
    changed(history=1)
    changed(max_reply_chars=9)
    changed(evaluation_episodes=90)
    changed(official_starts=lambda self: ({}, {}))
    changed(reference=Reference(Score(0.0, ""), Score(2.1, ""), Score(4.0, "")))
    assert len(found) == 9
    assert again(ECHO) in found


def test_a_broken_game_has_a_fingerprint_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = again(ECHO)
    monkeypatch.setattr(Echo, "behaviour", lambda self: str(self.nowhere))  # its message holds an address
    broken = again(ECHO)
    assert broken != whole
    assert again(ECHO) == broken


def test_the_other_side_is_not_asked_for_a_fingerprint() -> None:
    asked = {"oracle": "openai:nobody@http://127.0.0.1:9/v1"}  # nothing listens there
    found = fingerprint("lmgym/TwentyQuestionsMini-v0", asked)
    assert found != fingerprint("lmgym/TwentyQuestionsMini-v0")


def test_the_stored_references_are_those_of_the_games() -> None:
    assert list(TITLES) == sorted(stored(), key=list(TITLES).index)
    for task, found in stored().items():
        declared = contract_of(env_id(task)).reference
        assert declared is not None
        assert (found.env_id, found.env_kwargs) == (f"lmgym/{task}", {})
        for name in ("min", "data", "best"):
            assert getattr(found.reference, name) == getattr(declared, name)
        for name in ("data", "best"):
            measured = found.measured[name]
            assert measured is not None
            require_agreement(task, getattr(declared, name).value, measured)
        assert f"lmgym collect lmgym/{task} " in str(found.commands["data"])


@pytest.mark.slow
def test_nothing_stored_is_stale() -> None:
    assert stale() == []


def test_measuring_again_gives_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "references.json"
    assert references.references([SMALL], path=path) == 0
    found, committed = (json.loads(one.read_text(encoding="utf-8"))["tasks"][SMALL] for one in (path, FILE))
    assert {**found, "commit": "", "date": ""} == {**committed, "commit": "", "date": ""}
    assert stale([SMALL], path) == []


def test_a_contradicted_reference_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = references._scores(env_id(SMALL))
    wrong = {**real, "data": Score(real["data"].value + 0.04, "typed in")}  # 4.5 standard errors
    monkeypatch.setattr(references, "_scores", lambda game: wrong)
    with pytest.raises(UsageError, match=r"data reference of lmgym/POTextNav-v0 is declared as 0.303 and measured as"):
        write([SMALL], tmp_path / "references.json")
    assert not (tmp_path / "references.json").exists()


def test_agreement_is_within_four_standard_errors() -> None:
    measured = {"mean": 1.0, "standard_error": 0.1, "episodes": 100}
    require_agreement("x", 1.399, measured)
    require_agreement("x", 0.601, measured)
    for value in (1.401, 0.599):
        with pytest.raises(UsageError, match="x is declared as"):
            require_agreement("x", value, measured)
    with pytest.raises(UsageError):
        require_agreement("x", 0.999, {**measured, "standard_error": 0.0})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("fingerprint", "0" * 64, r"POTextNav-v0 has changed \(fingerprint\)"),
        ("best", {"value": 0.9, "how": "guessed", "command": None, "measured": None}, r"has changed \(best\)"),
        (None, None, "POTextNav-v0 has no reference; lmgym leaderboard references --tasks POTextNav-v0"),
    ],
)
def test_what_is_stale_is_named(
    tmp_path: Path, field: str | None, value: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    content["tasks"] = {SMALL: content["tasks"][SMALL]}
    if field is None:
        del content["tasks"][SMALL]
    else:
        content["tasks"][SMALL][field] = value
    path = tmp_path / "references.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    (complaint,) = stale([SMALL], path)
    assert re.search(said, complaint)
    assert references.references([SMALL], check=True, path=path) == 1
    assert capsys.readouterr().out == complaint + "\n"


def test_odd_files_and_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "references.json"
    path.write_text('{"format": 9}', encoding="utf-8")
    with pytest.raises(UsageError, match="is not of format 1"):
        stale([SMALL], path)
    path.write_text("<<<<<<< HEAD", encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        stored(path)
    with pytest.raises(UsageError, match="unknown task 'POTextNav'; did you mean 'POTextNav-v0'"):
        stale(["POTextNav"])
