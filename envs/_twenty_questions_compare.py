"""Comparisons in questions of 20 Questions: with things (`bigger than a car`), amounts (`less than 5 pounds`), rooms
(`fit in a pocket`), times (`invented before 1800`), and the first letter of the name."""

import re
from collections.abc import Callable, Sequence

START_LETTER = re.compile(
    r"\b(?:start|starts|begin|begins|beginning|starting) with (?:the |a |an )?(?:letter )?([a-z])$"
)
MORE = {
    "bigger": ("volume", 1), "larger": ("volume", 1), "greater": ("volume", 1), "smaller": ("volume", -1),
    "littler": ("volume", -1), "tinier": ("volume", -1), "heavier": ("weight", 1), "lighter": ("weight", -1),
    "longer": ("longest", 1), "taller": ("height", 1), "higher": ("height", 1), "shorter": ("longest", -1),
    "costlier": ("price", 1), "cheaper": ("price", -1), "older": ("invented", -1), "newer": ("invented", 1),
}  # fmt: skip
COMPARATIVE = {
    "big": "bigger", "large": "larger", "huge": "bigger", "small": "smaller", "little": "smaller", "tiny": "smaller",
    "heavy": "heavier", "light": "lighter", "long": "longer", "tall": "taller", "high": "higher", "short": "shorter",
    "expensive": "costlier", "costly": "costlier", "cheap": "cheaper", "old": "older", "new": "newer",
}  # fmt: skip
MORE_ADJECTIVE = re.compile(rf"\b(more|less) ({'|'.join(COMPARATIVE)})\b")
OTHER_SIDE = re.compile(r"^(?:is|are) (?!it\b)((?:a|an|the|my|your) [a-z ]+?) (" + "|".join(MORE) + r") than it$")
COMPARED = re.compile(
    rf"\b({'|'.join(MORE)})(?: in (?:size|weight|height|length|price))? than "
    r"(?:that of |the (?:size|weight|mass) of )?(.+)$"
)
WEIGHS = re.compile(
    r"\b(?:weigh|weighs|weight|mass)\b.*?\b(more|less|over|under|above|below|greater)\b(?: than)? (?:that of )?(.+)$"
)
COSTS = re.compile(
    r"\b(?:cost|costs|price|priced|worth|buy|bought|purchase|purchased|sold|sell|sells|pay|expensive|valued?|"
    r"dollars|\$).*?\b(more|less|over|under|above|below|at least)\b(?: than)? \$? ?([a-z0-9, ]+?)"
    r"(?: dollars| dollar| bucks| usd| euros)?$"
)
FITS = re.compile(
    r"\bfit(?:s|ted)?\b.*?\b(?:in|into|inside|within) (.+)$|"
    r"\b(?:put|carry|carried|hold|held)\b.*?\b(?:in|into|inside|within) "
    r"((?:a|an|the|my|your|one) (?:pocket|backpack|rucksack|bag|school bag|purse|handbag|suitcase|"
    r"shoe ?box))$"
)
WHEN = re.compile(
    r"\b(?:invent|invented|exist|existed|around|made|created|discovered|developed|known|appear|appeared|"
    r"introduced)\b.*?\b(before|after|since|prior to|until|in|during|by)\b (.+)$"
)
AGO = re.compile(r"\b(?:exist|existed|invented|around|have|known|used)\b.*?([a-z0-9 ]+) years ago$")
CENTURY = re.compile(r"^(\d\d)(?:th|st|nd|rd) century$")
NUMBERS = {
    "a": 1, "one": 1, "two": 2, "five": 5, "ten": 10, "twenty": 20, "fifty": 50, "hundred": 100, "thousand": 1000,
    "million": 10**6, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "first": 21,
}  # fmt: skip
THIS_YEAR = 2024
VOCABULARY = (
    "than", "then", "without", "lacking", "cost", "price", "worth", "weigh", "weight", "mass", "fit", "start",
    "begin", "letter", "year", "ago", "century", "dollar", "bucks", "more", "less", "over", "under", "above",
    "below", "least", "before", "after", "since", "prior", "until", "during", "exist", "invent", "discovered",
    "introduced", "inside", "within",
)  # fmt: skip


