"""What players are told: every game has a prompt, and what it lists is what the game accepts."""

import re
from typing import Any

import chess
import pytest

from lmgym.env import TextEnv, listed_choices, make_env, turn_limit
from lmgym.envs.chess_games import spaced_fen
from lmgym.envs.textnav import VERBS
from lmgym.errors import UsageError
from lmgym.prompts import prompt_of
from lmgym.tasks import game_ids

OURS = game_ids()


def told(env_id: str, seed: int = 0, **kwargs: Any) -> tuple[str, Any]:
    env = make_env(env_id, kwargs)
    env.reset(seed=seed)
    return prompt_of(env), env


def list_after(text: str, heading: str) -> list[str]:
    """The words of the list on the line after the one that holds the heading."""
    lines = text.splitlines()
    (place,) = (index for index, line in enumerate(lines) if heading in line)
    return lines[place + 1].split(", ")


@pytest.mark.parametrize("env_id", OURS)
def test_every_game_tells_its_rules(env_id: str) -> None:
    prompt, env = told(env_id)
    assert env.unwrapped.prompt()
    assert "Rewards: " in prompt
    assert f"after {turn_limit(env)} actions at the latest" in prompt
    assert not re.search(r"\{\w*\}", prompt)  # nothing is left to be filled in
    assert told(env_id, seed=1)[0] == prompt  # it tells nothing of the single game


@pytest.mark.parametrize("env_id", ["lmgym/FOMaze-v0", "lmgym/POMaze-v0"])
def test_the_maze_names_every_move_once(env_id: str) -> None:
    prompt, env = told(env_id, invalid_reward=-4.0)
    assert re.findall(r"^move \w+", prompt, re.MULTILINE) == list(listed_choices(env) or ())
    assert "-4 for a reply" in prompt
    for move, words in {
        "right": "column grows",
        "left": "column shrinks",
        "up": "row shrinks",
        "down": "row grows",
    }.items():
        assert (f"move {move} (the {words} by one)" in prompt) == (env_id == "lmgym/FOMaze-v0")


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("lmgym/Wordle-v0", {}),
        ("lmgym/WordleLMRL-v0", {}),
        ("lmgym/WordleMini-v0", {}),
        ("lmgym/Wordle-v0", {"words": ["apple", "grape"], "accepted": ["melon", "lemon"], "invalid_reward": -10.0}),
    ],
)
def test_wordle_lists_every_guess_once(env_id: str, kwargs: dict[str, Any]) -> None:
    prompt, env = told(env_id, **kwargs)
    hidden = list_after(prompt, "The hidden word is one of these")
    others = list_after(prompt, "are never hidden") if "are never hidden" in prompt else []
    assert tuple(hidden) == env.action_space.examples
    assert sorted([*hidden, *others]) == sorted(listed_choices(env) or ())
    assert len({*hidden, *others}) == len(hidden) + len(others)
    assert ("one mark only" in prompt) == (env_id != "lmgym/WordleLMRL-v0")
    assert f"costs {-10 if kwargs else -1} and one try" in prompt


def test_wordle_without_a_list_says_so() -> None:
    prompt, env = told("lmgym/WordleMini-v0", require_known_words=False)
    assert listed_choices(env) is None
    assert "Any other five letters" in prompt
    assert "No other word" not in prompt


@pytest.mark.parametrize("house", ["standard", "random"])
def test_textnav_tells_every_form_of_a_command(house: str) -> None:
    prompt, env = told("lmgym/FOTextNav-v0", house=house)
    lines = prompt.partition("The commands:\n")[2].partition("\n\n")[0].splitlines()
    forms = [form.strip() for line in lines for form in re.sub(r"\([^)]*\)", "", line).split(",")]
    assert set(VERBS) <= {form.split()[0] for form in forms}
    patterns = [re.compile(re.sub(r"[A-Z]{2,}", r"[a-z ]+", form)) for form in forms]
    used = set()
    for seed in range(20):
        env.reset(seed=seed)
        for step in range(15):
            commands = listed_choices(env) or ()
            for command in commands:
                fitting = [form for form, pattern in zip(forms, patterns, strict=True) if pattern.fullmatch(command)]
                assert fitting, command
                used |= set(fitting)
            _, _, terminated, truncated, _ = env.step(commands[(7 * seed + step) % len(commands)])
            if terminated or truncated:
                break
    assert used == set(forms) - {"look", "inventory", "examine NAME"}  # no form that there is not


def test_chess_shows_the_form_of_positions_and_moves() -> None:
    prompt, _ = told("lmgym/Chess-v0")
    board = chess.Board("4k3/8/8/8/8/8/8/4K2R w K - 0 1")
    assert f"`{spaced_fen(board)}`" in prompt
    for fen, moves in {
        "4k3/8/8/8/8/8/8/4K2R w K - 0 1": ["O - O"],
        "4k3/8/8/8/8/8/8/R3K3 w Q - 0 1": ["O - O - O"],
        "4k3/8/8/3p4/4P3/8/8/4K1N1 w - - 0 1": ["e x d 5", "N f 3", "Nf3", "g1f3"],
        "8/4P2k/8/8/8/8/8/4K3 w - - 0 1": ["e 8 = Q", "e7e8q"],
        "7k/8/8/8/R7/8/8/R3K3 w - - 0 1": ["R 1 a 3"],
        "4k3/8/8/8/8/5N2/8/1N2K3 w - - 0 1": ["N b d 2"],
    }.items():
        for move in moves:
            assert move in prompt
            env = make_env("lmgym/Chess-v0")
            env.reset(seed=0, options={"position": fen})
            assert "invalid" not in env.step(move)[4], move


