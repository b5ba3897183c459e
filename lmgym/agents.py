"""Who plays: scripted agents, people, classes of the user, trained policies, chat models; all by one name."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmgym.env import imported, listed_choices, make_env, plays_itself
from lmgym.errors import UsageError, unknown
from lmgym.rollout import Agent, Game, Reply, described, for_each

if TYPE_CHECKING:
    from lmgym.chat_agent import ChatOptions

SCRIPTED = ("random", "behaviour", "expert", "human")


class ScriptedAgent:
    """Plays by a function of one game."""

    tokenizer: str | None = None

    def __init__(self, name: str, choose: Callable[[Game], str]) -> None:
        self.name = name
        self._choose = choose

    def begin(self, game: Game) -> None:
        """Nothing to remember."""

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Return the function's choice for each game; an exception ends the game it was raised in."""
        return for_each(self._act, games)

    def _act(self, game: Game) -> Reply:
        try:
            return Reply(self._choose(game))
        except Exception as error:
            return Reply("", error=described(error))


def choose_at_random(game: Game) -> str:
    """Return one of the valid actions where the game lists them, else a sample of its action space."""
    listed = listed_choices(game.env)
    if listed:
        return listed[int(game.random.integers(len(listed)))]
    if game.memory is None:
        # The space may be one object for all games of a class: each game samples from a copy of its own.
        game.memory = copy.deepcopy(game.env.action_space)
        game.memory.seed(int(game.random.integers(1 << 31)))
    return game.memory.sample()


def ask_human(game: Game) -> str:
    """Show what the last action earned and the observation after it, and read an action from the keyboard."""
    if len(game.turns) > 1:
        last = game.turns[-2]
        print(f"[{last.reward:g}]" + (" invalid" if last.invalid else ""))
    print(game.turns[-1].text)
    try:
        return input("> ")
    except (EOFError, UnicodeDecodeError):
        raise KeyboardInterrupt from None


def play_itself(role: str) -> Callable[[Game], str]:
    """Return the function that asks the game for the action of its `behaviour` or `expert`."""

    def choose(game: Game) -> str:
        return getattr(game.env.unwrapped, role)()

    return choose


class Rendering:
    """Plays as another agent and prints what the game renders before each turn."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.name, self.tokenizer = agent, agent.name, agent.tokenizer

    def begin(self, game: Game) -> None:
        """Tell the agent."""
        self.agent.begin(game)

    def act(self, games: Sequence[Game]) -> Sequence[Reply]:
        """Print, then ask the agent."""
        for game in games:
            print(game.env.render())
        return self.agent.act(games)


class BatchAgent:
    """Plays all games with one object of a user's class: `act_batch(conversations) -> list[str]`.

    Each conversation is the list of `Turn` of one game so far. Where the call fails, each game is asked for alone,
    so that an exception ends the game it was raised for.
    """

    tokenizer: str | None = None

    def __init__(self, name: str, player: Any) -> None:
        self.name = name
        self._player = player

    def begin(self, game: Game) -> None:
        """Nothing to remember."""

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Return the object's actions, or what went wrong."""
        try:
            return [_checked(text, "act_batch()") for text in self._texts(games)]
        except Exception as error:
            if len(games) == 1:
                return [Reply("", error=described(error))]
            return [self.act([game])[0] for game in games]

    def _texts(self, games: Sequence[Game]) -> list[Any]:
        texts = list(self._player.act_batch([list(game.turns) for game in games]))
        if len(texts) != len(games):
            raise TypeError(f"act_batch() returned {len(texts)} actions for {len(games)} conversations")
        return texts


def _checked(text: Any, source: str) -> Reply:
    if not isinstance(text, str):
        return Reply("", error=f"TypeError: {source} returned {type(text).__name__}, not str")
    return Reply(text)


class ClassAgent:
    """Plays with one object of a user's class per game: `reset(seed)` (optional), `act(conversation) -> str`.

    The conversation is the list of `Turn` so far. An exception ends the game it was raised in.
    """

    tokenizer: str | None = None

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self._make = make

    def begin(self, game: Game) -> None:
        """Make the object; a failure is kept for `act` to report."""
        try:
            game.memory = self._make()
            if hasattr(game.memory, "reset"):
                game.memory.reset(game.start.seed)
        except Exception as error:
            game.memory = error

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Return each object's action, or what went wrong."""
        return [self._act(game) for game in games]

    def _act(self, game: Game) -> Reply:
        try:
            if isinstance(game.memory, Exception):
                raise game.memory
            return _checked(game.memory.act(list(game.turns)), "act()")
        except Exception as error:
            return Reply("", error=described(error))


def load_agent(
    agent: str,
    env_id: str,
    env_kwargs: dict[str, Any] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    chat: "ChatOptions | None" = None,
) -> Agent:
    """Return the agent of a name: `random`, `behaviour`, `expert`, `human`, a run's folder, `openai:MODEL[@BASE_URL]`,
    `hf:MODEL`, `my_pkg:MyAgent`.

    `settings` are fields of `Decoding` for a policy; what they leave out is as its run was tuned. `chat` says how a
    chat model plays. Raises UsageError for a name that is none of these, or a role that the game does not play.
    """
    if agent.startswith(("openai:", "hf:")):
        from lmgym.chat_agent import load_chat_agent

        return load_chat_agent(agent, env_id, env_kwargs, settings=settings, options=chat)
    for name in chat.given() if chat else ():
        raise UsageError(f"--{name.replace('_', '-')} is for chat models (openai:MODEL, hf:MODEL), not for {agent!r}")
    if agent in ("behaviour", "expert"):
        env = make_env(env_id, env_kwargs)
        env.close()
        if not plays_itself(env, agent):
            raise UsageError(f"{env_id} has no {agent}() of its own, so it cannot play as '{agent}'")
        return ScriptedAgent(agent, play_itself(agent))
    if agent == "random":
        return ScriptedAgent(agent, choose_at_random)
    if agent == "human":
        return ScriptedAgent(agent, ask_human)
    if agent and Path(agent).is_dir():
        from lmgym.play import PolicyAgent
        from lmgym.policy import Policy, best_device
        from lmgym.tune import tuned_decoding

        policy = Policy.from_pretrained(agent).to(best_device())
        return PolicyAgent(policy, name=agent, decoding=replace(tuned_decoding(Path(agent)), **(settings or {})))
    if ":" in agent:
        return _class_agent(agent, _agent_class(agent))
    if "/" in agent or "\\" in agent:
        raise UsageError(f"there is no run folder {agent!r}")
    raise unknown("agent", agent, [*SCRIPTED, "openai:MODEL", "hf:MODEL", "my_pkg:MyAgent"])


def _class_agent(name: str, make: Callable[[], Any]) -> Agent:
    if not callable(getattr(make, "act_batch", None)):
        return ClassAgent(name, make)
    try:
        return BatchAgent(name, make())
    except Exception as error:
        raise UsageError(f"{name} cannot be made: {described(error)}") from error


def _agent_class(name: str) -> Callable[[], Any]:
    path, _, attribute = name.partition(":")
    module = imported(path, name)
    if not hasattr(module, attribute):
        valid = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise unknown(f"class of {path}", attribute, valid)
    made = getattr(module, attribute)
    if not any(callable(getattr(made, method, None)) for method in ("act", "act_batch")):
        raise UsageError(f"{name} is no agent: it has no method act(conversation)")
    return made
