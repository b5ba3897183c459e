"""From a question in free text to what is asked. A question is read only where every word of weight is accounted for.

Reading goes in four steps: words are normalised; names and numbers become marks (`@city0`, `@count1`); a rule
looks for its words; what is left must be words without weight. Otherwise the question is not understood.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

MAX_LENGTH = 300


class Query(NamedTuple):
    """What is asked: a yes/no question (`check`), an open one (`ask`), a `guess`, or a `secret`."""

    kind: str
    topic: str
    value: Any = None


SECRET = Query("secret", "name")
Names = Mapping[str, tuple[str, Any]]
"""A normalised name and what it means: its kind and its value."""

CONTRACTIONS = [
    (r"\b(what|where|how|who|it|that|there|which|when|here|he|she)'s\b", r"\1 is"),
    (r"\b(is|are|was|were|do|does|did|has|have|had|would|could|can|should)n't\b", r"\1"),
    (r"\bcan't\b", "can"),
    (r"'re\b", " are"),
    (r"'d\b", " would"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"\bi'm\b", "i am"),
    (r"'s\b", ""),
    (r"s'(?=\s|$)", "s"),
]
CONTRACTED = [(re.compile(pattern), instead) for pattern, instead in CONTRACTIONS]
NUMBERS = {
    "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "half": 0.5,
}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1e3, "k": 1e3, "million": 1e6, "millions": 1e6, "m": 1e6, "mil": 1e6, "mio": 1e6}
UNITS = {
    "km": "km", "miles": "miles", "metre": "metre", "feet": "feet", "ft": "feet", "years": "years", "year": "years",
    "centuries": "centuries", "century": "centuries", "decades": "decades", "people": "count", "millennia": "millennia",
}  # fmt: skip
UNIT_SIZES = {"miles": ("km", 1.609), "feet": ("metre", 0.3048), "centuries": ("years", 100), "decades": ("years", 10)}
UNIT_SIZES["millennia"] = ("years", 1000)
DIGITS = re.compile(r"^(\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)(k|m|mil|km|bn)?$")

# Words that never change what a question asks.
EMPTY_WORDS = """
a an the of in on at to for by with from as about is are am was were be been being do does did has have had can
could will would should may might must shall it its he there here this that these those they them their your you
yours my me i we us our city place area where people person live lives living lived located situated lie lies
lying found find come comes coming born home somewhere anywhere exactly currently indeed now ok so
well anyway hmm hm mm mmm ooh oh ah wow nice cool great alright haha just really actually then right yeah yes
please kindly thanks thank hello hi hey sir friend let think imagine guess bet suppose believe wonder wondering
checking see if whether say know tell also quite very pretty rather any some one ones kind kinds type types sort
usually generally typically normally mostly mainly often all approximately roughly possibly perhaps maybe chance
big major own like going go get gets got what which how who when why else sounds sound question mind ask asked
fair considered consider call talking ever still way even though guy
based reside resides residing celebrate because kids craze mean thing made among able both each using
long whole entire throughout days day walking distance look looks souls help talk really within
"""
EMPTY = frozenset(EMPTY_WORDS.split())
OPENING = re.compile(
    r"^(?:(?:ok|okay|so|well|hmm+|hm|mm+|oh|ooh|ah|wow|nice|cool|great|alright|haha|and|but|please|excuse me|"
    r"hello|hi|hey|"
    r"just checking|let me think|sounds (?:huge|big|small|nice|great|cool)|good|thanks|thank you|now|next question|"
    r"interesting|awesome|come on|c'?mon)\s+)+"
)
POLITE = re.compile(
    r"^(?:(?:could|can|would|will|might|may|please) )?(?:you )?(?:please |kindly |be so kind as to |mind )?"
    r"(?:tell(?:ing)? me|telling|describe|describing|name|naming|share(?: with me)?|recommend|list|give me|state|"
    r"explain|let me know)"
    r"(?: please)?(?: a little| a bit| something| more)*(?: about)? "
    r"|^(?:may|might|can|could) i (?:ask|know|inquire)(?: you)?(?: please)? "
    r"|^(?:i (?:was|am) (?:just )?(?:wondering|curious)|i wonder|(?:do|would) you mind if i ask|do you know) "
    r"|^(?:would it be|is it) (?:fair|right|correct|true|safe) to say (?:that )?"
    r"|^(?:is it|it is) (?:true|right|correct) that "
    r"|^(?:would you say|could it be|can it be|am i right|i (?:think|guess|bet|imagine|suppose|assume)|"
    r"are we talking about|would you (?:consider it|call it))"
    r"(?: that)? "
)
WHETHER = re.compile(r"^(?:if|whether|that) ")
OPEN_WORD = re.compile(r"\b(?:what|which|how|where|whereabouts|when|why|who|whose)\b")
AUXILIARY = re.compile(
    r"\b(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|may|might|must|shall)\b"
)
ASKS_FOR_ANY = re.compile(
    r"\b(?:any|anything|something|some|what|which|how)\b|(?:hot|warm|coastal|north|big|small) or (?:a )?\w+"
)
BARE_SECRET = re.compile(r"(?:^| )(?:tell me|name|say|reveal) (?:your|the) (?:home )?(?:city|country)$")
OF_THE_PERSON = re.compile(
    r"\bhow old are you|\byour (?:job|name|age|family|house|wife|husband|work)\b|\bwhere do you work|\bdo you work\b"
)
GUESS_FRAME = """
is it the city you are from your home do live in come i think guess guessing believe bet my answer would could
can might must be then so called named that of am right born place maybe perhaps this final say were reside by
any chance to going with for sure ok well hmm yes person people a and finally here does mean we was did grow up
currently probably surely definitely resident native most surely say saying know now
"""
GUESS_WORDS = frozenset(GUESS_FRAME.split())


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, Any]:
    """Return the names and spellings of `cities_words.json`."""
    return json.loads((resources.files("lmgym.envs") / "data" / "cities_words.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def spellings() -> dict[str, str]:
    """Return words that are read as other words."""
    return vocabulary()["spellings"]


def words_of(text: str) -> list[str]:
    """Return the normalised words of a text: no accents, no case, no punctuation, contractions written out."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").replace("‘", "'").replace("ı", "i"))
    plain = plain.encode("ascii", "ignore").decode("ascii").lower()
    for pattern, instead in CONTRACTED:
        plain = pattern.sub(instead, plain)
    plain = plain.replace("'", "").replace("over there", "there")
    words = re.findall(r"[a-z]+|\d+(?:[.,]\d+)*[a-z]*", re.sub(r"\b([a-z])\.(?=[a-z]\b)", r"\1", plain))
    return [spellings().get(word, word) for word in words]


