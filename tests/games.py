"""Small games for the tests: one that every method must learn, one without our base class, and broken ones."""

import random
import threading
from typing import Any

import gymnasium
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.oracle import OracleError, OtherSide, load_oracle
from lmgym.scores import Reference, Score

COLOURS = ("red", "blue", "green")
LOWER = "abcdefghijklmnopqrstuvwxyz"


class Echo(TextEnv):
    """Repeat the colour that is shown: 1 for each of three, else 0. The optimum is 3."""

    metadata = {"render_modes": []}  # noqa: RUF012
    history = None
    max_reply_chars = 8
    tokenizer = "word"
    preset = "0.1M"
    data_episodes = 2000
    evaluation_episodes = 60
    optimum = 3.0
    reference = Reference(Score(0.0, "no colour right"), Score(2.1, "by design"), Score(3.0, "all right"))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Text(8, min_length=0, charset=LOWER)
        self.action_space = AnyText(COLOURS)
        self._shown = ""
        self._left = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = 3
        return self._next(), {}

    def _next(self) -> str:
        self._shown = COLOURS[int(self.np_random.integers(3))]
        return self._shown

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        reward = float(action.strip() == self._shown)
        self._left -= 1
        info = {} if action in COLOURS else {"invalid": "not a colour"}
        return self._next(), reward, self._left == 0, False, {"success": bool(reward), **info}

    def choices(self) -> tuple[str, ...]:
        return COLOURS

    def expert(self) -> str:
        return self._shown

    def behaviour(self) -> str:
        if self.behaviour_random.random() < 0.55:
            return self._shown
        return COLOURS[int(self.behaviour_random.integers(3))]


class Foreign(gymnasium.Env[str, str]):
    """Guess a digit; knows nothing of lmgym. Plain Gymnasium spaces."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Text(10, charset=LOWER)
    action_space = spaces.Text(3, charset="0123456789")

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._digit = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._digit = int(self.np_random.integers(10))
        return "guess", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        right = action == str(self._digit)
        return ("right" if right else "wrong"), float(right), right, False, {}


class BothFlags(Echo):
    """Ends by terminating and truncating at once."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, ended, _, info = super().step(action)
        return observation, reward, ended, ended, info


class GlobalChance(Echo):
    """Draws from the generator that the whole process shares."""

    def _next(self) -> str:
        self._shown = random.choice(COLOURS)
        return self._shown


class Leaky(Echo):
    """Remembers how many games it has played, and shows it."""

    games = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.games += 1
        observation, info = super().reset(seed=seed, options=options)
        return observation if self.games < 3 else observation[::-1], info


class Fragile(Echo):
    """Believes that every action is ASCII."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        action.encode("ascii")
        return super().step(action)


class NarrowSpace(Echo):
    """Its observation space lacks letters that it shows."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = spaces.Text(8, charset="redblu")


class HashOrder(Echo):
    """Its order of colours hangs on the hash seed of the process."""

    def _next(self) -> str:
        self._shown = list(set(COLOURS))[int(self.np_random.integers(3))]
        return self._shown


class Failing(Echo):
    """Breaks down in the second turn of every third game."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._left == 2 and self.np_random.random() < 0.34:
            raise RuntimeError("the wheel came off")
        return super().step(action)


class Mirror(Foreign):
    """Shows what it is told, and has attributes whose names mean something to lmgym."""

    history: Any = []  # noqa: RUF012
    reference = "a book"
    choices = ("1", "2")
    observation_space = AnyText()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action, 0.0, False, False, {}


class Moody(Echo):
    """Its players refuse, and its rewards are nothing where red is shown."""

    def behaviour(self) -> str:
        raise RuntimeError("not today")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        return observation, None if observation == "red" else reward, *rest  # type: ignore[return-value]


class Waiting(Echo):
    """Waits in every reset and step for as many other games as `company` says."""

    remote = True
    company: threading.Barrier | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._wait()
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._wait()
        return super().step(action)

    def _wait(self) -> None:
        if self.company is not None:
            self.company.wait(10)


class Held(Echo):
    """Does not answer `hold` before it is let go, and has a map."""

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012
    entered = threading.Event()
    let_go = threading.Event()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action == "hold":
            self.entered.set()
            self.let_go.wait(10)
        return super().step(action)

    def render(self) -> str:
        return f"[{self._shown}]"


class Rude(Echo):
    """Ends the process on `exit`, gives a reward beyond JSON on `more`, and knows the option `colour`."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        require_options(options, ("colour",), "the rude game")
        return super().reset(seed=seed)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action == "exit":
            raise SystemExit(3)
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, float("inf") if action == "more" else reward, terminated, truncated, info


