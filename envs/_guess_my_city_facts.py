"""What is true of a city: the tables, what a question of a kind asks of them, and which words give a city away."""

import csv
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
PROSE = ("famous", "landmark", "dish", "transport", "festival", "sport", "history", "nature", "work", "culture")
TWO_CONTINENTS = {"Istanbul": ("AS", "EU")}
DISPUTED = {"Taipei": ("CN",)}
BELONGS = {"HK": ("HK", "CN")}

# Köppen's classes in words.
CLIMATES = {
    "Af": "a hot, humid climate with rain all the year round",
    "Am": "a hot, tropical climate with very heavy rain for a part of the year",
    "Aw": "a hot, tropical climate with a dry and a rainy season",
    "BWh": "a dry desert climate with hot summers",
    "BSh": "a hot, rather dry climate with a short rainy season",
    "BSk": "a dry climate with hot summers and cold winters",
    "Csa": "a Mediterranean climate with hot, dry summers and mild, rainy winters",
    "Csb": "a Mediterranean climate with warm, dry summers and mild, rainy winters",
    "Cfa": "a humid climate with hot summers and mild winters",
    "Cfb": "a mild oceanic climate with cool summers and some rain in every month",
    "Cwa": "a climate with hot, rainy summers and mild, dry winters",
    "Cwb": "a mild highland climate, cool for its latitude, with a rainy summer",
    "Dfa": "a climate with hot summers and cold, snowy winters",
    "Dfb": "a climate with warm summers and long, cold, snowy winters",
    "Dwa": "a climate with hot, rainy summers and cold, dry winters",
}
OWN_CLIMATES = {
    "Lima": "a mild desert climate with hardly any rain and grey mist in winter",
    "Bogotá": "a cool, even highland climate with rain in many months and no seasons to speak of",
    "Medellín": "a warm, even climate that people call an eternal spring, with plenty of rain",
    "Delhi": "a climate with very hot summers, monsoon rain and cool, foggy winters",
    "Malang": "a tropical highland climate, warm by day and cool by night, with a rainy season",
    "Bandung": "a tropical highland climate, warm by day and cool by night, with much rain",
}
MILD_TROPICS = ("Malang", "Bandung", "Medellín", "Caracas", "Bangalore", "Cali", "Brasília", "Sukabumi")
WEATHER = {
    "tropical": ("Af Am Aw", "Cwa Cwb Cfa BSh Csb"),
    "dry": ("BWh BSh BSk", "Csa Csb Cwb"),
    "desert": ("BWh", "BSh BSk"),
    "mediterranean": ("Csa Csb", ""),
    "hot": ("Af Am Aw BWh BSh", "Cfa Csa Csb Cwa Dwa Dfa BSk"),
    "hot summers": ("Af Am Aw BWh BSh BSk Cfa Csa Cwa Dfa Dwa", "Csb Dfb Cfb Cwb"),
    "hot all year": ("Af Am Aw", "BWh BSh"),
    "cold": ("Dfa Dfb Dwa", "Cfa Cfb Cwa Cwb Csa Csb BSk"),
    "mild": ("Cfb Csb Cwb", "Csa Cfa Cwa Aw Am"),
    "humid": ("Af Am Aw Cfa", "Cwa Cfb Dwa Dfa Dfb Cwb"),
    "rainy season": ("Am Aw Cwa Cwb Dwa BSh", "Af Csa Csb Cfa Cfb"),
    "rainy": ("Af Am", "Aw Cfa Cfb Cwa Cwb Dwa Dfa Dfb BSh Csa Csb BSk"),
    "cold winters": ("Dfa Dfb Dwa", "BSk Cfb Cfa Cwa Csa Csb Cwb"),
}
ALSO_IN = {
    "the Americas": ("NA", "SA"),
    "Latin America": ("MX", "CU", "SA"),
    "the Far East": ("East Asia",),
    "sub-Saharan Africa": ("Central Africa", "East Africa", "West Africa"),
    "the Arab world": ("EG", "IQ", "MA"),
    "the Middle East": ("the Middle East", "EG", "TR"),
    "Scandinavia": (),
    "the Balkans": (),
    "Central America": (),
    "Southern Africa": (),
    "the Andes": ("CO", "PE", "CL", "EC"),
    "the former Soviet Union": ("RU", "UA", "UZ"),
    "Eurasia": ("AS", "EU"),
    "Western Europe": ("Western Europe",),
}
UNSURE_IN = {
    "the Balkans": ("RO",),
    "Western Europe": ("DE", "ES", "IT"),
    "Eastern Europe": ("HU",),
    "Northern Europe": ("GB",),
    "Western Asia": ("IQ", "IR"),
    "Southern Europe": ("FR",),
    "Central Europe": ("RO",),
    "the Middle East": ("TR",),
    "Central America": ("MX",),
}
OCEANS = {
    "pacific": ("Pacific", ("Shanghai", "Tianjin", "Hong Kong", "Busan", "Dalian", "Incheon", "Qingdao", "Bangkok")),
    "atlantic": ("Atlantic|Gulf of Guinea", ("Buenos Aires", "Havana", "Saint Petersburg", "Houston")),
    "indian ocean": ("Arabian Sea|Bay of Bengal", ("Singapore",)),
    "mediterranean": ("Mediterranean|Aegean", ("Istanbul",)),
    "caribbean sea": ("Caribbean", ("Havana", "Caracas")),
    "gulf of mexico": ("Gulf of Mexico", ("Havana", "Houston")),
    "black sea": ("Black Sea", ("Istanbul",)),
    "south china sea": ("South China Sea", ("Hong Kong", "Guangzhou", "Singapore", "Ho Chi Minh City", "Taipei")),
    "gulf of thailand": ("gulf, a little", ()),
}
# Not on the sea, but within an hour or two of it.
NEAR_SEA = (
    *(
        "Rome",
        "Taipei",
        "Caracas",
        "Medan",
        "Yangon",
        "Kolkata",
        "Bogor",
        "London",
        "Houston",
        "Guangzhou",
        "São Paulo",
    ),
    *("Ho Chi Minh City", "Quezon City", "Seoul", "Santiago", "Pyongyang", "Sukabumi", "Guayaquil", "Bangkok"),
)
EUROPEAN_UNION = ("DE", "ES", "FR", "HU", "IT", "RO")
ISLAND_NATIONS = ("CU", "GB", "ID", "JP", "PH", "SG", "TW")
LANDLOCKED = ("ET", "HU", "UZ")
HIGH_METRES = 1400
HILL_METRES = 700
SPELLED_OUT = re.compile(r"\b(?:[a-z][ .,*_]+){3,}[a-z]\b")