def name_of(text: str) -> str:
    """Return the form in which a name is looked up."""
    return " ".join(words_of(text))


class Reader:
    """Reads questions, given names of places and languages, and phrasings that are known beforehand."""

    def __init__(self, names: Names, phrases: Mapping[str, Query]) -> None:
        self.names = names
        self.longest = max(len(name.split()) for name in names)
        self.known: dict[str, Query | None] = {}
        for phrase, query in phrases.items():
            self.known[phrase] = query
            self.known[phrase.casefold().rstrip("?")] = query
        self._cache: dict[str, Query | None] = {}

    def read(self, text: str) -> Query | None:
        """Return what is asked, None where it is not understood."""
        query = self.known.get(text)
        if query is not None:
            return query
        try:
            return self._cache[text]
        except KeyError:
            pass  # Not `in` first: another thread may empty it between the two.
        if len(text) > MAX_LENGTH:
            return None
        if len(self._cache) >= 20_000:
            self._cache.clear()
        query = self.known.get(text.casefold().strip().rstrip("?")) or self.understand(text)
        self._cache[text] = query
        return query

    def understand(self, text: str) -> Query | None:
        """Read a question word by word, without the phrasings that are known."""
        words = words_of(text)
        if not words:
            return None
        marked = Marked(words, self.names, self.longest)
        guess = _as_guess(marked)
        if guess is not None:
            return guess
        if BARE_SECRET.search(marked.sentence):
            return SECRET
        sentence, open_form = _without_opening(marked.sentence)
        if sentence == "@adj0":
            return None  # "Spanish?" may ask for the language or for the country.
        for rules in _rules_for(sentence, open_form):
            for rule in rules:
                query = rule.read(sentence, marked.values)
                if query is not None:
                    return query
        return None


class Marked:
    """A question whose names and numbers are marks; `values[i]` is what the mark that ends in i means."""

    def __init__(self, words: list[str], names: Names, longest: int) -> None:
        self.values: list[Any] = []
        self.kinds: list[str] = []
        marks: list[str] = []
        place = 0
        while place < len(words):
            length, kind, value = self._number(words, place) or self._name(words, place, names, longest)
            if length:
                marks.append(f"@{kind}{len(self.values)}")
                self.values.append(value)
                self.kinds.append(kind)
            else:
                marks.append(words[place])
            place += max(1, length)
        self.words = marks
        self.sentence = " ".join(marks)

    @staticmethod
    def _name(words: list[str], place: int, names: Names, longest: int) -> tuple[int, str, Any]:
        for length in range(min(longest, len(words) - place), 0, -1):
            found = names.get(" ".join(words[place : place + length]))
            if found is not None:
                return length, *found
        return 0, "", None

    @staticmethod
    def _number(words: list[str], place: int) -> tuple[int, str, Any] | None:
        first = DIGITS.match(words[place])
        if first is None and not (words[place] in NUMBERS and words[place + 1 : place + 2]):
            return None
        if first is None and words[place + 1] not in SCALES | UNITS:
            return None
        value = float(first.group(1).replace(",", "")) if first else float(NUMBERS[words[place]])
        scaled = bool(first and first.group(2))
        value *= SCALES.get(first.group(2) or "", 1) if first else 1
        end = place + 1
        if first and first.group(2) == "km":
            return 1, "km", value
        while end < len(words) and (
            words[end] in SCALES or (words[end] == "a" and words[end + 1 : end + 2] == ["million"])
        ):
            value *= SCALES.get(words[end], 1)
            scaled, end = True, end + 1
        if end < len(words) and words[end] in ("to", "and") and not scaled:
            return end - place, "number", value
        unit = UNITS.get(words[end], "") if end < len(words) else ""
        if unit == "years" and words[end] == "year" and not scaled:
            unit = ""
        kind, size = UNIT_SIZES.get(unit, (unit, 1))
        if first is None and not scaled and not unit:
            return None
        if not kind:
            kind = "count" if scaled or value >= 3000 else "number"
            return end - place, kind, value
        return end - place + 1, kind, value * size


def _as_guess(marked: Marked) -> Query | None:
    """A guess names one city, perhaps with its country, and has no other word of weight."""
    cities = [value for kind, value in zip(marked.kinds, marked.values, strict=True) if kind == "city"]
    if len(cities) != 1 or any(kind not in ("city", "country") for kind in marked.kinds):
        return None
    plain = OPENING.sub("", marked.sentence).split()
    rest = [word for word in plain if not word.startswith("@")]
    if not all(word in GUESS_WORDS for word in rest):
        return None
    return Query("guess", "city", cities[0])


def _without_opening(sentence: str) -> tuple[str, bool]:
    """Return the sentence without what only leads up to it, and whether it asks for more than yes or no."""
    open_form = False
    for _ in range(4):
        shorter = OPENING.sub("", sentence)
        polite = POLITE.match(shorter)
        if polite:
            open_form = (
                re.search(r"tell|describ|nam|shar|recommend|list|give|state|explain", polite.group()) is not None
            )
            shorter = shorter[polite.end() :]
        whether = WHETHER.match(shorter)
        if whether:
            return shorter[whether.end() :], False
        if shorter == sentence:
            break
        sentence = shorter
    asks = OPEN_WORD.search(sentence)
    auxiliary = AUXILIARY.match(sentence)
    if asks and not auxiliary:
        open_form = True
    return sentence, open_form


