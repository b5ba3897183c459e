"""The rules of the maze, its exact optima, and its data."""

from collections import deque
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import pytest

from lmgym.agents import load_agent
from lmgym.env import contract, contract_of, make_env
from lmgym.envs.maze import LAYOUTS, MOVES, REFERENCES, Grid, Maze, best_return_from_walls
from lmgym.episode import statistics
from lmgym.errors import UsageError
from lmgym.evaluate import collect, default_episodes, evaluate

GOAL = (8, 6)


def started(start: tuple[int, int], **kwargs: Any) -> tuple[gymnasium.Env, str]:
    env = gymnasium.make(kwargs.pop("env_id", "lmgym/FOMaze-v0"), **kwargs)
    observation, _ = env.reset(seed=0, options={"start": start})
    return env, observation


def test_fully_observed_text() -> None:
    _, observation = started((5, 3))
    assert observation == (
        "The goal is at position 8, 6. Your current position is at position 5, 3. "
        "There are walls to your left, below you."
    )
    _, observation = started((1, 11))
    assert "Your current position is at position 1, 1 1." in observation


def test_partially_observed_text_and_its_eight_sentences() -> None:
    _, observation = started((5, 6), env_id="lmgym/POMaze-v0")
    assert observation == "There is a wall above you."
    assert len({*Grid(LAYOUTS["double_t"]).walls.values()}) == 8
    open_field = ["#####", "#...#", "#...#", "#..G#", "#####"]
    _, observation = started((2, 2), env_id="lmgym/POMaze-v0", maze=open_field)
    assert observation == "There are no walls near you."


@pytest.mark.parametrize(
    ("action", "arrives"),
    [("move right", (1, 2)), ("  Move RIGHT ", (1, 2)), ("move up", (1, 1)), ("move left", (1, 1))],
)
def test_moves_and_bumps(action: str, arrives: tuple[int, int]) -> None:
    env, _ = started((1, 1))
    _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["position"]) == (-1.0, False, False, arrives)
    assert "invalid" not in info


def test_up_lowers_the_row() -> None:
    env, _ = started((4, 3))
    assert env.step("move up")[4]["position"] == (3, 3)
    assert env.step("move down")[4]["position"] == (4, 3)


@pytest.mark.parametrize("action", ["", "move", "up", "move up and down", "move up\nmove down", "move  up"])
def test_an_unknown_action_costs_a_step_and_says_why(action: str) -> None:
    env, before = started((5, 3))
    observation, reward, terminated, _, info = env.step(action)
    assert (observation, reward, terminated) == (before, -1.0, False)
    assert info["invalid"]
    env, _ = started((5, 3), invalid_reward=-4.0)
    assert env.step(action)[1] == -4.0


def test_arriving_ends_the_game_for_nothing() -> None:
    env, _ = started((7, 6))
    assert env.step("move down")[:4] == ("Success", 0.0, True, False)


def test_a_hundred_moves_are_the_limit() -> None:
    env, _ = started((1, 1))
    for _ in range(99):
        assert env.step("move up")[2:4] == (False, False)
    assert env.step("move up")[2:4] == (False, True)


def test_the_optimum_over_the_25_starts() -> None:
    """The published best, -6.84, and the published longest walk, 12 moves, by a search written here."""
    rows = LAYOUTS["double_t"]
    distance, queue = {GOAL: 0}, deque([GOAL])
    while queue:
        row, column = queue.popleft()
        for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if rows[cell[0]][cell[1]] != "#" and cell not in distance:
                distance[cell] = distance[row, column] + 1
                queue.append(cell)
    starts = [moves for cell, moves in distance.items() if cell != GOAL]
    assert len(starts) == 25
    assert max(starts) == 12
    assert np.mean([1 - moves for moves in starts]) == pytest.approx(-6.84)
    result = evaluate(load_agent("expert", "lmgym/FOMaze-v0"), "lmgym/FOMaze-v0", episodes=25)
    assert result.mean_return.mean == pytest.approx(-6.84)
    assert result.score == pytest.approx(100.0)


def test_the_best_player_who_sees_walls_alone() -> None:
    """The same optimum by a search written differently: depth first over groups of walkers who see the same."""
    grid = Grid(LAYOUTS["double_t"])

    def by_sight(cells: list[tuple[int, int]]) -> list[tuple[tuple[int, int], ...]]:
        groups: dict[str, list[tuple[int, int]]] = {}
        for cell in sorted(cells):
            if cell != GOAL:
                groups.setdefault(grid.walls[cell], []).append(cell)
        return [tuple(group) for group in groups.values()]

    @cache
    def fewest_moves(walkers: tuple[tuple[int, int], ...], depth: int) -> float:
        if depth == 0:
            return float("inf")
        walks = [by_sight([steps[cell] for cell in walkers]) for steps in grid.steps.values()]
        return len(walkers) + min(sum(fewest_moves(group, depth - 1) for group in groups) for groups in walks)

    starts = [cell for cell in grid.cells if cell != GOAL]
    total = sum(fewest_moves(group, 25) for group in by_sight(starts))
    assert best_return_from_walls(grid, GOAL) == pytest.approx(1 - total / 25)
    assert REFERENCES["walls"].best.value == pytest.approx(1 - total / 25)


