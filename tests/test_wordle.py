"""Wordle: the rule of feedback, what may be said, what is drawn, how well the game plays itself."""

import itertools
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from lmgym.agents import load_agent
from lmgym.check import check, odd_actions
from lmgym.env import make_env
from lmgym.envs.wordle import FEEDBACK, Lexicon, Wordle, patterns, word_list
from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.evaluate import collect

IDS = ("lmgym/Wordle-v0", "lmgym/WordleLMRL-v0", "lmgym/WordleMini-v0")
PUBLISHED = {"return": -4.12, "success": 0.70, "turns": 4.82}  # LMRL-Gym (arXiv 2311.18232), table 1
PUBLISHED_BEST = -1.935


def game(env_id: str, **kwargs: Any) -> Any:
    return make_env(env_id, kwargs).unwrapped


def marks_by_hand(guess: str, word: str, letter_counts: bool) -> str:
    """The rule as one would play it with pencil and paper."""
    if not letter_counts:
        return " ".join("g" if a == b else "y" if a in word else "b" for a, b in zip(guess, word, strict=True))
    marks = ["b"] * 5
    unexplained = list(word)
    for place in range(5):
        if guess[place] == word[place]:
            marks[place] = "g"
            unexplained.remove(guess[place])
    for place in range(5):
        if marks[place] == "b" and guess[place] in unexplained:
            marks[place] = "y"
            unexplained.remove(guess[place])
    return " ".join(marks)


@pytest.mark.parametrize(
    ("guess", "word", "with_counts", "without"),
    [
        ("shire", "shire", "g g g g g", "g g g g g"),
        ("speed", "abide", "b b y b y", "b b y y y"),
        ("speed", "erase", "y b y y b", "y b y y b"),
        ("speed", "steal", "g b g b b", "g b g y b"),
        ("eerie", "elder", "g y y b b", "g y y b y"),
        ("allay", "llama", "y g y y b", "y g y y b"),
        ("aabbb", "baaaa", "y g y b b", "y g y y y"),
    ],
)
def test_feedback_worked_out_by_hand(guess: str, word: str, with_counts: str, without: str) -> None:
    for letter_counts, answer in ((True, with_counts), (False, without)):
        env = Wordle((guess, word) if guess != word else (guess, "about"), letter_counts=letter_counts)
        env.reset(seed=0, options={"word": word})
        assert env.step(guess)[0] == answer


@pytest.mark.parametrize("letter_counts", [True, False])
def test_feedback_equals_the_slow_rule_on_all_pairs_of_three_letters(letter_counts: bool) -> None:
    words = ["".join(letters) for letters in itertools.product("abc", repeat=5)]
    table = patterns(words, words, letter_counts)
    assert table.dtype == np.uint8
    for guess, row in zip(words, table.tolist(), strict=True):
        assert [FEEDBACK[code] for code in row] == [marks_by_hand(guess, word, letter_counts) for word in words]


@pytest.mark.parametrize("env_id", IDS)
def test_answers_and_words_left_in_play(env_id: str) -> None:
    env = game(env_id)
    counts = env_id != "lmgym/WordleLMRL-v0"
    words, guesses = env.action_space.examples, env.choices()
    generator = np.random.default_rng(0)
    for word in generator.choice(words, size=20):
        observation, info = env.reset(seed=0, options={"word": str(word)})
        assert (observation, info["words_left"]) == ("Wordle:", len(words))
        left, terminated = set(words), False
        while not terminated:
            guess = str(generator.choice(guesses))
            observation, reward, terminated, truncated, info = env.step(guess)
            assert observation == marks_by_hand(guess, word, counts)
            assert observation in env.observation_space
            left = {other for other in left if marks_by_hand(guess, other, counts) == observation}
            assert (info["words_left"], reward) == (len(left), 0.0 if guess == word else -1.0)
            assert not truncated


def test_the_word_is_found() -> None:
    env = gymnasium.make("lmgym/Wordle-v0")
    for wrong in range(6):
        env.reset(seed=0, options={"word": "money"})
        rewards = [env.step("about")[1] for _ in range(wrong)]
        assert env.step("m o n e y") == (
            "g g g g g", 0.0, True, False, {"success": True, "words_left": 1, "word": "money"},
        )  # fmt: skip
        assert rewards == [-1.0] * wrong
        with pytest.raises(ResetNeeded):
            env.step("money")


