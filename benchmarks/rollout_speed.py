"""Tokens and games a second of multi-turn play: attention caches kept from turn to turn, against (a) transformers'
`generate` on the whole history in every turn and (b) our own reading of the whole history in every turn. The same
model with random weights, the same conversations of 20 turns, in one run."""

import argparse
import string
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel

from lmgym.env import AnyText, TextEnv
from lmgym.evaluate import collect
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.rollout import Game, Reply
from lmgym.tokens import View, piece_ids
from lmgym.vocabulary import build_tokenizer

TURNS, SEEN, SAID = 20, 24, 8


class Chatter(TextEnv):
    """Says 24 letters whatever it is told, for 20 turns."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Text(SEEN, charset=string.ascii_lowercase)
    action_space = AnyText()

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin to chatter."""
        super().reset(seed=seed)
        return self._said(), {}

    def _said(self) -> str:
        return "".join(string.ascii_lowercase[i] for i in self.np_random.integers(26, size=SEEN))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Chatter on."""
        return self._said(), 0.0, False, False, {}


gymnasium.register("bench/Chatter-v0", entry_point="__main__:Chatter", max_episode_steps=TURNS)


class GenerateAgent:
    """Calls transformers' `generate` on the whole history of all games in every turn."""

    tokenizer: str | None = None
    name = "generate"

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def begin(self, game: Game) -> None:
        """Start with nothing read."""
        game.memory = []

    @torch.inference_mode()
    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Read everything again and sample."""
        policy = self.policy
        for game in games:
            game.memory.append(piece_ids(game.turns[-1], policy.codec, policy.view, sampled=True))
        rows = [[token for piece in game.memory for token in piece] for game in games]
        width = max(map(len, rows))
        ids = torch.tensor([[policy.codec.pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        said = policy.lm.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=policy.view.max_reply_tokens,
            do_sample=True,
            eos_token_id=sorted(policy.codec.stops),
            pad_token_id=policy.codec.pad,
        )[:, width:].tolist()
        replies = []
        for game, row in zip(games, said, strict=True):
            ends = [place for place, token in enumerate(row) if token in policy.codec.stops]
            row = tuple(row[: ends[0] + 1] if ends else row)
            game.memory.append(row)
            replies.append(Reply(policy.codec.decode_action(row), row))
        return replies


def policy_of(shape: str) -> Policy:
    """Return a policy of random weights that hardly ever ends before its eighth token."""
    tokenizer = build_tokenizer("char", [string.printable])
    view = View(max_turns=None, max_tokens=1024, max_reply_tokens=SAID)
    if shape == "5M":
        return Policy.from_preset("5M", tokenizer, view, seed=0)
    torch.manual_seed(0)
    return Policy(GPT2LMHeadModel(GPT2Config(vocab_size=50_257)), tokenizer, view)


def pace(make: Callable[[], Any], games: int) -> tuple[float, float, float]:
    """Play `games` conversations at once; return action tokens and games a second, and the time of the last five
    turns over that of the first five."""
    agent = make()
    times: list[float] = []
    act = agent.act

    def timed(waiting: Sequence[Game]) -> Any:
        started = time.perf_counter()
        replies = act(waiting)
        times.append(time.perf_counter() - started)
        return replies

    agent.act = timed
    started = time.perf_counter()
    played = list(collect(agent, "bench/Chatter-v0", episodes=games, num_envs=games))
    seconds = time.perf_counter() - started
    tokens = sum(len(turn.token_ids or ()) for episode in played for turn in episode.actions)
    return tokens / seconds, games / seconds, sum(times[-5:]) / sum(times[:5])


def main() -> None:
    """Measure every way at every size and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=["5M"], choices=["5M", "124M"], help="the larger takes minutes")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16], help="games at a time, such as 1 16 64")
    options = parser.parse_args()
    table = Table(title="multi-turn play, 20 turns of 24 + 8 characters", caption="late/early: last five turns / first")
    for heading in ("model", "games", "way", "tokens/s", "games/s", "x generate", "late/early"):
        table.add_column(heading, justify="right")
    for shape in options.shapes:
        policy = policy_of(shape).eval()
        ways: dict[str, Callable[[], Any]] = {
            "(a) generate": lambda policy=policy: GenerateAgent(policy),  # type: ignore[misc]
            "(b) read anew": lambda policy=policy: PolicyAgent(policy, keep_cache=False),  # type: ignore[misc]
            "kept caches": lambda policy=policy: PolicyAgent(policy),  # type: ignore[misc]
        }
        for games in options.batches:
            base = None
            for name, make in ways.items():
                tokens, speed, growth = pace(make, games)
                base = base or speed
                table.add_row(
                    shape, str(games), name, f"{tokens:.0f}", f"{speed:.2f}", f"{speed / base:.2f}", f"{growth:.2f}"
                )
    Console().print(table)


if __name__ == "__main__":
    main()