def _rules_for(sentence: str, open_form: bool) -> tuple[list["Rule"], ...]:
    """A yes/no question is answered as an open one only where it asks whether there is any, or for one of two."""
    if OF_THE_PERSON.search(sentence):
        return ()
    if open_form:
        return (OPEN_RULES,) if OPEN_WORD.match(sentence) else (OPEN_RULES, CHECK_RULES)
    if AUXILIARY.search(sentence) and not ASKS_FOR_ANY.search(sentence):
        return (CHECK_RULES,)
    return CHECK_RULES, OPEN_RULES


class Rule:
    """Words to look for, and the query they mean; `extra` are words that carry no further weight beside them."""

    def __init__(self, pattern: str, make: Callable[..., Query | None], extra: str = "", spare: int = 0) -> None:
        pattern = re.sub(r"\{(\w+?)(\d?)\}", r"@\1(?P<\1\2>\\d+)", pattern)
        self.pattern = re.compile(rf"(?<!\S)(?:{pattern})(?!\S)")
        self.make = make
        self.extra = EMPTY | set(extra.split())
        self.spare = spare

    def read(self, sentence: str, values: list[Any]) -> Query | None:
        """Return the query, None where the rule does not account for the sentence."""
        match = self.pattern.search(sentence)
        if match is None:
            return None
        left = (sentence[: match.start()] + " " + sentence[match.end() :]).split()
        left = [word for word in left if word not in self.extra]
        refused = REFUSED if self.spare else REFUSED | COMPOUNDS
        if any(word.startswith("@") or word in refused for word in left):
            return None
        if len(left) > (self.spare or len(sentence.split()) >= LONG):
            return None
        found = {name: values[int(index)] for name, index in match.groupdict().items() if index is not None}
        return self.make(**found)


LONG = 5  # words; a question as long as this may hold one word of which nothing is known

REFUSED_WORDS = """
not no never without except neither nor unless tallest oldest second third fourth highest longest smallest airport
mayor president king queen visa price prices religion flag team teams moved wear cost expensive than country world
grandfather grandmother mother father brother sister wife husband son daughter children siblings parents house own
near nearby close night weekend january february march april june july august september october november december
bigger larger longer older wider taller cleaner colder hotter warmer richer safer farther further fewer less more
flight twinned contain contains letters growing last yesterday tomorrow today prefer yourself favorite dead war
western eastern northern southern state province war destroyed bombed red blue cats dogs count
north south east west time times past former formerly once previously
cultural financial economic commercial provincial architecture restaurant restaurants embassy bordering name names
word words vote elections
"""
REFUSED = frozenset(REFUSED_WORDS.split())
COMPOUNDS_WORDS = """
and or but
"""
COMPOUNDS = frozenset(COMPOUNDS_WORDS.split())


def _check(topic: str, value: Any = None) -> Callable[..., Query]:
    def make(**found: Any) -> Query:
        return Query("check", topic, next(iter(found.values()), value))

    return make


def _ask(topic: str) -> Callable[..., Query]:
    return lambda **_: Query("ask", topic)


def _secret(**_: Any) -> Query:
    return SECRET


def _nation(topic: str) -> Callable[..., Query | None]:
    def make(country: Any = None, adj: Any = None, city: Any = None, **_: Any) -> Query | None:
        code = country or (adj and adj[0]) or STATES.get(city)
        return Query("check", topic, code) if code else None

    return make


STATES = {"Singapore": "SG", "Hong Kong": "HK"}


def _language(lang: Any = None, adj: Any = None) -> Query | None:
    name = lang or (adj and adj[1])
    return Query("check", "language", name) if name else None


def _between(low: float, high: float) -> Query:
    if low < 1000 <= high:
        low *= 1e6 if high >= 1e6 else 1e3
    return Query("check", "people_between", (low, high))


def _near(city: Any, km: Any = None) -> Query:
    return Query("check", "near", (city, km))


def _compass(side: str) -> Callable[..., Query]:
    def make(city: Any = None, country: Any = None) -> Query:
        place = city or country
        return Query("check", "compass", (side, place)) if place else Query("check", "hemisphere", side)

    return make


def _compare(topic: str) -> Callable[..., Query]:
    return lambda city: Query("check", topic, city)


def _founded(topic: str, now: int = 2025) -> Callable[..., Query]:
    def make(years: Any = None, number: Any = None, count: Any = None) -> Query:
        year = now - years if years is not None else (number if number is not None else count)
        return Query("check", topic, int(year if year is not None else 0))

    return make


def _capital(**found: Any) -> Query | None:
    if not found:
        return Query("check", "capital")
    nation = _nation("capital")(**found)
    return nation


MORE = (
    "(?:more|over|above|exceeds?|exceeding|beyond|larger|bigger|greater|higher|at least|in excess of|upwards of)"
    "(?: than| of)?"
)
LESS = "(?:less|fewer|under|below|smaller|lower|at most|beneath)(?: than)?"
OLD = "old age history city ago"
PEOPLE = "population people big large larger huge size populous number inhabited populated total bigger home"
SEA_WORDS = "sea ocean coast coastal coastline seaside shore seashore waterfront"
ON_SEA = "directly right water access border borders touch touches face faces next situated sit sits city"
SIDES = {
    "north": "(?:further |farther |more )?north(?:ern|erly)?",
    "south": "(?:further |farther |more )?south(?:ern|erly)?",
    "east": "(?:further |farther |more )?east(?:ern|erly)?",
    "west": "(?:further |farther |more )?west(?:ern|erly)?",
}
PLACE = "(?:{city}|{country})"
FROM_THERE = "country homeland passport says resident citizen native hail hails originally nationality region same"

