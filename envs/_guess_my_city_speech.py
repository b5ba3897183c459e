"""How a person speaks of the city: what is said to each question, and the questions that players of the data ask."""

from typing import Any

OPEN = {
    "famous": ("My city is best known for {x}.", "When people hear of my city, they think of {x}.", "What makes my hometown famous is {x}."),
    "landmark": ("Every visitor wants to see {x}.", "If you came to visit, I would show you {x}.", "The sights I am proud of are {x}."),
    "dish": (
        "My favorite traditional dish from my hometown is {x}.", "If you visit, you have to try {x}.", "What I miss most when I travel is our {x}.",
    ),
    "transport": ("To get around, people here rely on {x}.", "Getting around here means {x}.", "Our city is known among travelers for {x}."),
    "festival": ("The celebration I look forward to most is {x}.", "The highlight of our year is {x}.", "You should come for {x}."),
    "sport": ("People here are crazy about {x}.", "If you want to make friends here, talk about {x}.", "What I like to watch is {x}."),
    "history": ("Let me tell you about its past: {x}.", "At school we all learn this about the city: {x}.", "Our city has seen a lot: {x}."),
    "nature": ("Imagine {x}, and you know what it looks like around here.", "The landscape here is {x}.", "When I look around, I see {x}."),
    "work": ("Many people here work in {x}.", "Our economy lives on {x}.", "What keeps people busy here is {x}."),
    "culture": ("When I think of our culture, I think of {x}.", "In music and the arts, we are proud of {x}.", "What I would take you to hear or see is {x}."),
    "climate": ("We have {x}.", "I am used to {x}.", "Be prepared for {x}."),
    "water": ("{x}", "Let me picture the map. {x}", "That is easy to tell. {x}"),
    "language": ("On the street you hear {x}.", "At home and at work people here speak {x}.", "I grew up with {x}."),
    "continent": ("My city lies in {x}.", "I live in {x}.", "My home is in {x}."),
    "region": ("I live in {x}.", "You would find my city in {x}.", "My home is in {x}."),
    "population": ("About {x} people live in my city.", "We are about {x} people here.", "I share my city with about {x} people."),
    "timezone": ("Our clocks show UTC{x} in January.", "In January we are at UTC{x}.", "The time zone here is UTC{x}, in January at least."),
    "coordinates": ("Roughly {x}.", "On a map, look at about {x}.", "My city lies at about {x}."),
    "altitude": ("We are about {x} meters above the sea.", "My city lies at about {x} meters.", "It is about {x} meters up from the sea."),
    "currency": ("We pay with the {x}.", "The money here is called the {x}.", "Bring some cash: here it is the {x}."),
    "neighbours": ("My country borders on {x}.", "Our neighbors are {x}.", "If you cross a border from my country, you come to {x}."),
}  # fmt: skip
NO_NEIGHBOURS = ("My country has no land borders.", "We have no neighbors on land.")

