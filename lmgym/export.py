"""Episodes for other people's tools: chats as JSON lines, rows for TRL, a data set of Minari."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import spaces

from lmgym.env import contract_of, jsonable, make_env
from lmgym.episode import Episode
from lmgym.errors import UsageError, unknown
from lmgym.files import replacing, replacing_folder, require_absent
from lmgym.store import Metadata, iterate_episodes, read_metadata


@dataclass(frozen=True)
class Exported:
    """What was written: games, and the rows they became (for Minari steps); games that broke down are left out."""

    games: int
    rows: int
    left_out: int


def export(source: str | Path, target: str, out: str | Path, *, watch: Callable[[], None] = lambda: None) -> Exported:
    """Write the games of a file for `target` (a name in TARGETS) to `out`, whole or not at all.

    `watch` is called for every game that was read. Raises UsageError where `out` exists, the file is damaged, a
    reward is no number, or `target` needs a package that is not installed. Token ids and log-probabilities stay
    behind: they mean nothing to another tokenizer.
    """
    if target not in TARGETS:
        raise unknown("export format", target, TARGETS)
    out = Path(out)
    require_absent(out)
    games = _Games(Path(source), watch)
    rows = TARGETS[target](games, out)
    return Exported(games.passed, rows, games.left_out)


class _Games:
    """The games of a file that came to their end, one at a time and countable afterwards."""

    def __init__(self, path: Path, watch: Callable[[], None] = lambda: None) -> None:
        self.path, self.metadata, self._watch = path, read_metadata(path), watch
        self.passed = self.left_out = 0

    def __iter__(self) -> Iterator[Episode]:
        for episode in iterate_episodes(self.path):
            self._watch()
            if episode.error is None:
                self.passed += 1
                yield episode
            else:
                self.left_out += 1


def _messages(episode: Episode) -> list[dict[str, str]]:
    return [{"role": "assistant" if turn.by_agent else "user", "content": turn.text} for turn in episode.turns]


def chat_row(episode: Episode) -> dict[str, Any]:
    """Return a game as one conversation. `rewards` and `invalid` have an entry for each assistant message.

    What differs in shape from game to game (`env_kwargs`, `options`, `outcome`) is JSON in a string, so that readers
    that want columns of one type (`datasets`, Arrow, DuckDB) can read the file.
    """
    return {
        "messages": _messages(episode),
        "rewards": [turn.reward for turn in episode.actions],
        "invalid": [turn.invalid for turn in episode.actions],
        "return": episode.total_reward,
        "success": episode.success,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "env_id": episode.env_id,
        "env_kwargs": _json(episode.env_kwargs),
        "seed": episode.seed,
        "options": _json(episode.options),
        "agent": episode.agent,
        "outcome": _json(episode.outcome),
    }


def trl_rows(episode: Episode, history: int | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each action in TRL's conversational prompt-completion format, which SFTTrainer computes its
    loss on the completion of.

    The prompt is what the agent saw: at most `history` pieces, the first of them an observation. `reward`, `return`
    and `success` are there to choose rows by; the trainer does not look at them.
    """
    messages = _messages(episode)
    seen = len(messages) if history is None else history - 1 + history % 2
    for place in range(1, len(messages), 2):
        yield {
            "prompt": messages[max(0, place - seen) : place],
            "completion": messages[place : place + 1],
            "reward": episode.turns[place].reward,
            "return": episode.total_reward,
            "success": episode.success,
            "seed": episode.seed,
        }


def _write_chat(games: _Games, out: Path) -> int:
    return _write_lines(out, map(chat_row, games))


def _write_trl(games: _Games, out: Path) -> int:
    history = contract_of(games.metadata.env_id, games.metadata.env_kwargs).history
    return _write_lines(out, (row for episode in games for row in trl_rows(episode, history)))


