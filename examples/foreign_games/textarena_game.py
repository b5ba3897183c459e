"""A game of TextArena for one player."""

from typing import Any

from examples.foreign_games.chance import Chance
from lmgym.env import AnyText, TextEnv
from lmgym.errors import UsageError, unknown


class TextArenaGame(TextEnv):
    """Any single-player game of TextArena 0.7 (`game=Mastermind-v0`), in its own words and with its own rewards.

    Observations are what the game has said since the agent's last action, without the echo of that action: the
    conversation keeps what was said before. Actions pass TextArena's own action wrappers, which add missing brackets.
    The reward comes at the end, 1 for success; a turn limit is an end like others there, so nothing is truncated.
    `info["invalid"]` says why an action was not accepted; the second in a row loses the game.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, game: str = "GuessTheNumber-v0", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = AnyText()
        self.action_space = AnyText()
        self._chance = Chance()
        with self._chance.lent():
            try:
                import textarena
                from textarena.envs.registration import ENV_REGISTRY
            except ImportError as error:
                raise UsageError(f"{error.name} is not installed: pip install textarena==0.7.4") from error
            if game not in ENV_REGISTRY:
                raise unknown("game of TextArena", game, ENV_REGISTRY)
            try:
                self._game = textarena.make(game)
                self._game.reset(num_players=1, seed=0)
                if not isinstance(self._game.state, textarena.SinglePlayerState):
                    raise ValueError(f"it is played with a {type(self._game.state).__name__}")
            except Exception as error:
                reason = str(error).strip("* \n").partition("\n")[0]
                raise UsageError(f"TextArena cannot play {game} with one player here: {reason}") from error
        self._own_action = textarena.ObservationType.PLAYER_ACTION
        self._bare = self._game
        while isinstance(self._bare, textarena.Wrapper):
            self._bare = self._bare.env

    def prompt(self) -> str:
        return "Play the game that you are told of. Answer with your next action, in the form that it asks for."

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        game_seed = int(self.np_random.integers(1 << 32))
        self._chance.seed(game_seed)
        with self._chance.lent():
            self._game.reset(num_players=1, seed=game_seed)
            return self._said(), {}

    def _said(self) -> str:
        _, messages = self._bare.get_observation()
        # A few games pass numbers as messages.
        return "\n".join(str(text).strip("\n") for _, text, kind in messages if kind != self._own_action)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        errors = self._bare.state.error_count
        with self._chance.lent():
            done, _ = self._game.step(action)
            said = self._said()
        state = self._bare.state
        outcome = state.game_info[0]
        info: dict[str, Any] = {"success": False}
        if state.error_count > errors or outcome["invalid_move"]:
            info["invalid"] = outcome.get("reason", said)
        if not done:
            return said, 0.0, False, False, info
        reward = float((state.rewards or {}).get(0, 0.0))
        info.update(success=reward >= 1, reason=outcome.get("reason", ""))
        return f"{said}\n{info['reason']}".strip("\n"), reward, True, False, info
