"""What a person did wrong, said in one sentence."""

import difflib
import math
import urllib.parse
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


def require_address(url: str, example: str, instead: str) -> None:
    """Raise UsageError unless `url` is the http(s) address of a server, like `example`, that holds neither name,
    password nor query, because it ends in the records of games; `instead` says where secrets belong.

    >>> require_address("http://127.0.0.1:8000/v1", "", "")
    """
    try:
        parts = urllib.parse.urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"{url!r} is no address of a server; it looks like {example}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"an address holds neither name, password nor query; {instead}")