def test_the_best_player_who_sees_walls_alone_pays_for_confusion() -> None:
    """A corridor with the goal in the middle, by hand: from an end 2 moves; the two inner cells look alike, so
    that one of them guesses right (1 move) and the other finds itself at the end (3 moves in all)."""
    grid = Grid(["#######", "#..G..#", "#######"])
    assert best_return_from_walls(grid, (1, 3)) == pytest.approx(1 - (2 + 2 + 1 + 3) / 4)


@pytest.mark.parametrize("env_id", ["lmgym/FOMaze-v0", "lmgym/POMaze-v0"])
def test_the_default_data_are_as_published_and_as_declared(env_id: str) -> None:
    episodes = list(collect(load_agent("behaviour", env_id), env_id, episodes=1240))
    found = statistics(episodes)
    assert found.mean_return == pytest.approx(-83, abs=2)
    assert 0.15 <= (found.success_rate or 0) <= 0.35
    scale = contract(make_env(env_id)).reference
    assert scale is not None
    assert found.mean_return == pytest.approx(scale.data.value, abs=0.005)
    assert found.success_rate == pytest.approx(scale.data_success, abs=0.005)
    assert found.mean_turns == pytest.approx(scale.data_turns, abs=0.005)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_data_sets_resemble_the_default(seed: int) -> None:
    env_id = "lmgym/FOMaze-v0"
    found = statistics(list(collect(load_agent("behaviour", env_id), env_id, episodes=1240, seed=seed)))
    # 2 is the tolerance of the default set; the standard error of a set is about 1.
    assert found.mean_return == pytest.approx(-83, abs=4)
    assert 0.15 <= (found.success_rate or 0) <= 0.35


@pytest.mark.parametrize("seed", range(20))
def test_random_mazes_are_solvable_and_differ(seed: int) -> None:
    env = gymnasium.make("lmgym/FOMaze-v0", maze="random", size=(9, 13))
    env.reset(seed=seed)
    game = env.unwrapped
    assert isinstance(game, Maze)
    first = game._grid.rows
    assert len(game._grid.distances(game._goal)) == len(game._grid.cells)
    for _ in range(99):
        if env.step(game.expert())[2]:
            break
    else:
        pytest.fail("the expert did not arrive")
    env.reset(seed=seed + 1000)
    assert game._grid.rows != first


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"maze": "umase"}, "did you mean 'umaze'"),
        ({"observation": "wall"}, "did you mean 'walls'"),
        ({"maze": "random", "size": (4, 5)}, "odd numbers"),
        ({"maze": ["###", "#.#", "###"]}, "two free cells"),
        ({"maze": ["####", "#..#", "###"]}, "equal length"),
        ({"maze": ["....", "####", "####"]}, "border"),
    ],
)
def test_bad_arguments_say_what_is_valid(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        Maze(**kwargs)


def test_bad_starts_say_why() -> None:
    env = gymnasium.make("lmgym/FOMaze-v0")
    with pytest.raises(ValueError, match="not a free cell"):
        env.reset(options={"start": (0, 0)})
    with pytest.raises(Exception, match="did you mean 'start'"):
        env.reset(options={"strat": (1, 1)})


def test_a_grid_without_a_goal_draws_one() -> None:
    env = gymnasium.make("lmgym/FOMaze-v0", maze="large")
    goals = {env.reset(seed=seed)[1]["goal"] for seed in range(20)}
    assert len(goals) > 5
    assert env.reset(seed=0, options={"goal": (1, 1)})[1]["goal"] == (1, 1)


def test_render_shows_agent_and_goal() -> None:
    env = gymnasium.make("lmgym/FOMaze-v0", maze="umaze", render_mode="ansi")
    env.reset(options={"start": (3, 1)})
    assert env.render() == "#####\n#...#\n#.#.#\n#A#G#\n#####"


def test_all_moves_have_an_opposite() -> None:
    assert {(-down, -right) for down, right in MOVES.values()} == set(MOVES.values())


def test_a_variant_is_evaluated_from_its_own_starts_equally_often() -> None:
    def count(episodes: int | None, **kwargs: str) -> int:
        rules = contract_of("lmgym/FOMaze-v0", kwargs)
        return default_episodes(rules, episodes, "lmgym/FOMaze-v0")

    assert count(None) == 800
    assert count(None, maze="umaze") % len(contract_of("lmgym/FOMaze-v0", {"maze": "umaze"}).official_starts) == 0
    with pytest.raises(UsageError, match="multiple of 25; nearest to 30: 25"):
        count(30)