@pytest.mark.parametrize(("env_id", "words"), [
    ("lmgym/Chess-v0", "initial position"), ("lmgym/Endgames-v0", "KQK or KQRK or KRK or KRRK"),
    ("lmgym/ChessMini-v0", "won for you"), ("lmgym/EndgamesMini-v0", "against the bare king"),
])  # fmt: skip
def test_chess_says_how_it_begins(env_id: str, words: str) -> None:
    assert words in told(env_id)[0]


def test_chess_from_other_positions() -> None:
    assert "one of a few positions" in told("lmgym/Chess-v0", starts=["4k3/8/8/8/8/8/8/4K2R w K - 0 1"])[0]
    assert "left, White's and then Black's: KRK." in told("lmgym/Endgames-v0", pieces=["KRK"])[0]


@pytest.mark.parametrize(("env_id", "count"), [("lmgym/GuessMyCity-v0", 100), ("lmgym/GuessMyCityMini-v0", 16)])
def test_every_city_that_is_listed_can_be_guessed(env_id: str, count: int) -> None:
    prompt, env = told(env_id)
    cities = list_after(prompt, f"It is one of these {count} cities")
    assert len(set(cities)) == count
    for city in cities:
        env.reset(seed=0, options={"city": city})
        assert env.step(f"Is the city you are from {city}?")[4]["success"]


def test_the_small_guess_my_city_lists_the_questions_that_it_understands() -> None:
    prompt, env = told("lmgym/GuessMyCityMini-v0")
    questions = prompt.partition("are understood:\n")[2].partition("\n\n")[0].splitlines()
    assert len(set(questions)) == 11
    understood = [text for text in env.action_space.examples if not text.startswith("Is the city you are from")]
    assert {text for text in understood if "What is the name" not in text} >= set(questions)
    for question in questions:
        env.reset(seed=0)
        info = env.step(question)[4]
        assert "invalid" not in info, question
    assert "You may ask anything" in told("lmgym/GuessMyCity-v0")[0]
    assert "You may ask anything" not in prompt


@pytest.mark.parametrize(
    ("env_id", "kwargs", "count"),
    [
        ("lmgym/TwentyQuestions-v0", {}, 158),
        ("lmgym/TwentyQuestionsMini-v0", {}, 16),
        ("lmgym/TwentyQuestions-v0", {"objects": ["Cat", "Piano"], "turns": 3}, 2),
    ],
)
def test_every_object_that_is_listed_can_be_guessed(env_id: str, kwargs: dict[str, Any], count: int) -> None:
    prompt, env = told(env_id, **kwargs)
    names = list_after(prompt, f"It is one of these {count} objects")
    assert len(set(names)) == count
    assert f"at most {kwargs.get('turns', turn_limit(env))} of them" in prompt
    for name in names:
        env.reset(seed=0, options={"object": name})
        assert env.step(f"Is it a {name}?")[4]["success"]


@pytest.mark.parametrize("env_id", ["lmgym/CarDealer-v0", "lmgym/CarDealerMini-v0"])
def test_the_car_dealer_understands_what_its_prompt_says(env_id: str) -> None:
    prompt, env = told(env_id)
    assert f"after {turn_limit(env)} of your actions" in prompt
    examples = [text for text in re.findall(r"`([^`]+)`", prompt) if text != "Deal."]
    assert len(examples) == 3
    fixed = {"buyer": {"brand": "Ford", "type": "truck"}}
    for example in examples:
        env.reset(seed=0, options=fixed)
        lot = env.unwrapped._lot
        car = next(car for car in lot if (car.brand, car.type) == ("Ford", "truck"))
        priced = example.replace("$36,500", f"${car.list_price:,}")
        info = env.step(priced)[4]
        assert "invalid" not in info, priced
        offer = None if "?" in example else car.list_price * 0.9 if "10%" in example else car.list_price
        assert info["offer"] == offer
    env.reset(seed=0, options=fixed)
    assert "invalid" not in env.step("Deal.")[4]
    rewards = {
        told(env_id, reward=reward)[0].partition("Rewards: ")[2] for reward in ("revenue", "ratio", "ratio_lmrl")
    }
    assert len(rewards) == 3


def test_games_without_a_prompt_say_what_they_can() -> None:
    prompt, _ = told("tests.games:test/Foreign-v0")
    written, limit = prompt.split("\n\n")
    assert written == "Guess a digit; knows nothing of lmgym. Plain Gymnasium spaces."
    assert limit == "The game ends after 5 actions at the latest."
    prompt, _ = told("tests.games:test/Echo-v0")
    assert prompt.startswith("Repeat the colour that is shown: 1 for each of three, else 0. The optimum is 3.\n\n")
    assert "red, blue, green" in prompt


def test_a_game_that_says_nothing_has_no_prompt() -> None:
    class Silent(TextEnv):
        pass

    with pytest.raises(UsageError, match=r"Silent says neither .* tell the agent by --prompt FILE"):
        prompt_of(Silent())
