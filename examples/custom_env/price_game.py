"""A game for lmgym in one file: find out by bids what a seller wants. Importing this registers it."""

import re
from typing import Any

import gymnasium
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv
from lmgym.scores import Reference, Score

HIGHEST = 20
GREETING = f"My price is between 1 and {HIGHEST} dollars. Your bid?"
UNCLEAR = "Bid a whole number of dollars."


class PriceGame(TextEnv):
    """Bid until the seller agrees: -1 for each bid that is not the price. An unclear bid is refused and costs as much.

    A bid is a number, `7`, `$7` or `7 dollars`. The answer is `Higher.`, `Lower.` or `Sold!`; after ten bids the
    seller walks away. Returns lie in -10 to 0.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium declares it so)
    observation_space = spaces.Text(60, charset="".join(sorted({*GREETING, *UNCLEAR, *"Higher.Lower.Sold!"})))
    action_space = AnyText([str(price) for price in range(1, HIGHEST + 1)])
    history = None  # the agent sees the whole conversation
    max_reply_chars = 10  # the longest bid that makes sense
    tokenizer = "phrase"  # few different sentences: each is one token of a model trained from scratch
    preset = "0.1M"
    reference = Reference(  # found again in test_price_game.py
        min=Score(-10.0, "ten bids that are not the price"),
        data=Score(-4.64, "mean of the default data set: 1,000 games of behaviour() with seed 0"),
        best=Score(-2.7, "always the middle of what is left: mean over the 20 prices"),
    )

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._price = int(self.np_random.integers(1, HIGHEST + 1))
        self._lowest, self._highest = 1, HIGHEST  # what the answers leave possible
        self._skill: float | None = None
        return GREETING, {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        found = re.fullmatch(r"\$?([0-9]{1,3})( dollars?)?", action.strip().casefold())
        if found is None:
            return UNCLEAR, -1.0, False, False, {"success": False, "invalid": "not a number of dollars"}
        bid = int(found[1])
        if bid == self._price:
            return "Sold!", 0.0, True, False, {"success": True}
        if bid < self._price:
            self._lowest = max(self._lowest, bid + 1)
            return "Higher.", -1.0, False, False, {"success": False}
        self._highest = min(self._highest, bid - 1)
        return "Lower.", -1.0, False, False, {"success": False}

    def expert(self) -> str:
        return str((self._lowest + self._highest) // 2)

    def behaviour(self) -> str:
        """One of many buyers. Most go up from below by a dollar or two; the more skill, the more often the middle."""
        chance = self.behaviour_random
        if self._skill is None:
            self._skill = 0.5 * float(chance.random())
        if chance.random() < self._skill:
            return self.expert()
        return str(min(self._lowest + int(chance.integers(2)), self._highest))


gymnasium.register("shop/PriceGame-v0", entry_point="price_game:PriceGame", max_episode_steps=10)