CHECK_RULES: list[Rule] = [
    Rule("(?:between|from) @(?:number|count)(?P<low>\\d+) (?:and|to) @count(?P<high>\\d+)", _between, PEOPLE),
    Rule(f"{MORE} {{count}}", _check("people_over"), PEOPLE),
    Rule(f"{LESS} {{count}}", _check("people_under"), PEOPLE),
    Rule(
        f"{MORE} {{metre}}(?: above(?: the)? sea level)?",
        _check("altitude_over"),
        "high altitude elevation lie sea level above",
    ),
    Rule(
        "(?:older than|(?:dates? |goes |go )?(?:back )?(?:more than|over|at least)) {years}(?: old| of history| ago)?",
        _founded("founded_before"),
        OLD + " founded established exist existed",
    ),
    Rule("(?:younger than|(?:less than|under)) {years}(?: old| ago)?", _founded("founded_after"), OLD + " founded"),
    Rule(
        "(?:founded|established|built|created|settled|exist|existed|around|there) before (?:the )?(?:year"
        " )?(?:{number}|{count}|common era"
        "|christ|year zero)",
        _founded("founded_before"),
        "exist",
    ),
    Rule(
        "(?:founded|established|built|created|settled) after (?:the )?(?:year )?(?:{number}|{count})",
        _founded("founded_after"),
        "exist",
    ),
    Rule("within {km} (?:of|from) {city}", _near, "distance"),
    Rule(
        "(?:near|near to|close to|next to|nearby|neighboring|not far from|a short (?:drive|trip|distance) from"
        "|close by) (?:the )?(?:city )?(?:of )?{city}",
        _near,
        "located",
    ),
    Rule(
        "(?:bigger|larger|more populous|more people|greater|more populated|higher population)(?: population)?(?:"
        " live)?(?: in it| there)? than (?:the )?(?:city )?(?:of )?(?:in )?{city}",
        _compare("bigger"),
        PEOPLE,
    ),
    Rule(
        "(?:smaller|less populous|fewer people|less people|less populated)(?: population)? than (?:in )?{city}",
        _compare("smaller"),
        PEOPLE,
    ),
    *(
        Rule(f"(?:to the )?{words} (?:of|than|from) (?:the )?(?:{PLACE}|equator)", _compass(side))
        for side, words in SIDES.items()
    ),
    *(Rule(f"{side}(?:ern)? hemisphere", _check("hemisphere", side), "country half") for side in SIDES),
    Rule("below the equator", _check("hemisphere", "south"), "country"),
    Rule("above the equator", _check("hemisphere", "north"), "country"),
    Rule(
        "tropics|between the tropics|tropical (?:zone|region|belt)|near the equator|close to the equator",
        _check("tropics"),
        "country within located between",
    ),
    Rule(
        "(?:{area} union|eu)(?: member| country)?",
        lambda area=None: Query("check", "european_union") if area in (None, "Europe") else None,
        "country member belong belongs",
    ),
    Rule(
        "(?:share(?:s)? (?:a )?)?(?:land )?(?:borders?|bordering|neighbors?|neighboring|adjacent)(?: to| with| on|"
        " of| country)* {country}",
        _nation("borders"),
        "share shares country direct",
    ),
    Rule(
        "{country} (?:is )?(?:a |your |one of your |the )*(?:country )?(?:neighbors?|border)(?: of| to)?(?:"
        " your)?(?: country)?",
        _nation("borders"),
        "bordering country next",
    ),
    Rule(
        "(?:colony|colonized|colonial|ruled|under|part of|controlled|possession|occupied|territory)(?: possession|"
        " of| by| rule| the| a| once| empire)* (?:{adj}|{country})(?: colony| rule| empire| crown| possession)*",
        _nation("colony"),
        "country once formerly former colony ruled rule empire past time under british",
    ),
    Rule(
        "(?:{adj}|{country}) (?:colony|possession|colonial (?:rule|power|city)|rule|empire)",
        _nation("colony"),
        "country once formerly former used under time past",
    ),
    Rule(
        "(?:@area\\d+ )?(?:colonized|colony|colonies|colonial)(?: by)?(?: a| an| any)?(?: @area\\d+| foreign|"
        " western)?(?: power| country|"
        " empire| nation)?",
        _check("colony"),
        "country once formerly former past used time under",
    ),
    Rule(
        "olympics?(?: games)?|olympic (?:games|host)(?: city)?",
        _check("olympics"),
        "ever summer winter hosted host held city take took place games venue past organized",
    ),
    Rule("capital(?: city)? of (?:the )?{country}", _capital, "city seat"),
    Rule(
        "(?:national |federal )?capital(?: city)?(?: (?:of|in) (?:its|your|the|that) country)?"
        "(?! (?:of|in|for) (?!its|your|the|that|this|an?|country|one|my))|seat of (?:the"
        " )?(?:national |federal )?government(?: (?:of|in) (?:its|your|the|that) country)?|capital of country",
        _capital,
        "national country its current seat government",
    ),
    Rule(
        "(?:largest|biggest|most populous|most populated)(?: city)?(?: (?:of|in) (?:its|your|the|that) country)?",
        _check("largest"),
        "city population its country",
    ),
    Rule(
        "landlocked country|country landlocked|country is landlocked|country(?: a)? landlocked(?: country)?|your"
        " country landlocked",
        _check("landlocked", "country"),
    ),
    Rule("landlocked|inland", _check("landlocked", "city")),
    Rule(
        "drives?(?: (?:a )?cars?)? on the left(?: hand)?(?: side)?(?: of the (?:road|street))?",
        _check("drives_left"),
        "country drivers motorists vehicles cars traffic driving car",
    ),
    Rule(
        "(?:on|at|by|near|to|along|overlook(?:s|ing)?|next to)? ?(?:the )?(?:coast of (?:the )?)?{sea}(?: sea|"
        " ocean| coast)*",
        _check("sea"),
        ON_SEA + " coast sea ocean side border coastline",
    ),
    Rule(
        "(?:near|close to|nearby|next to|not far from|close by) (?:to )?(?:the |a |any )?(?:sea|ocean|coast|sea or"
        " ocean|ocean or sea|sea or an ocean)",
        _check("near_sea"),
        "coast",
    ),
    Rule("(?:sea|ocean) (?:near|nearby|close)(?: by)?", _check("near_sea")),
    Rule(
        "beach(?:es)?",
        _check("beach"),
        "near nearby close swim swimming sandy go sand nice famous swimmable good beautiful lie ocean sea",
    ),
    Rule("(?:swim|swimming|bathe) (?:in|at) (?:the )?(?:sea|ocean)", _check("coast"), "able"),
    Rule(
        "(?:sea ?)?ports?(?: city)?|harbors?|seaports?|docks?",
        _check("port"),
        "near big ships city ship large important cargo boats sea boat take major",
    ),
    Rule(
        "(?:on|by|at|along|beside|have|has|next to|border(?:s|ing)?(?: on)?|right)? ?(?:the |a |an )?(?:sea|ocean"
        "|coast|seaside|seashore|shore|coastline|coastal(?: city)?|sea ?front|seacoast)(?: coast| side| line)?",
        _check("coast"),
        ON_SEA + " coast coastal sea ocean side",
    ),
    Rule(
        "(?:on |by |along )?(?:the )?{river}(?: river)?",
        _check("river"),
        "river banks bank flow flows run runs through city stand stands crossed",
    ),
    Rule("{city} (?:close|near|nearby|close by|next door)(?: to)?", _near),
    Rule("beats? {city}(?: in)?", _compare("bigger"), PEOPLE),
    Rule(
        "rivers?",
        _check("river"),
        "near nearby close flow flows flowing run runs running through large crossed banks bank present limits"
        " within middle main",
    ),
    Rule(
        "country (?:is )?(?:on |made of |made up of |consists? of )?(?:an |many )?islands?(?: country)?|island"
        " (?:country|state)",
        _check("island_nation"),
        "country",
    ),
    Rule("islands?(?: city)?", _check("island"), "entirely"),
    Rule(
        "(?:high altitude|at altitude|high up|highlands?|high elevation|elevated|high above(?: the)? sea level)(?:"
        " in the mountains)?",
        _check("high"),
        "altitude high because warm jacket need sea level mountains elevation above",
    ),
    Rule(
        "mountains?(?: range)?|mountainous|hills and mountains",
        _check("mountains"),
        "near nearby close around many surrounded region range high area view",
    ),
    Rule(
        "metro|subways?|underground(?: train| railway)?|tube|rapid transit|mrt",
        _check("metro"),
        "system train trains railway ride important means transport transportation take network get line lines public",
    ),
    Rule(
        "snow(?:s|y|fall|man|ing)?|below freezing|freeze(?:s)?|freezing|below zero",
        _check("snow"),
        "winter winters build fall falls temperature drop drops regularly get months cold",
    ),
    Rule("tropical", _check("weather", "tropical"), "climate weather city warm"),
    Rule(
        "desert climate|arid(?: climate)?|climate (?:dry|arid)|dry(?: climate)?",
        _check("weather", "dry"),
        "climate weather desert",
    ),
    Rule("mediterranean climate", _check("weather", "mediterranean")),
    Rule("{sea} climate", lambda sea: Query("check", "weather", "mediterranean") if sea == "mediterranean" else None),
    Rule(
        "(?:rainy|monsoon|wet) season|monsoons?", _check("weather", "rainy season"), "season climate city weather get"
    ),
    Rule("rainy|wet", _check("weather", "rainy"), "climate city weather"),
    Rule("rains?(?: a lot| often| frequently| much)?", _check("weather", "rainy"), "lot frequently climate"),
    Rule("humid", _check("weather", "humid"), "climate hot weather"),
    Rule(
        "(?:hot|warm|sweltering|summery)(?: and humid)?(?: there| here| in your city)? (?:all|the whole|throughout"
        " the|the entire"
        "|year)(?: the)?(?: year)?(?: round| long)?",
        _check("weather", "hot all year"),
        "climate weather",
    ),
    Rule("(?:all year(?: round)?|the whole year) (?:hot|warm)", _check("weather", "hot all year"), "climate weather"),
    Rule(
        "(?:hot|warm) (?:there |here )?(?:in|during) (?:the )?summers?|(?:hot|warm) summers?|summers? (?:hot|warm)",
        _check("weather", "hot summers"),
        "weather temperature",
    ),
    Rule("(?:hot|warm)(?: climate| weather)?", _check("weather", "hot"), "climate weather temperature city"),
    Rule(
        "cold(?: climate| weather)?|cold winters?|winters? cold|chilly",
        _check("weather", "cold"),
        "winter winters climate weather temperature get harsh",
    ),
    Rule("mild|temperate", _check("weather", "mild"), "climate weather"),
    Rule(
        "(?:pay|use|using|need|bring|spend|currency|money|cash)(?: in| with| the| is| your| currency| money|"
        " there)* {money}",
        _check("currency"),
        "country cash pay national",
    ),
    Rule(
        "{money}",
        _check("currency"),
        "country currency national money used use using pay paying accepted official legal tender need bring spend"
        " cash",
    ),
    Rule(
        "(?:speaks?|spoken|speaking|language|tongue|speakers?|get by)(?: is| are| of| mainly| mostly| the| your|"
        " city| there| by| in| with| as| native| official| language)* (?:{lang}|{adj})",
        _language,
        "country native official main first language mother widely common local primary speak tongue most national"
        " spoken",
    ),
    Rule(
        "(?:{lang}|{adj})(?: is| a| an| the| commonly| widely| mainly| spoken| your| native| primary| mother|"
        " local| main| most| common| of| first| national| official)* (?:speak|spoken|speaking|language|tongue"
        "|speakers?)",
        _language,
        "country native official main widely mother local primary most common national commonly first generally"
        " understood speak people language spoken country",
    ),
    Rule("{lang}", _language, "country spoken speak language"),
    *(
        Rule(
            pattern,
            _check("sport", sport),
            "country lot much lots popular sport sports favorite most national big main people play played love"
            " loved watch crazy like fans fan number passionate follow important enjoy king team teams go common",
        )
        for pattern, sport in (
            ("football|soccer|futbol", "football"),
            ("cricket", "cricket"),
            ("baseball", "baseball"),
            ("basketball", "basketball"),
            ("(?:ice )?hockey", "ice hockey"),
            ("rugby", "rugby"),
            ("badminton", "badminton"),
            ("table tennis|ping pong", "table tennis"),
            ("sumo(?: wrestling)?", "sumo"),
            ("boxing", "boxing"),
            ("wrestling", "wrestling"),
            ("cycling", "cycling"),
            ("volleyball", "volleyball"),
        )
    ),
    Rule("{area}", _check("area"), FROM_THERE + " continent"),
    Rule("{country}", _nation("country"), FROM_THERE + " inside within"),
    Rule(
        "(?:are you|is (?:your city|it|this|that)|would (?:your city|it) be|is your (?:city|country))(?: in)?(?:"
        " an?)? {adj}(?: city| person)?",
        _nation("country"),
        "origin",
    ),
]

