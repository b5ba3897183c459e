"""Guess My City (`lmgym/GuessMyCity-v0`), and with 16 cities (`lmgym/GuessMyCityMini-v0`)."""

import string
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from gymnasium import spaces
from gymnasium.error import ResetNeeded

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.envs._guess_my_city_facts import ALSO_IN, CONTINENTS, PROSE, City, folded, world
from lmgym.envs._guess_my_city_players import Asker, Planner
from lmgym.envs._guess_my_city_questions import Query, Reader, gazetteer, name_of
from lmgym.envs._guess_my_city_speech import ASKED, DEFLECTED, GUESSES, UNCLEAR, WRONG_GUESS, Voice
from lmgym.errors import unknown
from lmgym.oracle import OracleError, OtherSide, load_oracle
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

HEADER = "Questions:"
NOT_UNDERSTOOD = "not understood"
ANYTHING = "You may ask anything about the city."
MAX_REPLY = 600
MINI_CITIES = (
    "Tokyo", "Beijing", "Mumbai", "Jakarta", "Moscow", "Paris", "London", "Rome", "Cairo", "Kinshasa", "Lima",
    "Rio de Janeiro", "Bogotá", "Mexico City", "New York", "Sydney",
)  # fmt: skip
MINI_QUESTIONS = (
    ("ask", "continent", None), ("check", "coast", None), ("check", "capital", None), ("check", "people_over", 10e6),
    ("check", "snow", None), ("check", "mountains", None), ("check", "island", None), ("check", "hemisphere", "north"),
    ("check", "area", "Asia"), ("check", "area", "Europe"), ("check", "area", "South America"),
)  # fmt: skip
TURNS = {"all": 20, "mini": 8}


class Table:
    """The cities of a game, what may be asked of them, and every answer; nothing in it changes but caches."""

    def __init__(self, size: str) -> None:
        mini = size == "mini"
        tables = world()
        self.cities: tuple[City, ...] = tuple(city for city in tables.cities if not mini or city.name in MINI_CITIES)
        self.names = tuple(city.name for city in self.cities)
        self.index = {name: number for number, name in enumerate(self.names)}
        self.all = (1 << len(self.cities)) - 1
        self.voice = Voice(1 if mini else None)
        asked = {Query(*key): texts for key, texts in ASKED.items() if not mini or key in MINI_QUESTIONS}
        self.asked = {query: texts[: 1 if mini else None] for query, texts in asked.items()}
        self.guesses = GUESSES[: 1 if mini else None]
        self.topics = {(query.kind, query.topic) for query in self.asked} | {("secret", "name")} if mini else None
        phrases = {text: query for query, texts in asked.items() for text in texts}
        phrases |= {text.format(x=name): Query("guess", "city", name) for name in self.names for text in GUESSES}
        areas = {*CONTINENTS.values(), *(nation["region"] for nation in tables.nations.values()), *ALSO_IN}
        self.reader = Reader(gazetteer(tables, sorted(areas)), phrases)
        self.phrases = tuple(phrases)
        self._answers: dict[tuple[int, Query], tuple[str, ...]] = {}

    def read(self, text: str) -> Query | None:
        """Return what is asked, None for what is not understood or is not a matter of this game."""
        query = self.reader.read(text)
        known = (
            self.topics is None or query is None or query.kind == "guess" or (query.kind, query.topic) in self.topics
        )
        return query if known else None

    def answers(self, number: int, query: Query) -> tuple[str, ...]:
        """Return the ways in which a city answers a question that is no guess."""
        said = self._answers.get((number, query))
        if said is None:
            if len(self._answers) > 50_000:
                self._answers.clear()
            said = self._answers[number, query] = self._composed(self.cities[number], query)
        return said

    def _composed(self, city: City, query: Query) -> tuple[str, ...]:
        if query.kind == "ask":
            return self.voice.to_ask(city, query.topic)
        if query.kind == "check":
            return self.voice.to_check(city, query.topic, query.value)
        return DEFLECTED[: self.voice.phrasings]

    @lru_cache(maxsize=50_000)  # noqa: B019 (there are two tables, and `_table` keeps them anyway)
    def agreeing(self, query: Query, answer: str) -> int:
        """Return the cities that may answer so, bit c for city c; all of them where none would, as with an oracle."""
        fit = sum(1 << number for number in range(len(self.cities)) if answer in self.answers(number, query))
        return fit or self.all

    def find(self, name: Any) -> int:
        """Return the number of a city by any of its names. Raises UsageError that names the nearest."""
        wanted = name_of(name) if isinstance(name, str) else ""
        for number, city in enumerate(self.cities):
            if wanted and wanted in {name_of(each) for each in city.names}:
                return number
        raise unknown("city", name, self.names)


