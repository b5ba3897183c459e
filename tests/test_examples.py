"""The examples do what their README files say: every command in them is run, in a fresh folder, as a newcomer would."""

import importlib.util
import math
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lmgym.check import check
from lmgym.env import contract_of
from lmgym.methods import method_module
from lmgym.scores import bootstrap_mean
from lmgym.store import read_episodes, read_metadata
from tests.newcomer import blocks, commands, run


@pytest.mark.slow
def test_the_readme_of_a_game_of_ones_own(newcomer: Path, root: Path) -> None:
    lines = commands(root / "examples" / "custom_env" / "README.md")
    said = {line: run(line, newcomer) for line in lines}
    words = [line.split()[:2] for line in lines]
    assert words[0] == ["pip", "install"]
    for command in ("check", "collect", "tune", "eval", "inspect"):
        assert ["lmgym", command] in words
    assert any("train ilql" in line for line in lines)
    (checked,) = (text for line, text in said.items() if line.startswith("lmgym check"))
    assert "all rules kept" in checked
    returns = [episode.total_reward for episode in read_episodes(newcomer / "price-ilql.parquet")]
    data = read_metadata(newcomer / "price.parquet").statistics.mean_return
    assert bootstrap_mean(returns, seed=0).low > data
    assert "Sold!" in (newcomer / "price.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readme_of_a_method_of_ones_own(newcomer: Path, root: Path) -> None:
    lines = commands(root / "examples" / "custom_method" / "README.md")
    for line in lines:
        run(line, newcomer)
    assert any("train custom_method.awr" in line for line in lines)
    clone, weighted, data = (
        read_metadata(newcomer / f"{name}.parquet").statistics.mean_return
        for name in ("wordle-bc", "wordle-awr", "wordle")
    )
    assert weighted > max(clone, data)


@pytest.mark.slow
def test_the_path_of_a_newcomer(newcomer: Path) -> None:
    """All of it on loopback; what is served is compared by the script itself, move for move."""
    missing = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"`transformers serve` needs {', '.join(missing)}")
    said = run("bash examples/newcomer.sh path", newcomer)
    steps = re.findall(r"^== +(\d+)", said, flags=re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    assert "== 17  done" in said
    played = [read_metadata(newcomer / "path" / name).statistics for name in ("remote.parquet", "chat.parquet")]
    assert [statistics.episodes for statistics in played] == [50, 20]
    assert "Sold!" in (newcomer / "path" / "game.html").read_text(encoding="utf-8")
    assert (newcomer / "path" / "board" / "site" / "index.html").exists()
    for log in ("serve.log", "chat.log"):  # nobody listens any more
        port = re.search(r"http://127\.0\.0\.1:(\d+)", (newcomer / "path" / log).read_text(encoding="utf-8"))
        assert port
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", int(port[1]))) != 0
    with pytest.raises(AssertionError, match="exists already"):
        run("bash examples/newcomer.sh path", newcomer)


def test_the_weights_of_the_method_are_those_of_its_docstring() -> None:
    awr = method_module("custom_method.awr")
    config = awr.Config(temperature=0.5, max_weight=3.0)
    ids = torch.tensor([[0, 1, 0, 1]])
    mask = torch.tensor([[False, True, True, True]])
    batch: Any = SimpleNamespace(
        action_ids=ids[mask],
        num_actions=3,
        columns={"returns": torch.tensor([[0.0, 1.0, -1.0, 2.0]])},
        at_actions=lambda values: values[mask],
    )
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, 0.0]], requires_grad=True)
    v = torch.tensor([0.5, -0.75, 0.0], requires_grad=True)
    weights = [math.exp(0.5 / 0.5), math.exp(-0.25 / 0.5), 3.0]  # the last would be exp(4)
    clone = [math.log(2), -math.log(0.75), math.log(2)]  # -log of what each action token was given
    value = 0.5 * (0.5**2 + 0.25**2 + 2**2) / 3
    total, metrics = awr.loss(batch, awr.Outputs(logits, v, weigh=True), config)
    expected = sum(weight * cost for weight, cost in zip(weights, clone, strict=True)) / 3
    assert total.item() == pytest.approx(expected + value)
    assert metrics["weight"].item() == pytest.approx(sum(weights) / 3)
    total.backward()
    assert v.grad is not None
    assert v.grad.tolist() == pytest.approx([-0.5 / 3, 0.25 / 3, -2 / 3])  # the weights move V nowhere
    total, _ = awr.loss(batch, awr.Outputs(logits, v, weigh=False), config)
    assert total.item() == pytest.approx(sum(clone) / 3 + value)


def test_the_wrapped_game_of_the_site(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block.text for block in blocks(root / "docs" / "bring.md") if "register_wrapped" in block.text)
    name = re.search(r"^# (\w+\.py)", block)
    env_id = re.search(r"--env (\S+)", block)
    assert name
    assert env_id
    (tmp_path / name[1]).write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert [verdict for verdict in check(env_id[1]) if verdict.problem] == []
    assert contract_of(env_id[1]).history == 1


def test_commands_are_read_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "```sh\na --b 1   # why\n# only a remark\n\nc '#d'\n```\n```\nno command\n```\n"
    )
    assert commands(tmp_path / "README.md") == ["a --b 1", "c '#d'"]