# A thing that a city may be known for: the words of a question, and the name of what the tables are searched for.
THINGS = [
    ("carnivals?", "carnival"),
    ("films?|movies?|cinema|film industry|movie industry|film studios|hollywood", "film"),
    (
        "technology|tech|software|computers|it industry|electronics|technology and software|tech industry|startups"
        "|silicon valley",
        "technology",
    ),
    ("cars?|car (?:industry|factories|production)|automobiles?|automotive", "car"),
    ("oil(?: industry| companies)?|petroleum", "oil"),
    ("textiles?(?: industry)?|cotton", "textile"),
    ("fashion", "fashion"),
    ("finance|banking|financial (?:center|hub)|banks", "finance"),
    ("touris(?:m|ts?)(?: destination| industry)?|tourist attraction", "tourism"),
    ("steel(?: industry)?", "steel"),
    ("fishing(?: industry)?", "fishing"),
    ("beers?", "beer"),
    ("wines?", "wine"),
    ("coffee", "coffee"),
    ("tea", "tea"),
    ("cigars?|tobacco", "cigar"),
    ("rum", "rum"),
    ("pearls?", "pearl"),
    ("flowers?|cherry blossoms?|gardens of flowers", "flower"),
    ("(?:giant )?pandas?", "panda"),
    ("pyramids?", "pyramid"),
    ("palaces?", "palace"),
    ("castles?", "castle"),
    ("city walls?|wall|walls", "wall"),
    ("skyscrapers?|skyline|tall buildings", "skyscraper"),
    ("museums?", "museum"),
    ("bridges?", "bridge"),
    ("canals?", "canal"),
    ("lakes?", "lake"),
    ("volcano(?:e?s)?|volcanic", "volcano"),
    ("deserts?", "desert"),
    ("ski(?:ing)?(?: resorts?)?", "skiing"),
    ("surf(?:ing)?", "surfing"),
    ("tango", "tango"),
    ("samba", "samba"),
    ("salsa", "salsa"),
    ("flamenco", "flamenco"),
    ("jazz", "jazz"),
    ("opera", "opera"),
    ("ballet", "ballet"),
    ("theatres?|musicals|broadway", "theatre"),
    ("spicy|spicy food|food spicy", "spicy food"),
    ("seafood|sea food|fish", "seafood"),
    ("raw fish", "raw fish"),
    ("sushi", "sushi"),
    ("tacos?", "taco"),
    ("pizzas?", "pizza"),
    ("pasta", "pasta"),
    ("paella", "paella"),
    ("curry|curries", "curry"),
    ("rice", "rice"),
    ("noodles?", "noodle"),
    ("dumplings?|dim sum", "dumpling"),
    ("soups?", "soup"),
    ("bread", "bread"),
    ("beef|steaks?", "beef"),
    ("pork", "pork"),
    ("chicken", "chicken"),
    ("ferry|ferries|boats?", "ferry"),
    ("cable cars?", "cable car"),
    ("rickshaws?|tuk tuks?", "rickshaw"),
    ("motorbikes?|motorcycles?|scooters?", "motorbike"),
    ("bicycles?|bikes?|cycling lanes", "bicycle"),
    ("ice sculptures?|ice festival", "ice sculpture"),
    ("ruins|ancient ruins|ancient monuments", "ancient ruins"),
    ("universit(?:y|ies)", "university"),
    ("night markets?", "night market"),
    ("bazaars?", "bazaar"),
    ("street art|graffiti|murals", "street art"),
    ("anime|manga", "anime"),
    ("k pop|pop music", "pop music"),
    ("space(?: industry| flight| program)?", "space"),
    ("silk road", "silk road"),
    ("nightlife|night life|night clubs", "nightlife"),
]
ABOUT_THINGS = (
    "near nearby close around many much lots famous known renowned noted well popular common typical traditional"
    " local dish dishes food foods eat eaten cuisine"
    " important industry main specialty lot visit tourist tourists danced dance music big there play played made make"
    " work produce produced economy destination festival festivals celebrated held take use used get ride old"
    " ancient most"
    " good nice large center raw because its near nearby surrounded drink try love particularly especially originate"
)
# Faiths that are asked for. `Is there a church?` asks for something else.
FAITHS = [
    ("islam|islamic|muslims?|moslems?", "Islam"),
    ("christian(?:s|ity)?", "Christianity"),
    ("(?:roman )?catholic(?:s|ism)?(?: christian(?:s|ity)?)?", "Catholicism"),
    ("protestant(?:s|ism)?(?: christian(?:s|ity)?)?", "Protestantism"),
    ("orthodox(?:y)?(?: christian(?:s|ity)?)?", "Orthodoxy"),
    ("hindu(?:s|ism)?", "Hinduism"),
    ("buddhis(?:m|ts?)", "Buddhism"),
    ("shinto(?:ism)?", "Shinto"),
    ("tao(?:ism|ists?)", "Taoism"),
    ("jew(?:s|ish)?|judaism", "Judaism"),
    ("sikhs?|sikhism", "Sikhism"),
]
OF_FAITH = (
    "religion religions religious faith faiths main primary dominant predominant predominantly major majority common"
    " widespread practice practices practiced practise practised practicing follow follows following believe believers"
    " population state official country city largely worship most many lot"
)
CHECK_RULES += [Rule(pattern, _check("religion", faith), OF_FAITH) for pattern, faith in FAITHS]
CHECK_RULES += [
    Rule(
        "(?:(?:name|city|country|it|that) )?(?:starts?|begins?|ends?|starting|beginning|ending) (?:with|in)"
        "(?: the| a| an)?(?: letter| vowel| consonant)?(?: [a-z])?",
        _secret,
        "name city country letter first",
    ),
    Rule("letters?|vowels?", _secret, "name city country first last contain contains letter word words long many", 2),
]
# Things that most large cities have: that the tables do not mention them says that the city is not known for them, not
# that they are missing.
COMMON_WORDS = """
finance tourism car technology beer wine coffee tea palace castle skyscraper museum bridge theatre opera ballet
seafood rice noodle soup bread beef pork chicken pizza pasta motorbike bicycle university nightlife film fashion flower
jazz bazaar fishing textile steel
"""
COMMON = frozenset(COMMON_WORDS.split())
KNOWN_FOR = (
    "(?:(?:best|well|mainly|mostly|particularly|especially) )?"
    "(?:known|famous|renowned|noted|celebrated|famed) (?:for|as)"
    "(?: (?:its|your|the|their|having|producing|making|being))*(?: @\\w+)?"
)