# Words that a question may ask for, and how the tables put it.
MENTIONS = {
    "carnival": "carnival|mardi gras",
    "film": "film|cinema|movie|hollywood|hindi film|academy award",
    "technology": "software|technolog|electronics|computer|chips|start-up",
    "car": r"\bcars\b|car factories",
    "oil": r"\boil\b|petro|energy",
    "textile": "textile|cotton|clothes|muslin|jute",
    "fashion": "fashion|couture|clothes outlets",
    "finance": "financ|bank",
    "tourism": "touris|visitor",
    "steel": "steel",
    "fishing": "fishing|fish market|shrimp",
    "beer": "beer",
    "wine": r"\bwine|vineyard",
    "coffee": "coffee",
    "tea": r"\bteas?\b",
    "cigar": "cigar|tobacco",
    "rum": r"\brum\b",
    "diamond": "diamond",
    "pearl": r"\bpearls",
    "flower": "flower|blossom|lotus|plum",
    "panda": "panda",
    "pyramid": r"pyramids and|great pyramid",
    "palace": "palace|forbidden city",
    "castle": "castle|citadel|fort\\b|fortress|kremlin",
    "wall": r"\bwalls?\b",
    "skyscraper": "skyscraper|skyline|towers",
    "museum": "museum|prado|louvre|hermitage",
    "bridge": "bridge",
    "canal": "canal",
    "lake": r"\blakes?\b",
    "volcano": "volcan|gede|semeru",
    "desert": "desert|pharaoh|pyramids",
    "skiing": r"\bski",
    "surfing": "surf",
    "tango": "tango",
    "samba": "samba",
    "salsa": "salsa",
    "flamenco": "flamenco",
    "jazz": "jazz",
    "opera": "opera",
    "ballet": "ballet",
    "theatre": "theatre|musical|broadway",
    "spicy food": "chilli|spic|sichuan pepper|curry",
    "seafood": "fish|shrimp|squid|crab|lobster|clam|eel|octopus|ceviche|sushi|tuna|barramundi|sea cucumber",
    "raw fish": "raw fish",
    "sushi": "sushi",
    "taco": "taco",
    "pizza": "pizza",
    "pasta": r"\bpasta carbonara",
    "paella": "paella",
    "curry": "curry|butter chicken",
    "rice": r"\brice\b",
    "noodle": "noodle|soba|mohinga|hot dry",
    "dumpling": "dumpling|dim sum",
    "soup": "soup",
    "bread": r"\bbread\b|\bbuns?\b|bagels|simit|croissant",
    "beef": "beef|steak|asado",
    "pork": "pork",
    "chicken": "chicken|hen soup",
    "ferry": "ferr|boats on|river boats|canal boats|river buses",
    "cable car": "cable car",
    "rickshaw": "rickshaw|tuk-tuk",
    "motorbike": "motorbike|motorcycle taxi|scooter|motorcycles",
    "tram": r"\btrams?\b|streetcar|light rail",
    "bicycle": "bicycle",
    "ice sculpture": "ice sculpture|ice and snow|snow and ice",
    "ancient ruins": "ruins|ancient|pharaoh",
    "university": "universit|institute of technology",
    "night market": "night market",
    "bazaar": "bazaar",
    "temple": "temple|shrine|pagoda",
    "street art": "street art|graffiti|murals",
    "anime": "anime",
    "pop music": "pop music|pop idols|canto-pop",
    "space": "space",
    "silk road": "silk road",
    "nightlife": "nightlife|techno clubs|late nights|ruin bars",
    "fireworks": "fireworks",
    "earthquake": "earthquake",
}


