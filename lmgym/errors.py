"""What a person did wrong, said in one sentence."""

import difflib
import math
from collections.abc import Iterable


class UsageError(Exception):
    """A mistake of the caller: the message is one sentence, the exit status of the command line is 2."""


def unknown(kind: str, name: object, choices: Iterable[str]) -> UsageError:
    """Return the error for a name that is not among the valid ones; it names the nearest.

    >>> print(unknown("maze", "umase", ["double_t", "umaze"]))
    unknown maze 'umase'; did you mean 'umaze'?
    >>> print(unknown("maze", "xyz", ["double_t", "umaze"]))
    unknown maze 'xyz'; valid: double_t, umaze
    """
    valid = sorted(choices)
    folded = {choice.casefold(): choice for choice in valid}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[near[0]]}'?" if near else f"valid: {', '.join(valid) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def require_number(name: str, value: float, *, above: bool = False) -> None:
    """Raise UsageError unless `value` is a finite number of 0 or more; `above`: of more than 0."""
    if not (0 < value < math.inf if above else 0 <= value < math.inf):
        raise UsageError(f"{name} is {'more than 0' if above else '0 or more'}, not {value}")
