"""The table of 20 Questions: objects with their names and measures, attributes with their phrasings and objects.

A set of objects is an integer: bit i is set for object i, in the order of `data/twenty_questions_objects.csv`.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import NamedTuple

OBJECTS_FILE = "twenty_questions_objects.csv"
ATTRIBUTES_FILE = "twenty_questions_attributes.txt"
HEARD_FILE = "twenty_questions_heard.txt"
OTHER_THINGS_FILE = "twenty_questions_things.txt"
GROUP = re.compile(r"\(([^()]*)\)")
MARGIN = 1.6
"""Two measures closer than by this factor are equal as far as sensible people can tell."""


class Measures(NamedTuple):
    """Size in cm as it is kept (clothes folded), weight in kg, price in dollars and year of invention, if any.

    Volume is that of the surrounding box.
    """

    length: float
    width: float
    height: float
    weight: float
    price: float | None = None
    invented: int | None = None

    @property
    def volume(self) -> float:
        """Litres of the surrounding box."""
        return self.length * self.width * self.height / 1000

    @property
    def longest(self) -> float:
        """The longest side."""
        return max(self[:3])

    def scaled(self, factor: float) -> "Measures":
        """Return the measures of something with sides so much longer."""
        return self._replace(length=factor * self.length, width=factor * self.width, height=factor * self.height)

    def fits_in(self, other: "Measures") -> bool:
        """Return whether the surrounding box fits into another one, sides parallel."""
        return all(own <= room for own, room in zip(sorted(self[:3]), sorted(other[:3]), strict=True))


@dataclass(frozen=True)
class Item:
    """One object: its name, other names that mean the same, its category and measures."""

    name: str
    variants: tuple[str, ...]
    category: str
    measures: Measures


@dataclass(frozen=True)
class Attribute:
    """A yes/no question about an object, in several phrasings; the objects it is true of, and those about which
    sensible people may disagree."""

    name: str
    phrasings: tuple[str, ...]
    yes: int
    debatable: int
    fixed: frozenset[str] = frozenset()
    """The phrasings that are recognised word by word only: a like question may well mean something else."""


@dataclass(frozen=True)
class Table:
    """All objects and attributes, and the measures of other things that people compare with.

    heard: attributes and phrasings that are understood, but that the players of the data never ask.
    """

    items: tuple[Item, ...]
    attributes: tuple[Attribute, ...]
    other_things: dict[str, Measures]
    heard: tuple[Attribute, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Attribute]:
        """The attributes by name."""
        return {attribute.name: attribute for attribute in self.attributes}

    @property
    def everything(self) -> int:
        """The set of all objects."""
        return (1 << len(self.items)) - 1

    def compare(self, measure: str, what: str) -> int | None:
        """Return the objects that have more of a measure than a thing or an amount, or that fit into it.

        None where the thing is not known.
        """
        thing = self.other_things.get(what)
        if measure == "fits":
            return fitting(self.items, thing)[0] if thing else None
        if measure == "invented":
            return invented_after(self.items, int(what))[0] if what.lstrip("-").isdigit() else None
        limit = getattr(thing, measure) if thing else _amount(measure, what)
        return None if limit is None else compared(self.items, measure, limit)[0]

    def unseparated(self) -> list[tuple[str, str]]:
        """Return the pairs of objects that no attribute tells apart."""
        pairs = itertools.combinations(enumerate(self.items), 2)
        return [
            (one.name, other.name)
            for (i, one), (j, other) in pairs
            if not any((attribute.yes >> i ^ attribute.yes >> j) & 1 for attribute in self.attributes)
        ]


def expanded(pattern: str) -> list[str]:
    """Return what a phrasing with alternatives stands for.

    >>> expanded("is it (red|blue) (all over|)")
    ['is it red all over', 'is it red', 'is it blue all over', 'is it blue']
    """
    parts = GROUP.split(pattern)
    options = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return [" ".join("".join(chosen).split()) for chosen in itertools.product(*options)]


@lru_cache(maxsize=1)
def load_table() -> Table:
    """Read the table. Raises ValueError for a line that means nothing."""
    items = tuple(_read_items(_text(OBJECTS_FILE)))
    things = dict(_read_things(_text(OTHER_THINGS_FILE)))
    things |= {name.lower(): item.measures for item in items for name in (item.name, *item.variants)}
    attributes = tuple(_read_attributes(_text(ATTRIBUTES_FILE), items, things))
    return Table(items, attributes, things, tuple(_read_attributes(_text(HEARD_FILE), items, things, attributes)))


def _text(name: str) -> str:
    return (resources.files("lmgym.envs") / "data" / name).read_text(encoding="utf-8")


def _read_items(text: str) -> Iterator[Item]:
    for row in csv.DictReader(text.splitlines()):
        sides = [float(row[f"{side}_cm"]) for side in ("length", "width", "height")]
        price = float(row["price_usd"]) if row["price_usd"] else None
        invented = int(row["invented"]) if row["invented"] else None
        measures = Measures(sides[0], sides[1], sides[2], float(row["weight_kg"]), price, invented)
        variants = tuple(name for name in row["variants"].split(";") if name)
        yield Item(row["object"], variants, row["category"], measures)


def _read_things(text: str) -> Iterator[tuple[str, Measures]]:
    """Yield (name, measures) of lines `name, other name: length width height weight`."""
    for line in _lines(text):
        names, _, numbers = line.partition(":")
        length, width, height, weight = map(float, numbers.split())
        measures = Measures(length, width, height, weight)
        yield from ((name.strip(), measures) for name in names.split(","))


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are neither empty nor comments."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _read_attributes(
    text: str, items: Sequence[Item], things: dict[str, Measures], known: Sequence[Attribute] = ()
) -> Iterator[Attribute]:
    """Yield the attributes of a text; a section without objects speaks of those of the known attribute of its name."""
    sets = _Sets(items)
    sets.named |= {f"&{attribute.name}": attribute.yes for attribute in known}
    for name, lines in _sections(text):
        rules = [line for line in lines if line[0] in "<>"]
        if rules:
            attribute = _measured(name, rules[0], items, things, lines)
        else:
            yes, debatable = (
                sets.read(" , ".join(line[1:] for line in lines if line[0] == mark), name) for mark in "=~"
            )
            if known and not any(line[0] == "=" for line in lines):
                yes = sets.read(f"&{name}", name)
            asked = {
                phrasing: line[0] == "!"
                for line in lines
                if line[0] not in "=~"
                for phrasing in expanded(line.lstrip("! "))
            }
            fixed = frozenset(phrasing for phrasing, is_fixed in asked.items() if is_fixed)
            attribute = Attribute(name, tuple(asked), yes, debatable, fixed)
        sets.named[f"&{name}"] = attribute.yes
        yield attribute


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", []
    for line in [*_lines(text), "[]"]:
        if line[0] != "[":
            lines.append(line)
            continue
        if name:
            yield name, lines
        name, lines = line.strip("[]"), []


class _Sets:
    """Reads a list of objects, categories (@) and earlier attributes (&), each with exceptions after ` - `."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.named = {item.name: 1 << index for index, item in enumerate(items)}
        for index, item in enumerate(items):
            category = f"@{item.category}"
            self.named[category] = self.named.get(category, 0) | 1 << index

    def read(self, text: str, where: str) -> int:
        members = 0
        for part in text.split(","):
            names = [name.strip() for name in part.split(" - ")]
            if names == [""]:
                continue
            for name in names:
                if name not in self.named:
                    raise ValueError(f"{name!r} in the attribute {where!r} is neither object, category nor attribute")
            chosen = self.named[names[0]]
            for name in names[1:]:
                chosen &= ~self.named[name]
            members |= chosen
        return members