def folded(text: str) -> str:
    """Return text without accents and case; what has no Latin form stays as it is."""
    plain = unicodedata.normalize("NFKD", text.translate(PLAIN))
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()


PLAIN = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "İ": "I", "ı": "i", "–": "-", "—": "-"})


class Names:
    """Finds words that give something away, whatever their case, accents and plural."""

    def __init__(self, forms: Iterable[str]) -> None:
        plain = sorted({folded(form) for form in forms}, key=lambda form: (-len(form), form))
        latin = [form for form in plain if form.isascii()]
        words = "|".join(_pattern(form) for form in latin)
        self._words = re.compile(rf"(?<![a-z0-9])(?:{words})(?:'?s)?(?![a-z0-9])")
        self._spelled = {form.replace(" ", "").replace("'", "") for form in latin}
        self._other = [form for form in plain if not form.isascii()]
        # "us" is a pronoun unless it is written in capitals.
        self._capitals = re.compile(r"(?<!\w)(?:US|U\.S\.?|USA|UK|LA|L\.A\.?)(?!\w)") if "usa" in plain else None

    def found_in(self, text: str) -> bool:
        """Return whether the text holds one of the words."""
        if self._capitals is not None and self._capitals.search(text):
            return True
        plain = folded(text)
        if self._words.search(plain) or any(form in plain for form in self._other):
            return True
        spelled = (re.sub(r"[^a-z]", "", match.group()) for match in SPELLED_OUT.finditer(plain.replace("-", " ")))
        return any(form in word for word in spelled for form in self._spelled if len(form) > 3)


def _pattern(form: str) -> str:
    """Return a pattern for one form; "North America" and "the Americas" are not the country."""
    words = re.escape(form).replace(r"\ ", r"[\s_-]+").replace("'", "'?")
    return rf"(?<!north )(?<!south )(?<!latin ){words}(?!s\b)" if form == "america" else words