@lru_cache(maxsize=2)
def _table(size: str) -> Table:
    return Table(size)


@lru_cache(maxsize=2)
def _planner(size: str) -> Planner:
    table = _table(size)
    queries = [query for query in table.asked if query.kind != "secret"]
    return Planner(
        len(table.cities), {query: [table.answers(c, query) for c in range(len(table.cities))] for query in queries}
    )


class GuessMyCity(TextEnv):
    """Find out by questions which city a person is from.

    Description:
        A person from one of 100 large cities answers free questions about it, but does not give away the name of
        the city or its country. `Is the city you are from Lima?` wins if it is.
    Observation:
        `Questions:` at first, then an answer: a sentence or two in the first person to an open question (`My
        favorite traditional dish from my hometown is ...`), `Yes, ...` or `No, ...` to a yes/no question. Where
        neither would be honest, the person says so. A question for the name, and one whose answer would hold a
        name or adjective of the city or its country or compare the city with itself, is deflected.
    Action:
        A question in English. Old and new names, spellings without accents, case and punctuation do not matter
        in a guess: `are you from bombay`.
    Start:
        The city is uniform; `reset(options={"city": "Lima"})` takes one of them by any of its names.
    Reward:
        0 for the question that names the city, -1 for any other. Returns lie in -20 to 0 (mini: -8 to 0).
    What an invalid reply does:
        What is not understood costs the turn as any question and is answered by a sentence that says so; it is
        never answered by guessing what might be meant.
    Episode end:
        Terminated when the city is named and when 20 questions (mini: 8) are asked: losing is the end of the
        task, not a cut. Truncated only where a language model as the other side gives no answer
        (`info["oracle_error"]`): the question costs -1 as any, and the observation is empty.
    Info:
        `success`, `topic` (what the question was taken to ask), `not_understood` and `deflected` (how many so
        far), `invalid` (why, for a question that is not understood), `city` (at the end only). With a
        language model as the other side no `invalid`, but `leaks` (how many of its replies gave the city away and
        were replaced), `oracle_calls`, `oracle_prompt_tokens`, `oracle_completion_tokens`, `oracle_cost` (all so
        far) and, if it failed, `oracle_error`.
    Arguments:
        cities: "all" (100) or "mini" (16 cities, eleven questions with one answer each, 8 turns).
        oracle: "embedded" (the tables), or a language model as in `lmgym.oracle`. A guess is judged by the game.
    How right the answers are:
        `fidelity()` counts it on held-out questions. Most were written before the reader of questions, by the same
        author. At first, 98.6 % of 428 were answered, 98.3 % of these rightly; those seen to go wrong were then
        moved to the development questions and mended, so that the figure of today flatters. The 88 of style
        `fresh` were written after the reader and are untouched: the share right among them is the fairer one.
        Of 92 questions in deliberately fanciful words (now `late` in the development file) it answered 47 % at
        first, 97.7 % of these rightly: what is worded in a way that nobody thought of is declined. The questions of
        style `independent` have figures of their own: their author had read neither the reader nor the tables nor
        other questions, and wrote 239 on 151 ordinary wordings. Of the half kept unseen, 83.5 % of 121 were answered
        at first, 98.0 % of these rightly; the other half served development.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        Answers are open as in the paper (code: yes or no), the game can be won, no answer gives the name away, and
        all 100 cities are played (code: 99); spellings are corrected. No model of billions of parameters is
        needed. Taipei's country is Taiwan, as in GeoNames, and whether it lies in China is answered by neither yes
        nor no; Hong Kong is taken to be in China. The published data are inconsistent in themselves: a success of
        0.53 in 18.8 questions gives -18.3, not -18.8; `behaviour()` has a success of 0.53 and a return that
        follows from its length. Since what a person tells of a city often fits no other, the best known return is
        that of a player who knows the table, one question and then the name: -1 (published: -8.56).
        `lmgym/GuessMyCityMini-v0` has no published counterpart.
    Sources:
        Countries, populations, positions, times, currencies and borders: GeoNames (CC BY 4.0), frozen by
        `envs/data/make_cities.py`, with corrections that are listed there. The rest is in `envs/data/cities.json`.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, cities: str = "all", oracle: str = "embedded", render_mode: str | None = None) -> None:
        if cities not in TURNS:
            raise unknown("set of cities", cities, TURNS)
        self.render_mode = render_mode
        self.max_turns = TURNS[cities]
        self._size = cities
        self._table = _table(cities)
        self._oracle = load_oracle(oracle)
        self.remote = self._oracle is not None
        self.reference = REFERENCES[cities] if self._oracle is None else None
        self._declare_scale(mini=cities == "mini")
        self.observation_space = spaces.Text(MAX_REPLY, min_length=0, charset=_charset())
        self.action_space = AnyText(self._examples())
        self._city = 0
        self._turns_left = 0
        self._talk: list[tuple[str, Query | None, str]] = []
        self._counts: dict[str, Any] = {}
        self._asker: Asker | None = None
        self._other: OtherSide | None = None

    def _declare_scale(self, *, mini: bool) -> None:
        self.tokenizer = "phrase" if mini else "word"
        self.preset = "0.1M" if mini else "5M"
        self.max_reply_chars = 60 if mini else 120
        self.data_episodes = 10_000 if mini else 100_000
        self.evaluation_episodes = 1000

    def _examples(self) -> tuple[str, ...]:
        asked = [text for texts in self._table.asked.values() for text in texts]
        return (*asked, *(self._table.guesses[0].format(x=name) for name in self._table.names))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        options = require_options(options, ("city",), "Guess My City")
        if options:
            self._city = self._table.find(options["city"])
        else:
            self._city = int(self.np_random.integers(len(self._table.cities)))
        self._turns_left = TURNS[self._size]
        self._talk = []
        self._asker = None
        self._counts = {"not_understood": 0, "deflected": 0}
        self._other = OtherSide(self._oracle, self.np_random) if self._oracle else None
        if self._other is not None:
            self._counts["leaks"] = 0
        return HEADER, {"success": False, **self._counted()}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._turns_left == 0:
            raise ResetNeeded("no game of Guess My City is running: call reset first")
        self._turns_left -= 1
        query = self._table.read(action)
        if query is not None and query.kind == "guess" and query.value == self._table.names[self._city]:
            return self._won(action, query)
        info: dict[str, Any] = {"success": False, "topic": query.topic if query else None}
        if self._other is None or (query is not None and query.kind == "guess"):
            answer = self._answer(query, info)
        else:
            try:
                answer = self._model_answer(self._other, action)
            except OracleError as error:
                self._turns_left = 0
                info |= {**self._counts, "city": self._table.names[self._city]}
                return self._other.cut_off(error, -1.0, info)
        self._talk.append((action, query, answer))
        info |= self._counted()
        over = self._turns_left == 0
        if over:
            info["city"] = self._table.names[self._city]
        return answer, -1.0, over, False, info

    def _won(self, action: str, query: Query) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._turns_left = 0
        name = self._table.names[self._city]
        answer = f"Yes, I am from {name}."
        self._talk.append((action, query, answer))
        return answer, 0.0, True, False, {"success": True, "topic": "guess", **self._counted(), "city": name}

    def _counted(self) -> dict[str, Any]:
        return self._counts | (self._other.info() if self._other else {})

    def _answer(self, query: Query | None, info: dict[str, Any]) -> str:
        if query is None:
            self._counts["not_understood"] += 1
            info["invalid"] = NOT_UNDERSTOOD
            said: Sequence[str] = UNCLEAR
        elif query.kind == "guess":
            info["topic"] = "guess"
            said = WRONG_GUESS
        else:
            said = self._table.answers(self._city, query)
            if said[0] == DEFLECTED[0]:
                self._counts["deflected"] += 1
        if self._size == "mini":
            return said[0]
        return said[int(self.np_random.integers(len(said)))]

    def _model_answer(self, other: OtherSide, action: str) -> str:
        """Ask the language model; a reply that gives the city away is replaced. Raises OracleError."""
        city = self._table.cities[self._city]
        said = ((question, answer) for question, _, answer in self._talk)
        reply = other.reply(briefing(city), said, action, max_tokens=64)
        if city.secret.found_in(reply):
            self._counts["leaks"] += 1
            self._counts["deflected"] += 1
            return DEFLECTED[int(self.np_random.integers(len(DEFLECTED)))]
        return _one_line(reply) or UNCLEAR[0]

    def behaviour(self) -> str:
        """One of many askers, of different skill and patience, see `Asker`."""
        if self._asker is None:
            self._asker = Asker(self._table, self.behaviour_random, mini=self._size == "mini")
        return self._asker.next_question(self._talk, self._turns_left)

    def expert(self) -> str:
        """The question with the fewest turns to come, see `Planner`; it knows the table, but not the city."""
        left = self._table.all
        for _, query, answer in self._talk:
            if query is not None and query.kind == "guess":
                left &= ~(1 << self._table.index[query.value]) if query.value in self._table.index else -1
            elif query is not None:
                left &= self._table.agreeing(query, answer) or -1
        choice = _planner(self._size).best(left or self._table.all)
        if isinstance(choice, int):
            return self._table.guesses[0].format(x=self._table.names[choice])
        return self._table.asked[choice][0]

    def prompt(self) -> str:
        table = self._table
        asked = [texts[0] for query, texts in table.asked.items() if query.kind != "secret"]
        few = "\n".join(["Besides guesses only these questions are understood:", *asked])
        return filled(
            "lmgym.envs",
            "data/prompts/guess_my_city.txt",
            turns=self.max_turns,
            questions=ANYTHING if table.topics is None or self._oracle is not None else few,
            count=len(table.names),
            cities=", ".join(table.names),
        )

    def fidelity(self) -> Mapping[str, float]:
        """Return how the reader and the tables do on the held-out questions (`held_out_scores`), and on those of the
        independent author alone.

        Empty for the small game, which speaks of few of their matters, and where a language model answers.
        """
        if self._size == "mini" or self._oracle is not None:
            return {}
        independent = held_out_scores("cities_heldout.csv", "independent")
        shown = ("held-out questions", "answered", "right among answered")
        return held_out_scores("cities_heldout.csv") | {f"independent, {name}": independent[name] for name in shown}

    def render(self) -> str | None:
        """Return the questions so far with their answers."""
        if self.render_mode is None:
            return None
        lines = [
            f"{number}  {_one_line(question)[:120]}\n   {answer}"
            for number, (question, _, answer) in enumerate(self._talk, 1)
        ]
        return "\n".join([HEADER, *lines])


def briefing(city: City) -> str:
    """Return what a language model is told so that it can answer as a person from the city."""
    facts = [f"City: {city.name}", f"Region: {city.nation['region']}", f"Population: about {city.population:,}"]
    facts += [
        f"Position: latitude {city.latitude:.1f}, longitude {city.longitude:.1f}, altitude {city.row['altitude']} m"
    ]
    facts += [
        f"Climate: {city.climate}",
        f"Languages: {', '.join(city.row['languages'])}",
        f"Currency: {city.currency}",
    ]
    facts += [f"Sea: {city.row['sea'] or 'none'}. River: {city.row['river'] or 'none'}"]
    facts += [f"National capital: {'yes' if city.is_capital else 'no'}"]
    facts += [f"{name.capitalize()}: {city.row[name]}" for name in PROSE]
    rules = (
        "You are a person from the city described below, in a guessing game. Another person asks you questions to find"
        " out which city it is. Answer truthfully in the first person, in one or two short sentences. Begin the"
        " answer to a yes/no question with Yes or No. Never mention the name of the city or of its country, nor an"
        " adjective made from either, and never spell or translate them; if you are asked for them, decline. If"
        " you do not understand a question, say so."
    )
    return "\n".join([rules, "", *facts])


def _one_line(text: str) -> str:
    """Return a text of others on one line of the characters that an observation may have, not too long."""
    allowed = _charset_members()
    composed = unicodedata.normalize("NFC", text[: 4 * MAX_REPLY])
    kept = "".join(char if char in allowed else " " if char.isspace() else "" for char in composed)
    return " ".join(kept.split())[:MAX_REPLY]


@lru_cache(maxsize=1)
def _charset_members() -> frozenset[str]:
    return frozenset(_charset())


@lru_cache(maxsize=1)
def _charset() -> str:
    told = "".join(city.name + "".join(city.row[name] for name in PROSE) for city in world().cities)
    water = "".join((city.row["sea"] or "") + (city.row["river"] or "") for city in world().cities)
    borders = "".join(country["name"] for country in world().countries.values())
    return "".join(
        sorted(set(string.ascii_letters + string.digits + string.punctuation + " " + told + water + borders))
    )


def held_out_questions(name: str) -> list[dict[str, str]]:
    """Return questions with their expected answers: `Y`, `N`, `win`, `deflect`, a topic and what is to be told, several
    of these with `|` between them, or `unclear` where the tables cannot know."""
    text = (resources.files("lmgym.envs") / "data" / name).read_text(encoding="utf-8")
    header, *lines = text.splitlines()
    return [dict(zip(header.split(";"), line.split(";", 3), strict=True)) for line in lines]


def judged(item: Mapping[str, str], table: Table) -> str:
    """Return how one question fares: `unanswered`, `right` or `wrong`. Every phrasing of the answer must be right.

    Where several answers are right (`Y|landmark:eiffel`), one of them must be given. A question that the tables cannot
    know is `wrong` where it is answered all the same."""
    verdicts = [_judged({**item, "expected": expected}, table) for expected in item["expected"].split("|")]
    return "right" if "right" in verdicts else verdicts[0]


def _judged(item: Mapping[str, str], table: Table) -> str:
    number, expected = table.find(item["city"]), item["expected"]
    query = table.read(item["question"])
    if query is None:
        return "unanswered"
    if query.kind == "guess":
        won = query.value == table.names[number]
        return "right" if expected == ("win" if won else "N") else "wrong"
    said = table.answers(number, query)
    if expected in ("Y", "N"):
        start = "Yes, " if expected == "Y" else "No, "
        return "right" if all(text.startswith(start) for text in said) else "wrong"
    if expected in ("deflect", "win"):
        return "right" if expected == "deflect" and said == DEFLECTED[: table.voice.phrasings] else "wrong"
    topic, _, content = expected.partition(":")
    found = query.topic == topic and all(content in folded(text) for text in said)
    return "right" if query.kind == "ask" and found else "wrong"


@lru_cache(maxsize=4)
def held_out_scores(name: str, style: str = "") -> dict[str, float]:
    """Return how many held-out questions there are (of one style, if given), the share that is answered, the share
    right among these, and how many of the questions that the tables cannot know are declined."""
    table = _table("all")
    items = [item for item in held_out_questions(name) if style in ("", item["style"])]
    verdicts = [judged(item, table) for item in items if item["expected"] != "unclear"]
    beyond = [judged(item, table) for item in items if item["expected"] == "unclear"]
    answered = [verdict for verdict in verdicts if verdict != "unanswered"]
    return {
        "held-out questions": len(verdicts),
        "answered": len(answered) / max(1, len(verdicts)),
        "right among answered": answered.count("right") / max(1, len(answered)),
        "questions beyond the tables": len(beyond),
        "declined among these": beyond.count("unanswered") / max(1, len(beyond)),
    }


def _reference(turns: int, data: float, success: float, length: float, best: float, how: str) -> Reference:
    return Reference(
        min=Score(-float(turns), f"{turns} questions and no city"),
        data=Score(data, "100,000 games of behaviour(), series 0"),
        best=Score(best, how),
        data_success=success,
        data_turns=length,
    )


REFERENCES = {
    "all": _reference(
        20, -18.02, 0.531, 18.56, -1.0, "expert(), exact mean over all cities (tests/test_guess_my_city.py)"
    ),
    "mini": _reference(
        8, -6.24, 0.664, 6.90, -2.0, "expert(), exact mean over all cities (tests/test_guess_my_city.py)"
    ),
}
