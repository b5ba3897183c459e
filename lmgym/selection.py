"""Which episodes are worth imitating."""

from collections.abc import Sequence

import numpy as np

from lmgym.episode import Episode
from lmgym.errors import UsageError


def require_keep(keep: str, name: str = "keep") -> None:
    """Raise UsageError, with the setting's name, unless `keep` is `success` or a share above 0 and up to 1."""
    try:
        sound = keep == "success" or 0 < float(keep) <= 1
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"--{name.replace('_', '-')} is success or a share above 0 and up to 1, not {keep!r}")


def best_episodes(episodes: Sequence[Episode], keep: str, seed: int) -> list[Episode]:
    """Return the successful episodes, or exactly the best share by return, in their order.

    Of equal returns chance decides by `seed`. Raises UsageError where nothing would be kept, or `keep` is neither
    `success` nor a share.
    """
    require_keep(keep)
    if keep == "success":
        kept = [episode for episode in episodes if episode.success]
        if not kept:
            raise UsageError("no episode of the data reports success: keep a share of the best by --keep 0.1")
        return kept
    share = float(keep)
    returns = np.array([episode.total_reward for episode in episodes])
    order = np.lexsort((np.random.default_rng([seed, len(episodes)]).random(len(episodes)), -returns))
    chosen = np.sort(order[: max(1, round(share * len(episodes)))])
    return [episodes[index] for index in chosen]
