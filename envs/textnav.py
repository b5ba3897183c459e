"""Text-Nav, a house in text, fully observed (`lmgym/FOTextNav-v0`) and partially observed (`lmgym/POTextNav-v0`)."""

import re
import string
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.errors import unknown
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

STEP_LIMIT = 15
"""The limit the games are registered with: a random house can be solved within it from every room."""

DIRECTIONS = {"east": (0, 1), "north": (-1, 0), "south": (1, 0), "west": (0, -1)}
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
CONTAINERS = ("fridge", "chest", "box", "cupboard", "basket", "trunk", "drawer")
SUPPORTERS = ("table", "desk", "shelf", "bench", "counter", "stool")
FOOD = {
    "stale food": "some stale food",
    "fresh food": "some fresh food",
    "fruit": "a fruit",
    "cold soup": "some cold soup",
    "lemon cake": "a lemon cake",
    "dry bread": "some dry bread",
    "blue cheese": "some blue cheese",
}
THINGS = FOOD | {
    "bowl": "a bowl",
    "coffee cup": "a coffee cup",
    "plate": "a plate",
    "utensils": "some utensils",
    "brass lamp": "a brass lamp",
    "red scarf": "a red scarf",
    "old map": "an old map",
    "tin whistle": "a tin whistle",
    "paint brush": "a paint brush",
    "ball of wool": "a ball of wool",
}
ROOMS = (
    *("bedroom", "living room", "dining room", "kitchen", "garden", "backyard", "office", "bathroom"),
    *("hallway", "cellar", "library", "workshop", "pantry", "attic", "laundry room", "guest room"),
)
DOORS = ("wooden door", "glass door", "sliding door")


@dataclass(frozen=True)
class FloorPlan:
    """A house on paper, all by name.

    passages: (room, direction, room, door or None); holders: (room, holder); things: (thing, room, holder, or
    None for the floor); shut: the doors and, as (room, holder), the containers that are closed at first;
    goal: (thing, room of the holder, holder).
    """

    rooms: tuple[str, ...]
    passages: tuple[tuple[str, str, str, str | None], ...]
    holders: tuple[tuple[str, str], ...]
    things: tuple[tuple[str, str, str | None], ...]
    shut: frozenset[str | tuple[str, str]]
    goal: tuple[str, str, str]


STANDARD = FloorPlan(
    rooms=ROOMS[:8],
    passages=(
        ("bedroom", "west", "living room", None),
        ("living room", "west", "dining room", None),
        ("dining room", "west", "kitchen", None),
        ("kitchen", "north", "garden", None),
        ("living room", "south", "office", None),
        ("office", "east", "bathroom", None),
        ("bedroom", "south", "bathroom", None),
        ("kitchen", "west", "backyard", None),
    ),
    holders=(
        *(("bedroom", "table"), ("living room", "table"), ("dining room", "table")),
        *(("office", "chest"), ("kitchen", "fridge")),
    ),
    things=(
        ("bowl", "bedroom", "table"),
        ("stale food", "living room", "table"),
        ("fresh food", "living room", "table"),
        ("coffee cup", "dining room", "table"),
        ("plate", "dining room", "table"),
        ("utensils", "office", "chest"),
        ("fruit", "kitchen", "fridge"),
    ),
    shut=frozenset({("office", "chest"), ("kitchen", "fridge")}),
    goal=("stale food", "kitchen", "fridge"),
)

# What a game may say, several ways each: a game draws one of each at reset and keeps to it.
WORDINGS = {
    "intro": ("You are in the {0}.", "This is the {0}.", "You look around the {0}.", "The {0} surrounds you."),
    "on": (
        "On the {0} you see {1}.",
        "There is a {0} here with {1} on it.",
        "A {0} stands here and on it {1}.",
        "You notice a {0}; it carries {1}.",
    ),
    "bare": (
        "On the {0} you see nothing.",
        "There is a {0} here with nothing on it.",
        "A bare {0} stands here.",
        "You notice a {0}; it carries nothing.",
    ),
    "holds": (
        "The {0} contains {1}.",
        "There is a {0} here, open, with {1} in it.",
        "A {0} stands open and in it {1}.",
        "You notice an open {0}; it holds {1}.",
    ),
    "empty": (
        "The {0} is open and empty.",
        "There is a {0} here, open, with nothing in it.",
        "A {0} stands open and bare inside.",
        "You notice an open {0}; it holds nothing.",
    ),
    "shut": (
        "The {0} is closed.",
        "There is a {0} here, closed.",
        "A {0} stands closed.",
        "You notice a closed {0}.",
    ),
    "floor": (
        "On the floor you see {0}.",
        "There is something on the floor: {0}.",
        "At your feet you find {0}.",
    ),
    "door shut": (
        "To the {0} is a closed {1}.",
        "A closed {1} bars the way {0}.",
        "You see a {1}, closed, to the {0}.",
    ),
    "door open": ("To the {0} is an open {1}.", "An open {1} lets you go {0}.", "You see a {1}, open, to the {0}."),
    "exit": ("There is an unguarded exit to the {0}.", "You can only leave to the {0}.", "The one way out leads {0}."),
    "exits": ("There are unguarded exits to the {0}.", "You can leave to the {0}.", "Ways out lead {0}."),
    "no exit": ("There is no open exit.", "You cannot leave as things are.", "No way out is open."),
    "take": ("You take the {0}.", "You pick up the {0}.", "Now you have the {0}."),
    "take from": (
        "You take the {0} from the {1}.",
        "You pick up the {0} from the {1}.",
        "From the {1} you take the {0}.",
    ),
    "drop": ("You drop the {0}.", "You leave the {0} on the floor.", "You lay the {0} on the floor."),
    "put": ("You put the {0} on the {1}.", "You leave the {0} on the {1}.", "You lay the {0} on the {1}."),
    "insert": ("You put the {0} into the {1}.", "You leave the {0} in the {1}.", "You lay the {0} in the {1}."),
    "open": ("You open the {0}.", "The {0} is open now.", "You open up the {0}."),
    "reveal": (
        "You open the {0}, revealing {1}.",
        "The {0} is open now and shows {1}.",
        "You open up the {0} and find {1}.",
    ),
    "close": ("You close the {0}.", "The {0} is closed now.", "You shut the {0}."),
    "eat": ("You eat the {0}.", "The {0} is eaten now.", "You eat up the {0}."),
}
NUM_WORDINGS = np.array([len(ways) for ways in WORDINGS.values()])