UNITS: dict[str, dict[str, float]] = {
    "weight": {
        "pound": 0.4536,
        "lb": 0.4536,
        "kilogram": 1,
        "kilo": 1,
        "kg": 1,
        "gram": 0.001,
        "ton": 1000,
        "ounce": 0.0283,
    },
    "longest": {"inch": 2.54, "foot": 30.48, "feet": 30.48, "meter": 100, "metre": 100, "centimeter": 1, "cm": 1},
    "price": {"": 1, "dollar": 1},
}
UNITS["height"] = UNITS["longest"]


def _amount(measure: str, text: str) -> float | None:
    """Return an amount such as `10 pounds` in the unit of the table, None where it is none."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?|a|one|ten|hundred) ?([a-z]*?)(?:es|s)?", text)
    if not match or match.group(2) not in UNITS.get(measure, {}):
        return None
    words = {"a": 1, "one": 1, "ten": 10, "hundred": 100}
    return float(words.get(match.group(1), 0) or match.group(1)) * UNITS[measure][match.group(2)]


def members(chosen: int) -> list[int]:
    """Return the indices in a set, ascending.

    >>> members(0b1101)
    [0, 2, 3]
    """
    found = []
    while chosen:
        lowest = chosen & -chosen
        found.append(lowest.bit_length() - 1)
        chosen ^= lowest
    return found


def compared(items: Sequence[Item], measure: str, limit: float) -> tuple[int, int]:
    """Return the objects with more of a measure than the limit, and those about as much.

    What has no such measure (a mountain has no price) is in the second set only.
    """
    more = near = 0
    for index, item in enumerate(items):
        value = getattr(item.measures, measure)
        if value is None:
            near |= 1 << index
        else:
            more |= (value > limit) << index
            near |= (limit / MARGIN <= value <= limit * MARGIN) << index
    return more, near


def fitting(items: Sequence[Item], room: Measures) -> tuple[int, int]:
    """Return the objects that fit into something, and those that nearly do or only just."""
    fits = near = 0
    for index, item in enumerate(items):
        inside = item.measures.fits_in(room)
        fits |= inside << index
        near |= (item.measures.fits_in(room.scaled(0.8)) != item.measures.fits_in(room.scaled(1.25))) << index
    return fits, near


def invented_after(items: Sequence[Item], year: int) -> tuple[int, int]:
    """Return the objects that were invented after a year (nature was not), and those of about that time."""
    later = near = 0
    for index, item in enumerate(items):
        invented = item.measures.invented
        if invented is not None:
            later |= (invented > year) << index
            near |= (abs(invented - year) <= 40) << index
    return later, near


COMPARISONS = {
    "volume": ("is it (bigger|larger) than {0}", "would you say it is bigger than {0}", "is {0} smaller than it"),
    "longest": (
        "is it longer than {0}",
        "does it measure more than {0} from end to end",
        "is {0} shorter than it",
        "is it longer than {0} is long",
    ),
    "weight": (
        "is it heavier than {0}",
        "does it weigh more than {0}",
        "is {0} lighter than it",
        "is its weight more than {0}",
    ),
    "price": (
        "does it (usually|) cost (more than|over) ${0}",
        "is it more expensive than {0} dollars",
        "is its price above {0} dollars",
    ),
    "fits": ("does it fit (in|into) {0}", "can you put it (in|into) {0}", "is it small enough for {0}"),
    "invented": (
        "was it invented after (the year|) {0}",
        "is it an invention made after {0}",
        "was it unheard of before {0}",
    ),
}
"""Phrasings of the attributes that are computed, with alternatives as in the file of attributes."""


def _measured(
    name: str, rule: str, items: Sequence[Item], things: dict[str, Measures], lines: Sequence[str]
) -> Attribute:
    """Return the attribute of a line `> measure limit`, `< measure limit` or `> fits a thing`."""
    sign, measure, limit = rule.split(" ", 2)
    thing = things.get(limit.removeprefix("a "))
    measure = {"length": "longest"}.get(measure, measure)
    if measure == "fits":
        assert thing is not None, f"{limit!r} has no measures"
        yes, near = fitting(items, thing)
    elif measure == "invented":
        yes, near = invented_after(items, int(limit))
    else:
        value = getattr(thing, measure) if thing is not None else float(limit.split()[0])
        yes, near = compared(items, measure, value)
    if sign == "<":
        yes = (1 << len(items)) - 1 & ~yes
    own = [phrasing for line in lines if line[0] not in "<>" for phrasing in expanded(line)]
    made = [phrasing for line in COMPARISONS[measure] for phrasing in expanded(line.format(limit))]
    return Attribute(name, tuple(own or made), yes, near, frozenset() if own else frozenset(made))
