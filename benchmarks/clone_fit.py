"""How closely a clone plays like the data it was made of: what it earns, how likely it finds actions that it has seen
and others of the same players, and how far its choice in common situations is from theirs."""

import argparse
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lmgym.agents import load_agent
from lmgym.algorithms.ppo import log_probabilities
from lmgym.decoding import Decoding
from lmgym.episode import Episode
from lmgym.evaluate import collect, evaluate
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.run import read_record
from lmgym.start import DATA_SEED
from lmgym.tokens import TokenDataset

ROWS = 64


class Said(NamedTuple):
    """An action that was learned: the tokens before it, its own, and the clone's log-probability of it."""

    before: tuple[int, ...]
    tokens: tuple[int, ...]
    logprob: float


def actions_of(policy: Policy, games: Iterable[Episode]) -> Iterator[Said]:
    """Yield the actions of some games as a policy reads them."""
    data = TokenDataset(games, policy.codec, policy.view)
    order = data.rows_with_actions()
    for rows in np.array_split(order, max(1, len(order) // ROWS)):
        batch = data.batch(rows)
        with torch.inference_mode():
            found = iter(log_probabilities(policy(batch).logits, batch).tolist())
        for ids, mask in zip(batch.ids.tolist(), batch.action_mask.tolist(), strict=True):
            edges = [place for place in range(1, len(ids)) if mask[place] != mask[place - 1]]
            for begin, end in zip(edges[::2], [*edges[1::2], len(ids)][: len(edges[::2])], strict=True):
                yield Said(tuple(ids[:begin]), tuple(ids[begin:end]), sum(itertools.islice(found, end - begin)))


def distances(said: Iterable[Said], least: int) -> tuple[float, float, float]:
    """Return the total variation between players and clone in the situations that occur `least` times and more, the
    one that their finite number alone would make, and the share of all actions that were in them."""
    situations: dict[tuple[int, ...], list[Said]] = defaultdict(list)
    for one in said:
        situations[one.before].append(one)
    total = sum(map(len, situations.values()))
    common = [found for found in situations.values() if len(found) >= least]
    chance = np.random.default_rng(0)
    apart = noise = weight = 0.0
    for found in common:
        clone = {one.tokens: math.exp(one.logprob) for one in found}
        shares = {tokens: count / len(found) for tokens, count in Counter(one.tokens for one in found).items()}
        rest = max(0.0, 1 - sum(clone.values()))
        apart += len(found) * (sum(abs(shares[tokens] - clone[tokens]) for tokens in clone) + rest) / 2
        # As many actions as there are, drawn from the clone itself.
        chances = np.array([*clone.values(), rest])
        chances /= chances.sum()
        drawn = chance.multinomial(len(found), chances, size=8) / len(found)
        noise += len(found) * float(np.abs(drawn - chances).sum(axis=1).mean()) / 2
        weight += len(found)
    return apart / max(weight, 1), noise / max(weight, 1), weight / total


def main() -> None:
    """Compare a clone with its data and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder of bc")
    parser.add_argument(
        "--episodes",
        type=int,
        default=5000,
        help="new games, and as many of the default data set's series",
    )
    parser.add_argument("--least", type=int, default=100, help="how often a situation occurs that is common")
    options = parser.parse_args()
    recipe = read_record(options.run)["recipe"]
    env_id, env_kwargs = recipe["env_id"], recipe["env_kwargs"]
    policy = Policy.from_pretrained(options.run)
    players = load_agent("behaviour", env_id, env_kwargs)

    def games(seed: int) -> Iterator[Episode]:
        return collect(players, env_id, env_kwargs=env_kwargs, episodes=options.episodes, seed=seed)

    learned, new = (list(actions_of(policy, games(seed))) for seed in (DATA_SEED, DATA_SEED + 1))
    apart, noise, share = distances(new, options.least)
    clone = evaluate(PolicyAgent(policy, name="bc", decoding=Decoding(beta=0.0)), env_id, env_kwargs=env_kwargs)
    data = evaluate(players, env_id, env_kwargs=env_kwargs)
    table = Table("figure", "clone", "players", title=f"{env_id}: {options.run}")
    table.add_row("return", f"{clone.mean_return.mean:.2f}", f"{data.mean_return.mean:.2f}")
    for name in ("success_rate", "invalid_rate", "turns"):
        table.add_row(name, f"{getattr(clone, name):.3f}", f"{getattr(data, name):.3f}")
    for name, said in (("learned", learned), ("new", new)):
        table.add_row(f"nats per action, {name} games", f"{-sum(one.logprob for one in said) / len(said):.3f}", "")
    table.add_row(f"total variation where common ({share:.0%} of actions)", f"{apart:.3f}", f"{noise:.3f} by chance")
    Console().print(table)


if __name__ == "__main__":
    main()
