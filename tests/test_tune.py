"""Tuning and inspection: which games settings are tried on, what is kept, and what a policy is said to have thought."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lmgym.tune as tuning
from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.critic import Critic, CriticShape
from lmgym.decoding import Decoding
from lmgym.errors import UsageError
from lmgym.evaluate import evaluate, play_one
from lmgym.inspection import look
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.run import Recipe, opened
from lmgym.seeds import Stream, game_seed
from lmgym.tokens import TokenDataset
from tests.games import ECHO


@pytest.fixture
def run(tmp_path: Path, tiny_policy: Callable[..., Policy]) -> Path:
    """A finished run whose policy knows nothing and whose critic likes one word, `red`."""
    policy = tiny_policy(ECHO)
    critic = Critic.seeded(policy.lm, CriticShape("own", 2, True, 0.5), np.array([0.0, 1.0]), seed=0)
    torch.nn.init.normal_(critic.v.outer.weight)  # type: ignore[union-attr]
    for head in critic.q:
        head.outer.bias.data[policy.codec.encode("red")[0]] = 5.0
    policy.critic = critic
    with opened(tmp_path / "run", Recipe("ilql", ECHO, {}, 0, None, {})) as made:
        made.finish(policy)
    return tmp_path / "run"


def test_games_of_tuning_and_of_evaluation_never_meet() -> None:
    """The fields of a seed do not overlap: whatever series and game, another stream is another seed."""
    corners = [(0, 0), (0, (1 << 32) - 1), ((1 << 28) - 1, 0), ((1 << 28) - 1, (1 << 32) - 1), (3, 7)]
    seeds = [game_seed(stream, seed, index) for stream in Stream for seed, index in corners]
    assert len(set(seeds)) == len(seeds)
    for stream in Stream:
        found = [game_seed(stream, seed, index) for seed, index in corners]
        assert min(found) >= stream << 60
        assert max(found) < (stream + 1) << 60


def test_tuning_plays_validation_games_only_and_the_same_for_every_setting(run: Path) -> None:
    played: list[int] = []
    policy = Policy.from_pretrained(run)
    trials = tuning.tune(run, policy, episodes=4, watch=lambda episode: played.append(episode.seed))
    assert len(trials) == len(tuning.grid(policy)) == len(tuning.BETAS) * len(tuning.TEMPERATURES)
    assert played == [game_seed(Stream.VALIDATE, 0, index) for index in range(4)] * len(trials)
    evaluated: list[int] = []
    evaluate(load_agent(str(run), ECHO), ECHO, episodes=50, watch=lambda episode: evaluated.append(episode.seed))
    assert not set(played) & set(evaluated)


def test_the_best_setting_is_kept_and_used(run: Path) -> None:
    agent = load_agent(str(run), ECHO)
    assert isinstance(agent, PolicyAgent)
    assert agent.decoding == Decoding()
    policy = Policy.from_pretrained(run)
    trials = tuning.tune(run, policy, episodes=20)
    chosen = max(trials, key=lambda trial: trial.mean_return.mean)
    agent = load_agent(str(run), ECHO)
    assert isinstance(agent, PolicyAgent)
    assert agent.decoding == chosen.decoding
    named = load_agent(str(run), ECHO, settings={"beta": 7.0})
    assert isinstance(named, PolicyAgent)
    assert named.decoding == dataclasses.replace(chosen.decoding, beta=7.0)
    record = json.loads((run / "tuned.json").read_text())
    assert len(record["trials"]) == len(trials)


def test_eval_says_which_settings_it_played_with(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run), "--episodes", "5", "--beta", "7", "--top-k", "3"]) == 0
    assert "decoding: temperature 1, beta 7, support 0.01, top_k 3, top_p 1" in capsys.readouterr().out
    assert main(["eval", str(run), "--episodes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decoding"]["beta"] == Decoding().beta
    assert main(["eval", "expert", "--env", ECHO, "--episodes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decoding"] is None


def test_of_equal_settings_the_first_is_kept() -> None:
    trial = tuning.Trial(Decoding(beta=1.0), tuning.Interval(1.0, 0.0, 2.0), None, 0.0, None)
    later = dataclasses.replace(trial, decoding=Decoding(beta=4.0))
    assert tuning.best([trial, later]) is trial


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: {**record, "format": 9}, "has format 9"),
        (lambda record: {**record, "settings": {"warmth": 1}}, "is damaged"),
        (lambda record: {**record, "policy": "0" * 64}, "belongs to another policy"),
        (lambda record: [], "is damaged"),
    ],
)
def test_settings_that_were_tampered_with_are_refused(run: Path, change: Callable[[Any], Any], sentence: str) -> None:
    tuning.tune(run, Policy.from_pretrained(run), episodes=2)
    path = run / "tuned.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UsageError, match=sentence):
        load_agent(str(run), ECHO)


def test_a_policy_without_values_is_tuned_by_temperature_alone(tiny_policy: Callable[..., Policy]) -> None:
    assert [setting.temperature for setting in tuning.grid(tiny_policy(ECHO))] == [1.0, 0.0]


def test_a_saved_critic_says_the_same(run: Path) -> None:
    first, again = Policy.from_pretrained(run), Policy.from_pretrained(run)
    assert first.critic is not None
    assert again.critic is not None
    assert first.critic.shape == again.critic.shape == CriticShape("own", 2, True, 0.5)
    hidden = torch.randn(3, 64)
    assert torch.equal(first.critic.lowest_q(hidden), again.critic.lowest_q(hidden))
    assert torch.equal(first.critic.value(hidden), again.critic.value(hidden))
    assert first.critic.lowest_q(hidden).argmax(dim=-1).tolist() == [first.codec.encode("red")[0]] * 3


def test_play_with_values_sees_what_training_sees(run: Path) -> None:
    """The log-probabilities of guided play equal those computed from policy and critic on the encoded rows."""
    agent = load_agent(str(run), ECHO, settings={"beta": 0.3})
    assert isinstance(agent, PolicyAgent)
    seen = look(agent, play_one(agent, ECHO, seed=5))
    for turn, said in zip(seen.turns, seen.episode.actions, strict=True):
        assert said.logprobs is not None
        assert [token.played for token in turn.tokens] == pytest.approx(np.exp(said.logprobs), rel=1e-4)
        assert "".join(token.text for token in turn.tokens).rstrip("\n") == said.text
        assert (turn.reward, turn.invalid) == (said.reward, said.invalid)


def test_values_are_shown_in_the_units_of_the_game(run: Path) -> None:
    agent = load_agent(str(run), ECHO)
    assert isinstance(agent, PolicyAgent)
    policy = agent.policy
    assert policy.critic is not None
    seen = look(agent, play_one(agent, ECHO))
    batch = TokenDataset([seen.episode], policy.codec, policy.view).batch([0])
    states, _ = policy.critic.states(policy.lm, batch)
    q = policy.critic.lowest_q(states).gather(1, batch.action_ids[:, None])[:, 0] / 0.5
    v = policy.critic.value(states) / 0.5
    tokens = [token for turn in seen.turns for token in turn.tokens]
    assert [token.q for token in tokens] == pytest.approx(q.tolist())
    assert [token.v for token in tokens] == pytest.approx(v.tolist())
    assert [token.advantage for token in tokens] == pytest.approx((q - v).tolist())
    assert seen.values == [turn.tokens[0].v for turn in seen.turns]


def test_the_page_is_whole_and_safe(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "game.html"
    assert main(["inspect", str(run), "--seed", "1", "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "advantage" in shown
    assert "value before each turn" in shown
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert not re.search(r"""(src|href)=|url\(|<script""", text), "nothing is fetched, nothing runs"
    assert text.count('class="turn"') == 3


def test_a_policy_without_values_is_inspected_too(tmp_path: Path, tiny_policy: Callable[..., Policy]) -> None:
    with opened(tmp_path / "run", Recipe("bc", ECHO, {}, 0, None, {})) as made:
        made.finish(tiny_policy(ECHO))
    page = tmp_path / "game.html"
    assert main(["inspect", str(tmp_path / "run"), "--html", str(page)]) == 0
    assert "<svg" not in page.read_text(encoding="utf-8")
    assert main(["inspect", str(tmp_path / "none")]) == 2


def test_text_of_a_game_is_no_markup(run: Path, tmp_path: Path) -> None:
    from lmgym.inspection import SeenGame, SeenToken, SeenTurn, write_page

    agent = load_agent(str(run), ECHO)
    episode = play_one(agent, ECHO)
    token = SeenToken('<b>&"', 0.5, 0.5, 1.0, 2.0)
    write_page(SeenGame(episode, [SeenTurn("<script>x</script>", [token], 0.0, False)], "</p>"), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "<script" not in text
    assert "<b>&" not in text
