"""What action tokens are worth, told from what was played: returns to go and advantages along a chain.

A chain is the action tokens of one episode in the order in which they were written, whatever rows they stand in;
tokens of the environment are skipped. N is the number of action tokens of a data set.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lmgym.errors import UsageError, unknown
from lmgym.tokens import TokenDataset

DISCOUNT_PER = ("token", "turn")


@dataclass(frozen=True)
class DiscountConfig:
    """How rewards to come are discounted."""

    discount: float = 0.99
    """The discount."""
    discount_per: str = "turn"
    """`turn`: one discount from action to action; `token`: one at every action token, as published, so that it
    depends on the tokenizer."""

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise UsageError(f"discount is between 0 and 1, not {self.discount}")
        if self.discount_per not in DISCOUNT_PER:
            raise unknown("unit of the discount", self.discount_per, DISCOUNT_PER)


class Chains(NamedTuple):
    """The action tokens of a data set. places [N]: where they stand in its flat arrays; ends_turn [N] bool: the
    last token of an action; ends_chain [N] bool: the last action token of an episode."""

    places: np.ndarray
    ends_turn: np.ndarray
    ends_chain: np.ndarray


def chains(data: TokenDataset) -> Chains:
    """Return the chains of a data set."""
    places = np.flatnonzero(data.action_mask)
    row_of = np.repeat(np.arange(len(data)), data.lengths)
    episode_of_row = np.cumsum(np.append(True, ~data.continues[:-1])) if len(data) else np.zeros(0)
    # Between two actions stands an observation, so that an action ends where the next token is not an action's.
    followed = np.append(data.action_mask[1:], False) & (np.append(row_of[1:], -1) == row_of)
    episodes = episode_of_row[row_of[places]]
    return Chains(places, ~followed[places], np.append(episodes[1:] != episodes[:-1], True)[: len(places)])


def discounts(ends_turn: np.ndarray, config: DiscountConfig) -> np.ndarray:
    """Return the factor [N] from each action token to the next."""
    return np.where(ends_turn | (config.discount_per == "token"), config.discount, 1.0)


def returns_to_go(rewards: np.ndarray, factors: np.ndarray, ends_chain: np.ndarray) -> np.ndarray:
    """Return G [N] with G_t = r_t + factor_t * G_(t+1) within a chain and G_t = r_t at its end.

    >>> returns_to_go(np.array([0.0, -1, 0, -1, 5]), np.array([1, 0.5, 1, 1, 1]), np.array([0, 0, 0, 1, 1], bool))
    array([-1.5, -1.5, -1. , -1. ,  5. ])
    """
    found = np.empty(len(rewards))
    value = 0.0
    for index in range(len(rewards) - 1, -1, -1):
        value = rewards[index] + (0.0 if ends_chain[index] else factors[index] * value)
        found[index] = value
    return found


def generalised_advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    last_values: np.ndarray,
    factors: np.ndarray,
    decays: np.ndarray,
    ends_chain: np.ndarray,
) -> np.ndarray:
    """Return A [N] with A_t = d_t + factor_t * decay_t * A_(t+1), d_t = r_t + factor_t * V_(t+1) - V_t within a chain.

    values [N]: of the state before each action token; last_values [N]: of the state after the last one of a chain (0
    where the task ended), elsewhere without effect. Source: GAE (arXiv 1506.02438), equations 11 to 16, over action
    tokens.

    >>> one = np.ones(2)
    >>> ends = np.array([False, True])
    >>> generalised_advantages(np.array([1.0, 2.0]), np.array([0.5, 0.0]), np.zeros(2), one, one, ends)
    array([2.5, 2. ])
    """
    found = np.empty(len(rewards))
    advantage = following = 0.0
    for index in range(len(rewards) - 1, -1, -1):
        if ends_chain[index]:
            advantage, following = 0.0, last_values[index]
        delta = rewards[index] + factors[index] * following - values[index]
        advantage = delta + factors[index] * decays[index] * advantage
        found[index], following = advantage, values[index]
    return found


def whitened(values: np.ndarray) -> np.ndarray:
    """Return values [N] shifted and scaled to mean 0 and deviation 1."""
    return (values - values.mean()) / np.sqrt(values.var() + 1e-8)


def add_scaled_returns(
    data: TokenDataset, config: DiscountConfig, scale: float | None = None
) -> tuple[float, np.ndarray]:
    """Add the column `returns` to a data set: discounted returns to go at action tokens, 0 elsewhere, times `scale`
    (by default what makes their standard deviation 1). They end where the episode does, cut off or not.

    Returns the scale and the values [N].
    """
    found = chains(data)
    values = returns_to_go(data.rewards[found.places], discounts(found.ends_turn, config), found.ends_chain)
    if scale is None:
        deviation = float(values.std()) if len(values) else 0.0
        scale = 1 / deviation if deviation > 1e-8 else 1.0
    column = np.zeros(len(data.ids), dtype=np.float32)
    column[found.places] = scale * values
    data.columns["returns"] = column
    return scale, scale * values
