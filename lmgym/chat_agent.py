"""Chat models play: `openai:MODEL[@BASE_URL]` and `hf:MODEL` as agents of any game.

The model is told the game's prompt (rules, the form of an action, every action there is), then each observation as a
message of the user; its own earlier actions are the messages of the assistant. A Markov game shows it the current
observation alone, other games as much as they declare (`history`).
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import nlargest
from pathlib import Path
from typing import Any

from lmgym.agents import ScriptedAgent, play_itself
from lmgym.chat import (
    Bill,
    ChatError,
    ChatModel,
    Completion,
    Message,
    Sampling,
    load_chat,
    split_temperature,
    spoken,
)
from lmgym.env import contract_of, make_env, plays_itself
from lmgym.episode import Episode, storable
from lmgym.errors import UsageError, require_number
from lmgym.evaluate import collect
from lmgym.prompts import prompt_of
from lmgym.replies import read_action
from lmgym.rollout import Game, Reply, described, side_by_side
from lmgym.view import View, Window

PREFIXES = ("openai:", "hf:")
MAX_TOKENS = 512
NOTHING_SAID = "..."  # in place of an empty text
HOW_TO_REPLY = (
    "You are sent one observation after the other. Answer each with one action, worded as described above, alone on "
    'the last line of your reply; or with JSON: {"action": "..."}. An observation without text is sent as `...`.'
)


@dataclass(frozen=True)
class ChatOptions:
    """How a chat model (openai:MODEL, hf:MODEL) plays."""

    prompt: str = "game"
    """What it is told first: game (the game's own rules), a text file, or none (nothing, and the game's pieces as
    they are, for a model that was trained on the game)."""
    shots: int = 0
    """How many example games it is shown first."""
    shots_from: Path | None = None
    """File of episodes, the best of which are the examples; games of the game's own expert if left out."""
    max_tokens: int | None = None
    """Longest reply; 512, or the game's longest action with --prompt none."""
    concurrency: int | None = None
    """Calls to a server at a time; LMGYM_CHAT_CONCURRENCY if left out, else 8."""

    def given(self) -> dict[str, Any]:
        """Return the options that are not as they are by default."""
        return {name: value for name, value in vars(self).items() if value != getattr(ChatOptions, name)}


@dataclass
class _Memory:
    """What is remembered of a game: how much of it is in view, and what it has cost."""

    window: Window
    bill: Bill = field(default_factory=Bill)


