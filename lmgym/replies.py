"""What a chat model means by its reply: strict, so that nothing is guessed, but kind to the ways models have."""

import json
import re
from typing import Any

_FENCED = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)\n?[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"(?:[-*>]\s+)?(?:\*\*)?action(?:\*\*)?\s*:(?:\*\*)?\s*", re.IGNORECASE)
_ENDS_IN_TICKS = re.compile(r"[^`]*`([^`]+)`\s*[.!]?")
_WRAPPED = tuple(
    re.compile(f"{left}([^{inner}]+){right}\\.?")
    for left, inner, right in (
        ("`{1,3}", "`", "`{1,3}"), ('"', '"', '"'), ("'", "'", "'"), ("“", "“”", "”"), ("‘", "‘’", "’"),
        (r"\*\*", "*", r"\*\*"),
    )
)  # fmt: skip


def read_action(reply: str) -> str:
    """Return the action that a reply holds; the whole reply, stripped, where none can be made out.

    In this order: a JSON object with an `action` that is a text or a whole number, alone, in the last fenced block
    or as the end of the reply; the last line of the last fenced block; what stands in back-ticks at the end of the
    last line; the last line that is not empty. A label `Action:` before it, and quotes, back-ticks or asterisks all
    around it, are taken off.

    >>> read_action('I want to go up. {"action": "move up"}'), read_action("Let me see.\\n\\nAction: `move up`")
    ('move up', 'move up')
    """
    text = reply.strip()
    blocks = [block.strip() for block in _FENCED.findall(text) if block.strip()]
    for part in (text, *blocks[-1:]):
        found = _last_object(part)
        if found is not None:
            return _action_of(found) or text
    lines = [line.strip() for line in (blocks[-1] if blocks else text).splitlines() if line.strip()]
    return (_unwrapped(lines[-1]) if lines else "") or text


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text ends with."""
    if not text.endswith("}"):
        return None
    # The outermost object that reaches to the end is the one that begins first. A reply that is full of braces is
    # not worth a quadratic search.
    for match in list(re.finditer(r"\{", text))[-20:]:
        try:
            value, end = json.JSONDecoder().raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if end == len(text):
            return value
    return None


def _action_of(found: dict[str, Any]) -> str | None:
    action = found.get("action")
    if isinstance(action, int) and not isinstance(action, bool):
        return str(action)
    return action.strip() if isinstance(action, str) else None


def _unwrapped(line: str) -> str:
    label = _LABEL.match(line)
    if label is not None:
        line = line[label.end() :].strip()
    ticked = _ENDS_IN_TICKS.fullmatch(line)
    if ticked is not None:
        return ticked[1].strip()
    for wrapped in _WRAPPED:
        found = wrapped.fullmatch(line)
        if found is not None:
            return found[1].strip()
    return line
