"""A game of GEM."""

from typing import Any

from examples.foreign_games.chance import Chance
from lmgym.env import AnyText, TextEnv
from lmgym.errors import UsageError, unknown


class GemGame(TextEnv):
    """Any environment of text of GEM 0.1 (`game=game:Mastermind-v0-easy`), in its own words and with its own rewards.

    Observations end with what GEM calls the suffix, which asks for the next action and, in some games, shows the
    board. Where GEM says both terminated and truncated, its turn limit has cut the game, which here is truncated alone.
    Success is a last reward of 1. `behaviour()` is GEM's own random player.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, game: str = "game:GuessTheNumber-v0-easy", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = AnyText()
        self.action_space = AnyText()
        self._chance = Chance()
        with self._chance.lent():
            try:
                import gem.envs
                from gem.envs.registration import ENV_REGISTRY
            except ImportError as error:
                raise UsageError(f"{error.name} is not installed: pip install gem-llm==0.1.0") from error
            if game not in ENV_REGISTRY:
                raise unknown("game of GEM", game, ENV_REGISTRY)
            try:
                self._game = gem.make(game)
            except Exception as error:
                reason = str(error).strip("* \n").partition("\n")[0]
                raise UsageError(f"GEM cannot make {game} here: {reason}") from error

    def prompt(self) -> str:
        return "Play the game that you are told of. Answer with your next action, in the form that it asks for."

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        game_seed = int(self.np_random.integers(1 << 32))
        self._chance.seed(game_seed)
        with self._chance.lent():
            observation, info = self._game.reset(seed=game_seed)
        return _with_suffix(observation, info), {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        with self._chance.lent():
            observation, reward, terminated, truncated, info = self._game.step(action)
        over = terminated or truncated
        seen = observation.strip("\n") if over else _with_suffix(observation, info)
        return seen, float(reward), terminated and not truncated, truncated, {"success": over and float(reward) >= 1}

    def behaviour(self) -> str:
        chance = Chance()
        chance.seed(int(self.behaviour_random.integers(1 << 32)))
        with chance.lent():
            return str(self._game.sample_random_action())


def _with_suffix(observation: str, info: dict[str, Any]) -> str:
    return f"{observation.strip()}\n{info.get('suffix', '')}".strip("\n")
