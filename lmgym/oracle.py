"""The other side of a conversation game: who answers, given hidden facts and what was said.

A game's `oracle` argument names it: `embedded` (the game's own simulator, the default), `openai:MODEL[@BASE_URL]`
(a server that speaks OpenAI's protocol) or `hf:MODEL` (a local transformers model). A temperature other than the
game's own stands behind it: `hf:MODEL?temperature=0.7`, or `?temperature=default` for the model's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lmgym.chat import Bill, ChatError, ChatModel, Completion, Message, Sampling, load_chat, split_temperature, spoken
from lmgym.episode import storable
from lmgym.errors import unknown

__all__ = ["Answer", "Bill", "Message", "Oracle", "OracleError", "OtherSide", "load_oracle"]

MAX_UTTERANCE = 500
"""How many characters of an utterance the other side hears."""

Answer = Completion
"""What the other side said and what it cost."""


class OracleError(Exception):
    """The other side gave no answer; the game ends as truncated with this reason in `info["oracle_error"]`.

    A rollout counts such a game as failed, because it says nothing about the agent. A game that gets no answer in
    `reset` lets the exception go.
    """


class Oracle(Protocol):
    """A language model as the other side."""

    name: str

    def reply(self, messages: Sequence[Message], *, max_tokens: int = 64, seed: int = 0) -> Answer:
        """Return the next message of the assistant. Raises OracleError where none is to be had."""


class ChatOracle:
    """A chat model as the other side. What it says is stripped of outer space and of thinking aloud."""

    def __init__(self, name: str, model: ChatModel, temperature: float | None) -> None:
        self.name = name
        self._model, self._temperature = model, temperature

    def reply(self, messages: Sequence[Message], *, max_tokens: int = 64, seed: int = 0) -> Answer:
        """Return the next message of the assistant. Raises OracleError where none is to be had."""
        try:
            answer = self._model.complete(messages, Sampling(max_tokens, self._temperature, seed))
            return answer._replace(text=spoken(answer.text, self.name))
        except ChatError as error:
            raise OracleError(str(error)) from error


class OtherSide:
    """A language model as the other side of one game: the conversation it hears, its chance, and its bill."""

    def __init__(self, oracle: Oracle, chance: np.random.Generator) -> None:
        """Draw the seed of all replies from the game's own `chance`: last in `reset`, so that the same seed hides the
        same things whoever answers."""
        self._oracle, self._seed, self._bill = oracle, int(chance.integers(2**31)), Bill()

    def reply(self, instructions: str, said: Iterable[tuple[str, str]], action: str, *, max_tokens: int) -> str:
        """Return its words on the agent's action. `said`: the actions so far, each with what came back.

        Raises OracleError.
        """
        messages: list[Message] = [{"role": "system", "content": instructions}]
        for earlier, answer in said:
            messages += [_heard(earlier), {"role": "assistant", "content": answer}]
        reply = self._oracle.reply([*messages, _heard(action)], max_tokens=max_tokens, seed=self._seed)
        self._bill.add(reply)
        return reply.text

    def info(self) -> dict[str, Any]:
        """Return what it has cost so far, see `Bill.info`."""
        return self._bill.info()

    def cut_off(
        self, error: OracleError, reward: float, info: Mapping[str, Any]
    ) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Return what `step` returns when it gave no answer: nothing is said, the game is truncated."""
        return "", reward, False, True, {**info, **self.info(), "oracle_error": str(error)}


def _heard(utterance: str) -> Message:
    """Return an utterance on one line and not too long. Some servers refuse an empty one."""
    line = " ".join(storable(utterance[:MAX_UTTERANCE]).split())
    return {"role": "user", "content": line or "..."}


def load_oracle(spec: str, *, temperature: float = 0.0) -> Oracle | None:
    """Return the oracle of a spec, None for `embedded`; `temperature` is the game's choice, which a spec overrides.

    Raises UsageError for an unknown spec, a missing package or key, or a model that cannot be loaded.
    """
    if spec == "embedded":
        return None
    address, chosen = split_temperature(str(spec), temperature)
    if not address.startswith(("openai:", "hf:")) or address in ("openai:", "hf:"):
        raise unknown("oracle", spec, ("embedded", "openai:MODEL", "openai:MODEL@BASE_URL", "hf:MODEL"))
    return ChatOracle(spec, load_chat(address), chosen)
