"""What a served game and its client say to each other: JSON that loses nothing, and what a game says of itself.

Requests and answers are JSON objects in UTF-8. Lone surrogates, which players may well type, travel as `\\uXXXX`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import gymnasium
from gymnasium import spaces

import lmgym
from lmgym.env import AnyText, Contract, contract, fidelity, jsonable, plays_itself, turn_limit
from lmgym.scores import Reference, Score

PROTOCOL = 1
"""Goes up when a client of before could misunderstand a server of today."""

TOKEN_VARIABLE = "LMGYM_TOKEN"
"""Environment variable that holds the token, for server and client."""

ROLES = ("behaviour", "expert")
SCORES = ("min", "data", "best")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def encode(value: Any) -> bytes:
    """Return a value as JSON. Raises ValueError or TypeError for what JSON does not know, such as NaN.

    >>> encode({"a": "é\\ud800"}), decode(encode({"a": "é\\ud800"}))
    (b'{"a":"\\xc3\\xa9\\\\ud800"}', {'a': 'é\\ud800'})
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Two escaped surrogates side by side would be read as the one character that they encode. Only then, and only
    # for our own client, they go as they are, which is no longer UTF-8.
    return text.encode("utf-8", "surrogatepass" if _SURROGATE_PAIR.search(text) else "backslashreplace")


def decode(data: bytes) -> Any:
    """Read what `encode` has written. Raises ValueError for all else."""
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"), parse_constant=_no_json)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def description(env: gymnasium.Env, env_id: str, env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return, for JSON, all that a client has to know of a game before it plays."""
    rules, modes = asdict(contract(env)), env.metadata.get("render_modes", [])
    if rules["reference"] is not None:
        rules["reference"] |= {name: rules["reference"][name]._asdict() for name in SCORES}
    return {
        "protocol": PROTOCOL,
        "lmgym": lmgym.__version__,
        "env_id": env_id,
        "env_kwargs": jsonable(env_kwargs),
        "contract": {**rules, "official_starts": [jsonable(start) for start in rules["official_starts"]]},
        "max_turns": turn_limit(env),
        "roles": [role for role in ROLES if plays_itself(env, role)],
        "fidelity": jsonable(fidelity(env)),
        "observation_space": _space_to_json(env.observation_space),
        "action_space": _space_to_json(env.action_space),
        "metadata": {**jsonable(env.metadata), "render_modes": [mode for mode in modes if mode == "ansi"]},
    }


def read_contract(said: Mapping[str, Any]) -> Contract:
    """Read the contract of a game from its description. Raises KeyError, TypeError or ValueError where it is none."""
    values = {field.name: said[field.name] for field in fields(Contract)}
    scale = values["reference"]
    if scale is not None:
        scale = Reference(**{**scale, **{name: Score(**scale[name]) for name in SCORES}})
    if values["history"] is not None and not isinstance(values["history"], int):
        raise TypeError("history is no number")
    for name in ("max_reply_chars", "data_episodes", "evaluation_episodes"):
        if not isinstance(values[name], int):
            raise TypeError(f"{name} is no number")
    return Contract(**{**values, "reference": scale, "official_starts": tuple(map(dict, values["official_starts"]))})


def _space_to_json(space: Any) -> dict[str, Any]:
    examples = list(space.examples) if isinstance(space, AnyText) else None
    characters = None if isinstance(space, AnyText) else "".join(space.character_list)
    return {
        "min_length": space.min_length,
        "max_length": space.max_length,
        "characters": characters,
        "examples": examples,
    }


def read_space(said: Mapping[str, Any]) -> spaces.Text:
    """Make the space that was described: any text where no characters are named."""
    if said["characters"] is None:
        return AnyText(said["examples"], said["max_length"])
    return spaces.Text(said["max_length"], min_length=said["min_length"], charset=said["characters"])
