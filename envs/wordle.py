"""Wordle with letter counts (`lmgym/Wordle-v0`), without (`lmgym/WordleLMRL-v0`), and with 20 words
(`lmgym/WordleMini-v0`)."""

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.errors import unknown
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

LETTERS = 5
TRIES = 6
HEADER = "Wordle:"
FILES = {"benchmark": "wordle_431.txt", "mini": "wordle_20.txt", "accepted": "wordle_accepted.txt"}
MARKS = "byg"  # not in the word, in another place, in this place; a pattern is these as digits to base 3
FEEDBACK = tuple(" ".join(MARKS[code // 3**i % 3] for i in reversed(range(LETTERS))) for code in range(3**LETTERS))
SOLVED = 3**LETTERS - 1
COUNTED = "A letter of the word accounts for one mark only: places first, then from left to right."
UNCOUNTED = "Every copy of a letter in the guess is marked so, also where the word has fewer of them."
NOT_FIVE_LETTERS = "not five letters a to z"
UNKNOWN_WORD = "not in the list of words"
WIDTH = 10
LARGE = 100
FEW = 50
MAX_PLANS = 100_000


def patterns(guesses: Sequence[str], words: Sequence[str], letter_counts: bool) -> np.ndarray:
    """Return the feedback [G, W] uint8 on each of G guesses for each of W hidden words, as codes of FEEDBACK.

    With letter counts, a letter of the word accounts for one mark: places first, then from left to right.
    """
    guess, word = _letters(guesses)[:, :, None], _letters(words)[:, None, :]
    in_place = guess == word
    elsewhere = np.zeros_like(in_place)
    unmarked = ~in_place
    for i in range(LETTERS):
        for j in range(LETTERS):
            found = (guess[i] == word[j]) & ~in_place[i] & ~elsewhere[i]
            if letter_counts:
                found &= unmarked[j]
                unmarked[j] &= ~found
            elsewhere[i] |= found
    codes = np.zeros(in_place.shape[1:], dtype=np.uint8)
    for i in range(LETTERS):
        codes = 3 * codes + np.where(in_place[i], np.uint8(2), elsewhere[i])
    return codes


def _letters(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("".join(words).encode("ascii"), dtype=np.uint8).reshape(-1, LETTERS).T


class Row:
    """What a guess tells: `codes[w]` is its feedback for hidden word w; bit w of `masks[code]` is set where it
    would be that code."""

    __slots__ = ("codes", "guess", "masks")

    def __init__(self, guess: str, codes: np.ndarray) -> None:
        self.guess = guess
        self.codes = codes.tobytes()
        self.masks = {int(code): _mask(codes == code) for code in np.unique(codes)}


def _mask(members: np.ndarray) -> int:
    return int.from_bytes(np.packbits(members, bitorder="little").tobytes(), "little")


class Lexicon:
    """Hidden words, guesses and the rule of feedback; sets of hidden words are integers, bit w for word w.

    Nothing in it changes but caches, so that all games with the same words share one.
    """

    def __init__(self, words: tuple[str, ...], accepted: tuple[str, ...], letter_counts: bool) -> None:
        self.words = words
        self.guesses = tuple(dict.fromkeys(words + accepted))
        self.letter_counts = letter_counts
        self.all = (1 << len(words)) - 1
        self.rows: dict[str, Row] = {}
        self._indices = {guess: index for index, guess in enumerate(self.guesses)}

    @cached_property
    def table(self) -> np.ndarray:
        """The patterns [G, W] of every guess; the first W guesses are the words themselves."""
        return patterns(self.guesses, self.words, self.letter_counts)

    def row(self, guess: str) -> Row:
        """Return the row of five letters; that of an accepted guess is kept, under both spellings."""
        if guess in self.rows:
            return self.rows[guess]
        if guess not in self._indices:
            return Row(guess, patterns([guess], self.words, self.letter_counts)[0])
        row = Row(guess, self.table[self._indices[guess]])
        self.rows[guess] = self.rows[" ".join(guess)] = row
        return row

    def knows(self, guess: str) -> bool:
        """Return whether a guess is accepted."""
        return guess in self._indices

    def members(self, left: int) -> np.ndarray:
        """Return the indices of the words in a set, ascending."""
        data = np.frombuffer(left.to_bytes(len(self.words) // 8 + 1, "little"), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(data, bitorder="little"))

    @lru_cache(maxsize=MAX_PLANS)  # noqa: B019 (there are few lexicons, and `_lexicon` keeps them anyway)
    def best_guess(self, left: int) -> str:
        """Return the guess to make when the hidden word is one of a set.

        Of the WIDTH guesses that tell most, it is the one with the fewest wrong guesses to come, summed over the
        set, found by looking ahead to the end; for more than LARGE words simply the one that tells most.
        """
        if left.bit_count() > LARGE:
            return self.most_telling(left, 1)[0]
        return self._plan(left)[1]

    def most_telling(self, left: int, count: int) -> list[str]:
        """Return the guesses whose feedback has the highest entropy, words of the set first among equals."""
        members = self.members(left)
        offsets = np.arange(len(self.guesses))[:, None] * 3**LETTERS
        found = np.bincount((self.table[:, members] + offsets).ravel(), minlength=3**LETTERS * len(self.guesses))
        sizes = np.arange(len(members) + 1)
        # The entropy of parts of sizes c is log n - (sum of c log c) / n; rounded, for equals to be equal.
        costs = np.round((sizes * np.log2(np.maximum(sizes, 1)))[found].reshape(-1, 3**LETTERS).sum(axis=1), 6)
        excluded = np.ones(len(self.guesses), dtype=bool)
        excluded[members] = False
        return [self.guesses[index] for index in np.lexsort((excluded, costs))[:count]]

    @lru_cache(maxsize=MAX_PLANS)  # noqa: B019
    def _plan(self, left: int) -> tuple[float, str]:
        """Return the number of wrong guesses to come, summed over the set, and the guess to begin with."""
        lowest = left.bit_count() - 1  # to be right for one word and to tell all others apart
        if lowest <= 1:
            return lowest, self.words[int(self.members(left)[0])]
        fewest, best = float("inf"), ""
        for guess in self.most_telling(left, WIDTH):
            wrong = self._wrong_after(left, guess)
            if wrong < fewest:
                fewest, best = wrong, guess
            if fewest == lowest:
                break
        return fewest, best

    def _wrong_after(self, left: int, guess: str) -> float:
        total = 0.0
        for code, mask in self.row(guess).masks.items():
            part = left & mask
            if part == left:
                return float("inf")
            if part and code != SOLVED:
                total += part.bit_count() + self._plan(part)[0]
        return total


@lru_cache(maxsize=16)
def _lexicon(words: tuple[str, ...], accepted: tuple[str, ...], letter_counts: bool) -> Lexicon:
    return Lexicon(words, accepted, letter_counts)


@lru_cache
def _packaged(name: str) -> tuple[str, ...]:
    if name not in FILES:
        raise unknown("list of words", name, FILES)
    folder = resources.files("lmgym.envs") / "data"
    return tuple((folder / FILES[name]).read_text(encoding="ascii").split())


def word_list(words: str | Sequence[str]) -> tuple[str, ...]:
    """Return a packaged list by name, or the caller's own after a check."""
    if isinstance(words, str):
        return _packaged(words)
    chosen = tuple(words)
    for word in chosen:
        if not re.fullmatch(f"[a-z]{{{LETTERS}}}", word):
            raise ValueError(f"{word!r} is {NOT_FIVE_LETTERS}, as the words of a list must be, in lower case")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError("a list has at least two words and none of them twice")
    return chosen


class Wordle(TextEnv):
    """Find a hidden word of five letters in six tries.

    Description:
        Each guess is answered letter by letter: `g`, this letter stands in this place; `y`, it stands in another
        place; `b`, it does not occur. With letter counts, a letter of the hidden word accounts for one mark
        only (places first, then from left to right); without, every copy in the guess is marked.
    Observation:
        `Wordle:` at first, then the answer to each guess with spaces between: `b y g g b`. Empty after an
        invalid reply. The hidden word is never shown.
    Action:
        A word, its letters separated by spaces or not: `s h i r e`, `shire`. Case and spaces do not matter.
    Start:
        The hidden word is uniform over `words`; `reset(options={"word": "shire"})` takes one of them.
    Reward:
        0 for the hidden word, -1 for any other guess. Returns lie in -6 to 0.
    What an invalid reply does:
        It costs `invalid_reward` and one try, the observation is empty, and nothing is learned.
    Episode end:
        Terminated when the word is found, and when six tries are used: losing is the end of the task, not a cut.
        Never truncated.
    Info:
        `success`, `words_left` (how many of `words` agree with all answers), `invalid` (why, for an invalid
        action only), `word` (the hidden word, at the end only).
    Arguments:
        words: the words that may be hidden: "benchmark" (431 common words), "mini" (20), "accepted" (3,126), or
            words of five letters a to z.
        accepted: the other words that may be guessed, in the same way; None for none.
        letter_counts: whether a letter of the hidden word accounts for one mark only.
        require_known_words: whether a guess must be one of `words` or `accepted`; otherwise any five letters do.
        invalid_reward: reward of an invalid reply.
        behaviour_skills: one is drawn for each game: the probability with which `behaviour()` heeds the answers.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        Letter counts, as in the game people know, are the default; the released rule is `lmgym/WordleLMRL-v0`.
        The word lists are our own, made from word frequencies and as long as the released one, whose words are
        a newspaper's. `lmgym/Wordle-v0` also accepts guesses outside its 431 words, as the game people know
        does, which makes slightly better play possible. The hidden word is drawn at reset, not anew for each
        answer from the words that are left, which is the same in distribution. An invalid reply costs -1
        everywhere (training environments of the release: -10, here `invalid_reward=-10.0`). The default data
        set is smaller than the published 1,000,000 games; with our words the published behaviour returns -4.06
        in 4.76 turns (published: -4.12, 4.82) at the same success, 0.70. `lmgym/WordleMini-v0` has no published
        counterpart: half of its players heed every answer and half none, so that the data show how answers are
        used and leave room for improvement.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)
    max_reply_chars = 9
    keep = "0.3"
    max_turns = TRIES

    def __init__(
        self,
        words: str | Sequence[str] = "benchmark",
        accepted: str | Sequence[str] | None = "accepted",
        letter_counts: bool = True,
        require_known_words: bool = True,
        invalid_reward: float = -1.0,
        behaviour_skills: Sequence[float] = (1 / 3,),
        render_mode: str | None = None,
    ) -> None:
        if not behaviour_skills or not all(0 <= skill <= 1 for skill in behaviour_skills):
            raise ValueError(f"behaviour_skills are probabilities, at least one, not {behaviour_skills}")
        self.render_mode = render_mode
        self.require_known_words = require_known_words
        self.invalid_reward = float(invalid_reward)
        self.behaviour_skills = tuple(float(skill) for skill in behaviour_skills)
        self._lexicon = _lexicon(word_list(words), word_list(accepted) if accepted else (), bool(letter_counts))
        self._declare_scale()
        plain = self.require_known_words and self.invalid_reward == -1.0
        if plain and isinstance(words, str) and isinstance(accepted, str | None):
            self.reference = REFERENCES.get((words, accepted, self._lexicon.letter_counts, self.behaviour_skills))
        self.observation_space = spaces.Text(len(FEEDBACK[0]), min_length=0, charset=HEADER + MARKS + " ")
        self.action_space = AnyText(self._lexicon.words)
        self._hidden = 0
        self._left = self._lexicon.all
        self._tries_left = 0
        self._board: list[tuple[str, str]] = []
        self._skill: float | None = None

    def _declare_scale(self) -> None:
        """Declare data, model and evaluation by the number of words.

        Few words are learned whole, as one token each; many are spelled, a token for each letter.
        """
        few = len(self._lexicon.words) <= FEW
        self.tokenizer = "phrase" if few else "word"
        self.preset = "0.1M" if few else "5M"
        self.data_episodes = 10_000 if few else 100_000
        self.evaluation_episodes = 1000 if few else 4096

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        words = self._lexicon.words
        options = require_options(options, ("word",), "Wordle")
        if options:
            if options["word"] not in words:
                raise ValueError(f"{options['word']!r} is not one of the words that may be hidden")
            self._hidden = words.index(options["word"])
        else:
            self._hidden = int(self.np_random.integers(len(words)))
        self._left = self._lexicon.all
        self._tries_left = TRIES
        self._board = []
        self._skill = None
        return HEADER, {"success": False, "words_left": len(words)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._tries_left == 0:
            raise ResetNeeded("no game of Wordle is running: call reset first")
        self._tries_left -= 1
        row = self._lexicon.rows.get(action) or self._read(action)
        if isinstance(row, str):
            return self._refused(row)
        code = row.codes[self._hidden]
        self._left &= row.masks[code]
        answer = FEEDBACK[code]
        self._board.append((row.guess, answer))
        info: dict[str, Any] = {"success": False, "words_left": self._left.bit_count()}
        if code == SOLVED:
            self._tries_left = 0
            info |= {"success": True, "word": row.guess}
            return answer, 0.0, True, False, info
        if self._tries_left == 0:
            info["word"] = self._lexicon.words[self._hidden]
            return answer, -1.0, True, False, info
        return answer, -1.0, False, False, info

    def _read(self, action: str) -> Row | str:
        """Return the row of the guess that is meant, or why it is invalid."""
        guess = action.replace(" ", "").strip()
        if len(guess) != LETTERS or not (guess.isascii() and guess.isalpha()):
            return NOT_FIVE_LETTERS
        guess = guess.lower()
        if self.require_known_words and not self._lexicon.knows(guess):
            return UNKNOWN_WORD
        return self._lexicon.row(guess)

    def _refused(self, why: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._board.append(("-" * LETTERS, why))
        info: dict[str, Any] = {"success": False, "words_left": self._left.bit_count(), "invalid": why}
        if self._tries_left == 0:
            info["word"] = self._lexicon.words[self._hidden]
        return "", self.invalid_reward, self._tries_left == 0, False, info

    def choices(self) -> Sequence[str] | None:
        """Every accepted guess, hidden words first; None where any five letters may be guessed."""
        return self._lexicon.guesses if self.require_known_words else None

    def prompt(self) -> str:
        words, others = self._lexicon.words, self._lexicon.guesses[len(self._lexicon.words) :]
        lists = [f"The hidden word is one of these {len(words)}:\n{', '.join(words)}"]
        if not self.require_known_words:
            lists.append("Any other five letters a to z may be guessed as well.")
        elif others:
            lists.append(f"These {len(others)} are never hidden, but may be guessed as well:\n{', '.join(others)}")
        else:
            lists.append("No other word may be guessed.")
        return filled(
            "lmgym.envs",
            "data/prompts/wordle.txt",
            rule=COUNTED if self._lexicon.letter_counts else UNCOUNTED,
            invalid_reward=self.invalid_reward,
            guesses="\n\n".join(lists),
        )

    def behaviour(self) -> str:
        """A word that agrees with all answers, with the player's skill for probability, else any of `words`.

        Both are drawn uniformly. The skill is one of `behaviour_skills`, drawn at the first guess of a game.
        """
        chance, words = self.behaviour_random, self._lexicon.words
        if self._skill is None:
            self._skill = self.behaviour_skills[int(chance.integers(len(self.behaviour_skills)))]
        if chance.random() < self._skill:
            members = self._lexicon.members(self._left)
            return " ".join(words[members[int(chance.integers(len(members)))]])
        return " ".join(words[int(chance.integers(len(words)))])

    def expert(self) -> str:
        """The guess with the fewest wrong guesses to come, see `Lexicon.best_guess`. It does not know the word."""
        if self._tries_left == 1:
            return " ".join(self._lexicon.words[int(self._lexicon.members(self._left)[0])])
        return " ".join(self._lexicon.best_guess(self._left))

    def render(self) -> str | None:
        """Return the guesses so far with their answers, a line each."""
        if self.render_mode is None:
            return None
        lines = [f"{number}  {guess}  {answer}" for number, (guess, answer) in enumerate(self._board, start=1)]
        return "\n".join([HEADER, *lines])


def _reference(data: float, success: float, turns: float, best: float, how: str) -> Reference:
    return Reference(
        min=Score(-float(TRIES), "six wrong guesses"),
        data=Score(data, "100,000 games of behaviour(), series 0"),
        best=Score(best, f"expert(), {how}, exact mean over all hidden words (tests/test_wordle.py)"),
        data_success=success,
        data_turns=turns,
    )


PUBLISHED_SKILLS = (1 / 3,)
MINI_SKILLS = (0.0, 1.0)
REFERENCES = {
    ("benchmark", "accepted", True, PUBLISHED_SKILLS): _reference(
        -4.06, 0.703, 4.76, -797 / 431, "which guesses among all accepted words"
    ),
    ("benchmark", None, False, PUBLISHED_SKILLS): _reference(-4.08, 0.700, 4.78, -820 / 431, "one of the 431"),
    ("mini", None, True, MINI_SKILLS): _reference(-3.13, 0.634, 3.76, -1.05, "one of the 20"),
}
