"""One game as it was played: frozen text, who wrote it, what it earned, how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Turn(NamedTuple):
    """One piece of text.

    `reward`, `invalid` (the game did not accept the action), `token_ids` and `logprobs` belong to the agent's
    pieces. `token_ids` are the tokens as a policy sampled them, terminator included where it was sampled, and
    `logprobs` their natural log-probabilities under the distribution they were sampled from.
    """

    text: str
    by_agent: bool
    reward: float = 0.0
    invalid: bool = False
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """A whole game: observation, action, observation, action, ..., last observation.

    `terminated`: the task ended; `truncated`: it was cut off (by a limit, or by `error`); never both, and
    neither only while a game is running. `outcome` holds the facts of the last `info` that JSON can hold.
    `tokenizer` is the fingerprint of the tokenizer that `token_ids` belong to.
    """

    turns: tuple[Turn, ...]
    terminated: bool
    truncated: bool
    env_id: str
    seed: int
    agent: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.terminated and self.truncated:
            raise ValueError("an episode is terminated or truncated, not both")
        if any(turn.by_agent != (index % 2 == 1) for index, turn in enumerate(self.turns)):
            raise ValueError("the pieces of an episode alternate, the environment's first")
        if any(turn.reward for turn in self.turns if not turn.by_agent):
            raise ValueError("only the agent's pieces carry rewards")

    @property
    def observations(self) -> list[Turn]:
        """The environment's pieces, the last one included if there is one."""
        return list(self.turns[0::2])

    @property
    def actions(self) -> list[Turn]:
        """The agent's pieces."""
        return list(self.turns[1::2])

    @property
    def total_reward(self) -> float:
        """The return: the undiscounted sum of rewards."""
        return float(sum(turn.reward for turn in self.turns))

    @property
    def success(self) -> bool | None:
        """Whether the task was solved; None where the game does not say."""
        value = self.outcome.get("success")
        return None if value is None else bool(value)


@dataclass(frozen=True)
class Statistics:
    """What a set of episodes looks like: shares between 0 and 1, lengths in agent turns.

    Games that failed (`errors`) are not in the returns and lengths, because they did not come to their end, and
    count as no success.
    """

    episodes: int
    mean_return: float
    std_return: float
    success_rate: float | None
    mean_turns: float
    std_turns: float
    invalid_rate: float
    truncated_rate: float
    errors: int


class Tally:
    """Collects statistics one episode at a time, so that a long stream needs no memory for its texts."""

    def __init__(self) -> None:
        self.returns: list[float] = []
        self.turns: list[int] = []
        self.num_successes: int | None = None  # None until a game says whether it was solved
        self.num_episodes = self.num_invalid = self.num_truncated = self.num_errors = 0

    def add(self, episode: Episode) -> None:
        """Count one more episode."""
        self.num_episodes += 1
        if episode.success is not None:
            self.num_successes = (self.num_successes or 0) + (episode.success and episode.error is None)
        if episode.error is not None:
            self.num_errors += 1
            return
        actions = episode.actions
        self.returns.append(episode.total_reward)
        self.turns.append(len(actions))
        self.num_invalid += sum(turn.invalid for turn in actions)
        self.num_truncated += episode.truncated

    def statistics(self) -> Statistics:
        """Return the statistics so far. Raises ValueError where no game came to its end."""
        count = len(self.returns)
        if count == 0:
            raise ValueError("no game came to its end, so there are no statistics")
        return Statistics(
            episodes=self.num_episodes,
            mean_return=float(np.mean(self.returns)),
            std_return=float(np.std(self.returns)),
            success_rate=None if self.num_successes is None else self.num_successes / self.num_episodes,
            mean_turns=float(np.mean(self.turns)),
            std_turns=float(np.std(self.turns)),
            invalid_rate=self.num_invalid / max(1, sum(self.turns)),
            truncated_rate=self.num_truncated / count,
            errors=self.num_errors,
        )


def storable(text: str) -> str:
    """Return text without lone surrogates, which have no place in a file or on a wire: replacement characters.

    >>> storable("a\\ud800b")
    'a\ufffdb'
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def statistics(episodes: Sequence[Episode]) -> Statistics:
    """Return the statistics of a non-empty list of episodes."""
    tally = Tally()
    for episode in episodes:
        tally.add(episode)
    return tally.statistics()