# What follows "Yes, " and "No, ". {x} is what was asked for; {d} a distance.
CHECK = {
    "area": (("I live in {x}.", "{x} is right."), ("I do not live in {x}.", "{x} is not where I live.")),
    "country": (("that is my country.", "that is where I am from."), ("I come from another country.", "my country is a different one.")),
    "hemisphere": (("it is in the {x}ern half of the world.", "the {x}ern hemisphere is right."), ("it is in the other half of the world.", "the {x}ern hemisphere is wrong.")),
    "tropics": (("it lies in the tropics.", "the sun stands right overhead at times."), ("it lies outside the tropics.", "the sun never stands right overhead here.")),
    "coast": (("my city lies on the sea.", "I can walk along the shore."), ("my city lies away from the sea.", "there is no coast here.")),
    "near_sea": (("the sea is close.", "my city lies on the sea."), ("the sea is far away.", "it takes a long trip to get to the sea.")),
    "sea": (("that is our sea.", "those are the waves I know."), ("that is not our sea.", "my city does not lie there.")),
    "river": (("a river runs through my city.", "we live with a river."), ("it is not what you find in my city.", "we do not have that river here.")),
    "capital": (("it is the capital.", "the government sits here."), ("it is not the capital.", "the government sits somewhere else.")),
    "largest": (("no city of my country is larger.", "it is the largest one in my country."), ("my country has a larger city.", "it is not the largest one.")),
    "people_over": (("more people than that live here.", "it is larger than that."), ("fewer people than that live here.", "it is not that large.")),
    "people_under": (("fewer people than that live here.", "it is smaller than that."), ("more people than that live here.", "it is not that small.")),
    "people_between": (("that is about the size of it.", "the number lies in between."), ("the number lies outside of that.", "that is not the size of it.")),
    "language": (("you hear it everywhere here.", "it is spoken here."), ("you do not hear it much here.", "people speak something else here.")),
    "weather": (("that is how the weather is here.", "that fits our climate."), ("the weather here is different.", "our climate is not like that.")),
    "snow": (("we see snow in winter.", "it snows here."), ("we never see snow.", "it does not snow here.")),
    "founded_before": (("it is older than that.", "people lived here before that."), ("it is younger than that.", "it was founded after that.")),
    "founded_after": (("it is younger than that.", "it was founded after that."), ("it is older than that.", "people lived here before that.")),
    "mountains": (("there are mountains around.", "I can see mountains from here."), ("the land around is not mountainous.", "there are no mountains here.")),
    "high": (("my city lies high up.", "the air is thin up here."), ("my city lies rather low.", "we do not live high up.")),
    "altitude_over": (("it lies higher than that.", "we are higher up."), ("it lies lower than that.", "we are not that high up.")),
    "island": (("it is on an island.", "there is sea on all sides of the land."), ("it is on the mainland.", "it is not on an island.")),
    "island_nation": (("my country lies on islands.", "there is sea all around my country."), ("my country is on the mainland.", "there is more than an island to it.")),
    "metro": (("we have a metro.", "many people take the metro here."), ("we have no metro.", "you have to get around without a metro.")),
    "beach": (("we go to the beach.", "there are beaches here."), ("there is no beach here.", "you will not find a beach.")),
    "port": (("ships come and go here.", "there is a large port."), ("there is no sea port here.", "ships do not come here.")),
    "olympics": (("we hosted the games in {x}.", "the games were here in {x}."), ("the games were never held here.", "we have not hosted them.")),
    "colony": (("that is part of our past.", "it was ruled from abroad like that."), ("that was never the case.", "our past is a different one.")),
    "borders": (("the two countries share a border.", "it is our neighbor."), ("there is no common border.", "it is not our neighbor.")),
    "landlocked": (("there is no sea here.", "we have no coast."), ("there is a coast.", "we do have a coast.")),
    "near": (("it is about {d} km away.", "only about {d} km lie between us."), ("it is about {d} km away.", "about {d} km lie between us.")),
    "bigger": (("my city has more people.", "mine is larger."), ("my city has fewer people.", "mine is smaller.")),
    "smaller": (("my city has fewer people.", "mine is smaller."), ("my city has more people.", "mine is larger.")),
    "compass": (("that is the right direction.", "you are looking the right way."), ("that is the wrong direction.", "you would have to look the other way.")),
    "currency": (("that is what we pay with.", "that is our money."), ("we pay with something else.", "that is not our money.")),
    "european_union": (("my country is a member.", "we belong to it."), ("my country is not a member.", "we do not belong to it.")),
    "drives_left": (("we drive on the left.", "cars keep to the left here."), ("we drive on the right.", "cars keep to the right here.")),
    "sport": (("people love it here.", "it is a big thing here."), ("people prefer other sports.", "that is not our sport.")),
    "mention": (("it is something people know us for.", "that is part of my city."), ("that is not what my city is known for.", "we are known for other things.")),
}  # fmt: skip
NEITHER = (
    "That is not as simple as a yes or a no.",
    "Well, partly. I can say neither yes nor no to that.",
    "It depends on how you look at it.",
)
NEAR_UNSURE = ("That depends: it is about {d} km away.", "It is about {d} km away, whether you call that near or not.")
DEFLECTED = (
    "I would rather not say, because that would give my city away.",
    "That would be too easy. Please ask me something else about my city.",
    "I am afraid I cannot tell you that: you have to guess it.",
)
UNCLEAR = (
    "I am sorry, but I do not know what you mean.",
    "I did not understand that. Could you ask it in another way?",
    "Sorry, I do not know what to say to that.",
)
WRONG_GUESS = ("No, I am not from there.", "No, that is not my city.", "No, my city is a different one.")