class City:
    """One city: the row of each table as attributes, and what follows from them."""

    def __init__(self, row: Mapping[str, Any], facts: Mapping[str, Any], world: "World") -> None:
        self.row = row
        self.name: str = row["name"]
        self.names: tuple[str, ...] = (self.name, *row["aliases"])
        self.country: str = row["country"]
        self.population = int(facts["population"])
        self.latitude, self.longitude = float(facts["latitude"]), float(facts["longitude"])
        self.utc_offset = float(facts["utc_offset"])
        self.nation = world.nations[self.country]
        self.is_capital = folded(world.countries[self.country]["capital"]) in {folded(name) for name in self.names}
        self.is_capital = self.is_capital and self.country != "HK"
        self.continents = TWO_CONTINENTS.get(self.name, (world.countries[self.country]["continent"],))
        self._world = world

    @cached_property
    def secret(self) -> Names:
        """What must not be said before the game is won: names of the city and its country, and their adjectives."""
        forms = [*self.names, *self.row["telling"], *self.nation["forms"]]
        if self.country == "US":
            forms = [form for form in forms if form not in ("US", "U.S.", "LA", "L.A.")]
        return Names(forms)

    @cached_property
    def climate(self) -> str:
        """The climate in words."""
        return OWN_CLIMATES.get(self.name, CLIMATES[self.row["koppen"]])

    @cached_property
    def prose(self) -> str:
        """All that is told of the city, folded, to look for words in."""
        water = " ".join(self.row[name] or "" for name in ("sea", "river"))
        return folded(" ".join([*(self.row[name] for name in PROSE), water]))

    def kilometres(self, place: Mapping[str, float]) -> float:
        """Return the distance to a place along a great circle."""
        here, there = math.radians(self.latitude), math.radians(place["latitude"])
        turn = math.radians(place["longitude"] - self.longitude)
        haversine = (1 - math.cos(there - here)) / 2 + math.cos(here) * math.cos(there) * (1 - math.cos(turn)) / 2
        return 2 * 6371 * math.asin(min(1.0, math.sqrt(haversine)))

    def kilometres_to(self, name: str) -> float:
        """Return the distance to a city by its name."""
        return self.kilometres(self._world.places[name])

    @property
    def continent_names(self) -> list[str]:
        """The names of the continents that the city lies on."""
        return [CONTINENTS[code] for code in self.continents]

    def holds(self, topic: str, value: Any) -> bool | None:
        """Return the answer to a yes/no question, None where neither would be honest."""
        return getattr(self, f"_is_{topic}")(value)

    def _is_area(self, area: str) -> bool | None:
        own = {*self.continents, *(CONTINENTS[code] for code in self.continents), self.nation["region"], self.country}
        if self.country in UNSURE_IN.get(area, ()):
            return None
        return area in own or bool(own & set(ALSO_IN.get(area, ())))

    def _is_country(self, code: str) -> bool | None:
        if code in DISPUTED.get(self.name, ()):
            return None
        return code in BELONGS.get(self.country, (self.country,))

    def _is_hemisphere(self, side: str) -> bool:
        return {
            "north": self.latitude > 0,
            "south": self.latitude < 0,
            "east": self.longitude > 0,
            "west": self.longitude < 0,
        }[side]

    def _is_tropics(self, _: None) -> bool:
        return abs(self.latitude) < 23.4

    def _is_coast(self, _: None) -> bool | None:
        return self.row["coast"]

    def _is_near_sea(self, _: None) -> bool | None:
        return None if self.name in NEAR_SEA else self.row["coast"]

    def _is_sea(self, sea: str) -> bool | None:
        pattern, unsure = OCEANS.get(sea, (sea, ()))
        return None if self.name in unsure else bool(re.search(pattern, self.row["sea"] or "", re.IGNORECASE))

    def _is_river(self, river: str | None) -> bool:
        text = self.row["river"]
        return text is not None and (river is None or re.search(rf"\b{river}\b", folded(text)) is not None)

    def _is_capital(self, code: str | None) -> bool:
        return self.is_capital and code in (None, self.country)

    def _is_largest(self, _: None) -> bool | None:
        return self.row["largest"]

    def _is_people_over(self, count: float) -> bool:
        return self.population > count

    def _is_people_under(self, count: float) -> bool:
        return self.population < count

    def _is_people_between(self, bounds: tuple[float, float]) -> bool:
        return bounds[0] <= self.population <= bounds[1]

    def _is_language(self, language: str) -> bool:
        chinese = language == "Chinese" and bool({"Mandarin", "Cantonese", "Hokkien"} & set(self.row["languages"]))
        return chinese or language in self.row["languages"]

    def _is_weather(self, kind: str) -> bool | None:
        if kind in ("hot", "hot all year", "hot summers") and self.name in MILD_TROPICS:
            return None
        certain, unsure = WEATHER[kind]
        koppen = self.row["koppen"]
        return True if koppen in certain.split() else None if koppen in unsure.split() else False

    def _is_snow(self, _: None) -> bool | None:
        return self.row["snow"]

    def _is_founded_before(self, year: int) -> bool:
        return self.row["founded"] < year

    def _is_founded_after(self, year: int) -> bool:
        return self.row["founded"] > year

    def _is_mountains(self, _: None) -> bool:
        return self.row["mountains"]

    def _is_high(self, _: None) -> bool | None:
        altitude = self.row["altitude"]
        return True if altitude >= HIGH_METRES else None if altitude >= HILL_METRES else False

    def _is_altitude_over(self, metres: float) -> bool:
        return self.row["altitude"] > metres

    def _is_island(self, _: None) -> bool | None:
        return self.row["island"]

    def _is_island_nation(self, _: None) -> bool:
        return self.country in ISLAND_NATIONS

    def _is_metro(self, _: None) -> bool | None:
        return self.row["metro"]

    def _is_beach(self, _: None) -> bool | None:
        return self.row["beach"]

    def _is_port(self, _: None) -> bool | None:
        return self.row["port"]

    def _is_olympics(self, _: None) -> bool:
        return self.row["olympics"] is not None

    def _is_colony(self, power: str | None) -> bool | None:
        owners = self.nation["colony_of"]
        if owners is None:
            return None if power is None else False
        return bool(owners) if power is None else power in owners

    def _is_religion(self, faith: str) -> bool | None:
        return None if faith in self.nation["religion"]["unsure"] else faith in self.nation["religion"]["main"]

    def _is_borders(self, code: str) -> bool | None:
        if self.country in ("HK", "TW") and code == "CN":
            return None
        return code in self._world.countries[self.country]["neighbours"].split()

    def _is_landlocked(self, subject: str) -> bool | None:
        if subject == "country" or self.country in LANDLOCKED:
            return self.country in LANDLOCKED
        return None if self.row["coast"] is None else not self.row["coast"]

    def _is_near(self, where: tuple[str, float | None]) -> bool | None:
        place, limit = self._world.places[where[0]], where[1]
        distance = self.kilometres(place)
        if limit is not None:
            return distance <= limit
        return True if distance <= 250 else None if distance <= 500 else False

    def _is_bigger(self, place: str) -> bool:
        return self.population > self._world.places[place]["population"]

    def _is_smaller(self, place: str) -> bool:
        return self.population < self._world.places[place]["population"]

    def _is_compass(self, where: tuple[str, str]) -> bool:
        side, place = where
        there = self._world.places[place]
        north, east = self.latitude - there["latitude"], self.longitude - there["longitude"]
        return {"north": north > 0, "south": north < 0, "east": east > 0, "west": east < 0}[side]

    def _is_currency(self, name: str) -> bool:
        return name in self.currency.split()

    @cached_property
    def currency(self) -> str:
        """The name of the money."""
        return self._world.countries[self.country]["currency"].casefold()

    @cached_property
    def neighbours(self) -> tuple[str, ...]:
        """The names of the countries that border on the city's."""
        countries = self._world.countries
        return tuple(sorted(countries[code]["name"] for code in countries[self.country]["neighbours"].split()))

    def _is_european_union(self, _: None) -> bool:
        return self.country in EUROPEAN_UNION

    def _is_drives_left(self, _: None) -> bool:
        return self.nation["drives_left"]

    def _is_sport(self, sport: str) -> bool | None:
        listed = re.search(rf"(?<!gridiron )\b{sport}", self.row["sport"]) is not None
        return None if sport == "football" and not listed else listed

    def _is_mention(self, thing: str) -> bool:
        return re.search(MENTIONS[thing], self.prose) is not None

    def _is_found(self, thing: str) -> bool | None:
        return self._is_mention(thing) or None


