"""How much of a conversation a player sees: counted in turns and in the player's own tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """How much of a conversation a policy sees: turns (None: all that fit), tokens, and tokens of one reply."""

    max_turns: int | None
    max_tokens: int
    max_reply_tokens: int

    @classmethod
    def of(cls, history: int | None, max_reply_chars: int, max_tokens: int) -> "View":
        """Translate what a game declares. Of `history` pieces the last is an observation, so that an even
        number begins with an action, which is left out. A token is a character or more; only byte-level
        tokenizers need several for a character beyond ASCII."""
        turns = None if history is None else (history + 1) // 2
        reply = min(max_reply_chars + 1, max_tokens // 2)
        return cls(max_turns=turns, max_tokens=max_tokens, max_reply_tokens=reply)

    @property
    def max_observation_tokens(self) -> int:
        """What fits beside a reply; of a longer observation only the end is seen."""
        return self.max_tokens - self.max_reply_tokens


class Window:
    """Which turns are in view, told turn by turn; training and play ask the same object.

    When a new observation does not fit, whole turns are dropped from the oldest until half of the turns and
    half of the tokens are free again. Dropping one turn at a time would change the position of every token in
    every turn, so that nothing computed for the last turn would serve the next.

    >>> window = Window(View(max_turns=4, max_tokens=100, max_reply_tokens=5))
    >>> starts = []
    >>> for _ in range(8):
    ...     starts.append(window.observe(3)); window.act(2)
    >>> starts
    [0, 0, 0, 0, 3, 3, 3, 6]
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._turns: list[int] = []  # tokens of each turn
        self._tokens = 0  # tokens in view
        self.start = 0

    def observe(self, num_tokens: int) -> int:
        """Hear of a new observation; return the first turn in view while it is answered."""
        view = self._view
        self._turns.append(num_tokens)
        self._tokens += num_tokens
        if self._overflows(view.max_turns, view.max_tokens):
            turns = None if view.max_turns is None else (view.max_turns + 1) // 2
            last = len(self._turns) - 1
            while self.start < last and self._overflows(turns, view.max_tokens // 2):
                self._tokens -= self._turns[self.start]
                self.start += 1
        return self.start

    def _overflows(self, turns: int | None, tokens: int) -> bool:
        too_many = turns is not None and len(self._turns) - self.start > turns
        return too_many or self._tokens + self._view.max_reply_tokens > tokens

    def act(self, num_tokens: int) -> None:
        """Hear of the action that answered."""
        self._turns[-1] += num_tokens
        self._tokens += num_tokens