# The questions that the players of the data ask, and the answers of the small game.
ASKED: dict[tuple[str, str, Any], tuple[str, ...]] = {
    ("ask", "famous", None): ("What is your city famous for?", "What is your hometown known for?", "What makes your city special?", "What do people think of when they hear of your city?"),
    ("ask", "landmark", None): ("What are the famous landmarks in your city?", "What should I see when I visit your city?", "What attractions does your city have?", "Which sights are popular in your city?"),
    ("ask", "dish", None): ("What is a traditional dish from your city?", "What is your favorite local food?", "What do people eat in your city?", "What food is your city famous for?"),
    ("ask", "transport", None): ("How do people get around in your city?", "What is the public transport like in your city?", "What kind of transportation is used in your city?", "How do people commute in your city?"),
    ("ask", "festival", None): ("What festivals are celebrated in your city?", "What is the biggest festival in your city?", "Which celebration is important in your city?", "What events take place in your city?"),
    ("ask", "sport", None): ("What is the most popular sport in your city?", "Which sports do people like in your city?", "What sport do people play in your city?", "What sport do people watch there?"),
    ("ask", "history", None): ("What is the history of your city?", "Can you tell me about the history of your city?", "What happened in the past of your city?", "How old is your city?"),
    ("ask", "nature", None): ("What is the landscape around your city like?", "What is the geography of your city?", "What does the nature around your city look like?", "What is the terrain like?"),
    ("ask", "work", None): ("What are the main industries in your city?", "What do people in your city work in?", "What is the economy of your city based on?", "What do most people do for a living?"),
    ("ask", "culture", None): ("What music is popular in your city?", "What is the culture of your city like?", "What kind of art is your city known for?", "What dance or music is typical of your city?"),
    ("ask", "climate", None): ("What is the climate like in your city?", "What is the weather like in your city?", "How is the weather there?", "What are the winters like in your city?"),
    ("ask", "water", None): ("Which river or sea is your city on?", "Is there any water near your city?", "What body of water is near your city?", "Which river flows through your city?"),
    ("ask", "language", None): ("What language do people speak in your city?", "Which languages are spoken in your city?", "What is the official language of your city?", "What language do you speak?"),
    ("ask", "continent", None): ("What continent is your city on?", "Which continent do you live on?", "On which continent is your city located?", "What continent are you from?"),
    ("ask", "region", None): ("Which part of the world is your city in?", "What region of the world are you in?", "Where in the world is your city?", "Where is your city located?"),
    ("ask", "population", None): ("What is the population of your city?", "How many people live in your city?", "How big is your city?", "How large is the population of your city?"),
    ("ask", "timezone", None): ("What is the time zone of your city?", "Which time zone are you in?", "What time zone does your city use?"),
    ("ask", "currency", None): ("What is the currency of your country?", "Which currency do you use?", "What money do people use in your city?"),
    ("ask", "neighbours", None): ("Which countries border your country?", "What are the neighboring countries of your country?", "Which neighbors does your country have?"),
    ("ask", "altitude", None): ("What is the altitude of your city?", "How high above sea level is your city?", "What is the elevation of your city?"),
    ("secret", "name", None): ("What is the name of your city?", "Which country is your city in?", "What is your city called?", "What country are you from?"),
    ("check", "coast", None): ("Is your city on the coast?", "Is your city located by the sea?", "Is it a coastal city?", "Does your city lie on the sea?"),
    ("check", "river", None): ("Does a river flow through your city?", "Is there a river in your city?", "Is your city on a river?"),
    ("check", "capital", None): ("Is your city the capital of its country?", "Is it a capital city?", "Is your city a national capital?", "Are you from the capital?"),
    ("check", "largest", None): ("Is it the largest city in its country?", "Is your city the biggest city in your country?", "Is it the most populous city of your country?"),
    ("check", "hemisphere", "north"): ("Is your city in the northern hemisphere?", "Is it north of the equator?", "Is your city located north of the equator?"),
    ("check", "hemisphere", "west"): ("Is your city in the western hemisphere?", "Is it in the western hemisphere?"),
    ("check", "snow", None): ("Does it snow in your city?", "Do you get snow in the winter?", "Is there snow in winter?"),
    ("check", "weather", "tropical"): ("Is the climate tropical?", "Does your city have a tropical climate?", "Is your city tropical?"),
    ("check", "weather", "dry"): ("Is the climate dry?", "Is your city in a desert climate?", "Does your city have a dry climate?"),
    ("check", "mountains", None): ("Are there mountains near your city?", "Is your city surrounded by mountains?", "Is it a mountainous city?"),
    ("check", "island", None): ("Is your city on an island?", "Do you live on an island?", "Is your city located on an island?"),
    ("check", "metro", None): ("Does your city have a metro?", "Is there a subway in your city?", "Do you have a metro system?"),
    ("check", "beach", None): ("Does your city have beaches?", "Are there beaches in your city?", "Can you go to the beach in your city?"),
    ("check", "olympics", None): ("Has your city hosted the Olympics?", "Did your city host the Olympic Games?", "Were the Olympics held in your city?"),
    ("check", "mention", "spicy food"): ("Is the food in your city spicy?", "Do people eat spicy food there?"),
    ("check", "sport", "cricket"): ("Is cricket popular in your city?", "Do people play cricket there?"),
    ("check", "sport", "baseball"): ("Is baseball popular in your city?", "Do people play baseball there?"),
    ("check", "founded_before", 1025): ("Is your city more than 1000 years old?", "Is your city older than 1,000 years?"),
}  # fmt: skip
for _area in ("Asia", "Europe", "Africa", "South America", "North America", "Southeast Asia", "East Asia", "the Middle East", "Latin America"):
    ASKED["check", "area", _area] = (f"Is your city in {_area}?", f"Are you from {_area}?", f"Is it located in {_area}?", f"Is it in {_area}?")