def test_six_wrong_guesses_end_the_game() -> None:
    env = gymnasium.make("lmgym/Wordle-v0")
    env.reset(seed=0, options={"word": "money"})
    for action in ("about", "no word", "zzzzz", "about", "about"):
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated, "word" in info) == (-1.0, False, False, False)
    observation, reward, terminated, truncated, info = env.step("")
    assert (observation, reward, terminated, truncated) == ("", -1.0, True, False)
    assert info == {"success": False, "words_left": info["words_left"], "invalid": info["invalid"], "word": "money"}
    with pytest.raises(ResetNeeded):
        env.step("money")


@pytest.mark.parametrize(
    "action", ["shire", "s h i r e", "SHIRE", " S h i r e ", "shire\n", "\t s h i r e\r\n", "sh ire"]
)
def test_ways_to_write_a_guess(action: str) -> None:
    env = game("lmgym/Wordle-v0", words=("shire", "money"), accepted=None)
    env.reset(seed=0, options={"word": "shire"})
    assert env.step(action)[1] == 0.0


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("shir", "five letters"),
        ("shires", "five letters"),
        ("s-h-i-r-e", "five letters"),
        ("shire money", "five letters"),
        ("shire\nmoney", "five letters"),
        ("s\nh\ni\nr\ne", "five letters"),
        ("shir3", "five letters"),
        ("shiré", "five letters"),
        ("\N{KELVIN SIGN}nife", "five letters"),
        ("ſhire", "five letters"),
        ("ｓｈｉｒｅ", "five letters"),
        ("zzzzz", "list of words"),
        ("stone", "list of words"),
    ],
)
def test_what_an_invalid_reply_does(action: str, why: str) -> None:
    env = game("lmgym/Wordle-v0", words=("shire", "money", "knife"), accepted=None, invalid_reward=-10.0)
    env.reset(seed=0, options={"word": "shire"})
    observation, reward, terminated, _, info = env.step(action)
    assert (observation, reward, terminated, info["words_left"]) == ("", -10.0, False, 3)
    assert why in info["invalid"]


def test_any_letters_may_be_guessed_where_words_need_not_be_known() -> None:
    env = game("lmgym/WordleMini-v0", require_known_words=False)
    assert env.choices() is None
    assert env.reference is None
    env.reset(seed=0, options={"word": "paint"})
    observation, reward, _, _, info = env.step("zzant")
    assert (observation, reward) == ("b b y g g", -1.0)
    assert "invalid" not in info
    assert "invalid" in env.step("z z")[4]


def test_accepted_guesses_are_not_hidden() -> None:
    env = game("lmgym/Wordle-v0")
    hidden, guesses = set(env.action_space.examples), env.choices()
    assert (len(hidden), len(guesses), len(set(guesses))) == (431, 3126, 3126)
    assert hidden < set(guesses)
    assert {env.reset(seed=seed) and env._lexicon.words[env._hidden] for seed in range(300)} <= hidden
    assert game("lmgym/WordleLMRL-v0").choices() == word_list("benchmark")


def test_lists() -> None:
    benchmark, accepted, mini = (word_list(name) for name in ("benchmark", "accepted", "mini"))
    assert (len(benchmark), len(accepted), len(mini)) == (431, 3126, 20)
    assert set(mini) < set(benchmark) < set(accepted)
    for words in (benchmark, accepted, mini):
        assert list(words) == sorted(set(words))
        assert word_list(words) == words
    assert [word for word in benchmark if word.endswith("s") and not word.endswith("ss")] == ["basis", "bonus", "focus"]
    assert {item.name for item in (resources.files("lmgym.envs") / "data").iterdir()} >= {
        "wordle_431.txt",
        "wordle_20.txt",
        "wordle_accepted.txt",
    }


