"""An entry for any agent: a run folder, a hosted model, a class of one's own."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmgym.agents import load_agent
from lmgym.chat_agent import ChatOptions
from lmgym.commands import policy_checksum, settings_of
from lmgym.errors import UsageError
from lmgym.journal import journal
from lmgym.leaderboard.entries import Entry, file_name, write_entry
from lmgym.leaderboard.playing import described, play
from lmgym.leaderboard.presets import Task
from lmgym.leaderboard.references import EVALUATION_SEED, fingerprint
from lmgym.leaderboard.suites import TAKEN
from lmgym.methods import methods


def submit(
    agent: str,
    task: Task,
    entries: Path,
    name: str,
    seed: int = 0,
    *,
    settings: Mapping[str, Any] | None = None,
    chat: ChatOptions | None = None,
) -> Entry:
    """Play the official evaluation games of a task with an agent and write its entry.

    `name` is what the agent is called in the table, `seed` that of its training where there are several; `settings`
    and `chat` are as those of `load_agent`. Games that are over are kept beside the entry until all are, so that the
    same call goes on where it was interrupted. Raises UsageError for a name that belongs to the leaderboard's own
    agents, and where games failed: an entry of some of the games would not be comparable.
    """
    slug, chat = file_name(name), chat or ChatOptions()
    if not {slug.lower(), name.strip().lower()}.isdisjoint({*TAKEN, "human", *(known.lower() for known in methods())}):
        raise UsageError(f"{name!r} is the name of one of lmgym's own agents; choose another --name")
    folder = entry_folder(entries, task, name, seed)
    if folder.exists():
        raise UsageError(f"{folder} exists already; remove it to play its games again")
    player = load_agent(agent, task.env_id, task.env_kwargs, settings=settings, chat=chat)
    used = {**settings_of(player), "policy": policy_checksum(agent)}
    game = {"env_id": task.env_id, "env_kwargs": task.env_kwargs, "seed": EVALUATION_SEED}
    # The games that are kept were played in the game as it is now, or they would be played in two.
    game["fingerprint"] = fingerprint(task.env_id, task.env_kwargs)
    with journal(folder, {"agent": player.name, **game, "settings": used}) as kept:
        played = play(player, task, None, kept)
        failed = [line.error for line in played.lines if line.error is not None]
        if failed:
            raise UsageError(
                f"{len(failed)} of {len(played.lines)} games failed, the first with {failed[0]}; "
                "the same command plays these again and keeps the others"
            )
        recipe = {
            **described(task, player, played, title=name),
            "agent": slug,
            "kind": "submitted",
            "seed": seed,
            "settings": {"agent": agent, "options": _plain(chat.given()), "chat": used["chat"], "usage": played.usage},
            "policy": used["policy"],
            "command": command(agent, task, name, seed, {**(settings or {}), **_plain(chat.given())}),
        }
        return write_entry(folder, recipe, played.lines, played.replays, None)


def entry_folder(entries: Path, task: Task, name: str, seed: int) -> Path:
    """Return where the entry of a submitted agent is written."""
    return entries / task.name / file_name(name) / f"seed-{seed}"


def command(agent: str, task: Task, name: str, seed: int, options: Mapping[str, Any]) -> str:
    """Return the command line that makes an entry, with the options that are not as they are by default."""
    words = ["lmgym", "leaderboard", "submit", agent, "--tasks", task.argument, "--name", name, "--seed", str(seed)]
    words += [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return shlex.join(words)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
