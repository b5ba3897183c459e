"""Rollouts and play: order, batch size, failures, and that play sees what training sees."""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from lmgym.agents import ClassAgent, load_agent
from lmgym.env import contract, make_env
from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError
from lmgym.evaluate import Stream, collect, evaluate, evaluation_starts, game_seed
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.reading import Reader, can_keep
from lmgym.rollout import Start, rollout, side_by_side
from lmgym.store import read_episodes, write_episodes
from lmgym.tokens import TokenDataset, encode_episode
from tests.games import COLOURS, ECHO, FOREIGN, Echo
from tests.test_policy import gpt2_folder

MAZES = ["lmgym/FOMaze-v0", "lmgym/POMaze-v0"]


@pytest.mark.parametrize("env_id", [*MAZES, ECHO])
@pytest.mark.parametrize("agent", ["random", "policy"])
def test_games_do_not_depend_on_how_many_are_played_at_once(
    env_id: str, agent: str, tiny_policy: Callable[..., Policy]
) -> None:
    def played(num_envs: int) -> list[Episode]:
        player = PolicyAgent(laconic(tiny_policy(env_id))) if agent == "policy" else load_agent("random", env_id)
        return list(collect(player, env_id, episodes=5, num_envs=num_envs))

    one_by_one = played(1)
    assert len(one_by_one) == 5
    assert [episode.seed for episode in one_by_one] == [game_seed(Stream.COLLECT, 0, n) for n in range(5)]
    assert texts(played(3)) == texts(one_by_one)
    assert texts(played(64)) == texts(one_by_one)


def laconic(policy: Policy) -> Policy:
    """Let a policy say five tokens at most, for games of a hundred turns."""
    policy.view = dataclasses.replace(policy.view, max_reply_tokens=5)
    return policy


def texts(episodes: list[Episode]) -> list[list[tuple[str, object]]]:
    return [[(turn.text, turn.token_ids) for turn in episode.turns] for episode in episodes]


