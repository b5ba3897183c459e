"""verifiers plays our games: its own command, against a server on loopback, gets what the game gives."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lmgym.agents import load_agent
from lmgym.episode import Episode
from lmgym.evaluate import evaluate
from tests.chats import said, sends, serving
from tests.games import ECHO

# Not `verifiers` itself, which is also the name of the example's folder.
pytest.importorskip("verifiers.v1", reason="verifiers is not installed (pip install verifiers==0.4.0)")


def vf_eval(root: Path, out: Path, address: str, *words: str) -> list[dict[str, Any]]:
    """Run the command as the README has it, and return the traces it wrote."""
    main = "from verifiers.v1.cli.eval.main import main; main()"  # what the script vf-eval runs
    command = [sys.executable, "-c", main, "lmgym_games", "--no-push", "-m", "stub", "-o", str(out)]
    paths = os.pathsep.join([str(root / "examples" / "verifiers"), str(root)])
    done = subprocess.run(
        [*command, "--client.base-url", address, *words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (traces,) = out.rglob("traces.jsonl")
    episodes = [json.loads(line) for line in traces.read_text(encoding="utf-8").splitlines()]
    assert not any(episode["errors"] for episode in episodes)
    return [trace for episode in episodes for trace in episode["traces"]]


def echoes(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Answer with the last words of the user, but with the name of no colour where they are green."""
    words = body["messages"][-1]["content"]
    sends({**said("green?" if words == "green" else words), "model": body["model"], "created": 1})(handler, body)


@pytest.mark.slow
def test_the_command_plays_the_games_of_an_evaluation(root: Path, tmp_path: Path) -> None:
    settings = ["--env.taskset.game", ECHO, "--env.taskset.games", "12", "--env.taskset.seed", "3"]
    with serving(echoes) as server:
        traces = vf_eval(root, tmp_path, server.url, *settings)
    assert len(traces) == 12
    seen: list[Episode] = []
    evaluate(load_agent("tests.test_verifiers:Shy", ECHO), ECHO, episodes=12, seed=3, watch=seen.append)
    expected = {episode.seed: episode for episode in seen}
    for trace in traces:
        game = expected.pop(trace["task"]["data"]["info"]["seed"])
        assert not trace["errors"]
        assert trace["rewards"]["total_reward"]["score"] == game.total_reward
        assert trace["metrics"]["success"] == float(bool(game.success))
    assert not expected
    assert {episode.total_reward for episode in seen} > {3.0}, "some games are won, and some are not"
    first = server.requests[0]["messages"]
    assert [message["role"] for message in first] == ["system", "user"]
    assert first[0]["content"].startswith("Repeat the colour")
    assert len(server.requests) == sum(len(game.actions) for game in seen)


class Shy:
    """Plays as the server does."""

    def act(self, conversation: list[Any]) -> str:
        words = conversation[-1].text
        return "green?" if words == "green" else words