class Comparisons:
    """Reads comparisons. `compare(measure, what)` returns the objects with more of a measure than a thing or an amount
    (or that fit into it, or were invented later), None where it cannot tell."""

    def __init__(self, compare: Callable[[str, str], int | None], names: Sequence[str]) -> None:
        self._compare = compare
        self._initials = [name[0].lower() for name in names]
        self._everything = (1 << len(names)) - 1

    def read(self, question: str) -> int | None:
        """Return the objects for which the answer to a comparison is yes, None where a question is none."""
        question = MORE_ADJECTIVE.sub(_one_word, question)
        question = OTHER_SIDE.sub(lambda match: f"is it {_turned(match.group(2))} than {match.group(1)}", question)
        for pattern, read in self._COMPARISONS:
            match = pattern.search(question)
            if match:
                return read(self, match)
        return None

    def _by_size(self, match: re.Match[str]) -> int | None:
        measure, sign = MORE[match.group(1)]
        return self._side(sign > 0, self._compare(measure, _bare(match.group(2))))

    def _by_weight(self, match: re.Match[str]) -> int | None:
        more = match.group(1) in ("more", "over", "above", "greater")
        return self._side(more, self._compare("weight", _bare(match.group(2))))

    def _by_price(self, match: re.Match[str]) -> int | None:
        more = match.group(1) in ("more", "over", "above", "at least")
        amount = _number(match.group(2).replace(",", ""))
        return None if amount is None else self._side(more, self._compare("price", str(amount)))

    def _by_room(self, match: re.Match[str]) -> int | None:
        room = _bare(match.group(1) or match.group(2))
        # What one can hold in a hand may be larger than the hand.
        return None if room in ("hand", "palm", "hands") else self._compare("fits", room)

    def _by_time(self, match: re.Match[str]) -> int | None:
        when, year = match.group(1), _year(_bare(match.group(2)))
        if year is None:
            return None
        begin, end = year
        if when in ("in", "during"):
            return self._during(begin, end)
        if when in ("after", "since"):
            return self._compare("invented", str(end if when == "after" else begin))
        return self._side(False, self._compare("invented", str(begin)))

    def _during(self, begin: int, end: int) -> int | None:
        since, later = self._compare("invented", str(begin)), self._compare("invented", str(end))
        return None if since is None or later is None or begin == end else since & ~later

    def _by_age(self, match: re.Match[str]) -> int | None:
        years = _number(_bare(match.group(1)).split(" ago")[0])
        if years is None:
            words = match.group(1).split()
            years = _number(words[-1]) if words else None
        return None if years is None else self._side(False, self._compare("invented", str(THIS_YEAR - int(years))))

    def _by_letter(self, match: re.Match[str]) -> int | None:
        return sum(1 << index for index, initial in enumerate(self._initials) if initial == match.group(1))

    def _side(self, more: bool, found: int | None) -> int | None:
        return found if more or found is None else self._everything & ~found

    _COMPARISONS = (
        (COMPARED, _by_size),
        (WEIGHS, _by_weight),
        (COSTS, _by_price),
        (AGO, _by_age),
        (WHEN, _by_time),
        (FITS, _by_room),
        (START_LETTER, _by_letter),
    )


def _one_word(match: re.Match[str]) -> str:
    word = COMPARATIVE[match.group(2)]
    return word if match.group(1) == "more" else _turned(word)


def _turned(comparative: str) -> str:
    """Return the comparative of the same measure with the other sign."""
    measure, sign = MORE[comparative]
    return next(word for word, meaning in MORE.items() if meaning == (measure, -sign) or meaning == ("longest", -sign))


def _bare(thing: str) -> str:
    """Return the name of a thing without articles and adjectives that change nothing."""
    words = thing.strip(" ,").split()
    while words and words[0] in (
        "a",
        "an",
        "the",
        "my",
        "your",
        "one",
        "typical",
        "normal",
        "standard",
        "regular",
        "average",
        "year",
        "someone",
        "early",
        "late",
    ):
        del words[0]
    while words and words[-1] in ("is", "s", "do", "does", "size", "easily", "comfortably"):
        del words[-1]
    return " ".join(words)


def _number(text: str) -> float | None:
    """Return the number that is written in figures or words, None where it is none.

    >>> [_number(text) for text in ("250", "two hundred", "a thousand", "ten", "many")]
    [250.0, 200.0, 1000.0, 10.0, None]
    """
    value = 1.0
    words = text.split()
    for word in words:
        if word.isascii() and word.isdigit() and len(word) < 16:
            value *= int(word)
        elif word in NUMBERS:
            value *= NUMBERS[word]
        else:
            return None
    return value if words else None


def _year(text: str) -> tuple[int, int] | None:
    """Return the first and last year of a time: a year, the 1900s, the 20th or the twentieth century."""
    text = re.sub(r"^the ", "", text)
    if re.fullmatch(r"\d{4}", text):
        return int(text), int(text)
    if re.fullmatch(r"\d{4}s", text):
        begin = int(text[:4])
        return begin, begin + (99 if begin % 100 == 0 else 9)
    words = text.split()
    if len(words) >= 2 and words[-1] == "century":
        match = CENTURY.match(text)
        number = int(match.group(1)) if match else NUMBERS.get(words[0] if words[0] != "twenty" else "first", 0)
        if 10 < number < 22:
            return 100 * (number - 1), 100 * number - 1
    return None