WON = "\nYour score has just gone up by one point.\n*** The End ***"
LOST = "\n*** You lost! ***"
UNSEEN = "You can't see any such thing."
NO_VERB = "You do not know how to do that."
NO_COMMAND = "You do nothing."
LONGEST_COMMAND = 200

ELSEWHERE = -1
MAX_SCENES = 10_000
# Who generates the data: the chance of knowing the half near the goal, and how often the expert is followed.
KNOWN_NEAR, KNOWN, UNKNOWN = 0.5, (0.8, 1.0), (0.0, 0.5)


class Holder(NamedTuple):
    """Something that things lie on or in; a container is open or closed."""

    name: str
    room: int
    is_container: bool


class Exit(NamedTuple):
    """Where a direction leads, and the door on the way, if any."""

    room: int
    door: int | None


class Effect(NamedTuple):
    """What a command does: walk to a room, move a thing to a place, or open or close what the bit stands for;
    and the slot of WORDINGS, with its words, that tells of it."""

    slot: str
    words: tuple[str, ...] = ()
    room: int | None = None
    thing: int | None = None
    place: int = ELSEWHERE
    bit: int = 0


Sentence = tuple[str, tuple[str, ...]]
Node = tuple[int, int, bool]
"""What matters to a walk: the room, which doors are open, whether the thing is in hand."""