class ChatAgent:
    """Plays with a chat model; games wait for their answers side by side.

    `system` is what the model is told before the first observation; without it, it is sent the bare pieces of the
    game. A call that fails for good ends its own game, with the reason. `asked` counts the calls of this process that
    were answered by the model itself, not by the cache.
    """

    tokenizer: str | None = None

    def __init__(
        self,
        name: str,
        model: ChatModel,
        *,
        system: str | None = None,
        history: int | None = None,
        max_tokens: int = MAX_TOKENS,
        temperature: float | None = 0.0,
    ) -> None:
        self.name, self.asked = name, Bill()
        self._model, self._system = model, system
        self._max_tokens, self._temperature = max_tokens, temperature
        self._view = View.of(history, 0, sys.maxsize)
        self.settings: dict[str, Any] = {
            "model": model.name,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "told_sha256": None if system is None else hashlib.sha256(storable(system).encode()).hexdigest()[:16],
        }

    def begin(self, game: Game) -> None:
        """Start a new conversation."""
        game.memory = _Memory(Window(self._view))

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Ask for an action in each game."""
        answers = side_by_side([partial(self._answer, self._messages(game), self._sampling(game)) for game in games])
        return [self._reply(game, answer) for game, answer in zip(games, answers, strict=True)]

    def _messages(self, game: Game) -> list[Message]:
        memory: _Memory = game.memory
        start = memory.window.observe(1)
        messages: list[Message] = [] if self._system is None else [{"role": "system", "content": self._system}]
        for turn in game.turns[2 * start :]:
            # Some servers refuse an empty message.
            text = turn.text if turn.text or self._system is None else NOTHING_SAID
            messages.append({"role": "assistant" if turn.by_agent else "user", "content": text})
        memory.window.act(1)
        return messages

    def _sampling(self, game: Game) -> Sampling:
        # A Markov game sends the same messages when it comes back to a state: another turn, another draw.
        return Sampling(self._max_tokens, self._temperature, int(game.random.integers(2**31)))

    def _answer(self, messages: Sequence[Message], sampling: Sampling) -> Completion | Exception:
        try:
            return self._model.complete(messages, sampling)
        except Exception as error:
            return error

    def _reply(self, game: Game, answer: Completion | Exception) -> Reply:
        bill: Bill = game.memory.bill
        if isinstance(answer, Exception):
            return Reply("", error=described(answer), info=bill.info("agent"))
        bill.add(answer)
        if not answer.cached:
            self.asked.add(answer)
        try:
            action = read_action(spoken(answer.text, self.name))
        except ChatError as error:
            return Reply("", error=described(error), info=bill.info("agent"))
        return Reply(action, info=bill.info("agent"))


def load_chat_agent(
    name: str,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    options: ChatOptions | None = None,
) -> ChatAgent:
    """Return the agent of `openai:MODEL[@BASE_URL]` or `hf:MODEL`, either with `?temperature=T` behind it.

    Raises UsageError for a model that cannot be had, and for options that make no sense.
    """
    options = options or ChatOptions()
    address, temperature = _temperature(name, settings or {})
    _require_sound(options)
    rules, told = contract_of(env_id, env_kwargs), _told(options.prompt, env_id, env_kwargs)
    examples = _examples(env_id, env_kwargs, options)
    model = load_chat(address, concurrency=options.concurrency, plain=True)
    default = rules.max_reply_chars + 1 if options.prompt == "none" else MAX_TOKENS
    agent = ChatAgent(
        name,
        model,
        system="\n\n".join(part for part in (told, examples) if part) or None,
        history=rules.history,
        max_tokens=default if options.max_tokens is None else options.max_tokens,
        temperature=temperature,
    )
    agent.settings |= {"prompt": options.prompt, "shots": options.shots}
    return agent


def _temperature(name: str, settings: Mapping[str, Any]) -> tuple[str, float | None]:
    for other in settings:
        if other != "temperature":
            raise UsageError(f"{name} is a chat model: of these settings it takes --temperature alone, not {other!r}")
    if "?" in name and settings:
        raise UsageError(f"the temperature is said twice: by {name!r} and by --temperature")
    temperature = settings.get("temperature", 0.0)
    require_number("temperature", temperature)
    return split_temperature(name, temperature)


def _require_sound(options: ChatOptions) -> None:
    for flag, value, least in (
        ("shots", options.shots, 0),
        ("max-tokens", options.max_tokens, 1),
        ("concurrency", options.concurrency, 1),
    ):
        if value is not None and value < least:
            raise UsageError(f"--{flag} is {least} or more, not {value}")
    if options.shots_from is not None and not options.shots:
        raise UsageError("--shots-from names where examples come from; --shots says how many")


def _told(prompt: str, env_id: str, env_kwargs: Mapping[str, Any] | None) -> str:
    if prompt == "none":
        return ""
    if prompt == "game":
        env = make_env(env_id, env_kwargs)
        try:
            env.reset(seed=0)
        except Exception as error:
            raise UsageError(f"{env_id} cannot be started: {described(error)}") from error
        told = prompt_of(env)
        env.close()
        return f"{told}\n\n{HOW_TO_REPLY}"
    try:
        return Path(prompt).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"--prompt is game, none or a text file; {prompt!r} cannot be read: {error}") from error


def _examples(env_id: str, env_kwargs: Mapping[str, Any] | None, options: ChatOptions) -> str:
    """Return example games as text, each with what it earned."""
    if not options.shots:
        return ""
    if options.shots_from is None:
        games = _games_of_expert(env_id, env_kwargs, options.shots)
    else:
        games = _best_games(options.shots_from, env_id, options.shots)
    texts = [f"Example {number}:\n{_transcript(game)}" for number, game in enumerate(games, 1)]
    return "\n\n".join(["Games that others have played; `>` marks an action.", *texts, "Now your own game begins."])


def _games_of_expert(env_id: str, env_kwargs: Mapping[str, Any] | None, count: int) -> list[Episode]:
    env = make_env(env_id, env_kwargs)
    env.close()
    if not plays_itself(env, "expert"):
        raise UsageError(f"{env_id} has no expert() of its own to show: name a file by --shots-from")
    expert = ScriptedAgent("expert", play_itself("expert"))
    games = list(collect(expert, env_id, env_kwargs=env_kwargs, episodes=count, num_envs=1))
    failed = next((game.error for game in games if game.error is not None), None)
    if failed is not None:
        raise UsageError(f"the expert of {env_id} cannot show how to play: {failed}")
    return games


def _best_games(path: Path, env_id: str, count: int) -> list[Episode]:
    from lmgym.store import iterate_episodes, read_metadata

    found = read_metadata(path).env_id
    if found != env_id:
        raise UsageError(f"{path} holds games of {found}, not of {env_id}")
    sound = (episode for episode in iterate_episodes(path) if episode.error is None)
    best = nlargest(count, sound, key=lambda episode: episode.total_reward)
    if len(best) < count:
        raise UsageError(f"{path} holds {len(best)} games that came to their end, fewer than --shots {count}")
    return best


def _transcript(game: Episode) -> str:
    lines = [f"> {turn.text}" if turn.by_agent else turn.text or NOTHING_SAID for turn in game.turns]
    return "\n".join([*lines, f"(rewards in all: {game.total_reward:g})"])