def test_the_hidden_word_is_uniform() -> None:
    env = game("lmgym/WordleMini-v0")
    env.reset(seed=0)
    counts = np.zeros(20)
    for _ in range(4000):
        env.reset()
        counts[env._hidden] += 1
    chi_squared = float(((counts - 200) ** 2 / 200).sum())
    assert chi_squared < 43.8  # 99.9 % point at 19 degrees of freedom


def statistics(episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    return {
        "return": np.array([episode.total_reward for episode in episodes]),
        "success": np.array([float(episode.outcome["success"]) for episode in episodes]),
        "turns": np.array([float(len(episode.actions)) for episode in episodes]),
    }


@pytest.mark.parametrize("env_id", IDS)
def test_behaviour_has_the_statistics_it_declares(env_id: str) -> None:
    found = statistics(list(collect(load_agent("behaviour", env_id), env_id, episodes=6000, seed=1)))
    reference = game(env_id).reference
    declared = {"return": reference.data.value, "success": reference.data_success, "turns": reference.data_turns}
    for name, values in found.items():
        error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - declared[name]) < 4 * error + 0.005, name  # 0.005: declared figures are rounded
        if env_id != "lmgym/WordleMini-v0":
            assert abs(values.mean() - PUBLISHED[name]) < 4 * error + 0.06, name


def test_behaviour_heeds_the_answers_by_its_skill() -> None:
    def share_of_consistent_guesses(skill: float) -> float:
        env = game("lmgym/Wordle-v0", behaviour_skills=(skill,))
        env.reset(seed=0)
        heeded = []
        for _ in range(2000):
            env.reset()
            answer = env.step("stone")[0]
            heeded.append(marks_by_hand("stone", env.behaviour().replace(" ", ""), True) == answer)
        return float(np.mean(heeded))

    by_chance = share_of_consistent_guesses(0.0)
    assert by_chance < 0.2
    assert share_of_consistent_guesses(1.0) == 1.0
    assert share_of_consistent_guesses(1 / 3) == pytest.approx(1 / 3 + 2 / 3 * by_chance, abs=0.04)


def test_a_player_keeps_its_skill_for_the_game() -> None:
    env = game("lmgym/WordleMini-v0")
    env.reset(seed=0)
    skills: list[float | None] = []
    for _ in range(200):
        env.reset()
        skill = {env.behaviour() and env._skill for _ in range(5)}
        assert len(skill) == 1
        skills += skill
    assert set(skills) == {0.0, 1.0}


@pytest.mark.parametrize("env_id", IDS)
def test_expert_reaches_the_best_return_exactly(env_id: str) -> None:
    env = game(env_id)
    returns = []
    for word in env.action_space.examples:
        env.reset(seed=0, options={"word": word})
        total, terminated = 0.0, False
        while not terminated:
            _, reward, terminated, _, _ = env.step(env.expert())
            total += reward
        returns.append(total)
    assert len(returns) in (20, 431)
    assert np.mean(returns) == pytest.approx(env.reference.best.value, abs=1e-9)
    if env_id != "lmgym/WordleMini-v0":
        assert np.mean(returns) >= PUBLISHED_BEST


def fewest_wrong(words: frozenset[str], guesses: Sequence[str]) -> float:
    """The fewest wrong guesses, summed over the hidden words, by trying everything."""
    if len(words) == 1:
        return 0
    best = float("inf")
    for guess in guesses:
        parts: dict[str, set[str]] = {}
        for word in words - {guess}:
            parts.setdefault(marks_by_hand(guess, word, True), set()).add(word)
        if len(parts) > 1 or guess in words:
            sets = [frozenset(part) for part in parts.values()]
            best = min(best, sum(len(part) + fewest_wrong(part, guesses) for part in sets))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_expert_is_optimal_where_everything_can_be_tried(seed: int) -> None:
    generator = np.random.default_rng(seed)
    letters = "".join(generator.choice(list("abcd"), size=45))
    words = tuple(sorted({letters[5 * i : 5 * i + 5] for i in range(9)}))
    lexicon = Lexicon(words, (), letter_counts=True)
    assert lexicon._plan(lexicon.all)[0] == fewest_wrong(frozenset(words), words)