class World:
    """The tables: our cities, all countries, and places that a question may compare with. Nothing in it changes."""

    def __init__(self) -> None:
        folder = resources.files("lmgym.envs") / "data"
        tables = json.loads((folder / "cities.json").read_text(encoding="utf-8"))
        self.nations: dict[str, dict[str, Any]] = tables["countries"]
        self.countries = {row["code"]: row for row in self._rows("cities_countries.csv")}
        facts = {row["name"]: row for row in self._rows("cities_facts.csv")}
        self.cities = tuple(City(row, facts[row["name"]], self) for row in tables["cities"])
        self.by_name = {folded(name): city for city in self.cities for name in city.names}
        self.places: dict[str, dict[str, float]] = {}
        self.place_countries: dict[str, str] = {}
        for row in [*facts.values(), *self._rows("cities_other.csv")]:
            name = row["name"]
            if name not in self.places:
                self.place_countries[name] = row["country"]
                self.places[name] = {key: float(row[key]) for key in ("population", "latitude", "longitude")}
        self.places |= {code: self._middle(code) for code in self.countries if self._middle(code)}
        self.places["the equator"] = {"latitude": 0.0, "longitude": 0.0, "population": 0.0}

    def _middle(self, code: str) -> dict[str, float]:
        """Return the mean position of the large cities of a country, for questions on east and west."""
        found = [self.places[name] for name, country in self.place_countries.items() if country == code]
        keys = ("latitude", "longitude", "population")
        return {key: sum(place[key] for place in found) / len(found) for key in keys} if found else {}

    @staticmethod
    def _rows(name: str) -> list[dict[str, str]]:
        with (resources.files("lmgym.envs") / "data" / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))


@lru_cache(maxsize=1)
def world() -> World:
    """Return the tables, read once."""
    return World()
