"""How a person speaks of the city: what is said to each question. The wording is in `cities_speech.json`."""

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

THIS_YEAR = 2025
NAMED_AFTER_CITIES = ("Cantonese", "Shanghainese")
SPEECH: dict[str, Any] = json.loads(
    (resources.files("lmgym.envs") / "data" / "cities_speech.json").read_text(encoding="utf-8")
)
OPEN: dict[str, list[str]] = SPEECH["open"]  # {x} is what is told
CHECK: dict[str, dict[str, list[str]]] = SPEECH["check"]  # {x}: what was asked for; {d}: a distance
UNDECIDED = {"near": "near or not", "found": "not known for"}
DEFLECTED, UNCLEAR, WRONG_GUESS, GUESSES = (
    tuple(SPEECH[key]) for key in ("deflected", "unclear", "wrong guess", "guesses")
)
# The questions that the players of the data ask: kind, topic and value, and ways to put them.
ASKED: dict[tuple[str, str, Any], tuple[str, ...]] = {
    (row["kind"], row["topic"], row["value"]): tuple(row["texts"]) for row in SPEECH["asked"]
}

# The place with which a question compares the city.
PLACE_OF: dict[str, Callable[[Any], str]] = {
    "near": lambda value: value[0],
    "compass": lambda value: value[1],
    "bigger": lambda value: value,
    "smaller": lambda value: value,
}


class Voice:
    """Says what is true of a city in one of several ways; nothing it says holds a secret name."""

    def __init__(self, phrasings: int | None = None) -> None:
        self.phrasings = phrasings

    def to_check(self, city: Any, topic: str, value: Any) -> tuple[str, ...]:
        """Return the ways to answer a yes/no question; one that compares the city with itself is deflected."""
        if topic in PLACE_OF and city.kilometres_to(PLACE_OF[topic](value)) < 1:
            return DEFLECTED[: self.phrasings]
        truth = city.holds(topic, value)
        shown = {"x": _shown(city, topic, value), "d": _distance(city, topic, value)}
        if truth is None:
            said = tuple(text.format(**shown) for text in SPEECH[UNDECIDED.get(topic, "neither")])
        else:
            start = "Yes, " if truth else "No, "
            said = tuple(start + text.format(**shown) for text in CHECK[topic]["yes" if truth else "no"])
        return self._safe(city, said)

    def to_ask(self, city: Any, topic: str) -> tuple[str, ...]:
        """Return the ways to answer an open question."""
        content = told(city, topic)
        ways = SPEECH["no neighbours"] if topic == "neighbours" and not content else OPEN[topic]
        said = [text.format(x=content) for text in ways]
        return self._safe(city, tuple(text[0].upper() + text[1:] for text in said))

    def _safe(self, city: Any, said: tuple[str, ...]) -> tuple[str, ...]:
        kept = tuple(text for text in said if not city.secret.found_in(text))
        return (kept or DEFLECTED)[: self.phrasings]


def _shown(city: Any, topic: str, value: Any) -> str:
    return str(city.row["olympics"]) if topic == "olympics" else str(value)


def _distance(city: Any, topic: str, value: Any) -> str:
    """Rounded to 50 km where it is near and to 500 km where it is far."""
    if topic != "near":
        return ""
    kilometres = city.kilometres_to(value[0])
    step = 50 if kilometres < 1000 else 500
    return f"{max(step, step * round(kilometres / step)):,}"


def told(city: Any, topic: str) -> str:
    """Return what is told in answer to an open question; empty where there is nothing."""
    if topic in TOLD:
        return TOLD[topic](city)
    return city.climate if topic == "climate" else city.row[topic]


def _listed(names: Any) -> str:
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _water(city: Any) -> str:
    sea, river = city.row["sea"], city.row["river"]
    if sea and river:
        return f"Our waters are {sea}, and {river}."
    if sea:
        return f"The water here is {sea}."
    return f"There is no sea, but there is {river}." if river else "There is neither a sea nor a large river here."


def _languages(city: Any) -> str:
    """The languages that do not give the country away; the others are left out where one is left to name."""
    safe = [language for language in city.row["languages"] if not city.secret.found_in(language)]
    hidden = [language for language in city.row["languages"] if language not in safe]
    if not safe or not hidden:
        return _listed(safe or hidden)
    return _listed([*safe, "the local dialect" if hidden[0] in NAMED_AFTER_CITIES else "the national language"])


def _people(city: Any) -> str:
    if city.population >= 1e6:
        millions = float(f"{city.population / 1e6:.2g}")
        return f"{millions:g} million"
    return f"{round(city.population, -4):,}"


def _time(city: Any) -> str:
    hours = abs(city.utc_offset)
    minutes = f":{round(60 * (hours % 1)):02d}" if hours % 1 else ""
    return f"{'-' if city.utc_offset < 0 else '+'}{int(hours)}{minutes}"


def _coordinates(city: Any) -> str:
    """To the nearest five degrees, which is about 500 km."""
    north, east = 5 * round(city.latitude / 5), 5 * round(city.longitude / 5)
    latitude = f"{abs(north)} degrees {'north' if north > 0 else 'south'}" if north else "the equator"
    longitude = f"{abs(east)} degrees {'east' if east > 0 else 'west'}" if east else "the zero meridian"
    return f"{latitude} and {longitude}"


def _altitude(city: Any) -> str:
    metres = city.row["altitude"]
    return f"{round(metres, -2 if metres >= 250 else -1) or 5:,}"


def _age(city: Any) -> str:
    """Rounded to the hundred, to ten for a young city."""
    years = THIS_YEAR - city.row["founded"]
    return f"{round(years, -1 if years < 300 else -2):,}"


TOLD = {
    "age": _age,
    "water": _water,
    "language": _languages,
    "population": _people,
    "timezone": _time,
    "coordinates": _coordinates,
    "altitude": _altitude,
    "currency": lambda city: city.currency.split()[0],
    "neighbours": lambda city: _listed(city.neighbours),
    "continent": lambda city: _listed(city.continent_names),
    "region": lambda city: city.nation["region"],
    "religion": lambda city: city.nation["religion"]["told"],
}
