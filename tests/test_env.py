"""The contract over every registered game, vectorised use, and the checker's own judgement."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import lmgym  # noqa: F401 (registers the games)
from lmgym.check import RULES, check, odd_actions
from lmgym.env import AnyText, contract, fidelity, listed_choices, make_env
from lmgym.errors import UsageError
from lmgym.tasks import game_ids, list_tasks

OURS = game_ids()


@pytest.mark.parametrize("env_id", OURS)
def test_every_game_keeps_every_rule(env_id: str) -> None:
    assert {verdict.rule: verdict.problem for verdict in check(env_id)} == dict.fromkeys(RULES)


@pytest.mark.parametrize(
    ("game", "rule", "problem"),
    [
        ("BothFlags", "a game ends, terminated or truncated but not both", "terminated and truncated at once"),
        ("GlobalChance", "no global random state", "global generator of `random`"),
        ("Leaky", "nothing of a game stays for the next", "differ at piece"),
        ("Fragile", "1,000 odd actions do no harm", "UnicodeEncodeError"),
        ("NarrowSpace", "observations lie in the observation space", "lacks the characters"),
        ("HashOrder", "same seed, same game in a second process", "differ in a second process"),
        ("Loose", "step before reset raises", "raises nothing"),
        ("Foreign", "every string is an action", "AnyText"),
        ("Boastful", "declarations make sense", "fidelity() says nan of 'answered'"),
        ("Mumbling", "declarations make sense", "prompt() returns ' '; it is a text, or None"),
    ],
)
def test_the_check_names_what_is_broken(game: str, rule: str, problem: str) -> None:
    verdicts = {verdict.rule: verdict.problem for verdict in check(f"tests.games:test/{game}-v0")}
    assert problem in (verdicts[rule] or "nothing is broken")


@pytest.mark.parametrize("game", ["Echo", "Parley"])
def test_a_sound_game_of_a_user_passes(game: str) -> None:
    assert all(verdict.problem is None for verdict in check(f"tests.games:test/{game}-v0"))


def test_odd_actions_are_a_thousand_and_odd() -> None:
    actions = list(odd_actions())
    assert len(actions) == 1000
    assert "" in actions
    assert max(map(len, actions)) == 100_000
    assert any("\x00" in action for action in actions)
    assert any("\ud800" in action for action in actions)


@pytest.mark.parametrize("env_id", OURS)
def test_vector_environments_play_the_same_episodes(env_id: str) -> None:
    def play(mode: str, **kwargs: Any) -> list[Any]:
        envs = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=mode, vector_kwargs=kwargs)
        generator = np.random.default_rng(0)
        choices = envs.single_action_space.examples or ("a",)  # type: ignore[attr-defined]
        observations, _ = envs.reset(seed=[1, 2])  # type: ignore[arg-type]
        seen = [tuple(observations)]
        for _ in range(30):
            actions = tuple(choices[int(generator.integers(len(choices)))] for _ in range(2))
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            seen.append((*observations, *rewards.tolist(), *terminated.tolist(), *truncated.tolist()))
        envs.close()
        return seen

    in_turn = play("sync")
    assert any(piece != in_turn[0][0] for piece in in_turn[1][:2])
    assert in_turn == play("async", shared_memory=False)


def test_sync_is_the_default_vectorisation() -> None:
    envs = gymnasium.make_vec(OURS[0], num_envs=2)
    assert isinstance(envs, gymnasium.vector.SyncVectorEnv)
    envs.close()


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'lmgym/FOMaze-v0'"):
        make_env("lmgym/FoMaze-v0")
    with pytest.raises(UsageError, match="did you mean 'maze'"):
        make_env("lmgym/FOMaze-v0", {"maz": "umaze"})
    with pytest.raises(UsageError, match="cannot import 'no_such_package'"):
        make_env("no_such_package:Game-v0")
    with pytest.raises(UsageError, match="not a text game"):
        make_env("CartPole-v1")


def test_a_foreign_game_has_defaults() -> None:
    env = make_env("tests.games:test/Foreign-v0")
    rules = contract(env)
    assert rules.history is None
    assert rules.reference is None
    assert rules.official_starts == ()
    assert not rules.remote
    assert fidelity(env) == {}


def test_games_say_whether_they_wait_for_something_outside() -> None:
    assert contract(make_env("tests.games:test/Waiting-v0")).remote
    assert not contract(make_env("tests.games:test/Parley-v0")).remote
    assert contract(make_env("tests.games:test/Parley-v0", {"oracle": "openai:small@http://127.0.0.1:1/v1"})).remote


def test_names_that_mean_something_else_in_a_foreign_game() -> None:
    env = make_env("tests.games:test/Mirror-v0")
    rules = contract(env)
    assert (rules.history, rules.reference) == (None, None)
    assert listed_choices(env) is None


def test_another_limit_has_no_reference_score() -> None:
    assert contract(make_env("lmgym/FOMaze-v0")).reference is not None
    assert contract(make_env("lmgym/FOMaze-v0", {"max_episode_steps": 5})).reference is None


def test_any_text_takes_every_string_and_samples_examples() -> None:
    space = AnyText(("a", "b"))
    space.seed(0)
    assert "" in space
    assert "\ud800" in space
    assert 3 not in space
    assert {space.sample() for _ in range(50)} == {"a", "b"}
    open_space = AnyText()
    open_space.seed(1)
    first = [open_space.sample() for _ in range(5)]
    open_space.seed(1)
    assert [open_space.sample() for _ in range(5)] == first


def test_the_list_of_tasks_is_complete() -> None:
    tasks = list_tasks()
    assert [task["id"] for task in tasks] == OURS
    for task in tasks:
        assert task["max_turns"]
        for name in ("min", "data", "best"):
            assert task[name]["how"]
        assert task["min"]["value"] < task["data"]["value"] < task["best"]["value"]
