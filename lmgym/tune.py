"""Which settings a policy plays best with, found on validation games and kept in its run.

Validation games come from a stream of seeds that evaluations never use; see `seeds.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmgym.decoding import Decoding
from lmgym.env import Contract, contract_of
from lmgym.errors import UsageError
from lmgym.evaluate import default_episodes, evaluate
from lmgym.files import sha256, write_json
from lmgym.play import PolicyAgent
from lmgym.policy import RECORD, Policy
from lmgym.run import read_record
from lmgym.scores import Interval
from lmgym.seeds import Stream

FORMAT = 1
FILE = "tuned.json"

TEMPERATURES = (1.0, 0.0)
BETAS = (1.0, 4.0, 16.0, 64.0, 256.0)
EPISODES = 100


@dataclass(frozen=True)
class Trial:
    """What one setting earned on the validation games."""

    decoding: Decoding
    mean_return: Interval
    success_rate: float | None
    invalid_rate: float
    score: float | None


def grid(policy: Policy, temperatures: Sequence[float] = TEMPERATURES) -> list[Decoding]:
    """Return the settings that are tried: temperatures, and betas where the policy has a critic."""
    betas = BETAS if policy.critic is not None and len(policy.critic.q) else (0.0,)
    return [Decoding(temperature=temperature, beta=beta) for beta in betas for temperature in temperatures]


def tuned_decoding(folder: Path) -> Decoding:
    """Return the settings that a run was tuned to, the default ones where it was not.

    Raises UsageError where they are damaged or belong to another policy.
    """
    path = folder / FILE
    if not path.exists():
        return Decoding()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise UsageError(f"{path} has format {record['format']}; this lmgym reads format {FORMAT}")
        settings, policy = Decoding(**record["settings"]), record["policy"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged: {error!r}") from error
    if policy != sha256(folder / RECORD):
        raise UsageError(f"{path} belongs to another policy than the one in {folder}: remove it or tune again")
    return settings


def tuning_episodes(rules: Contract) -> int:
    """Return how many games each setting plays by default: about a hundred, from each official start equally often."""
    starts = max(1, len(rules.official_starts))
    return starts * max(1, round(EPISODES / starts))


def tune(
    folder: Path,
    policy: Policy,
    *,
    episodes: int,
    seed: int = 0,
    num_envs: int = 64,
    watch: Any = None,
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[Trial]:
    """Play the same validation games with every setting of the grid, keep the one of the highest mean return (the
    first of equals) in the run, and return all trials.

    `policy` is that of the run in `folder`; `watch`, if given, is called with every finished Episode.
    """
    recipe = read_record(folder)["recipe"]
    count = default_episodes(contract_of(recipe["env_id"], recipe["env_kwargs"]), episodes, recipe["env_id"])
    trials = []
    for decoding in grid(policy, temperatures):
        result = evaluate(
            PolicyAgent(policy, decoding=decoding),
            recipe["env_id"],
            env_kwargs=recipe["env_kwargs"],
            episodes=count,
            seed=seed,
            num_envs=num_envs,
            stream=Stream.VALIDATE,
            watch=watch,
        )
        trials.append(Trial(decoding, result.mean_return, result.success_rate, result.invalid_rate, result.score))
    record = {
        "format": FORMAT,
        "settings": asdict(best(trials).decoding),
        "policy": sha256(folder / RECORD),
        "episodes": count,
        "seed": seed,
        "trials": [asdict(trial) for trial in trials],
    }
    write_json(folder / FILE, record)
    return trials


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial of the highest mean return, the first of equals."""
    return max(trials, key=lambda trial: trial.mean_return.mean)