def _thing_rules() -> list[Rule]:
    rules = []
    for pattern, thing in THINGS:
        if thing in COMMON:
            rules.append(Rule(f"{KNOWN_FOR} (?:\\w+ )?(?:{pattern})", _check("mention", thing), ABOUT_THINGS))
            rules.append(Rule(pattern, _check("found", thing), ABOUT_THINGS))
        else:
            rules.append(Rule(pattern, _check("mention", thing), ABOUT_THINGS))
    return rules


CHECK_RULES += _thing_rules()

WORLD_WORDS = "world earth globe planet"
OPEN_RULES: list[Rule] = [
    Rule("(?:exact )?names? of (?:the |your )?(?:city|country)|(?:city|country)(?: s)? name", _secret, "home it", 2),
    Rule(
        "(?:which|what) (?:country|city)(?! (?:best )?(?:known|famous|noted|renowned|look|looks|language"
        "|currency))(?: it)?",
        _secret,
        "capital letter begin exactly now",
        1,
    ),
    Rule(
        "(?:city|country|place|it)(?: is)? (?:called|named)|(?:called|named) (?:is )?(?:your |the )?(?:city|country)",
        _secret,
        "",
        1,
    ),
    Rule(
        "(?:first|last|starting|initial)? ?letters?|spell(?:ed)?|rhymes?",
        _secret,
        "city name begin begins start starts end first",
        2,
    ),
    Rule(
        "^where (?:are you|you are|do you come|you come) from(?: exactly| precisely)?$"
        "|^where (?:do )?you live(?: exactly| precisely)?$|^where are you(?: now)?$",
        _secret,
    ),
    Rule("capital(?: city)? of (?:your |the )?country|capital of", _secret, ""),
    Rule("which country|nationality", _secret, "call"),
    Rule(
        "(?:which|what|on|name|any|the|your)? ?(?:countries|neighbors?|neighboring countries|borders?)(?: (?:do"
        "|does|share|border|are|surround|touch))*(?: (?:with|a|your|country|on|to|bordering|neighbors"
        "|neighboring))*",
        _ask("neighbours"),
        "many border borders share shares bordering surround neighbors neighboring country countries",
    ),
    Rule("continents?", _ask("continent"), "country lie called", 1),
    Rule("religions?|faiths?|religious|worship", _ask("religion"), OF_FAITH + " beliefs belief popular", 1),
    Rule(
        "(?:which|what) (?:part|region|area|corner) of the (?:world|globe|continent)|whereabouts|region of the"
        " world|(?:which|what) region|where (?:in|on) (?:the |this )?(?:world|earth|globe|map)|world region"
        "|geographic(?:al)? region|where is (?:your |the )?(?:city|country)(?: located| situated)?|where is it",
        _ask("region"),
        "country " + WORLD_WORDS + " region map located situated",
        1,
    ),
    Rule(
        "populations?|headcount|how many (?:\\S+ )?(?:people|live)|number of people|how (?:big|large|populous"
        "|populated)",
        _ask("population"),
        "many much " + PEOPLE + " live lives reside state size large",
        1,
    ),
    Rule(
        "time ?zones?|hours (?:ahead|behind)|utc|gmt|what time is it|time difference",
        _ask("timezone"),
        "country many ahead behind @city0 hours use difference",
        1,
    ),
    Rule("hours (?:ahead of|behind) @city\\d+", _ask("timezone"), "hours"),
    Rule(
        "latitude|longitude|coordinates|geographical position",
        _ask("coordinates"),
        "geographical latitude longitude exact approximate",
        1,
    ),
    Rule(
        "altitude|elevation|how high|how many metre|how far up|metre above sea level|above sea level",
        _ask("altitude"),
        "sea level above high altitude elevation",
        1,
    ),
    Rule(
        "currency|currencies|(?<!its )(?<!earn )money|cash|coins?|banknotes?|notes|legal tender|pay with",
        _ask("currency"),
        "country use used called pay unit national legal tender bring local need official accepted",
        1,
    ),
    Rule(
        "languages?|mother tongue|what do people speak|tongue|dialects?",
        _ask("language"),
        "country speak spoken speaking official predominant main hear streets street learn before visiting visit"
        " widely most reside mother common primary local",
        2,
    ),
    Rule(
        "landmarks?|sights|photo(?:s| spots| opportunities)|spots|sightseeing|attractions?|monuments?|famous"
        " (?:buildings?|places?|sights?)|(?:which"
        "|what) buildings?",
        _ask("landmark"),
        "famous iconic architectural emblem main must see popular best tourist visit visitors should would most"
        " recommend first",
        2,
    ),
    Rule(
        "sports?(?: teams?)?|games? (?:do|are)|football team|for fun|team",
        _ask("sport"),
        "country popular favorite play watch national most passionate love common support follow football team"
        " teams crazy main important fans into",
        2,
    ),
    Rule(
        "how old(?: is)?|(?:what year|when) (?:was|were|is) (?:your |the |it ?)*(?:city )?"
        "(?:founded|established|built|created)|the age of|how many years(?: old)?",
        _ask("age"),
        "old founded city age",
        1,
    ),
    Rule(
        "histor(?:y|ical|ic)|past|founded|founder|founding|come about|legends?|began|begin|origins?|established",
        _ask("history"),
        "significance important event old long ago describe city founded share interesting little bit historical began",
        2,
    ),
    Rule(
        "festivals?|fireworks|holidays?|celebrat(?:e|ion|ions|ed)|events?|part(?:y|ies)|carnivals?",
        _ask("festival"),
        "popular cultural or biggest celebrate important annual traditional year take takes place observed happen"
        " during every main"
        " most festivals special about described held famous cultural big favorite look forward",
        2,
    ),
    Rule(
        "climates?|weather|temperatures?|winters?|summers?|seasons?|rain|hot or cold|how (?:cold|hot|warm)"
        "|climatic|coat|mittens|gloves|umbrella",
        _ask("climate"),
        "like prevailing conditions characterize expect rain need cold hot warm gets get summer winter snow much"
        " year climate weather seasons temperature does usual average or",
        2,
    ),
    Rule(
        "music(?:al)?|tunes?|culture|cultural|arts?|dances?|artists?|songs?|clubs",
        _ask("culture"),
        "typical traditional popular known listen play famous favorite local or and clubs dance music art famous famed",
        2,
    ),
    Rule(
        "dish(?:es)?|foods?|eat|eats|eaten|cuisine|culinary|meals?|lunch|dinner|breakfast|speciality|specialities"
        "|specialty|delicac(?:y|ies)|snacks?",
        _ask("dish"),
        "country traditional typical famous favorite local popular good try ought visit street signature love"
        " people speciality specialities originate usually best hungry region recommend most common known",
        2,
    ),
    Rule(
        "transport(?:ation)?|get around|gets around|getting around|commute|commuting|public transit|travel around"
        "|move around|travel (?:from|within|inside|in|across)|go to work|get to work|traffic|bus or train",
        _ask("transport"),
        "public means main common commonly used use best way work morning travel bus train system network people"
        " transportation describe city usual traffic",
        2,
    ),
    Rule(
        "(?:famous(?! (?:people|persons?|celebrit|singers?|actors?|athletes?))|known"
        "|renowned|noted|popular|special|notable|unique|associate|claim to fame|remarkable"
        "|reputation|stand out|think of|hear of)(?: for| with| as| about)?",
        _ask("famous"),
        "best most well known city principally fame makes make something famous people anything when they hear"
        " interesting thing things would associated",
        2,
    ),
    Rule(
        "river|rivers|body of water|water|seas?|oceans?|lakes?|coast",
        _ask("water"),
        "near nearby close around any flows flow through situated lie lies located next nearby body sea ocean"
        " large lake river or side city near coast bodies around like",
        2,
    ),
    Rule(
        "landscapes?|flat or hilly|hilly or flat|terrain|surroundings?|nature|natural|geography|geographical"
        " features?|scenery|topography"
        "|environment|mountains or",
        _ask("nature"),
        "near close look looks like main features describe around landscape surroundings surrounding city natural"
        " geographical area nearby and",
        2,
    ),
    Rule(
        "earns?(?: its| their)? (?:money|living)|industr(?:y|ies)|econom(?:y|ic)|jobs?|for a living|work(?:s)?"
        " (?:in|as)|work(?: in)? mostly|employers?"
        "|occupations?|companies|businesses|work",
        _ask("work"),
        "main principal local drives basis people most do big important employers based industry industries"
        " economy work mostly living important biggest support supports",
        2,
    ),
    Rule(
        "landmarks?|sights?|sightseeing|attractions?|monuments?|buildings?|places?(?: (?:to|should|do|can|would))+"
        "|tourists?(?: usually)? (?:go|visit|see)|visit first|see first|must see|postcard|visitors?|visit"
        "|mausoleum|structures?|should i see|have to see|icons?",
        _ask("landmark"),
        "famous iconic architectural emblem main must see popular best tourist tourists tourism visit visitors"
        " usually should would absolutely first go known well interesting important most recommend afternoon only"
        " had place places city historical",
        2,
    ),
]


def gazetteer(world: Any, areas: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Return every name that a question may hold, in normalised form; a later entry replaces an earlier one."""
    words = vocabulary()
    names: dict[str, tuple[str, Any]] = {}
    names.update({name_of(name): ("city", name) for name in world.place_countries})
    names.update({name_of(country["name"]): ("country", code) for code, country in world.countries.items()})
    for code, forms in words["country names"].items():
        names.update({name_of(form): ("country", code) for form in forms})
    for code, adjectives in words["adjectives"].items():
        names.update({name_of(adjective): ("adj", (code, adjective)) for adjective in adjectives})
    names.update({name_of(area): ("area", area) for area in areas})
    for kind, key in (("lang", "languages"), ("area", "areas"), ("sea", "seas"), ("money", "money")):
        names.update({name_of(form): (kind, value) for form, value in words[key].items()})
    names.update({river: ("river", river) for river in words["rivers"]})
    for city in world.cities:
        names.update({name_of(name): ("city", city.name) for name in city.names})
    return {name: entry for name, entry in names.items() if name and name not in words["not names"]}