def _write_lines(out: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with replacing(out, only_new=True) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        for row in rows:
            file.write(_json(row) + "\n")
            count += 1
    return count


def _json(value: Mapping[str, Any]) -> str:
    # ASCII, because some readers take characters such as U+2028 for the end of a line.
    try:
        return json.dumps(dict(value), allow_nan=False)
    except ValueError as error:
        raise UsageError(f"the game with seed {value.get('seed')} has a reward that is no finite number") from error


def _write_minari(games: _Games, out: Path) -> int:
    """Write the folder `out`, which `minari.load_dataset(out.name)` finds where MINARI_DATASETS_PATH is its parent."""
    if not re.fullmatch(r"[-\w]+-v\d+", out.name):
        raise UsageError(f"a Minari data set is a folder with a version, like {out.with_name('fo-maze-v0')}, not {out}")
    try:
        import minari
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise UsageError(f"{error.name or 'minari'} is not installed: pip install lmgym[minari]") from error
    spec, observations, actions = _specification(games.metadata, games.path)
    with replacing_folder(out) as partial:
        folder = partial.absolute() / "data"  # Minari loses its way where a path is relative.
        folder.mkdir()
        # Of Minari's formats the one that holds every text: HDF5's has no zero bytes.
        storage = MinariStorage.new(folder, observations, actions, spec, data_format="arrow")
        storage.update_metadata(
            {
                "dataset_id": out.name,
                "minari_version": minari.__version__,
                "algorithm_name": games.metadata.agent,
                "description": _description(games.metadata),
            }
        )
        measure = storage.get_size
        storage.get_size = lambda: 0.0  # It looks at all files, and is asked after every game.
        storage.update_episodes(map(_buffer, games))
        storage.get_size = measure
        again = _Games(games.path)
        storage.update_episode_metadata({"outcome": jsonable(episode.outcome)} for episode in again)
        return storage.total_steps


def _buffer(episode: Episode) -> Any:
    """Return a game as Minari takes it. A step is an agent turn; `invalid` has an entry more than there are steps, as
    all infos there, the first for the reset."""
    from minari.data_collector import EpisodeBuffer

    actions = episode.actions
    observations = [turn.text for turn in episode.observations]
    going_on = [False] * (len(actions) - 1)
    return EpisodeBuffer(
        seed=episode.seed,
        options=jsonable(episode.options),
        # Minari wants an observation after the last action; published data files may lack it.
        observations=observations + [""] * (len(actions) + 1 - len(observations)),
        actions=[turn.text for turn in actions],
        rewards=[turn.reward for turn in actions],
        terminations=[*going_on, episode.terminated],
        truncations=[*going_on, episode.truncated],
        infos={"invalid": [False, *(turn.invalid for turn in actions)]},
    )


def _specification(metadata: Metadata, path: Path) -> tuple[Any, spaces.Text, spaces.Text]:
    """Return how to make the game, None where Gymnasium cannot write that down, and the spaces: those of the game,
    with what the data hold besides."""
    env = make_env(metadata.env_id, metadata.env_kwargs)
    env.close()
    observed, acted = _Seen(env.observation_space), _Seen(env.action_space)
    for episode in _Games(path):
        for turn in episode.turns:
            (acted if turn.by_agent else observed).add(turn.text)
    try:
        assert env.spec is not None
        env.spec.to_json()
    except (TypeError, ValueError):
        return None, observed.space(), acted.space()
    return env.spec, observed.space(), acted.space()


class _Seen:
    """A text space that grows by the texts it is shown."""

    def __init__(self, declared: Any) -> None:
        self._characters = set(declared.character_set)
        self._max_length = declared.max_length

    def add(self, text: str) -> None:
        self._characters.update(text)
        self._max_length = max(self._max_length, len(text))

    def space(self) -> spaces.Text:
        return spaces.Text(self._max_length, min_length=0, charset="".join(sorted(self._characters)))


def _description(metadata: Metadata) -> str:
    found = metadata.statistics
    return (
        f"{found.episodes} games of {metadata.env_id} {_json(metadata.env_kwargs)} played by {metadata.agent}, "
        f"series {metadata.series}; mean return {found.mean_return:g}; lmgym {metadata.code.get('lmgym')}, "
        f"commit {metadata.code.get('commit')}; sha256 of the content {metadata.checksum}"
    )


TARGETS: dict[str, Callable[[_Games, Path], int]] = {"chat": _write_chat, "trl": _write_trl, "minari": _write_minari}
