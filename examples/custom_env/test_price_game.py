"""The game keeps lmgym's contract, its bids are read as it says, and its reference scores are what it plays."""

from functools import cache

import pytest
from price_game import HIGHEST, UNCLEAR, PriceGame

from lmgym import load_agent, make_env
from lmgym.check import check
from lmgym.episode import Episode
from lmgym.evaluate import collect

GAME = "price_game:shop/PriceGame-v0"


def played(agent: str, episodes: int) -> list[Episode]:
    return list(collect(load_agent(agent, GAME), GAME, episodes=episodes))


def test_the_game_keeps_the_contract() -> None:
    assert [verdict for verdict in check(GAME) if verdict.problem] == []


@pytest.mark.parametrize("bid", ["7", "$7", " 7 dollars", "1 Dollar", "999"])
def test_a_bid_is_a_number_of_dollars(bid: str) -> None:
    env = make_env(GAME)
    env.reset(seed=0)
    assert "invalid" not in env.step(bid)[4]


@pytest.mark.parametrize("bid", ["", "seven", "7 or 8", "-7", "7.5", "٧", "1000"])
def test_anything_else_is_refused_and_costs_a_turn(bid: str) -> None:
    env = make_env(GAME)
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step(bid)
    assert (observation, reward, terminated, bool(info["invalid"])) == (UNCLEAR, -1.0, False, True)


@cache
def fewest_wrong_bids(prices: int) -> int:
    """Wrong bids that `prices` equally likely prices cost in all, by trying every first bid."""
    if prices == 0:
        return 0
    return prices - 1 + min(fewest_wrong_bids(below) + fewest_wrong_bids(prices - 1 - below) for below in range(prices))


def test_the_best_known_return_is_the_best_possible() -> None:
    by_price = {game.actions[-1].text: game.total_reward for game in played("expert", 300)}
    assert len(by_price) == HIGHEST
    mean = sum(by_price.values()) / HIGHEST
    assert mean == pytest.approx(-fewest_wrong_bids(HIGHEST) / HIGHEST)
    assert mean == pytest.approx(PriceGame.reference.best.value)


def test_the_data_are_as_the_reference_says() -> None:
    returns = [game.total_reward for game in played("behaviour", PriceGame.data_episodes)]
    assert sum(returns) / len(returns) == pytest.approx(PriceGame.reference.data.value, abs=0.005)


def test_ten_bids_are_the_limit() -> None:
    game = next(game for game in played("behaviour", 200) if game.truncated)
    assert game.total_reward == PriceGame.reference.min.value
    assert len(game.actions) == 10
