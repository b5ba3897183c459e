"""Files of episodes: what goes in comes out, and what is not whole is refused in one sentence."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmgym.agents import load_agent
from lmgym.episode import Episode, Turn, statistics
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.store import iterate_episodes, read_episodes, read_metadata, write_episodes
from tests.games import ECHO


def played(count: int = 5, seed: int = 0) -> list[Episode]:
    return list(collect(load_agent("behaviour", ECHO), ECHO, episodes=count, seed=seed))


def sampled_episode() -> Episode:
    turns = (
        Turn("say ☃\nand\x00", by_agent=False),
        Turn("x", by_agent=True, reward=0.1, invalid=True, token_ids=(3, 4), logprobs=(-0.5, -0.25)),
        Turn("", by_agent=False),
    )
    return Episode(
        turns=turns,
        terminated=False,
        truncated=True,
        env_id="a/B-v0",
        seed=2**62,
        agent="me",
        env_kwargs={"size": [3, 5]},
        options={"start": [1, 2]},
        outcome={"success": False},
        tokenizer="abc",
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    episode = sampled_episode()
    failed = replace(episode, error="agent: none")
    write_episodes(tmp_path / "f.parquet", [episode, failed], series=7)
    assert read_episodes(tmp_path / "f.parquet") == [episode, failed]
    metadata = read_metadata(tmp_path / "f.parquet")
    assert (metadata.env_id, metadata.agent, metadata.series) == ("a/B-v0", "me", 7)
    assert metadata.statistics.mean_return == pytest.approx(0.1)


def test_same_command_same_content(tmp_path: Path) -> None:
    first = write_episodes(tmp_path / "1.parquet", played())
    again = write_episodes(tmp_path / "2.parquet", played())
    other = write_episodes(tmp_path / "3.parquet", played(seed=1))
    assert first.checksum == again.checksum != other.checksum
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_many_row_groups_keep_their_order(tmp_path: Path) -> None:
    episodes = played(2500)
    write_episodes(tmp_path / "f.parquet", episodes)
    assert pq.ParquetFile(tmp_path / "f.parquet").num_row_groups == 3
    assert list(iterate_episodes(tmp_path / "f.parquet")) == episodes


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def breaking() -> Iterator[Episode]:
        yield from played()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_episodes(tmp_path / "f.parquet", breaking())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_metadata(tmp_path / "none.parquet")


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "f.parquet"
    write_episodes(path, played())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match=r"f\.parquet is not a complete Parquet file"):
        read_episodes(path)


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "f.parquet")
    with pytest.raises(UsageError, match="not one of lmgym's episodes"):
        read_metadata(tmp_path / "f.parquet")


def rewritten(path: Path, change_table: bool = False, **changes: object) -> None:
    """Forge a file: other metadata, or another reward in the table."""
    table = pq.read_table(path)
    raw = pq.ParquetFile(path).metadata.metadata[b"lmgym"]
    values = {**json.loads(raw), **changes}
    if change_table:
        rewards = [[9.0 for _ in row] for row in table["rewards"].to_pylist()]
        column = pa.array(rewards, type=table.schema.field("rewards").type)
        table = table.set_column(table.schema.get_field_index("rewards"), table.schema.field("rewards"), column)
    pq.write_table(table.replace_schema_metadata({"lmgym": json.dumps(values)}), path)


def test_a_file_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    write_episodes(path, played())
    rewritten(path, format=99)
    with pytest.raises(UsageError, match="has format 99; this lmgym reads format 1"):
        read_metadata(path)


def test_changed_content_fails_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    write_episodes(path, played())
    rewritten(path)
    assert len(read_episodes(path)) == 5
    rewritten(path, change_table=True)
    with pytest.raises(UsageError, match="changed after it was written"):
        read_episodes(path)


def test_no_episodes_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no episode to write"):
        write_episodes(tmp_path / "f.parquet", [])
    failed = replace(sampled_episode(), error="agent: none")
    with pytest.raises(UsageError, match="all 1 games failed, the first with agent: none"):
        write_episodes(tmp_path / "f.parquet", [failed])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_into_being_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"

    def slow() -> Iterator[Episode]:
        yield from played()
        write_episodes(path, played(seed=1), series=1)

    with pytest.raises(UsageError, match="was written by another process meanwhile"):
        write_episodes(path, slow(), series=0)
    assert read_metadata(path).series == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_behind_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".f.parquet.99999999.partial").write_text("half")
    write_episodes(tmp_path / "f.parquet", played())
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]


def test_failed_games_count_as_no_success_and_not_in_the_return() -> None:
    good = replace(sampled_episode(), outcome={"success": True})
    silent = replace(good, outcome={})
    failed = replace(good, error="environment: it broke")
    found = statistics([good, silent, failed, failed])
    assert (found.episodes, found.errors, found.success_rate) == (4, 2, 0.25)
    assert found.mean_return == pytest.approx(0.1)
    assert statistics([silent]).success_rate is None


def test_an_episode_refuses_nonsense() -> None:
    act = Turn("a", by_agent=True)
    see = Turn("o", by_agent=False)
    with pytest.raises(ValueError, match="not both"):
        Episode((see, act), terminated=True, truncated=True, env_id="x", seed=0, agent="a")
    with pytest.raises(ValueError, match="alternate"):
        Episode((act, see), terminated=True, truncated=False, env_id="x", seed=0, agent="a")
    with pytest.raises(ValueError, match="rewards"):
        Episode((see._replace(reward=1.0), act), terminated=True, truncated=False, env_id="x", seed=0, agent="a")