class FailingFarAway(Failing):
    """Breaks down as `Failing` does, and waits for something outside."""

    remote = True


class Parley(TextEnv):
    """Ask three times what somebody thinks of; 1 for naming it. The other side may be a language model."""

    metadata = {"render_modes": []}  # noqa: RUF012
    things = ("cat", "cup", "car", "key")

    def __init__(self, oracle: str = "embedded", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = AnyText()
        self.action_space = AnyText(("Is it a cat?", "Is it a cup?", "Is it alive?"))
        self._oracle = load_oracle(oracle)
        self.remote = self._oracle is not None
        self._thing = ""
        self._left = 0
        self._other: OtherSide | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._thing = self.things[int(self.np_random.integers(4))]
        self._left = 3
        self._other = OtherSide(self._oracle, self.np_random) if self._oracle else None
        return "Ask me.", self._info()

    def _info(self) -> dict[str, Any]:
        return {"success": False} | (self._other.info() if self._other else {})

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        won = action == f"Is it a {self._thing}?"
        if self._other is None:
            words = "Yes." if self._thing in action else "No."
        else:
            try:
                words = self._other.reply(f"You think of a {self._thing}.", (), action, max_tokens=8)
            except OracleError as error:
                return self._other.cut_off(error, 0.0, self._info())
        return words, float(won), won or self._left == 0, False, {**self._info(), "success": won}

    def fidelity(self) -> dict[str, float]:
        return {"answered": 0.9, "correct among answered": 0.98765} if self._oracle is None else {}


class Boastful(Parley):
    """Says of itself what is no number."""

    def fidelity(self) -> dict[str, float]:
        return {"answered": float("nan")}


class Mumbling(Echo):
    """Has nothing to say when it is asked for its rules."""

    def prompt(self) -> str:
        return " "


TINY = (Echo, Moody, BothFlags, GlobalChance, Leaky, Fragile, NarrowSpace, HashOrder, Failing)
for game in (*TINY, Waiting, Held, Rude, FailingFarAway, Parley, Boastful, Mumbling):
    gymnasium.register(f"test/{game.__name__}-v0", entry_point=f"tests.games:{game.__name__}", max_episode_steps=10)
gymnasium.register("test/Mirror-v0", entry_point="tests.games:Mirror", max_episode_steps=5)
gymnasium.register("test/Loose-v0", entry_point="tests.games:Echo", order_enforce=False)
gymnasium.register("test/Foreign-v0", entry_point="tests.games:Foreign", max_episode_steps=5)

ECHO = "tests.games:test/Echo-v0"
PARLEY = "tests.games:test/Parley-v0"
FOREIGN = "tests.games:test/Foreign-v0"


class RightAgent:
    """An agent of a user: repeats the last observation."""

    def act(self, conversation: list[Any]) -> str:
        return conversation[-1].text


class NeverAgent:
    """Never says anything."""

    def act(self, conversation: list[Any]) -> str:
        raise OSError("the line is dead \ud800")


class TroubledAgent:
    """Fails on the colour blue, and cannot be made where its seed is odd."""

    def reset(self, seed: int) -> None:
        self.seed = seed

    def act(self, conversation: list[Any]) -> str:
        if conversation[-1].text == "blue":
            raise LookupError("no blue")
        return conversation[-1].text
