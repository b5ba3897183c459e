"""The other side of a conversation game: who answers, given hidden facts and what was said.

A game's `oracle` argument names it: `embedded` (the game's own simulator, the default), `openai:MODEL[@BASE_URL]`
(a server that speaks OpenAI's protocol) or `hf:MODEL` (a local transformers model).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from lmgym.errors import unknown

Message = Mapping[str, str]
"""One message of a chat: `role` (system, user, assistant) and `content`."""


class OracleError(Exception):
    """The other side gave no answer; the game ends as truncated with this reason in `info["oracle_error"]`."""


class Answer(NamedTuple):
    """What the other side said and what it cost."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cached: bool = False


class Oracle(Protocol):
    """A language model as the other side."""

    name: str

    def reply(self, messages: Sequence[Message], *, max_tokens: int = 64, seed: int = 0) -> Answer:
        """Return the next message of the assistant. Raises OracleError where none is to be had."""


def load_oracle(spec: str) -> Oracle | None:
    """Return the oracle of a spec, None for `embedded`. Raises UsageError for an unknown one."""
    if spec == "embedded":
        return None
    raise unknown("oracle", spec, ("embedded", "openai:MODEL", "openai:MODEL@BASE_URL", "hf:MODEL"))