for _millions in (1, 2, 3, 5, 10, 15):
    _size = f"{_millions} million"
    ASKED["check", "people_over", _millions * 1e6] = (
        f"Does your city have more than {_size} people?", f"Is the population over {_size}?", f"Is it larger than {_size} people?",
    )  # fmt: skip
for _language in ("Spanish", "English", "Arabic", "French", "Portuguese", "Mandarin", "Hindi"):
    ASKED["check", "language", _language] = (f"Do people there speak {_language}?", f"Is {_language} spoken in your city?", f"Do people in your city speak {_language}?")
for _country, _code in (("China", "CN"), ("India", "IN"), ("Indonesia", "ID"), ("Japan", "JP"), ("Brazil", "BR"), ("the United States", "US"), ("South Korea", "KR"), ("Pakistan", "PK")):
    ASKED["check", "country", _code] = (f"Is your city in {_country}?", f"Are you from {_country}?", f"Is it located in {_country}?")
GUESSES = (
    "Is the city you are from {x}?", "Are you from {x}?", "Is your city {x}?", "Is your hometown {x}?", "Do you live in {x}?",
)  # fmt: skip


class Voice:
    """Says what is true of a city in one of several ways; nothing it says holds a secret name."""

    def __init__(self, phrasings: int | None = None) -> None:
        self.phrasings = phrasings

    def to_check(self, city: Any, topic: str, value: Any) -> tuple[str, ...]:
        """Return the ways to answer a yes/no question."""
        truth = city.holds(topic, value)
        shown = {"x": _shown(city, topic, value), "d": _distance(city, topic, value)}
        if truth is None:
            said = tuple(text.format(**shown) for text in (NEAR_UNSURE if topic == "near" else NEITHER))
        else:
            start = "Yes, " if truth else "No, "
            said = tuple(start + text.format(**shown) for text in CHECK[topic][0 if truth else 1])
        return self._safe(city, said)

    def to_ask(self, city: Any, topic: str) -> tuple[str, ...]:
        """Return the ways to answer an open question."""
        content = told(city, topic)
        ways = NO_NEIGHBOURS if topic == "neighbours" and not content else OPEN[topic]
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
    hidden = len(safe) < len(city.row["languages"])
    return _listed([*safe, "the national language"] if safe and hidden else safe or city.row["languages"])


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


TOLD = {
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
}
