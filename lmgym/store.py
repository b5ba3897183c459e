"""Episodes on disk: Parquet, one row an episode, with who made them and a checksum of their content."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lmgym import provenance
from lmgym.env import jsonable
from lmgym.episode import Episode, Statistics, Tally, Turn
from lmgym.errors import UsageError
from lmgym.files import replacing

FORMAT = 1
ROWS_PER_GROUP = 1000

_SCHEMA = pa.schema(
    [
        ("seed", pa.int64()),
        ("options", pa.string()),  # JSON
        ("terminated", pa.bool_()),
        ("truncated", pa.bool_()),
        ("outcome", pa.string()),  # JSON
        ("error", pa.string()),
        ("tokenizer", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("by_agent", pa.list_(pa.bool_())),
        ("rewards", pa.list_(pa.float64())),
        ("invalid", pa.list_(pa.bool_())),
        ("token_ids", pa.list_(pa.list_(pa.int32()))),
        ("logprobs", pa.list_(pa.list_(pa.float32()))),
    ]
)


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself; `series` is the seed of the whole collection."""

    env_id: str
    env_kwargs: dict[str, Any]
    agent: str
    series: int | None
    code: dict[str, Any]
    statistics: Statistics
    checksum: str
    format: int = FORMAT


class EpisodeWriter:
    """Adds episodes to a file that is not there yet; see `writing`."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._digest = hashlib.sha256()
        self._first: Episode | None = None
        self.tally = Tally()

    def add(self, episode: Episode) -> None:
        """Add one episode. Raises ValueError where game or agent is not that of the first."""
        self._first = first = self._first or episode
        if (episode.env_id, episode.env_kwargs, episode.agent) != (
            first.env_id,
            first.env_kwargs,
            first.agent,
        ):
            raise ValueError("a file holds the episodes of one agent in one game")
        row = to_row(episode)
        self._digest.update(_canonical(row))
        self.tally.add(episode)
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
            self._rows.clear()

    def finish(self, series: int | None) -> Metadata:
        """Write what is left and the metadata."""
        if self._first is None:
            raise UsageError("there is no episode to write")
        if not self.tally.returns:
            raise UsageError(f"all {self.tally.num_errors} games failed, the first with {self._first.error}")
        self._flush()
        metadata = Metadata(
            env_id=self._first.env_id,
            env_kwargs=dict(self._first.env_kwargs),
            agent=self._first.agent,
            series=series,
            code=provenance.code(),
            statistics=self.tally.statistics(),
            checksum=self._digest.hexdigest(),
        )
        self._writer.add_key_value_metadata({"lmgym": json.dumps(asdict(metadata), sort_keys=True)})
        self._writer.close()
        return metadata

    def abandon(self) -> None:
        """Close the file without finishing it."""
        self._writer.close()


@contextmanager
def writing(path: Path) -> Iterator[EpisodeWriter]:
    """Yield a writer for a file that is not there yet; `finish` must be called before the block ends."""
    with replacing(path, only_new=True) as partial:
        writer = EpisodeWriter(partial)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise


def write_episodes(path: str | Path, episodes: Iterable[Episode], series: int | None = None) -> Metadata:
    """Write episodes of one agent in one game to `path`, whole or not at all."""
    with writing(Path(path)) as writer:
        for episode in episodes:
            writer.add(episode)
        return writer.finish(series)


def read_metadata(path: str | Path) -> Metadata:
    """Return what a file says of itself. Raises UsageError where it is not such a file."""
    with _opened(Path(path)) as file:
        return _metadata(Path(path), file)


def iterate_episodes(path: str | Path) -> Iterator[Episode]:
    """Yield the episodes of a file in order; raises UsageError at the end where its content has changed."""
    path = Path(path)
    digest = hashlib.sha256()
    with _opened(path) as file:
        metadata = _metadata(path, file)
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            for row in batch.to_pylist():
                digest.update(_canonical(row))
                try:
                    episode = from_row(row, metadata.env_id, metadata.env_kwargs, metadata.agent)
                except (ValueError, TypeError) as error:
                    raise UsageError(f"{path} was changed after it was written: {error}") from error
                yield episode
    if digest.hexdigest() != metadata.checksum:
        raise UsageError(f"{path} was changed after it was written: its checksum does not match its content")


def read_episodes(path: str | Path) -> list[Episode]:
    """Return all episodes of a file. Raises UsageError where it is damaged or not of lmgym."""
    return list(iterate_episodes(path))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"{path} is not a complete Parquet file: {reason}") from error


def _metadata(path: Path, file: pq.ParquetFile) -> Metadata:
    raw = (file.schema_arrow.metadata or {}).get(b"lmgym") or file.metadata.metadata.get(b"lmgym")
    if raw is None:
        raise UsageError(f"{path} is a Parquet file, but not one of lmgym's episodes")
    try:
        values = json.loads(raw)
        if values.get("format") != FORMAT:
            raise UsageError(f"{path} has format {values.get('format')}; this lmgym reads format {FORMAT}")
        if not file.schema_arrow.remove_metadata().equals(_SCHEMA):
            raise UsageError(f"{path} says format {FORMAT} but its columns are others")
        values["statistics"] = Statistics(**values["statistics"])
        return Metadata(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} has damaged metadata: {error!r}") from error


def to_row(episode: Episode) -> dict[str, Any]:
    """Return an episode as the values of the columns, all of which JSON can hold; game and agent are not among them."""
    turns = episode.turns
    sampled = any(turn.token_ids is not None for turn in turns)
    return {
        "seed": episode.seed,
        "options": json.dumps(jsonable(episode.options), sort_keys=True),
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "outcome": json.dumps(jsonable(episode.outcome), sort_keys=True),
        "error": episode.error,
        "tokenizer": episode.tokenizer,
        "texts": [turn.text for turn in turns],
        "by_agent": [turn.by_agent for turn in turns],
        "rewards": [float(turn.reward) for turn in turns],
        "invalid": [turn.invalid for turn in turns],
        "token_ids": [_optional(turn.token_ids) for turn in turns] if sampled else None,
        "logprobs": [_single_precision(turn.logprobs) for turn in turns] if sampled else None,
    }


def from_row(row: Mapping[str, Any], env_id: str, env_kwargs: Mapping[str, Any], agent: str) -> Episode:
    """Return the episode of what `to_row` made of it; raises ValueError or TypeError for what cannot be one."""
    nothing = [None] * len(row["texts"])
    written = zip(row["texts"], row["by_agent"], row["rewards"], row["invalid"], strict=True)
    sampled = zip(row["token_ids"] or nothing, row["logprobs"] or nothing, strict=True)
    turns = [
        Turn(*facts, *(None if values is None else tuple(values) for values in tokens))
        for facts, tokens in zip(written, sampled, strict=True)
    ]
    return Episode(
        turns=tuple(turns),
        terminated=row["terminated"],
        truncated=row["truncated"],
        env_id=env_id,
        env_kwargs=env_kwargs,
        agent=agent,
        seed=row["seed"],
        options=json.loads(row["options"]),
        outcome=json.loads(row["outcome"]),
        error=row["error"],
        tokenizer=row["tokenizer"],
    )


def _optional(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _single_precision(values: tuple[float, ...] | None) -> list[float] | None:
    """Return values as they will be read again, so that the checksum is that of the file."""
    return None if values is None else np.asarray(values, dtype=np.float32).tolist()


def _canonical(row: dict[str, Any]) -> bytes:
    return json.dumps([row[name] for name in _SCHEMA.names], separators=(",", ":")).encode() + b"\n"