class House:
    """A house that does not change: rooms, holders, things, goal, by number.

    A state is the room of the player, the place of every thing and a mask of what is open. Places are the
    floors (numbered like the rooms), then the holders, then `carried` and `gone` (eaten). Bits are the holders,
    then the doors.
    """

    def __init__(self, plan: FloorPlan) -> None:
        self.rooms = plan.rooms
        self.doors = tuple(dict.fromkeys(door for *_, door in plan.passages if door is not None))
        self.holders = tuple(Holder(name, self.rooms.index(room), name in CONTAINERS) for room, name in plan.holders)
        self.things = tuple(name for name, *_ in plan.things)
        self.exits = self._exits(plan)
        self.carried = len(self.rooms) + len(self.holders)
        self.gone = self.carried + 1
        self.first_places = tuple(self._place(plan, room, holder) for _, room, holder in plan.things)
        names = [*plan.holders, *self.doors]
        self.first_open = sum(1 << bit for bit, name in enumerate(names) if name not in plan.shut)
        self.goal_thing = self.things.index(plan.goal[0])
        self.goal_holder = plan.holders.index(plan.goal[1:])
        self.goal_place = len(self.rooms) + self.goal_holder
        self.goal_room = self.holders[self.goal_holder].room
        self.goal_bit = 1 << self.goal_holder if self.holders[self.goal_holder].is_container else 0
        self.objective = self._objective(plan)
        self._door_mask = sum(self.door_bit(door) for door in range(len(self.doors)))
        self._near_bits = [self._bits_of(room) for room in range(len(self.rooms))]
        self._near_places = [self._places_of(room) for room in range(len(self.rooms))]
        self._scenes: dict[tuple[int, int, tuple[int, ...]], Scene] = {}
        self._distances: dict[int, dict[Node, int]] = {}

    def _exits(self, plan: FloorPlan) -> list[dict[str, Exit]]:
        exits: list[dict[str, Exit]] = [{} for _ in plan.rooms]
        for start, direction, end, door in plan.passages:
            one, other = self.rooms.index(start), self.rooms.index(end)
            number = None if door is None else self.doors.index(door)
            exits[one][direction] = Exit(other, number)
            exits[other][OPPOSITE[direction]] = Exit(one, number)
        return [{way: ways[way] for way in DIRECTIONS if way in ways} for ways in exits]

    def _place(self, plan: FloorPlan, room: str, holder: str | None) -> int:
        if holder is None:
            return self.rooms.index(room)
        return len(self.rooms) + plan.holders.index((room, holder))

    def _objective(self, plan: FloorPlan) -> str:
        thing, room, holder = plan.things[self.goal_thing]
        where = "on the floor" if holder is None else f"{'in' if holder in CONTAINERS else 'on'} the {holder}"
        into = "into" if self.goal_bit else "onto"
        _, goal_room, goal = plan.goal
        return f"Your objective is to put the {thing} {where} in the {room} {into} the {goal} in the {goal_room}."

    def door_bit(self, door: int) -> int:
        """Return the bit of a door."""
        return 1 << len(self.holders) + door

    def _bits_of(self, room: int) -> int:
        bits = sum(1 << number for number, holder in enumerate(self.holders) if holder.room == room)
        return bits | sum(self.door_bit(way.door) for way in self.exits[room].values() if way.door is not None)

    def _places_of(self, room: int) -> list[int]:
        near = {room, self.carried}
        near |= {len(self.rooms) + number for number, holder in enumerate(self.holders) if holder.room == room}
        return [place if place in near else ELSEWHERE for place in range(self.gone + 1)]

    def scene(self, room: int, places: Sequence[int], opened: int) -> "Scene":
        """Return what there is to see and do; kept, because much of a game happens in the same few scenes."""
        near = self._near_places[room]
        key = (room, opened & self._near_bits[room], tuple([near[place] for place in places]))
        scene = self._scenes.get(key)
        if scene is None:
            if len(self._scenes) >= MAX_SCENES:
                self._scenes.clear()
            scene = self._scenes[key] = Scene(self, *key)
        return scene

    def won(self, places: Sequence[int], opened: int) -> bool:
        """Return whether the thing is where it shall be; in a container only once that is closed."""
        return places[self.goal_thing] == self.goal_place and not opened & self.goal_bit

    def room_of(self, place: int) -> int:
        """Return the room of a floor or a holder."""
        return place if place < len(self.rooms) else self.holders[place - len(self.rooms)].room

    def steps_left(self, room: int, places: Sequence[int], opened: int) -> int:
        """Return the length of a shortest plan. The thing must not have been eaten."""
        place = places[self.goal_thing]
        in_hand = place in (self.carried, self.goal_place)
        steps = self._walks(self._fetch_room(place))[room, opened & self._door_mask, in_hand]
        if not in_hand and place >= len(self.rooms) and not opened >> place - len(self.rooms) & 1:
            steps += 1
        if place == self.goal_place:
            return steps + (1 if opened & self.goal_bit else 0)
        if not self.goal_bit:
            return steps + 1
        return steps + (2 if opened & self.goal_bit else 3)

    def next_command(self, room: int, places: Sequence[int], opened: int) -> str:
        """Return the first command of a shortest plan; `look` where there is none any more."""
        place = places[self.goal_thing]
        if place == self.gone:
            return "look"
        fetch = self._fetch_room(place)
        node = (room, opened & self._door_mask, place in (self.carried, self.goal_place))
        left = self._walks(fetch)
        if left[node] == 0:
            return self._finish(place, opened)
        ways = list(self._ways(node, fetch))
        return min(ways, key=lambda way: left[way[1]])[0] or self._fetch(place, opened)

    def _finish(self, place: int, opened: int) -> str:
        thing, holder = self.things[self.goal_thing], self.holders[self.goal_holder].name
        if place == self.goal_place:
            return f"close {holder}"
        if not self.goal_bit:
            return f"put {thing} on {holder}"
        return f"insert {thing} into {holder}" if opened & self.goal_bit else f"open {holder}"

    def _fetch(self, place: int, opened: int) -> str:
        thing, number = self.things[self.goal_thing], place - len(self.rooms)
        if number < 0:
            return f"take {thing}"
        holder = self.holders[number].name
        return f"take {thing} from {holder}" if opened >> number & 1 else f"open {holder}"

    def _fetch_room(self, place: int) -> int:
        return self.goal_room if place == self.carried else self.room_of(place)

    def _walks(self, fetch: int) -> dict[Node, int]:
        """Return, for a thing in room `fetch`, the number of steps until it is carried into the goal's room.

        Opening the container it is in, and what is done with it at the goal, cost the same on every way and are
        not counted here. Nor does closing doors or laying the thing down ever help, so neither is tried.
        """
        if fetch not in self._distances:
            masks = [sum(bits) for bits in product(*((0, self.door_bit(door)) for door in range(len(self.doors))))]
            before: defaultdict[Node, list[Node]] = defaultdict(list)
            for node in product(range(len(self.rooms)), masks, (False, True)):
                for _, after in self._ways(node, fetch):
                    before[after].append(node)
            found: dict[Node, int] = {(self.goal_room, mask, True): 0 for mask in masks}
            queue = deque(found)
            while queue:
                node = queue.popleft()
                for earlier in before[node]:
                    if earlier not in found:
                        found[earlier] = found[node] + 1
                        queue.append(earlier)
            self._distances[fetch] = found
        return self._distances[fetch]

    def _ways(self, node: Node, fetch: int) -> Iterator[tuple[str, Node]]:
        room, doors, in_hand = node
        if room == fetch and not in_hand:
            yield "", (room, doors, True)
        for direction, (after, door) in self.exits[room].items():
            if door is None or doors & self.door_bit(door):
                yield f"go {direction}", (after, doors, in_hand)
            else:
                yield f"open {self.doors[door]}", (room, doors | self.door_bit(door), in_hand)

    @cached_property
    def near_half(self) -> frozenset[int]:
        """Return the half of the rooms nearer to the goal, all doors open."""
        left = self._walks(self.goal_room)
        order = sorted(range(len(self.rooms)), key=lambda room: (left[room, self._door_mask, True], room))
        return frozenset(order[: len(order) // 2])


class Scene:
    """What there is to see and do for a player in one room, whatever the words for it.

    effects: what each admissible command does, alphabetically; furniture, ways: slots of WORDINGS with their
    words; lies: where each visible thing is (a holder's name, "floor" or "hand"); containers, doors: whether
    they are open.
    """

    def __init__(self, house: House, room: int, opened: int, places: tuple[int, ...]) -> None:
        self.room = house.rooms[room]
        self.exits = {way: None if door is None else house.doors[door] for way, (_, door) in house.exits[room].items()}
        self.doors: dict[str, bool] = {}
        self.containers: dict[str, bool] = {}
        self.supporters: list[str] = []
        self.lies: dict[str, str] = {}
        self.furniture: list[Sentence] = []
        self.ways: list[Sentence] = []
        effects: dict[str, Effect] = {}
        things: defaultdict[int, list[int]] = defaultdict(list)
        for thing, place in enumerate(places):
            things[place].append(thing)
        self._look_at_holders(house, room, opened, things, effects)
        self._look_at_floor(house, room, things, effects)
        self._look_at_exits(house, room, opened, effects)
        self._look_at_hands(house, room, opened, things, effects)
        self.effects = dict(sorted(effects.items()))
        self.commands = tuple(self.effects)
        self.listing = f"\nAdmissible commands: {', '.join(self.commands)}"

    def _look_at_holders(
        self, house: House, room: int, opened: int, things: Mapping[int, list[int]], effects: dict[str, Effect]
    ) -> None:
        for number, (name, where, is_container) in enumerate(house.holders):
            if where != room:
                continue
            inside = things.get(len(house.rooms) + number, [])
            names = _listed(THINGS[house.things[thing]] for thing in inside)
            is_open = bool(opened >> number & 1)
            if is_container:
                self.containers[name] = is_open
                verb = "close" if is_open else "open"
                slot, words = ("reveal", (name, names)) if inside and not is_open else (verb, (name,))
                effects[f"{verb} {name}"] = Effect(slot, words, bit=1 << number)
            else:
                self.supporters.append(name)
            if not is_open:
                self.furniture.append(("shut", (name,)))
                continue
            filled, unfilled = ("holds", "empty") if is_container else ("on", "bare")
            self.furniture.append((filled, (name, names)) if inside else (unfilled, (name,)))
            for thing in inside:
                self.lies[house.things[thing]] = name
                words = (house.things[thing], name)
                effects[f"take {words[0]} from {name}"] = Effect("take from", words, thing=thing, place=house.carried)

    def _look_at_floor(
        self, house: House, room: int, things: Mapping[int, list[int]], effects: dict[str, Effect]
    ) -> None:
        here = things.get(room, [])
        for thing in here:
            name = house.things[thing]
            self.lies[name] = "floor"
            effects[f"take {name}"] = Effect("take", (name,), thing=thing, place=house.carried)
        if here:
            self.furniture.append(("floor", (_listed(THINGS[house.things[thing]] for thing in here),)))

    def _look_at_exits(self, house: House, room: int, opened: int, effects: dict[str, Effect]) -> None:
        free = []
        for way, (after, door) in house.exits[room].items():
            is_open = True
            if door is not None:
                bit, name = house.door_bit(door), house.doors[door]
                is_open = self.doors[name] = bool(opened & bit)
                self.ways.append(("door open" if is_open else "door shut", (way, name)))
                verb = "close" if is_open else "open"
                effects[f"{verb} {name}"] = Effect(verb, (name,), bit=bit)
            else:
                free.append(way)
            if is_open:
                effects[f"go {way}"] = Effect("go", room=after)
        if free:
            self.ways.append(("exit" if len(free) == 1 else "exits", (_listed(free),)))
        elif not any(self.doors.values()):
            self.ways.append(("no exit", ()))

    def _look_at_hands(
        self, house: House, room: int, opened: int, things: Mapping[int, list[int]], effects: dict[str, Effect]
    ) -> None:
        held = things.get(house.carried, [])
        named = _listed(THINGS[house.things[thing]] for thing in held)
        self.inventory = f"You are carrying: {named}." if held else "You are carrying nothing."
        for thing in held:
            name = house.things[thing]
            self.lies[name] = "hand"
            effects[f"drop {name}"] = Effect("drop", (name,), thing=thing, place=room)
            if name in FOOD:
                effects[f"eat {name}"] = Effect("eat", (name,), thing=thing, place=house.gone)
            for number, holder in enumerate(house.holders):
                if holder.room == room and opened >> number & 1:
                    slot = "insert" if holder.is_container else "put"
                    command = f"{slot} {name} {'into' if holder.is_container else 'on'} {holder.name}"
                    words = (name, holder.name)
                    effects[command] = Effect(slot, words, thing=thing, place=len(house.rooms) + number)

    def find(self, words: str) -> str:
        """Return the one visible thing that goes by these words; some of the words of its name are enough.

        Raises Refused where there is none, or more than one.
        """
        names = [*self.lies, *self.supporters, *self.containers, *self.doors]
        if words in names:
            return words
        wanted = set(words.split())
        found = [name for name in names if wanted and wanted <= set(name.split())]
        if not found:
            raise Refused(UNSEEN)
        if len(found) > 1:
            raise Refused(f"Which do you mean: the {', the '.join(found[:-1])} or the {found[-1]}?")
        return found[0]


def _listed(names: Iterable[str]) -> str:
    """Join names with commas and a last "and"."""
    *most, last = [*names] or [""]
    return f"{', '.join(most)} and {last}" if most else last


class Refused(Exception):
    """A command that is not understood or not possible; the message is the game's answer."""


def understand(scene: Scene, action: str) -> str:
    """Return the command that a player means: an admissible one, `look`, `inventory` or `examine NAME`.

    Case, articles, spaces and a final full stop do not matter. Raises Refused where the command means nothing,
    could mean more than one thing, or cannot be done.
    """
    if len(action) > LONGEST_COMMAND:
        raise Refused(NO_VERB)
    words = [word for word in action.casefold().rstrip(". \n").split() if word not in ("the", "a", "an", "some")]
    text = " ".join(words)
    if text in scene.effects or text in ("look", "inventory"):
        return text
    if not words:
        raise Refused(NO_COMMAND)
    verb, rest = words[0], " ".join(words[1:])
    if verb not in VERBS:
        raise Refused(NO_VERB)
    if not rest:
        raise Refused(f"{verb.capitalize()} what?")
    return VERBS[verb](scene, rest)


def _go(scene: Scene, direction: str) -> str:
    if direction not in DIRECTIONS:
        raise Refused("You can go north, south, east or west.")
    door = scene.exits.get(direction)
    raise Refused("You can't go that way." if door is None else f"The {door} is closed.")


def _take(scene: Scene, words: str) -> str:
    wanted, _, source = words.partition(" from ")
    name = scene.find(wanted)
    place = scene.lies.get(name)
    if place is None:
        raise Refused(f"The {name} stays where it is.")
    if place == "hand":
        raise Refused(f"You already have the {name}.")
    if source and source != place and scene.find(source) != place:
        raise Refused(f"You see no {name} there.")
    return f"take {name}" if place == "floor" else f"take {name} from {place}"


def _held(scene: Scene, words: str) -> str:
    name = scene.find(words)
    if scene.lies.get(name) != "hand":
        raise Refused(f"You are not carrying the {name}.")
    return name


def _drop(scene: Scene, words: str) -> str:
    return f"drop {_held(scene, words)}"


def _put(scene: Scene, words: str) -> str:
    parts = re.fullmatch(r"(.+?) (in|into|on|onto) (.+)", words)
    if parts is None:
        raise Refused("Say where to put it.")
    name = _held(scene, parts[1])
    if parts[3] == "floor" and parts[2] in ("on", "onto"):
        return f"drop {name}"
    holder = scene.find(parts[3])
    if parts[2] in ("on", "onto"):
        if holder not in scene.supporters:
            raise Refused(f"You can't put things on the {holder}.")
        return f"put {name} on {holder}"
    if holder not in scene.containers:
        raise Refused(f"You can't put things into the {holder}.")
    if not scene.containers[holder]:
        raise Refused(f"The {holder} is closed.")
    return f"insert {name} into {holder}"


def _open(scene: Scene, words: str) -> str:
    return _turn(scene, words, "open", was_open=False)


def _close(scene: Scene, words: str) -> str:
    return _turn(scene, words, "close", was_open=True)


def _turn(scene: Scene, words: str, verb: str, *, was_open: bool) -> str:
    name = scene.find(words)
    is_open = scene.containers.get(name, scene.doors.get(name))
    if is_open is None:
        raise Refused(f"You can't {verb} the {name}.")
    if is_open != was_open:
        raise Refused(f"The {name} is already {'open' if is_open else 'closed'}.")
    return f"{verb} {name}"


def _eat(scene: Scene, words: str) -> str:
    name = scene.find(words)
    if name not in FOOD:
        raise Refused(f"You can't eat the {name}.")
    return f"eat {_held(scene, name)}"


def _examine(scene: Scene, words: str) -> str:
    return f"examine {scene.find(words)}"


def _look(scene: Scene, words: str) -> str:
    if not words.startswith("at "):
        raise Refused(NO_VERB)
    return _examine(scene, words.removeprefix("at "))


VERBS: dict[str, Callable[[Scene, str], str]] = {
    "go": _go,
    "take": _take,
    "drop": _drop,
    "put": _put,
    "insert": _put,
    "open": _open,
    "close": _close,
    "eat": _eat,
    "examine": _examine,
    "look": _look,
}


class TextNav(TextEnv):
    """Find a thing in a house and bring it where it belongs, by typed commands.

    Description:
        Rooms joined by exits, some with doors; tables and the like hold things, so do containers, which open
        and close. The standard house has eight rooms, and the stale food on the table in the living room has to
        get into the fridge in the kitchen, closed again afterwards.
    Observation:
        First `Your objective is to put the stale food on the table in the living room into the fridge in the
        kitchen.` and the room; then the answer to each command, or the room where it led elsewhere. Parts stand
        on lines of their own: the room (`You are in the kitchen.`), furniture and what lies on or in it as it
        is now (`The fridge is closed.`), exits (`There are unguarded exits to the east, north and west.`), the
        inventory after each command (`You are carrying: a bowl and a fruit.`), and last
        `Admissible commands: go east, go north, go west, open fridge`, in alphabetical order.
        `observation="full"` (FO) shows all of it; `"partial"` (PO) leaves out room and inventory lines. Wording
        is drawn for each game from a few ways to say the same, and kept throughout the game.
    Action:
        `go DIRECTION`, `take THING from HOLDER` (from the floor: `take THING`), `drop THING`,
        `put THING on HOLDER`, `insert THING into CONTAINER`, `open` or `close CONTAINER` (or door),
        `eat FOOD` (from the hand). Not listed, but understood: `look`, `inventory`, `examine THING`. Case,
        articles and extra spaces do not matter; `take bowl` and `put bowl in chest` are understood, and so is
        part of a name that only one visible thing has (`take cup`).
    Start:
        Uniform over the rooms; `reset(options={"start": "kitchen"})`.
    Reward:
        1 for the command that reaches the goal, 0 for any other. Returns are 0 or 1.
    What an invalid reply does:
        An unknown, impossible or ambiguous command changes nothing, is answered by a sentence that says so, and
        costs a step.
    Episode end:
        Terminated at the goal, or when the thing is eaten; truncated after 15 steps (`max_episode_steps`).
    Info:
        `success`, `lost` (the thing was eaten), `room`, `invalid` (why, for an invalid action only).
    Arguments:
        observation: "full" or "partial".
        house: "standard", or "random": another one each game (5 to 8 rooms, up to three doors, other furniture
            and things, another goal), solvable within 15 steps from every room. A thing that is to go into a
            container has to be shut in; one that is no food cannot be eaten.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        Our own small world instead of TextWorld, with our own sentences but for the fixed formats, so that a
        game needs no compiler. Eight rooms, as in the code (paper: ten). 15 steps truncate in play as in the
        data (code: no limit in play). Without blank lines, and without the list of commands after the end: they
        say nothing and cost tokens. Wording is drawn by the seed (code: it hung on the start room). The
        inventory is no command of its own that advances a turn counter. The behaviour policy draws anew for
        each game (code: one random stream repeated for all) and knows its half of the rooms by distance to
        the goal, as in the paper. The published standard deviation of the length, 8.77, cannot be had from
        games of at most 15 steps; here it is 3.7.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)
    max_reply_chars = 50
    tokenizer = "phrase"
    preset = "0.3M"
    data_episodes = 2500
    keep = "success"
    evaluation_episodes = 800

    def __init__(self, observation: str = "full", house: str = "standard", render_mode: str | None = None) -> None:
        if observation not in ("full", "partial"):
            raise unknown("observation", observation, ("full", "partial"))
        if house not in ("standard", "random"):
            raise unknown("house", house, ("standard", "random"))
        self.render_mode = render_mode
        self._is_full = observation == "full"
        self._is_random = house == "random"
        self.reference = None if self._is_random else REFERENCES[observation]
        self.action_space = AnyText(EXAMPLES)
        self.observation_space = spaces.Text(2000 if self._is_random else 1000, charset=CHARSET)
        self._house = _standard_house()
        self._wording: dict[str, str] = {}
        self._room = 0
        self._places = list(self._house.first_places)
        self._opened = self._house.first_open
        self._scene: Scene | None = None
        self._skills: tuple[float, float] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        options = require_options(options, ("start",), "Text-Nav")
        if self._is_random:
            self._house = random_house(self.np_random)
        house = self._house
        drawn = self.np_random.integers(NUM_WORDINGS).tolist()
        self._wording = {slot: ways[way] for (slot, ways), way in zip(WORDINGS.items(), drawn, strict=True)}
        self._room = int(self.np_random.integers(len(house.rooms)))
        if "start" in options:
            if options["start"] not in house.rooms:
                raise unknown("room", str(options["start"]), house.rooms)
            self._room = house.rooms.index(options["start"])
        self._places, self._opened = list(house.first_places), house.first_open
        self._scene = scene = house.scene(self._room, self._places, self._opened)
        self._skills = None
        observation = f"{house.objective}\n{self._description(scene)}{scene.listing}"
        return observation, {"success": False, "lost": False, "room": scene.room}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        scene = self._scene
        assert scene is not None
        effect = scene.effects.get(action)
        if effect is None:
            try:
                command = understand(scene, action)
            except Refused as refused:
                info = {"success": False, "lost": False, "room": scene.room, "invalid": str(refused)}
                return self._told(str(refused), scene), 0.0, False, False, info
            effect = scene.effects.get(command)
            if effect is None:
                answer = scene.inventory if command == "inventory" else self._seen(scene, command)
                info = {"success": False, "lost": False, "room": scene.room}
                return self._told(answer, scene), 0.0, False, False, info
        return self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> tuple[str, float, bool, bool, dict[str, Any]]:
        house = self._house
        slot, words, room, thing, place, bit = effect
        self._opened ^= bit
        if thing is not None:
            self._places[thing] = place
        elif room is not None:
            self._room = room
        self._scene = scene = house.scene(self._room, self._places, self._opened)
        answer = self._wording[slot].format(*words) if room is None else self._description(scene)
        info = {"success": False, "lost": False, "room": scene.room}
        if house.won(self._places, self._opened):
            info["success"] = True
            return answer + WON, 1.0, True, False, info
        if self._places[house.goal_thing] == house.gone:
            info["lost"] = True
            return answer + LOST, 0.0, True, False, info
        return self._told(answer, scene), 0.0, False, False, info

    def _told(self, answer: str, scene: Scene) -> str:
        if self._is_full and answer is not scene.inventory:
            return f"{answer}\n{scene.inventory}{scene.listing}"
        return answer + scene.listing

    def _description(self, scene: Scene) -> str:
        lines = [self._wording["intro"].format(scene.room)] if self._is_full else []
        for sentences in (scene.furniture, scene.ways):
            if sentences:
                lines.append(" ".join([self._wording[slot].format(*words) for slot, words in sentences]))
        return "\n".join(lines)

    def _seen(self, scene: Scene, command: str) -> str:
        """Return the answer to `look` and to `examine NAME`."""
        if command == "look":
            return self._description(scene)
        name = command.removeprefix("examine ")
        if name in scene.lies:
            return f"A closer look at the {name} shows {'that it can be eaten' if name in FOOD else 'nothing special'}."
        if name in scene.doors:
            return f"The {name} is {'open' if scene.doors[name] else 'closed'}."
        slot, words = next(sentence for sentence in scene.furniture if sentence[1][0] == name)
        return self._wording[slot].format(*words)

    def choices(self) -> Sequence[str]:
        """The admissible commands, which every observation lists."""
        assert self._scene is not None
        return self._scene.commands

    def prompt(self) -> str:
        return filled("lmgym.envs", "data/prompts/textnav.txt")

    def official_starts(self) -> Sequence[dict[str, Any]]:
        """Every room; none where the house changes from game to game."""
        return () if self._is_random else tuple({"start": room} for room in self._house.rooms)

    def expert(self) -> str:
        """The first command of a shortest plan, found by a search that knows the whole house."""
        return self._house.next_command(self._room, self._places, self._opened)

    def behaviour(self) -> str:
        """One of many players who each know one half of the rooms: the one near the goal, or the other.

        In the half it knows, a player takes the expert's command with a probability of its own (uniform in
        KNOWN), in the other half with a lower one (uniform in UNKNOWN); else a uniform admissible command. The
        near half is known with probability KNOWN_NEAR. The constants are set so that the default data have the
        published success rate and length.
        """
        chance = self.behaviour_random
        if self._skills is None:
            near, far = float(chance.uniform(*UNKNOWN)), float(chance.uniform(*KNOWN))
            self._skills = (far, near) if chance.random() < KNOWN_NEAR else (near, far)
        if chance.random() < self._skills[self._room not in self._house.near_half]:
            return self.expert()
        commands = self.choices()
        return commands[int(chance.integers(len(commands)))]

    def render(self) -> str | None:
        """Return the house with all that is in it, a line a room, `>` before the player's."""
        if self.render_mode is None:
            return None
        house = self._house
        return "\n".join(
            [
                *(f"{'>' if room == self._room else ' '} {self._room_line(room)}" for room in range(len(house.rooms))),
                f"  carrying: {self._things_at(house.carried)}",
            ]
        )

    def _room_line(self, room: int) -> str:
        house = self._house
        parts = [f"{way} {house.rooms[end]}{self._door_state(door)}" for way, (end, door) in house.exits[room].items()]
        for number, holder in enumerate(house.holders):
            if holder.room == room:
                state = "" if self._opened >> number & 1 else " (closed)"
                parts.append(f"{holder.name}{state}: {self._things_at(len(house.rooms) + number)}")
        return "; ".join([house.rooms[room], *parts, f"floor: {self._things_at(room)}"])

    def _door_state(self, door: int | None) -> str:
        if door is None:
            return ""
        is_open = self._opened & self._house.door_bit(door)
        return f" ({self._house.doors[door]}, {'open' if is_open else 'closed'})"

    def _things_at(self, place: int) -> str:
        here = [name for name, at in zip(self._house.things, self._places, strict=True) if at == place]
        return ", ".join(here) or "-"


@cache
def _standard_house() -> House:
    return House(STANDARD)


def random_house(chance: np.random.Generator) -> House:
    """Return a house in which every room has a plan of STEP_LIMIT steps or fewer."""
    while True:
        house = House(_draw_floor_plan(chance))
        starts = range(len(house.rooms))
        longest = max(house.steps_left(room, house.first_places, house.first_open) for room in starts)
        if longest <= STEP_LIMIT:
            return house


def _draw_floor_plan(chance: np.random.Generator) -> FloorPlan:
    rooms = _drawn(chance, ROOMS, int(chance.integers(5, 9)))
    passages = _draw_passages(chance, rooms)
    holders = [(room, name) for room in rooms for name in _drawn(chance, SUPPORTERS, int(chance.integers(2)))]
    holders += [(room, name) for room in rooms for name in _drawn(chance, CONTAINERS, int(chance.integers(2)))]
    # At least one of each kind, and two rooms with furniture, so that there is somewhere to carry things to.
    holders += [(rooms[0], "table"), (rooms[1], "chest")]
    holders = list(dict.fromkeys(holders))
    things = []
    for name in _drawn(chance, tuple(THINGS), int(chance.integers(5, 9))):
        on_floor = chance.random() < 0.2
        room, holder = (rooms[int(chance.integers(len(rooms)))], None) if on_floor else _one_of(chance, holders)
        things.append((name, room, holder))
    thing, room, _ = _one_of(chance, things)
    goal = _one_of(chance, [holder for holder in holders if holder[0] != room])
    doors = [door for *_, door in passages if door is not None]
    openable: list[str | tuple[str, str]] = [*doors, *(holder for holder in holders if holder[1] in CONTAINERS)]
    shut = frozenset(item for item in openable if chance.random() < 0.7)
    return FloorPlan(rooms, passages, tuple(holders), tuple(things), shut, (thing, *goal))


def _draw_passages(chance: np.random.Generator, rooms: Sequence[str]) -> tuple[tuple[str, str, str, str | None], ...]:
    """Lay the rooms out on a grid, each beside an earlier one, and join some other neighbours as well."""
    cells = {(0, 0): rooms[0]}
    joined: list[tuple[str, str, str]] = []
    for room in rooms[1:]:
        free = [(cell, way) for cell in cells for way in DIRECTIONS if _beside(cell, way) not in cells]
        cell, way = _one_of(chance, free)
        cells[_beside(cell, way)] = room
        joined.append((cells[cell], way, room))
    pairs = {frozenset((start, end)) for start, _, end in joined}
    for cell, way in product(list(cells), ("south", "east")):
        end = cells.get(_beside(cell, way))
        if end is not None and frozenset((cells[cell], end)) not in pairs and chance.random() < 0.3:
            joined.append((cells[cell], way, end))
    num_doors = int(chance.integers(len(DOORS) + 1))
    doors: list[str | None] = [*_drawn(chance, DOORS, num_doors), *[None] * (len(joined) - num_doors)]
    order = chance.permutation(len(joined)).tolist()
    return tuple((*passage, doors[index]) for passage, index in zip(joined, order, strict=True))


def _beside(cell: tuple[int, int], way: str) -> tuple[int, int]:
    down, right = DIRECTIONS[way]
    return cell[0] + down, cell[1] + right


def _drawn(chance: np.random.Generator, names: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(names[index] for index in chance.permutation(len(names))[:count].tolist())


def _one_of(chance: np.random.Generator, items: Sequence[Any]) -> Any:
    return items[int(chance.integers(len(items)))]


EXAMPLES = (
    *(f"go {way}" for way in DIRECTIONS),
    *("look", "inventory", "open fridge", "close fridge", "open chest", "take stale food from table"),
    *("insert stale food into fridge", "drop stale food", "eat stale food", "put bowl on table", "take bowl"),
)
CHARSET = string.ascii_letters + " \n,.:;*!?'"

REFERENCES = {
    observation: Reference(
        min=Score(0.0, "15 commands that never reach the goal"),
        data=Score(0.263, "mean of ten default data sets (seeds 0 to 9)"),
        best=Score(1.0, "shortest plans of 6 to 9 commands from all eight rooms (tests/test_textnav.py)"),
        data_success=0.263,
        data_turns=11.86,
    )
    for observation in ("full", "partial")
}
