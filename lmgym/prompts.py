"""What a player is told who has seen no data: the game's own text, or what can be said of any game."""

import inspect
from importlib import resources

import gymnasium

from lmgym.env import TextEnv, listed_choices, turn_limit
from lmgym.errors import UsageError


def filled(package: str, path: str, **facts: object) -> str:
    """Return the text of a file of a package, `{name}` in it replaced by facts; `{{` and `}}` stand for braces.

    The facts are those that differ between the variants of a game, such as its list of words.
    """
    return (resources.files(package) / path).read_text(encoding="utf-8").strip().format(**facts)


def prompt_of(env: gymnasium.Env) -> str:
    """Return what to tell a player of a game, ours or foreign, that has just been reset.

    The game's own `prompt()`; for a game without one the docstring of its class and the actions that it lists.
    Raises UsageError where there is neither.
    """
    game = env.unwrapped
    declared = game.prompt() if isinstance(game, TextEnv) else None
    limit = turn_limit(env)
    ending = [] if limit is None else [f"The game ends after {limit} actions at the latest."]
    return "\n\n".join([declared or _general(game), *ending])


def _general(game: gymnasium.Env) -> str:
    # Not inspect.getdoc, which would return the docstring of a base class.
    written = inspect.cleandoc(type(game).__doc__ or "")
    listed = listed_choices(game)
    if not (written or listed):
        raise UsageError(
            f"{type(game).__name__} says neither by prompt() nor by its docstring nor by choices() how it is played; "
            "tell the agent by --prompt FILE"
        )
    actions = [f"Actions that are valid at first: {', '.join(listed)}."] if listed else []
    return "\n\n".join([*([written] if written else []), *actions])