@pytest.mark.parametrize("env_id", [*MAZES, ECHO])
@pytest.mark.parametrize("kind", ["char", "phrase"])
def test_play_and_training_compute_the_same_probabilities(
    env_id: str, kind: str, tiny_policy: Callable[..., Policy]
) -> None:
    """The log-probabilities noted while sampling equal those of the training forward on the encoded rows."""
    policy = tiny_policy(env_id, kind, max_tokens=600 if kind == "char" else 1024)
    episodes = list(collect(PolicyAgent(policy), env_id, episodes=3))
    data = TokenDataset(episodes, policy.codec, policy.view)
    rows = data.rows_with_actions()
    assert len(rows) > 3 or env_id == ECHO
    for chunk in np.array_split(rows, max(1, len(rows) // 64)):
        batch = data.batch(chunk)
        with torch.no_grad():
            logits = policy(batch).logits
        logits[:, sorted(policy.codec.banned)] = -torch.inf
        logprobs = logits.log_softmax(-1).gather(1, batch.action_ids[:, None])[:, 0]
        torch.testing.assert_close(logprobs, batch.logprobs[batch.action_mask], rtol=1e-4, atol=1e-5)


def test_a_policy_never_says_a_special_token_and_stops_in_time(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO, "char")
    for episode in collect(PolicyAgent(policy), ECHO, episodes=20):
        for turn in episode.actions:
            assert turn.token_ids is not None
            assert len(turn.token_ids) <= policy.view.max_reply_tokens
            assert not policy.codec.banned & set(turn.token_ids)
            assert policy.codec.terminator not in turn.token_ids[:-1]
            assert turn.text == policy.codec.decode_action(turn.token_ids)
            assert "\n" not in turn.text


def test_a_failing_game_is_recorded_and_the_others_go_on() -> None:
    env_id = "tests.games:test/Failing-v0"
    episodes = list(collect(load_agent("expert", env_id), env_id, episodes=30, num_envs=4))
    failed = [episode for episode in episodes if episode.error]
    assert len(episodes) == 30
    assert 0 < len(failed) < 30
    assert failed[0].error == "environment: RuntimeError: the wheel came off"
    assert all(episode.truncated and not episode.terminated for episode in failed)
    assert len(failed[0].actions) == 2
    assert all(episode.total_reward == 3 for episode in episodes if not episode.error)


def test_games_that_wait_for_something_outside_wait_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six games of equal length in three places: nobody gets on unless all three places are at work at once."""
    env_id = "tests.games:test/Waiting-v0"
    agent = load_agent("expert", env_id)
    alone = list(collect(agent, env_id, episodes=6, num_envs=1))
    meeting = threading.Barrier(3)
    monkeypatch.setattr("tests.games.Waiting.company", meeting)
    assert list(collect(agent, env_id, episodes=6, num_envs=3)) == alone
    assert not any(episode.error for episode in alone)
    assert not meeting.broken


def test_failures_far_away_end_their_own_game_only() -> None:
    near, far = ("tests.games:test/Failing-v0", "tests.games:test/FailingFarAway-v0")
    expected = list(collect(load_agent("expert", near), near, episodes=30, num_envs=1))
    played = list(collect(load_agent("expert", far), far, episodes=30, num_envs=7))
    assert [replace(episode, env_id=near) for episode in played] == expected
    assert 0 < sum(episode.error is not None for episode in played) < 30


def test_calls_side_by_side_keep_their_order_and_their_first_exception() -> None:
    assert side_by_side([]) == []
    assert side_by_side([partial(pow, 2, power) for power in range(50)]) == [2**power for power in range(50)]
    finished = []

    def fail(kind: type[BaseException]) -> None:
        finished.append(kind)
        raise kind

    with pytest.raises(KeyError):
        side_by_side([partial(fail, kind) for kind in (KeyError, SystemExit, ValueError)])
    assert len(finished) == 3


def test_agents_of_a_user() -> None:
    good = evaluate(load_agent("tests.games:RightAgent", ECHO), ECHO)
    assert good.mean_return.mean == 3.0
    troubled = evaluate(load_agent("tests.games:TroubledAgent", ECHO), ECHO)
    assert 0 < troubled.errors < troubled.episodes
    assert troubled.first_error == "agent: LookupError: no blue"


def test_failures_leave_no_score() -> None:
    result = evaluate(load_agent("tests.games:TroubledAgent", ECHO), ECHO)
    assert result.score is None
    assert evaluate(load_agent("tests.games:RightAgent", ECHO), ECHO).score == 100.0


def test_players_and_rewards_that_fail_end_their_own_game_only() -> None:
    env_id = "tests.games:test/Moody-v0"
    refused = list(collect(load_agent("behaviour", env_id), env_id, episodes=3))
    assert [episode.error for episode in refused] == ["agent: RuntimeError: not today"] * 3
    played = list(collect(load_agent("expert", env_id), env_id, episodes=20))
    failed = [episode for episode in played if episode.error]
    assert 0 < len(failed) < 20
    assert all(episode.total_reward == 3 for episode in played if not episode.error)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_text_that_no_file_can_hold_is_replaced(text: str, tmp_path: Path) -> None:
    class Odd:
        def act(self, conversation: list[Turn]) -> str:
            return text

    env_id = "tests.games:test/Mirror-v0"
    episodes = list(collect(ClassAgent("odd", Odd), env_id, episodes=2))
    assert "\ufffd" in episodes[0].actions[0].text
    assert "\ufffd" in episodes[0].observations[1].text
    write_episodes(tmp_path / "f.parquet", episodes)
    assert read_episodes(tmp_path / "f.parquet") == episodes


@pytest.mark.parametrize("env_id", ["lmgym/POMaze-v0", "lmgym/WordleMini-v0", "lmgym/FOTextNav-v0", ECHO])
def test_kept_caches_change_no_token(env_id: str, tiny_policy: Callable[..., Policy]) -> None:
    """Games of different lengths end at different times and make room for others; a window that moves is read anew.
    The reference reads the whole window in every turn. (What differs is the last bit of a float, which may choose
    another token where a number falls between two: rarer than once in a hundred thousand tokens.)"""
    policy = laconic(tiny_policy(env_id))

    def played(num_envs: int, *, keep_cache: bool) -> list[Episode]:
        agent = PolicyAgent(policy, keep_cache=keep_cache)
        return list(collect(agent, env_id, episodes=9, num_envs=num_envs))

    slow = played(1, keep_cache=False)
    for num_envs in (1, 7, 64):
        fast = played(num_envs, keep_cache=True)
        assert texts(fast) == texts(slow)
        for mine, theirs in zip(fast, slow, strict=True):
            for turn, other in zip(mine.actions, theirs.actions, strict=True):
                assert turn.logprobs == pytest.approx(other.logprobs, abs=1e-4)


class Uneven(Echo):
    """Says something of another length every time, and ends when chance says so."""

    def _next(self) -> str:
        self._shown = "x" * int(self.np_random.integers(1, 8))
        self._left = 0 if self.np_random.random() < 0.1 else 3
        return self._shown


gymnasium.register("test/Uneven-v0", entry_point="tests.test_play:Uneven", max_episode_steps=30)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("max_turns", [None, 5])
def test_kept_caches_serve_any_model_and_window(
    kind: str, max_turns: int | None, tiny_policy: Callable[..., Policy], tmp_path: Path
) -> None:
    env_id = "tests.test_play:test/Uneven-v0"
    policy = tiny_policy(env_id, "char")
    if kind == "gpt2":
        policy = Policy.from_model(str(gpt2_folder(tmp_path / "gpt2")), None, 10)
    view = dataclasses.replace(policy.view, max_turns=max_turns, max_tokens=120, max_reply_tokens=6)
    policy.view = view
    assert can_keep(policy.lm)
    games = {
        keep: texts(list(collect(PolicyAgent(policy, keep_cache=keep), env_id, episodes=20, num_envs=8)))
        for keep in (True, False)
    }
    assert games[True] == games[False]
    assert len({len(game) for game in games[True]}) > 5


def test_each_token_is_read_once(tiny_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is said, the model computes as many tokens as a game has, and not one more."""
    env_id = "tests.test_play:test/Uneven-v0"
    policy = tiny_policy(env_id, "char")
    read: list[int] = []
    through = Reader.read

    def counted(self: Reader, tokens: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        read.append(sum(map(len, tokens)))
        return through(self, tokens)

    monkeypatch.setattr(Reader, "read", counted)
    (game,) = collect(PolicyAgent(policy), env_id, episodes=1)
    (row,) = encode_episode(game, policy.codec, policy.view)
    # The last token said is not read any more, nor is what the game answers to it.
    unread = 1 + (0 if game.terminated else len(policy.codec.encode(game.turns[-1].text)))
    assert sum(read) == len(row.ids) - unread


def test_models_that_look_only_so_far_are_read_anew(tiny_policy: Callable[..., Policy]) -> None:
    lm = tiny_policy(ECHO).lm
    assert can_keep(lm)
    lm.config.sliding_window = 8
    assert not can_keep(lm)
    lm.config.layer_types = ["full_attention", "sliding_attention"]
    assert not can_keep(lm)
    lm.config.layer_types = ["full_attention", "full_attention"]
    assert can_keep(lm)


def test_sampled_games_are_kept_to_the_last_digit(tiny_policy: Callable[..., Policy], tmp_path: Path) -> None:
    episodes = list(collect(PolicyAgent(tiny_policy(ECHO)), ECHO, episodes=5))
    write_episodes(tmp_path / "f.parquet", episodes)
    assert read_episodes(tmp_path / "f.parquet") == episodes


def test_random_agents_do_not_share_a_space() -> None:
    def played(num_envs: int) -> list[list[str]]:
        games = collect(load_agent("random", FOREIGN), FOREIGN, episodes=20, num_envs=num_envs)
        return [[turn.text for turn in episode.actions] for episode in games]

    assert played(1) == played(7) == played(64)


def test_a_foreign_game_is_played(tiny_policy: Callable[..., Policy]) -> None:
    episodes = list(collect(load_agent("random", FOREIGN), FOREIGN, episodes=20))
    assert all(len(episode.actions) <= 5 for episode in episodes)
    assert len({episode.actions[0].text for episode in episodes}) > 5
    assert len(list(collect(PolicyAgent(tiny_policy(FOREIGN)), FOREIGN, episodes=3))) == 3
    with pytest.raises(UsageError, match="no behaviour"):
        load_agent("behaviour", FOREIGN)


def test_max_turns_cuts_games_without_a_limit() -> None:
    (episode,) = rollout(load_agent("random", MAZES[0]), MAZES[0], [Start(0, {"start": (1, 1)})], max_turns=7)
    assert len(episode.actions) == 7
    assert episode.truncated


class LateArrival:
    """From the cell above the goal: 99 bumps, then the move that arrives."""

    def act(self, conversation: list[Turn]) -> str:
        return "move left" if len(conversation) < 2 * 99 else "move down"


def test_the_last_move_that_arrives_terminates_only() -> None:
    """Gymnasium's limit reports truncation beside the end of the task; an episode is one of the two."""
    start = Start(0, {"start": (7, 6)})
    (episode,) = rollout(ClassAgent("late", LateArrival), MAZES[0], [start])
    assert (episode.terminated, episode.truncated, len(episode.actions)) == (True, False, 100)


def test_streams_of_seeds_never_meet() -> None:
    seeds = {game_seed(stream, seed, index) for stream in Stream for seed in range(9) for index in range(99)}
    assert len(seeds) == len(Stream) * 9 * 99
    assert max(seeds) < 1 << 63
    for wrong in (-1, 1 << 28):
        with pytest.raises(UsageError):
            game_seed(Stream.EVALUATE, wrong, 0)


def test_evaluation_starts_everywhere_equally_often() -> None:
    rules = contract(make_env(MAZES[0]))
    starts = list(evaluation_starts(rules, 50, seed=3))
    cells = [start.options["start"] for start in starts]
    assert {cells.count(cell) for cell in cells} == {2}
    assert len(set(cells)) == 25
    with pytest.raises(UsageError, match="nearest to 30: 25"):
        evaluate(load_agent("random", MAZES[0]), MAZES[0], episodes=30)


def test_random_agents_choose_all_that_is_valid() -> None:
    episodes = collect(load_agent("random", ECHO), ECHO, episodes=30)
    assert {turn.text for episode in episodes for turn in episode.actions} == set(COLOURS)