def test_expert_takes_a_possible_word_on_the_last_try() -> None:
    env = game("lmgym/Wordle-v0")
    env.reset(seed=0, options={"word": "shape"})
    for _ in range(5):
        env.step("zzzzz")
    assert env.expert().replace(" ", "") in env.action_space.examples


def play(env: Any, seed: int, role: str = "behaviour") -> list[Any]:
    seen: list[Any] = [env.reset(seed=seed)]
    while len(seen) == 1 or not seen[-1][3]:
        action = getattr(env, role)()
        seen.append((action, *env.step(action)))
    return seen


@pytest.mark.parametrize("env_id", IDS)
def test_a_game_depends_on_its_seed_alone(env_id: str) -> None:
    used = game(env_id)
    first = [play(used, seed) for seed in range(20)]
    assert [play(used, seed) for seed in reversed(range(20))] == first[::-1]
    assert [play(game(env_id), seed) for seed in range(20)] == first
    assert len({json.dumps(seen) for seen in first}) > 15


@pytest.mark.parametrize("env_id", IDS)
def test_the_contract(env_id: str) -> None:
    assert [verdict for verdict in check(env_id) if verdict.problem] == []


@pytest.mark.parametrize("env_id", IDS)
def test_odd_actions_cost_a_try_and_nothing_else(env_id: str) -> None:
    env = game(env_id)
    actions = [*odd_actions(), "a" * 100_000, "s h i r e" * 20_000, "\x00" * 5, "\ud800hire", "shir\udfff", "🙂" * 5]
    assert len(actions) > 1000
    env.reset(seed=0)
    for number, action in enumerate(actions):
        observation, reward, terminated, truncated, info = env.step(action)
        assert (observation, reward, truncated) == ("", -1.0, False)
        assert info["invalid"]
        assert json.dumps(info)
        assert terminated == (number % 6 == 5)
        if terminated:
            env.reset()


def test_the_observation_space_is_tight() -> None:
    for env_id in IDS:
        space = game(env_id).observation_space
        assert space.character_set == frozenset("Wordle: byg")
        assert (space.min_length, space.max_length) == (0, 9)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"words": "benchmrk"}, "did you mean 'benchmark'"),
        ({"accepted": "all"}, "unknown list of words 'all'"),
        ({"word": ("shire",)}, "did you mean 'words'"),
        ({"words": ("shire",)}, "at least two words"),
        ({"words": ("shire", "shire")}, "none of them twice"),
        ({"words": ("shire", "Money")}, "'Money' is not five letters"),
        ({"words": ("shire", "moneys")}, "'moneys' is not five letters"),
        ({"behaviour_skills": (0.5, 1.5)}, "probabilities"),
        ({"behaviour_skills": ()}, "probabilities"),
    ],
)
def test_wrong_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_env("lmgym/Wordle-v0", kwargs)


def test_wrong_reset_options() -> None:
    env = game("lmgym/Wordle-v0")
    with pytest.raises(UsageError, match="unknown reset option of Wordle 'goal'"):
        env.reset(options={"goal": "shire"})
    with pytest.raises(ValueError, match="'zzzzz' is not one of the words"):
        env.reset(options={"word": "zzzzz"})


def test_what_is_declared_depends_on_the_settings() -> None:
    large, small = game("lmgym/Wordle-v0"), game("lmgym/WordleMini-v0")
    assert (large.tokenizer, small.tokenizer) == ("word", "phrase")
    assert game("lmgym/Wordle-v0", words=["shire", "money"]).reference is None
    assert game("lmgym/Wordle-v0", accepted=None).reference is None
    assert game("lmgym/Wordle-v0", invalid_reward=-10.0).reference is None
    assert game("lmgym/Wordle-v0", behaviour_skills=(1.0,)).reference is None
    assert game("lmgym/WordleMini-v0", behaviour_skills=[0, 1]).reference == small.reference is not None


def test_render() -> None:
    env = gymnasium.make("lmgym/Wordle-v0", render_mode="ansi")
    env.reset(seed=0, options={"word": "money"})
    env.step("a b o u t")
    env.step("x" * 1000)
    rendered: Any = env.render()
    assert rendered == "Wordle:\n1  about  b b y b b\n2  -----  not five letters a to z"
    assert Wordle().render() is None
