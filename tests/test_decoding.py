"""How tokens are chosen: distributions by hand, limits, and that nothing excluded is ever drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lmgym.decoding import Decoding, draw, guided, log_probabilities
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from tests.games import ECHO

SHARES = torch.tensor([[0.5, 0.2, 0.3]])


def shares(scores: torch.Tensor, **settings: Any) -> list[float]:
    return log_probabilities(scores, Decoding(**settings))[0].exp().tolist()


def test_drawing_follows_the_distribution() -> None:
    logps = SHARES.double().log().repeat(4000, 1)
    tokens = draw(logps, np.random.default_rng(0).random(4000).tolist())
    assert np.bincount(tokens, minlength=3) / 4000 == pytest.approx([0.5, 0.2, 0.3], abs=0.03)
    assert draw(logps[:4], [0.0, 0.49, 0.5, 0.999999]).tolist() == [0, 0, 1, 2]


def test_settings_by_hand() -> None:
    scores = SHARES.log()
    assert shares(scores) == pytest.approx([0.5, 0.2, 0.3])
    assert shares(scores, temperature=0.5) == pytest.approx([0.25 / 0.38, 0.04 / 0.38, 0.09 / 0.38])
    assert shares(scores, temperature=0.0) == [1.0, 0.0, 0.0]
    assert shares(scores, temperature=1e-45) == [1.0, 0.0, 0.0]
    assert shares(scores, top_k=2) == pytest.approx([0.625, 0.0, 0.375])
    assert shares(scores, top_k=9) == pytest.approx([0.5, 0.2, 0.3])
    assert shares(scores, top_p=0.5) == pytest.approx([1.0, 0.0, 0.0])
    assert shares(scores, top_p=0.51) == pytest.approx([0.625, 0.0, 0.375])
    assert shares(scores, temperature=0.5, top_p=0.7) == pytest.approx([0.25 / 0.34, 0.0, 0.09 / 0.34])


def test_values_guide_the_policy_by_hand() -> None:
    q = torch.tensor([[0.0, 2.0, 1.0]])
    decoding = Decoding(beta=0.5, support=0.0)
    weights = [0.5, 0.2 * np.exp(2 * 0.5), 0.3 * np.exp(1 * 0.5)]
    expected = np.array(weights) / sum(weights)
    assert shares(guided(SHARES.log() + 7.0, q, decoding)) == pytest.approx(expected)
    assert shares(guided(SHARES.log(), q - 5.0, decoding)) == pytest.approx(expected), "V, the same for all: no matter"
    assert torch.equal(guided(SHARES, q, Decoding(beta=0.0)), SHARES)
    assert torch.equal(guided(SHARES, None, Decoding(beta=3.0)), SHARES)


def test_what_the_policy_hardly_ever_says_is_not_said_for_its_value() -> None:
    q = torch.tensor([[0.0, 100.0, 0.0]])
    scores = SHARES.log()
    assert shares(guided(scores, q, Decoding(beta=1.0, support=0.39)))[1] == pytest.approx(1.0)
    assert shares(guided(scores, q, Decoding(beta=1.0, support=0.41))) == pytest.approx([0.625, 0.0, 0.375])
    assert shares(guided(scores, q, Decoding(beta=1.0, support=1.0))) == pytest.approx([1.0, 0.0, 0.0])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_tokens_are_never_drawn(temperature: float, tiny_policy: Callable[..., Policy]) -> None:
    agent = PolicyAgent(tiny_policy(ECHO), decoding=Decoding(temperature=temperature))
    assert len(agent.policy.codec.banned) == 2
    logits = torch.zeros(2000, agent.policy.num_embeddings)
    logits[:, sorted(agent.policy.codec.banned)] = 50.0
    logps = log_probabilities(agent.scores(logits, None), agent.decoding)
    tokens = draw(logps, np.random.default_rng(0).random(2000).tolist())
    assert not set(tokens.tolist()) & agent.policy.codec.banned


def test_what_may_be_said_can_be_limited(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    (red, end), (blue, _) = policy.codec.encode("red"), policy.codec.encode("blue")

    def said(**limits: Any) -> set[int]:
        episodes = list(collect(PolicyAgent(policy, **limits), ECHO, episodes=10))
        replies = [turn.token_ids or () for episode in episodes for turn in episode.actions]
        assert max(map(len, replies)) <= limits.get("max_reply_tokens", 1000)
        return {token for reply in replies for token in reply}

    assert said(allowed=[red, end]) == {red, end}
    assert said(allowed=[red, blue, end], banned=[blue]) == {red, end}
    assert not said(banned=[red]) & {red}
    assert len(said(max_reply_tokens=2)) > 2
    with pytest.raises(UsageError, match="every token is banned"):
        PolicyAgent(policy, allowed=[])
    with pytest.raises(UsageError, match="a reply has 1 token or more"):
        PolicyAgent(policy, max_reply_tokens=0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1.0}, "a temperature is 0"),
        ({"temperature": float("nan")}, "a temperature is 0"),
        ({"temperature": float("inf")}, "a temperature is 0"),
        ({"beta": -0.1}, "beta is 0"),
        ({"top_k": 0}, "top_k is 1 or more"),
        ({"top_p": 0.0}, "top_p is above 0"),
        ({"top_p": 1.1}, "top_p is above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Decoding(**settings)
