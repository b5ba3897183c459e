"""What a seller's free text says: prices, discounts, cars, features, questions, manners. No state, no chance.

A text is cut into sentences of words and numbers, and each sentence is read with a lexicon of phrases and with rules
about the words around a number. `envs/data/car_dealer_heldout.txt` says how often that is right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

T = TypeVar("T")
MAX_CHARS = 500


def _words(row: str) -> frozenset[str]:
    return frozenset(row.split())


BRANDS = {
    "Volkswagen": ("volkswagen", "vw", "volkswagon"),
    "Lexus": ("lexus",),
    "Ford": ("ford",),
    "Mazda": ("mazda",),
    "Hyundai": ("hyundai", "hyundia"),
    "Toyota": ("toyota",),
    "Mercedes-Benz": ("mercedes benz", "mercedes", "benz", "merc"),
    "BMW": ("bmw", "bimmer", "beamer"),
    "Audi": ("audi",),
    "Subaru": ("subaru",),
    "Honda": ("honda",),
    "Porsche": ("porsche", "porshe"),
    "Tesla": ("tesla",),
}
TYPES = {
    "luxury": ("luxury", "luxurious"),
    "sedan": ("sedan", "saloon"),
    "convertible": ("convertible", "cabriolet", "cabrio", "drop top", "roadster"),
    "truck": ("truck", "pickup", "pick up truck", "pickup truck"),
    "electric": ("electric", "ev", "electrical car"),
    "SUV": ("suv", "crossover", "sport utility vehicle", "sports utility vehicle"),
}
FEATURES = {
    "backup camera": (
        *("backup camera", "back up camera", "rear camera", "rear view camera", "rearview camera", "reversing camera"),
        *("reverse camera", "parking camera", "backup cam", "rear cam", "reversing cam", "rear facing camera"),
    ),
    "navigation system": (
        *("navigation system", "navigation", "satellite navigation", "sat nav", "satnav", "nav", "nav system", "gps"),
        *("navi", "built in navigation"),
    ),
    "heated seats": (
        *("heated seats", "heated seat", "heated front seats", "seat heating", "seat heater", "seat heaters"),
        *("seat warmer", "seat warmers", "warm seats", "seats are heated", "seats that are heated", "seats are warmed"),
        *("heated and leather seats", "heated leather seats", "leather and heated seats", "leather heated seats"),
    ),
    "leather seats": (
        *("leather seats", "leather", "leather interior", "leather upholstery", "leather seat", "leather seating"),
        *("heated and leather seats", "heated leather seats", "leather and heated seats", "leather heated seats"),
    ),
    "third-row seating": (
        *("third row seating", "third row", "third row seats", "third row of seats", "3rd row", "3rd row seating"),
        *("3rd row seats", "seats seven", "seating for seven", "seven seats", "seven seater", "7 seater", "7seater"),
        *("third seat row", "third bench"),
    ),
    "blind spot monitoring": (
        *("blind spot monitoring", "blind spot", "blind spot monitor", "blind spot detection", "blind spot warning"),
        *("blind spot assist", "blind spot sensors", "blindspot monitoring", "blindspot", "blind spot alert"),
    ),
    "sunroof": ("sunroof", "sun roof", "moonroof", "moon roof", "panoramic roof", "glass roof", "panorama roof"),
    "Apple CarPlay": ("apple carplay", "carplay", "car play", "apple car play"),
}
# Words that only look like one of the above.
OTHERWISE = ("leather steering wheel", "electric windows", "electric mirrors", "electric seats", "blind date")

ASKS = {
    "budget": (
        *("budget", "spend", "spending", "afford", "price range", "how much money", "how much cash", "price limit"),
        *("how much do you have", "how much have you got", "how much can you pay"),
    ),
    "offer": (
        *("make me an offer", "make an offer", "your offer", "best offer", "you offer", "ur offer", "name your price"),
        *("name a price", "what price", "would you pay", "you would pay", "u pay", "wanna pay", "u wanna pay"),
        *("want to pay", "willing to pay", "like to pay", "would it take", "consider fair", "what amount"),
        *("whats your price", "which price", "what number", "counter offer", "counteroffer", "ready to pay"),
        *("what are you offering", "what can you offer", "price would you", "price do you"),
    ),
    "features": (
        *("features", "feature", "options", "extras", "equipment", "what else", "must it have", "should it have"),
        *("must haves", "need in a car", "want in a car", "important to you", "important for you", "need in it"),
    ),
    "wants": (
        *("help you", "assist you", "do for you", "help u", "brings you", "brought you", "looking for", "lookin for"),
        *("kind of car", "kind of vehicle", "type of car", "type of vehicle", "sort of car", "what kind", "what type"),
        *("what brand", "which brand", "what make", "which make", "brand", "make", "what car", "which car", "you want"),
        *("u want", "you need", "u need", "you like", "u like", "you prefer", "interest you", "interested"),
        *(
            "you consider",
            "have in mind",
            "favourite brand",
            "favorite brand",
            "you after",
            "you searching",
            "you love",
        ),
        *("favourite car", "favorite car", "what model", "which model", "want a", "need a", "which one", "what can i"),
    ),
    "close": (
        *("deal", "agreement", "shake on it", "ready to", "sign", "sound fair", "sound good", "sounds good"),
        *("does that sound", "do you say", "u say", "take it", "agreed", "going to be", "do you agree", "you like it"),
        *("agree", "buy it", "ok for you", "okay for you", "work for you", "works for you", "yes or no", "you want it"),
    ),
    "other": ("your day", "your name", "test drive", "paying cash", "listen to", "how are you", "whats wrong"),
}
NO_QUESTION = ("whats up", "what is up", "of course", "tell you what", "tell ya what", "you know what", "guess what")
ORDERS = ("tell me", "let me know", "name your", "name a", "make me an", "make an offer", "may i ask")
QUESTION_WORDS = _words("what whats wat which how who whos do does would are is can could will any need u ur")
SAYS_IT_HAS = _words("has comes got includes offers features equipped")
ACCEPTS = (
    *("deal", "its a deal", "it is a deal", "we have a deal", "got a deal", "you have a deal", "have got a deal"),
    *("i accept", "accept your offer", "accept that", "i can do that", "that works", "works for me", "sold", "done"),
    *("agreed", "you got it", "fine by me", "i will take it", "ill take it", "i take it", "you win", "i agree"),
    *(
        "we agree",
        "i take your offer",
        "i will take your offer",
        "ill take your offer",
        "let us do that",
        "lets do that",
    ),
    *("your price is fine", "your offer is fine", "its yours", "it is yours"),
)
# Alone in their sentence these are consent, in a longer one they are mostly something else ("a special deal").
CONSENT_ALONE = frozenset({"deal", "done", "sold", "agreed"})
# An utterance of these words alone is consent: `Yes.`, `Ok, fine with me.`
ASSENT = _words("yes yeah yep yup ok okay sure fine alright certainly absolutely gladly")
BESIDE_ASSENT = ASSENT | _words(
    "of course then sir madam all right thats that is it take thank thanks you very well with me by ,"
)
PROMISES = (
    *("a discount", "nice discount", "good discount", "big discount", "better price", "special price", "good price"),
    *("come down", "go lower", "lower the price", "drop the price", "better on the price", "special offer"),
    *("some discount", "give discount", "money off"),
)
POLITE = (
    *("please", "thank you", "thanks", "welcome", "good morning", "good afternoon", "good evening", "sir", "madam"),
    *("my pleasure", "nice to meet", "thx", "pls", "appreciate", "pleased to", "sorry", "of course", "great choice"),
)
GREETINGS = ("hello", "hi", "hey", "welcome", "good morning", "good afternoon", "good evening", "good day", "howdy")
INSULTS = (
    *("idiot", "stupid", "moron", "dumb", "loser", "jerk", "shut up", "cheapskate", "get out", "get lost", "clown"),
    *(
        "fool",
        "liar",
        "fuck",
        "fucking",
        "asshole",
        "screw you",
        "wasting my time",
        "waste my time",
        "cheap bastard",
        "bastard",
        "ugly",
        "pathetic",
        "go away",
    ),
)
FAREWELLS = ("goodbye", "good bye", "bye", "see you", "get out", "get lost", "go away", "no deal then", "please leave")
FREE = ("for free", "its free", "it is free", "for nothing", "free of charge", "yours free")

NEGATIONS = _words(
    "no not without lacks lack lacking missing doesnt dont hasnt isnt havent cant cannot wont never nor sans"
)
RESUMING = _words("but though although however except")

TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *TEENS)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SMALL = {word: value for value, word in enumerate(UNITS)} | {word: 10 * i for i, word in enumerate(TENS, 2)}
SMALL["fourty"] = 40
BEGINNINGS = {*SMALL, "a", "half", "#"}  # of a number
SCALES = {"hundred": 100, "thousand": 1000, "grand": 1000, "k": 1000, "million": 1_000_000}
MONEY_WORDS = _words("dollar dollars buck bucks usd")
PERCENT_WORDS = _words("percent pct")
FOREIGN_WORDS = _words("euro euros eur pounds pound gbp yen")

# Words around a number that say what it is.
COUNTED = _words(
    "miles mile mi km kilometers kilometres mpg horsepower hp horses years year months month weeks week days day hours "
    "hour minutes minute seconds second seats seat doors door inch inches owners owner speakers airbags rows row gears "
    "people persons passengers cameras times stars star cars options features liters litres cylinders cylinder am pm "
    "buyers customers trucks suvs sedans kids feet pounds rpm volts kwh watts percent gallon"
)
PERIODS = _words("month week year day gallon")
PER = _words("a per each every")
DOWN_PAYMENT = _words("down deposit upfront monthly weekly payment payments")
OFF = _words("off less discount cheaper rebate reduction lower savings markdown below cashback")
CUTS = _words(
    "knock knocking take taking drop dropping cut cutting shave shaving slash slashing reduce reducing lower lowering "
    "save saving discount minus rebate deduct subtract off down discounting"
)
TARGET = _words("to at for is its pay want say ask asking says costs are price")
LISTED = _words("list listed sticker msrp normally usually regular regularly retail original originally")
NEVER_ASKED = _words(
    "paid worth others other elsewhere competitor competitors online call phone number than over around "
    "neighbours invested sells"
)
REFUSING = _words("cant cannot wont wouldnt couldnt dont never didnt")
FLOORS = _words("below under lower less beneath")
FEES = _words("fee fees delivery shipping tax taxes insurance registration")
INCLUDING = _words("including includes include included inclusive with incl")
FINANCE = _words("financing finance interest apr sure certain electric leather satisfied guaranteed down")

TOKEN = re.compile(
    r"(?<![\w.,$-])(-)?\s?(us\$|usd\s|\$)?\s?(-)?"
    r"(\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?![\d,])|\d{1,24})(\.\d{1,6})?(?:\s?(k|%|\$))?(?![a-z0-9])"
    r"|([a-z0-9]+)|([?!.;,:\n])"
)
RANGE = re.compile(r"(\d[k%]?)\s?[-\u2013]\s?(?=\$?\d{2})(?!\d{4}(?!\d))")  # the end: 555-0134 is a telephone number
MINUS_WORD = re.compile(r"(?<=[a-z0-9])-(?=[a-z])|(?<=[a-z])-(?=\d)")


class Reading(NamedTuple):
    """What an utterance says. Prices and discounts are in dollars, a percent discount is told by `is_percent`."""

    price: float | None = None
    discount: float | None = None
    is_percent: bool = False
    base: float | None = None
    """The price that a discount is said to be taken from."""
    unclear: bool = False
    """Several prices, a range, or fees on top: no price that one could agree to."""
    instalments: bool = False
    brands: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    ask: str | None = None
    accepts: bool = False
    promises: bool = False
    polite: bool = False
    greets: bool = False
    insults: bool = False
    leaves: bool = False
    num_words: int = 0


class Number(NamedTuple):
    """A number in a sentence: where it stands, and whether it is written as money, percent, or neither."""

    place: int
    value: float
    unit: str


class Sentence(NamedTuple):
    """Words with `#` for every number, the numbers, and whether it ends with a question mark."""

    words: list[str]
    numbers: list[Number]
    asks: bool


def _lexicon() -> dict[str, list[tuple[tuple[str, ...], str, str]]]:
    """Return first word -> [(rest of the phrase, kind, name)], longest phrases first."""
    tables: dict[str, Mapping[str, Sequence[str]]] = {"brand": BRANDS, "type": TYPES, "feature": FEATURES, "ask": ASKS}
    phrases = [
        (tuple(phrase.split()), kind, name)
        for kind, table in tables.items()
        for name, ways in table.items()
        for way in ways
        for phrase in ((way, f"{way}s") if kind in ("brand", "type") else (way,))
    ]
    flags = {
        "accepts": ACCEPTS,
        "promises": PROMISES,
        "polite": POLITE,
        "greets": GREETINGS,
        "insults": INSULTS,
        "leaves": FAREWELLS,
        "free": FREE,
        "orders": ORDERS,
        "none": (*NO_QUESTION, *OTHERWISE),
    }
    phrases += [(tuple(way.split()), "flag", name) for name, ways in flags.items() for way in ways]
    found: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    for words, kind, name in sorted(phrases, key=lambda entry: -len(entry[0])):
        found.setdefault(words[0], []).append((words[1:], kind, name))
    return found


LEXICON = _lexicon()
NOTHING = Reading()


@lru_cache(maxsize=20_000)
def read(text: str) -> Reading:
    """Return what an utterance says; only its first MAX_CHARS characters are read.

    >>> reading = read("It has a sunroof. I can do thirty-two and a half thousand for the Ford truck.")
    >>> reading.price, reading.has, reading.brands, reading.types
    (32500.0, ('sunroof',), ('Ford',), ('truck',))
    >>> read("Ten percent off the list price of $30,000!")[1:4]
    (10.0, True, 30000.0)
    """
    parts = [_Part(sentence) for sentence in _sentences(text)]
    if not parts:
        return NOTHING
    return _merged(parts)


def _sentences(text: str) -> Iterator[Sentence]:
    text = text[:MAX_CHARS].lower().replace("\u2019", "'").replace("'", "").replace("\u2212", "-")
    if "-" in text or "\u2013" in text:
        text = MINUS_WORD.sub(" ", RANGE.sub(r"\1 to ", text))
    words: list[str] = []
    found: dict[int, tuple[float, str]] = {}
    for minus, currency, sign, digits, fraction, suffix, word, mark in TOKEN.findall(text):
        if word:
            words.append(word)
        elif digits:
            found[len(words)] = _written(bool(minus or sign), currency, digits, fraction, suffix)
            words.append("#")
        elif mark in ".?!;\n":
            if words:
                yield _sentence(words, found, mark == "?")
            words, found = [], {}
        else:
            words.append(",")
    if words:
        yield _sentence(words, found, False)


def _written(negative: bool, currency: str, digits: str, fraction: str, suffix: str) -> tuple[float, str]:
    plain = digits.replace(",", "").replace(" ", "")
    if len(fraction) == 4 and len(plain) <= 3 and suffix not in ("k", "%"):
        plain, fraction = plain + fraction[1:], ""  # 32.500 is how some write 32,500
    value = float(plain + fraction) * (1000 if suffix == "k" else 1) * (-1 if negative else 1)
    if suffix == "%":
        return value, "percent"
    if currency or suffix:
        return value, "money"
    is_year = digits.isdigit() and 1980 <= value <= 2035 and not fraction
    return value, "year" if is_year else "plain"


def _sentence(words: list[str], found: dict[int, tuple[float, str]], asks: bool) -> Sentence:
    """Join spoken numbers and units to single numbers."""
    if not found and BEGINNINGS.isdisjoint(words):
        return Sentence(words, [], asks)
    out: list[str] = []
    numbers: list[Number] = []
    place = 0
    while place < len(words):
        if words[place] in BEGINNINGS:
            value, unit, end = _number(words, found, place)
            if end > place:
                numbers.append(Number(len(out), value, unit))
                out.append("#")
                place = end
                continue
        out.append(words[place])
        place += 1
    return Sentence(out, numbers, asks)


def _number(words: list[str], found: Mapping[int, tuple[float, str]], start: int) -> tuple[float, str, int]:
    """Read the number that starts at a word: its value, its unit and where it ends (`start`: there is none)."""
    value, unit, place = _amount(words, found, start)
    if place == start:
        return 0.0, "", start
    following = words[place : place + 2]
    if following[:1] == ["us"] and following[1:] and following[1] in MONEY_WORDS:
        return value, "money", place + 2
    if following == ["per", "cent"]:
        return value, "percent", place + 2
    if following:
        for names, kind in ((MONEY_WORDS, "money"), (PERCENT_WORDS, "percent"), (FOREIGN_WORDS, "foreign")):
            if following[0] in names:
                return value, kind, place + 1
    return value, unit, place


def _amount(words: list[str], found: Mapping[int, tuple[float, str]], start: int) -> tuple[float, str, int]:
    """Read digits and number words with their scales: `32 thousand 500`, `thirty-two five`, `half a grand`."""
    total, unit, scaled = 0.0, "plain", False
    groups: list[float] = []
    current, place = _factor(words, start)
    if place > start and (place >= len(words) or words[place] not in SCALES or words[place] == "k"):
        return 0.0, "", start
    while place < len(words):
        word = words[place]
        if place in found:
            value, kind = found[place]
            if place > start and not (scaled and current == 0 and value < 1000 and kind == "plain"):
                break
            current, unit = value, "money" if place > start else kind
            if kind == "percent":
                return value, kind, place + 1
        elif word in SMALL:
            if start in found and not scaled:
                break
            value = SMALL[word]
            follows_tens = current % 100 >= 20 and current % 10 == 0 and value < 10
            if place > start and not follows_tens and current % 100 != 0:
                groups.append(current)
                current = 0.0
            current += value
        elif word in SCALES:
            unit = "money" if unit == "year" or word in ("thousand", "grand", "k") else unit
            if word == "hundred":
                current = (current or 1) * 100
            else:
                total, current, scaled = total + (current or 1) * SCALES[word], 0.0, True
        elif word == "and" and words[place + 1 : place + 3] == ["a", "half"]:
            current, place = current + 0.5, place + 2
        elif word in ("and", ",") and _goes_on(words, place, scaled or current >= 100):
            pass
        else:
            break
        place += 1
    if groups:
        return (*_in_hundreds(groups, current), place)
    if unit == "year" and place > start + 1:
        unit = "plain"
    return total + current, unit, place


FACTORS = ((("half", "a"), 0.5), (("half",), 0.5), (("a", "couple", "of"), 2.0), (("a", "couple"), 2.0), (("a",), 1.0))


def _factor(words: list[str], start: int) -> tuple[float, int]:
    """Read `a`, `half a` or `a couple of` before a scale; return the factor and where the scale is to stand."""
    for row, factor in FACTORS:
        if tuple(words[start : start + len(row)]) == row:
            return factor, start + len(row)
    return 0.0, start


def _goes_on(words: list[str], place: int, large: bool) -> bool:
    """Return whether a spoken number goes on after `and` or a comma."""
    following = words[place + 1 : place + 3]
    if not large or not following or following[0] not in SMALL:
        return False
    return words[place] == "and" or following[1:] == ["hundred"]


def _in_hundreds(groups: list[float], last: float) -> tuple[float, str]:
    """`thirty-two five` is 32,500; other rows of numbers mean nothing in particular."""
    if len(groups) == 1 and 10 <= groups[0] < 100 and 1 <= last <= 9:
        return groups[0] * 1000 + last * 100, "money"
    return last, "plain"


class _Part:
    """What one sentence says."""

    def __init__(self, sentence: Sentence) -> None:
        self.words, self.numbers, self.asks = sentence
        self.brands: list[str] = []
        self.types: list[str] = []
        self.features: list[tuple[str, int]] = []
        self.cues: list[str] = []
        self.flags: set[str] = set()
        self.prices: list[float] = []
        self.listed: list[float] = []
        self.discounts: list[tuple[float, bool]] = []
        self.unclear = self.instalments = False
        self._look_up()
        if self.asks or "orders" in self.flags or self.words[0] in QUESTION_WORDS:
            self.ask: str | None = self._kind_of_question()
        else:
            self.ask = None
        for number in self.numbers:
            self._judge(number)
        if "free" in self.flags and not self.prices:
            self.prices.append(0.0)

    def _look_up(self) -> None:
        words = self.words
        known = LEXICON.get
        for place, word in enumerate(words):
            entries = known(word)
            if entries is None:
                continue
            taken = 0
            for rest, kind, name in entries:
                length = len(rest)
                if length < taken or (length and tuple(words[place + 1 : place + 1 + length]) != rest):
                    continue
                if kind == "feature":
                    taken = length
                    self.features.append((name, place))
                elif kind == "flag":
                    taken = length if name == "none" else taken
                    self.flags.add(f"{name} {word}" if name == "accepts" and not length else name)
                elif kind == "ask":
                    self.cues.append(name)
                else:
                    (self.brands if kind == "brand" else self.types).append(name)

    def _kind_of_question(self) -> str | None:
        if "none" in self.flags and not self.cues:
            return None
        for kind in ("budget", "offer"):
            if kind in self.cues:
                return kind
        if self.features and not SAYS_IT_HAS & set(self.words):
            return "features"
        for kind in ("features", "close", "wants"):
            if kind in self.cues and not (kind == "close" and (self.brands or self.types) and "wants" in self.cues):
                return kind
        if self.brands or self.types:
            return "wants" if self.asks and "you" in self.words else None
        if "other" in self.cues or self.asks:
            return "other"
        return None

    def _judge(self, number: Number) -> None:
        """Say what a number is, from its unit and the words before and after it."""
        before, after = self._before(number.place), self._after(number.place)
        if number.unit == "percent":
            if (set(after[:3]) & OFF or set(before) & CUTS) and not set(after[:1]) & FINANCE:
                self.discounts.append((number.value, True))
        elif number.unit in ("foreign", "year"):
            return
        elif set(after[:1]) & DOWN_PAYMENT and after[:2] != ["down", "from"]:
            self.instalments = True
        elif set(after[:1]) & PER and set(after[1:2]) & PERIODS:
            self.instalments = self.instalments or "gallon" not in after
        elif number.unit == "plain" and set(after[:2]) & COUNTED:
            return
        elif before[-1:] == ["plus"] or (set(after[:3]) & FEES and INCLUDING.isdisjoint(after)):
            self.unclear = True
        elif self._is_discount(number, before, after):
            self.discounts.append((number.value, False))
        elif number.unit == "money" or abs(number.value) >= 1000:
            self._judge_price(number.value, before, after)

    def _is_discount(self, number: Number, before: list[str], after: list[str]) -> bool:
        if set(after[:1]) & OFF:
            return True
        if number.value >= 10_000 or (before and before[-1] in TARGET):
            return False
        return not CUTS.isdisjoint(self._before(number.place, reach=9))

    def _judge_price(self, value: float, before: list[str], after: list[str]) -> None:
        near = set(before)
        denied = near & NEGATIONS
        if near & FLOORS:
            if denied:
                self.prices.append(value)
            return
        too_little = after[:2] in (["is", "too"], ["is", "not"], ["is", "below"])
        too_little = too_little or after[:1] in (["wont"], ["isnt"], ["doesnt"], ["cant"])
        if near & REFUSING or before[-1:] == ["not"] or too_little or near & NEVER_ASKED or self.ask == "budget":
            return
        if "sold" in near - {*before[:1]} or before[-1:] in (["was"], ["from"], ["were"]) or "instead" in near:
            return
        if "between" in near or before[-1:] == ["between"]:
            self.unclear = True
        if near & LISTED:
            self.listed.append(value)
        else:
            self.prices.append(value)

    def _before(self, place: int, reach: int = 5) -> list[str]:
        words = self.words
        first = place
        while first > 0 and place - first < reach and words[first - 1] not in ("#", ",", "but"):
            first -= 1
        return words[first:place]

    def _after(self, place: int) -> list[str]:
        words = self.words
        last = place + 1
        while last < len(words) and last - place < 5 and words[last] not in ("#", ",", "but"):
            last += 1
        return words[place + 1 : last]

    def split_features(self) -> tuple[list[str], list[str]]:
        """Return the features that the sentence affirms and those that it denies."""
        if not self.features:
            return [], []
        marks = [(place, word in NEGATIONS) for place, word in enumerate(self.words) if word in NEGATIONS | RESUMING]
        absent = "missing" in self.words
        has: list[str] = []
        lacks: list[str] = []
        for name, place in self.features:
            denied = absent or next((is_negation for at, is_negation in reversed(marks) if at < place), False)
            (lacks if denied else has).append(name)
        return has, lacks

    def accepts(self) -> bool:
        """Return whether the sentence is consent to what the other side said."""
        if self.asks or not self.flags or not NEGATIONS.isdisjoint(self.words):
            return False
        if "accepts" in self.flags:
            return True
        single = [flag.split()[1] for flag in self.flags if flag.startswith("accepts ")]
        return any(word not in CONSENT_ALONE or len(self.words) <= 3 or self.words[0] == word for word in single)


def _merged(parts: Sequence[_Part]) -> Reading:
    prices = _distinct([price for part in parts for price in part.prices])
    listed = _distinct([price for part in parts for price in part.listed])
    discounts = _distinct([discount for part in parts for discount in part.discounts])
    flags = parts[0].flags.union(*[part.flags for part in parts[1:]])
    if len(listed) == 1 and not prices and not discounts:
        prices = listed
    unclear = len(prices) > 1 or len(discounts) > 1 or any(part.unclear for part in parts)
    has, lacks, about = _features(parts)
    types = _distinct([name for part in parts for name in part.types])
    if len(types) > 1:
        types = tuple([name for name in types if name not in ("luxury", "electric")]) or types[:1]
    discount = discounts[0] if len(discounts) == 1 and not unclear else None
    return Reading(
        price=prices[0] if len(prices) == 1 and not unclear else None,
        discount=discount[0] if discount else None,
        is_percent=bool(discount and discount[1]),
        base=listed[0] if len(listed) == 1 and discount else None,
        unclear=unclear,
        instalments=any(part.instalments for part in parts),
        brands=_distinct([name for part in parts for name in part.brands]),
        types=types,
        has=has,
        lacks=lacks,
        about=about,
        ask=_question([part.ask for part in parts if part.ask], priced=bool(prices or discounts)),
        accepts=any(part.accepts() for part in parts) or _is_assent(parts),
        promises="promises" in flags and not prices and not discounts,
        polite="polite" in flags,
        greets="greets" in flags,
        insults="insults" in flags,
        leaves="leaves" in flags,
        num_words=sum([len(part.words) - part.words.count(",") for part in parts]),
    )


def _is_assent(parts: Sequence[_Part]) -> bool:
    """Return whether nothing but consent is said."""
    if parts[0].words[0] not in ASSENT or any(part.asks for part in parts):
        return False
    return all(BESIDE_ASSENT.issuperset(part.words) for part in parts)


KINDS_OF_QUESTION = ("budget", "offer", "features", "wants", "close", "other")
BESIDE_A_PRICE = ("budget", "features", "wants")


def _question(asked: Sequence[str], *, priced: bool) -> str | None:
    """Return the kind that counts where there are several; beside a price some only put the price."""
    if not asked:
        return None
    return next((kind for kind in (BESIDE_A_PRICE if priced else KINDS_OF_QUESTION) if kind in asked), None)


def _features(parts: Sequence[_Part]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what the car is said to have, what it is said to lack, and what is asked about."""
    has: list[str] = []
    lacks: list[str] = []
    about: list[str] = []
    for part in parts:
        if not part.features:
            continue
        affirmed, denied = part.split_features()
        if part.ask == "features":
            about += affirmed + denied
        else:
            has += affirmed
            lacks += denied
    return _distinct(has), _distinct(lacks), _distinct(about)


def _distinct(items: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items)) if len(items) > 1 else tuple(items)


def expected_readings(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield utterance and reading, as `facts` gives it, of the lines of a file of examples."""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        utterance, _, fields = line.partition(" =>")
        wanted: dict[str, object] = dict.fromkeys(FACTS)
        for part in filter(None, map(str.strip, fields.split(";"))):
            key, _, value = part.partition(" ")
            if key == "price":
                wanted[key] = float(value)
            elif key in ("discount", "ask"):
                wanted[key] = value
            else:
                wanted[key] = tuple(name.strip() for name in value.split(","))
        yield utterance.strip(), wanted


FACTS = ("price", "discount", "brand", "type", "has", "lacks", "about", "ask")


def facts(reading: Reading) -> dict[str, object]:
    """Return what a file of examples states of a reading; None for what the utterance does not say."""
    discount = None
    if reading.discount is not None:
        discount = f"{reading.discount:g}%" if reading.is_percent else f"${reading.discount:g}"
    values = (reading.price, discount, reading.brands or None, reading.types or None, reading.has or None)
    return dict(zip(FACTS, (*values, reading.lacks or None, reading.about or None, reading.ask), strict=True))
