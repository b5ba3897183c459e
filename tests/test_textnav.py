"""The rules of Text-Nav, its shortest plans, its random houses, and its data."""

import re
import string
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from lmgym.agents import load_agent
from lmgym.check import check
from lmgym.env import contract
from lmgym.envs import textnav
from lmgym.envs.textnav import CHARSET, REFERENCES, STEP_LIMIT, WORDINGS, House, TextNav, random_house
from lmgym.episode import Statistics, statistics
from lmgym.errors import UsageError
from lmgym.evaluate import collect, evaluate

FO, PO = "lmgym/FOTextNav-v0", "lmgym/POTextNav-v0"
OBJECTIVE = "Your objective is to put the stale food on the table in the living room into the fridge in the kitchen."
PLAN_LENGTHS = {
    "living room": 6,
    **dict.fromkeys(("dining room", "bedroom", "office"), 7),
    **dict.fromkeys(("kitchen", "bathroom"), 8),
    **dict.fromkeys(("garden", "backyard"), 9),
}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one wording, the first, so that texts can be written down by hand."""
    monkeypatch.setattr(textnav, "WORDINGS", {slot: ways[:1] for slot, ways in WORDINGS.items()})
    monkeypatch.setattr(textnav, "NUM_WORDINGS", np.ones(len(WORDINGS), dtype=int))


def started(start: str, env_id: str = FO, seed: int = 0, **kwargs: Any) -> tuple[gymnasium.Env, str]:
    env = gymnasium.make(env_id, **kwargs)
    observation, _ = env.reset(seed=seed, options={"start": start})
    return env, observation


def after(env: gymnasium.Env, *commands: str) -> Any:
    for command in commands:
        result = env.step(command)
    return result


def listed(observation: str) -> list[str]:
    """The admissible commands as an agent reads them."""
    line = observation.splitlines()[-1]
    assert line.startswith("Admissible commands: ")
    return line.removeprefix("Admissible commands: ").split(", ")


def admissible(env: gymnasium.Env) -> tuple[str, ...]:
    return env.unwrapped.choices()  # type: ignore[attr-defined]


def expert(env: gymnasium.Env) -> str:
    return env.unwrapped.expert()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plain")
def test_a_won_game_word_for_word() -> None:
    env, observation = started("living room")
    told = [observation]
    for command in (
        *("take stale food from table", "go west", "go west"),
        *("open fridge", "insert stale food into fridge", "close fridge"),
    ):
        observation, reward, terminated, truncated, info = env.step(command)
        told.append(observation)
        assert (reward, terminated, truncated, info["success"]) == (
            (1.0, True, False, True) if command == "close fridge" else (0.0, False, False, False)
        )
    assert told == [
        f"{OBJECTIVE}\n"
        "You are in the living room.\n"
        "On the table you see some stale food and some fresh food.\n"
        "There are unguarded exits to the east, south and west.\n"
        "Admissible commands: go east, go south, go west, take fresh food from table, take stale food from table",
        "You take the stale food from the table.\n"
        "You are carrying: some stale food.\n"
        "Admissible commands: drop stale food, eat stale food, go east, go south, go west, put stale food on table, "
        "take fresh food from table",
        "You are in the dining room.\n"
        "On the table you see a coffee cup and a plate.\n"
        "There are unguarded exits to the east and west.\n"
        "You are carrying: some stale food.\n"
        "Admissible commands: drop stale food, eat stale food, go east, go west, put stale food on table, "
        "take coffee cup from table, take plate from table",
        "You are in the kitchen.\n"
        "The fridge is closed.\n"
        "There are unguarded exits to the east, north and west.\n"
        "You are carrying: some stale food.\n"
        "Admissible commands: drop stale food, eat stale food, go east, go north, go west, open fridge",
        "You open the fridge, revealing a fruit.\n"
        "You are carrying: some stale food.\n"
        "Admissible commands: close fridge, drop stale food, eat stale food, go east, go north, go west, "
        "insert stale food into fridge, take fruit from fridge",
        "You put the stale food into the fridge.\n"
        "You are carrying nothing.\n"
        "Admissible commands: close fridge, go east, go north, go west, take fruit from fridge, "
        "take stale food from fridge",
        "You close the fridge.\nYour score has just gone up by one point.\n*** The End ***",
    ]


@pytest.mark.usefixtures("plain")
def test_eating_the_stale_food_loses_and_other_food_does_not_matter() -> None:
    env, _ = started("living room")
    *_, terminated, _, info = after(env, "take fresh food from table", "eat fresh food")
    assert (terminated, info["lost"]) == (False, False)
    observation, reward, terminated, truncated, info = after(env, "take stale food from table", "eat stale food")
    assert observation == "You eat the stale food.\n*** You lost! ***"
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["lost"], info["success"]) == (True, False)


def test_the_fridge_has_to_be_closed_on_the_stale_food_and_on_nothing_else_will_do() -> None:
    env, _ = started("kitchen")
    *_, terminated, _, info = after(env, "open fridge", "close fridge", "open fridge")
    assert not terminated
    assert not info["success"]
    walk = ("go east", "go east", "take fresh food from table", "go west", "go west")
    _, reward, terminated, *_ = after(env, *walk, "insert fresh food into fridge", "close fridge")
    assert (reward, terminated) == (0.0, False)


def test_partial_leaves_out_room_and_inventory_and_nothing_else() -> None:
    full, partial = gymnasium.make(FO), gymnasium.make(PO)
    chance = np.random.default_rng(0)
    for seed in range(20):
        whole, part = full.reset(seed=seed)[0].splitlines(), partial.reset(seed=seed)[0].splitlines()
        assert whole[:1] + whole[2:] == part
        intro = whole[1].replace(full.unwrapped._scene.room, "{0}")  # type: ignore[attr-defined]
        assert intro in WORDINGS["intro"]
        ended = False
        while not ended:
            commands = admissible(full)
            command = commands[int(chance.integers(len(commands)))]
            seen, _, terminated, truncated, info = full.step(command)
            less, *_ = partial.step(command)
            ended = terminated or truncated
            if terminated:
                assert seen == less
                continue
            lines = seen.splitlines()
            assert lines.pop(-2).startswith("You are carrying")
            if command.startswith("go"):
                assert lines.pop(0).replace(info["room"], "{0}") == intro
            assert lines == less.splitlines()


@pytest.mark.usefixtures("plain")
def test_rooms_without_furniture_look_alike_in_part() -> None:
    assert started("garden", PO)[1] == (
        f"{OBJECTIVE}\nThere is an unguarded exit to the south.\nAdmissible commands: go south"
    )
    assert started("garden")[1].splitlines()[1] == "You are in the garden."


@pytest.mark.parametrize(
    "action",
    [
        "take bowl from table",
        "  Take  THE bowl\tfrom a table ",
        "take bowl",
        "TAKE BOWL FROM TABLE.",
        "take some bowl from the table",
    ],
)
def test_articles_case_and_spaces_do_not_matter(action: str) -> None:
    env, _ = started("bedroom")
    told, *_, info = env.step(action)
    assert "invalid" not in info
    assert "You are carrying: a bowl.\n" in told


def test_part_of_a_name_and_another_preposition_are_understood_where_only_one_thing_is_meant() -> None:
    env, _ = started("dining room")
    *_, info = after(env, "take cup", "put cup onto table", "take the coffee from the table", "put cup on floor")
    assert "invalid" not in info
    assert "take coffee cup" in admissible(env)
    *_, info = after(env, "take coffee cup from floor", "go west", "open fridge", "put coffee cup in fridge")
    assert "invalid" not in info
    assert "take coffee cup from fridge" in admissible(env)


REFUSALS = [
    ("", "You do nothing."),
    (" \n", "You do nothing."),
    ("the", "You do nothing."),
    ("dance", "You do not know how to do that."),
    ("look around", "You do not know how to do that."),
    ("take", "Take what?"),
    ("go up", "You can go north, south, east or west."),
    ("go north", "You can't go that way."),
    ("take unicorn", "You can't see any such thing."),
    ("take fruit", "You can't see any such thing."),
    ("take plate from table", "You already have the plate."),
    ("take table", "The table stays where it is."),
    ("take coffee cup from fridge", "You can't see any such thing."),
    ("take bowl from table", "You see no bowl there."),
    ("drop coffee cup", "You are not carrying the coffee cup."),
    ("put coffee cup on table", "You are not carrying the coffee cup."),
    ("put plate", "Say where to put it."),
    ("put plate into table", "You can't put things into the table."),
    ("put plate on bowl", "You can't put things on the bowl."),
    ("open table", "You can't open the table."),
    ("close fridge", "You can't see any such thing."),
    ("eat plate", "You can't eat the plate."),
    ("examine fridge", "You can't see any such thing."),
]


@pytest.mark.parametrize(("action", "answer"), REFUSALS)
def test_what_cannot_be_done_is_answered_changes_nothing_and_costs_a_step(action: str, answer: str) -> None:
    env, _ = started("bedroom", PO, render_mode="ansi")
    after(env, "take bowl", "go west", "go west", "take plate", "drop bowl")
    before, commands = env.render(), admissible(env)
    told, reward, terminated, truncated, info = env.step(action)
    assert info["invalid"] == answer
    assert told == f"{answer}\nAdmissible commands: {', '.join(commands)}"
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, False, False)
    assert env.render() == before
    *_, truncated, _ = after(env, *["dance"] * (STEP_LIMIT - 6))
    assert truncated


def test_closed_and_already() -> None:
    env, _ = started("living room")
    after(env, "take stale food", "go west", "go west")
    assert after(env, "insert stale food into fridge")[4]["invalid"] == "The fridge is closed."
    assert after(env, "close fridge")[4]["invalid"] == "The fridge is already closed."
    assert after(env, "open fridge", "open the fridge")[4]["invalid"] == "The fridge is already open."
    assert after(env, "put stale food on fridge")[4]["invalid"] == "You can't put things on the fridge."
    assert after(env, "eat fruit")[4]["invalid"] == "You are not carrying the fruit."


def test_a_command_that_can_mean_two_things_is_refused() -> None:
    env, _ = started("living room")
    *_, info = env.step("take food")
    assert info["invalid"] == "Which do you mean: the stale food or the fresh food?"
    *_, info = env.step("take stale")
    assert "invalid" not in info


@pytest.mark.usefixtures("plain")
def test_look_inventory_and_examine_work_though_they_are_not_listed() -> None:
    env, first = started("dining room", PO)
    assert not {"look", "inventory"} & set(listed(first))
    room = "On the table you see a coffee cup and a plate.\nThere are unguarded exits to the east and west."
    told, _, _, _, info = env.step("Look")
    assert told.splitlines()[:-1] == room.splitlines()
    assert "invalid" not in info
    assert env.step("inventory")[0].splitlines()[0] == "You are carrying nothing."
    assert env.step("examine plate")[0].splitlines()[0] == "A closer look at the plate shows nothing special."
    assert env.step("look at the table")[0].splitlines()[0] == "On the table you see a coffee cup and a plate."
    env, _ = started("dining room")
    assert env.step("look")[0].splitlines()[0] == "You are in the dining room."
    assert env.step("inventory")[0].count("You are carrying") == 1


@pytest.mark.usefixtures("plain")
def test_the_text_follows_what_happens() -> None:
    env, _ = started("bedroom")
    env.step("take bowl")
    told, *_ = env.step("look")
    assert "On the table you see nothing.\n" in told
    told, *_ = after(env, "drop bowl", "look")
    assert "On the table you see nothing. On the floor you see a bowl.\n" in told
    told, *_ = after(env, "take bowl", "go west", "go south", "open chest")
    assert told.startswith("You open the chest, revealing some utensils.\n")
    told, *_ = after(env, "take utensils from chest", "insert bowl into chest", "close chest", "look")
    assert "The chest is closed.\n" in told
    assert "You are carrying: some utensils.\n" in told
    told, *_ = env.step("open chest")
    assert told.startswith("You open the chest, revealing a bowl.\n")


def test_doors_bar_the_way_until_they_are_open() -> None:
    for seed in range(200):
        env = gymnasium.make(FO, house="random")
        env.reset(seed=seed)
        doors = [command for command in admissible(env) if re.fullmatch("open .* door", command)]
        if len(doors) == 1 and not any("close" in command for command in admissible(env)):
            break
    barred = [way for way in ("go north", "go south", "go east", "go west") if way not in admissible(env)]
    answers = [env.step(way)[4]["invalid"] for way in barred]
    name = doors[0].removeprefix("open ")
    assert answers.count(f"The {name} is closed.") == 1
    way = barred[answers.index(f"The {name} is closed.")]
    *_, info = env.step("open door")
    assert "invalid" not in info
    assert {way, f"close {name}"} <= set(admissible(env))
    assert env.step(f"examine {name}")[0].startswith(f"The {name} is open.")
    room = info["room"]
    *_, info = env.step(way)
    assert info["room"] != room
    assert f"close {name}" in admissible(env)


def play_at_random(env: gymnasium.Env, seed: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    observation, info = env.reset(seed=seed)
    chance, ended = np.random.default_rng(seed), False
    yield "", observation, info
    while not ended:
        commands = admissible(env)
        command = commands[int(chance.integers(len(commands)))]
        observation, _, terminated, truncated, info = env.step(command)
        ended = terminated or truncated
        yield command, observation, info


@pytest.mark.parametrize("house", ["standard", "random"])
def test_admissible_commands_are_those_shown_in_order_and_each_changes_something(house: str) -> None:
    env = gymnasium.make(FO, house=house, render_mode="ansi")
    for seed in range(40):
        before = None
        for command, observation, info in play_at_random(env, seed):
            assert env.render() != before, command
            before = env.render()
            assert "invalid" not in info
            if "***" not in observation:
                assert listed(observation) == list(admissible(env)) == sorted(admissible(env))


def test_wordings_of_a_slot_take_the_same_words() -> None:
    for slot, ways in WORDINGS.items():
        fields = [{name for _, name, *_ in string.Formatter().parse(way) if name is not None} for way in ways]
        assert all(found == fields[0] for found in fields), slot
        assert len(set(ways)) == len(ways) >= 3


def test_wording_differs_between_seeds_and_stays_within_a_game() -> None:
    rooms = {started("kitchen", seed=seed)[1] for seed in range(40)}
    assert len(rooms) > 20
    env, first = started("kitchen", seed=5)
    again, *_ = after(env, "go north", "go south", "look")
    assert again.splitlines()[:3] == first.splitlines()[1:4]


def test_same_seed_same_game_and_nothing_leaks() -> None:
    fresh, used = (gymnasium.make(FO, house="random") for _ in range(2))
    for seed in (3, 4):
        list(play_at_random(used, seed + 100))
        assert list(play_at_random(used, seed)) == list(play_at_random(fresh, seed))
    one, other = gymnasium.make(FO), gymnasium.make(FO)
    alone = list(play_at_random(one, 9))
    beside = [turn for turn, _ in zip(play_at_random(one, 9), play_at_random(other, 10), strict=False)]
    assert beside == alone[: len(beside)]
    assert len({env.reset(seed=seed)[0] for env in (one,) for seed in range(50)}) > 25


def test_who_would_play_does_not_change_the_game() -> None:
    env, asked = gymnasium.make(FO), gymnasium.make(FO)
    env.reset(seed=1)
    asked.reset(seed=1)
    for _ in range(3):
        asked.unwrapped.behaviour()  # type: ignore[attr-defined]
    for seed in (None, None, 2, None):
        assert env.reset(seed=seed) == asked.reset(seed=seed)


def test_start_by_option_or_by_chance() -> None:
    env = gymnasium.make(FO)
    rooms = {env.reset(seed=seed)[1]["room"] for seed in range(100)}
    assert rooms == set(PLAN_LENGTHS)
    assert env.reset(seed=1, options={"start": "office"})[1]["room"] == "office"
    with pytest.raises(UsageError, match="did you mean 'kitchen'"):
        env.reset(options={"start": "kichen"})
    with pytest.raises(UsageError, match="did you mean 'start'"):
        env.reset(options={"stat": "kitchen"})
    with pytest.raises(UsageError, match="valid"):
        env.reset(options={"start": 3})


def test_arguments() -> None:
    with pytest.raises(UsageError, match="did you mean 'full'"):
        TextNav(observation="ful")
    with pytest.raises(UsageError, match="did you mean 'random'"):
        TextNav(house="randon")


def shortest_plan(env: gymnasium.Env, seed: int, options: dict[str, Any]) -> int:
    """Search breadth first with the game itself; commands on things that the objective does not name are left
    out, but for doors."""
    objective = env.reset(seed=seed, options=options)[0].splitlines()[0]
    thing = re.match(r"Your objective is to put the (.*?) (on|in) the ", objective)
    assert thing is not None
    queue: list[list[str]] = [[]]
    seen = {env.render()}
    for path in queue:
        env.reset(seed=seed, options=options)
        for command in path:
            env.step(command)
        for command in admissible(env):
            verb, _, rest = command.partition(" ")
            if verb in ("open", "close") and "door" not in rest and f" the {rest} in the " not in objective:
                continue
            if verb in ("take", "drop", "put", "insert", "eat") and not rest.startswith(thing[1]):
                continue
            env.reset(seed=seed, options=options)
            for earlier in path:
                env.step(earlier)
            _, _, terminated, _, info = env.step(command)
            if info["success"]:
                return len(path) + 1
            if not terminated and env.render() not in seen:
                seen.add(env.render())
                queue.append([*path, command])
    raise AssertionError("no plan")


def expert_plan(env: gymnasium.Env, seed: int, options: dict[str, Any]) -> int:
    env.reset(seed=seed, options=options)
    for step in range(1, STEP_LIMIT + 1):
        _, reward, terminated, _, info = env.step(expert(env))
        assert "invalid" not in info
        if terminated:
            assert (reward, info["success"]) == (1.0, True)
            return step
    raise AssertionError("the expert did not arrive")


@pytest.mark.parametrize(("start", "length"), PLAN_LENGTHS.items())
def test_the_expert_plays_shortest_plans(start: str, length: int) -> None:
    env = gymnasium.make(PO, render_mode="ansi")
    options = {"start": start}
    assert expert_plan(env, 0, options) == shortest_plan(env, 0, options) == length


@pytest.mark.slow
def test_the_expert_plays_shortest_plans_in_random_houses() -> None:
    env = gymnasium.make(FO, house="random", render_mode="ansi")
    lengths = [(expert_plan(env, seed, {}), shortest_plan(env, seed, {})) for seed in range(12)]
    assert all(found == shortest for found, shortest in lengths)
    assert len({shortest for _, shortest in lengths}) > 4


def test_random_houses_differ_and_can_be_solved_from_every_room() -> None:
    env = gymnasium.make(FO, house="random")
    objectives = set()
    for seed in range(300):
        first, _ = env.reset(seed=seed)
        objectives.add(first.splitlines()[0])
        house: House = env.unwrapped._house  # type: ignore[attr-defined]
        assert 5 <= len(house.rooms) <= 8
        assert expert_plan(env, seed, {}) >= 3
    assert len(objectives) > 250
    assert any("onto the" in objective for objective in objectives)
    for seed in range(40):
        env.reset(seed=seed)
        for room in env.unwrapped._house.rooms:  # type: ignore[attr-defined]
            assert expert_plan(env, seed, {"start": room}) <= STEP_LIMIT


def test_houses_that_take_too_long_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textnav, "STEP_LIMIT", 8)
    for seed in range(100):
        house = random_house(np.random.default_rng(seed))
        rooms = range(len(house.rooms))
        assert max(house.steps_left(room, house.first_places, house.first_open) for room in rooms) <= 8


@pytest.mark.parametrize("house", ["standard", "random"])
def test_the_expert_wins_on_from_wherever_play_has_led(house: str) -> None:
    env = gymnasium.make(FO, house=house, max_episode_steps=100).unwrapped
    chance = np.random.default_rng(0)
    wins = 0
    for seed in range(150):
        env.reset(seed=seed)
        for _ in range(int(chance.integers(30))):
            commands = env.choices()  # type: ignore[attr-defined]
            *_, terminated, _, info = env.step(commands[int(chance.integers(len(commands)))])
            if terminated:
                break
        if terminated:
            continue
        left = env._house.steps_left(env._room, env._places, env._opened)  # type: ignore[attr-defined]
        for _ in range(left):
            assert not terminated
            *_, terminated, _, info = env.step(env.expert())  # type: ignore[attr-defined]
        assert info["success"]
        wins += 1
    assert wins > 50


def test_declarations() -> None:
    for env_id, name in ((FO, "full"), (PO, "partial")):
        env = gymnasium.make(env_id)
        assert env.spec is not None
        assert env.spec.max_episode_steps == STEP_LIMIT
        rules = contract(env)
        assert [start["start"] for start in rules.official_starts] == list(env.unwrapped._house.rooms)  # type: ignore[attr-defined]
        assert set(PLAN_LENGTHS) == {start["start"] for start in rules.official_starts}
        assert rules.evaluation_episodes % 8 == 0
        assert rules.history is None
        assert rules.reference == REFERENCES[name]
    random_rules = contract(gymnasium.make(FO, house="random"))
    assert random_rules.reference is None
    assert random_rules.official_starts == ()


def test_the_best_score_is_what_the_expert_earns() -> None:
    found = evaluate(load_agent("expert", FO), FO, episodes=80)
    assert found.success_rate == found.mean_return.mean == REFERENCES["full"].best.value
    assert found.score == 100.0
    assert found.turns == np.mean(list(PLAN_LENGTHS.values()))


def data(env_id: str, episodes: int, seed: int) -> Statistics:
    return statistics(list(collect(load_agent("behaviour", env_id), env_id, episodes=episodes, seed=seed)))


@pytest.mark.parametrize(("env_id", "name"), [(FO, "full"), (PO, "partial")])
def test_the_data_are_as_declared(env_id: str, name: str) -> None:
    found, reference = data(env_id, 1000, seed=77), REFERENCES[name]
    assert reference.data_success is not None
    assert reference.data_turns is not None
    error = 3 * (reference.data_success * (1 - reference.data_success) / found.episodes) ** 0.5
    assert found.success_rate == pytest.approx(reference.data_success, abs=error)
    assert found.mean_turns == pytest.approx(reference.data_turns, abs=3 * found.std_turns / found.episodes**0.5)
    assert found.mean_return == found.success_rate
    assert found.invalid_rate == 0
    assert reference.data.value == pytest.approx(reference.data_success, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_data_are_like_the_published(seed: int) -> None:
    found = data(FO, TextNav.data_episodes, seed)
    assert found.success_rate == pytest.approx(0.26, abs=0.03)
    assert found.mean_turns == pytest.approx(12, abs=1.5)


def test_players_know_the_rooms_near_the_goal_or_the_others() -> None:
    game = TextNav()
    game.reset(seed=0)
    near = {game._house.rooms[room] for room in game._house.near_half}
    assert near == {"kitchen", "garden", "backyard", "dining room"}
    agreed = {"kitchen": 0.0, "living room": 0.0}
    for room in agreed:
        for seed in range(400):
            game.reset(seed=seed, options={"start": room})
            agreed[room] += game.behaviour() == game.expert()
    # Half of the players know a room (0.9 on average), half do not (0.25); a blind choice is right one time in 4.5.
    assert all(0.5 < count / 400 < 0.75 for count in agreed.values())


ODD = [
    *("", " ", "\n", "\x00", "go\x00east", "go east\x1b[0m", "💡 go east", "\ud800", "take \udfff", "ｇｏ ｅａｓｔ"),
    *("İ", "x" * 100_000, " " * 100_000, "go " * 30_000, "put in", "put on on on", "take from", "take from from table"),
    *("insert into fridge", "examine", "examine the", "look at", "look at the", "{0}", "%s", "take {0}", "put a in"),
]


@pytest.mark.parametrize("env_id", [FO, PO])
def test_odd_actions_do_no_harm(env_id: str) -> None:
    env = gymnasium.make(env_id, max_episode_steps=10_000)
    first, _ = env.reset(seed=0)
    chance = np.random.default_rng(0)
    for index in range(1000):
        points = chance.integers(0x110000, size=int(chance.integers(1, 12)))
        action = ODD[index] if index < len(ODD) else "".join(map(chr, points))
        observation, reward, terminated, _, info = env.step(action)
        assert observation in env.observation_space
        assert (reward, terminated) == (0.0, False)
        assert info["invalid"] in observation
    assert listed(observation) == listed(first)


@pytest.mark.parametrize("house", ["standard", "random"])
def test_the_longest_observations_lie_in_the_space(house: str) -> None:
    """A hoarder takes all there is, opens everything, and carries it through all rooms, or leaves it in one."""
    game = TextNav(house=house)
    longest = 0
    for seed in range(60):
        game.reset(seed=seed)
        plan, everything = game._house, (1 << 32) - 1
        for place in (plan.carried, *range(plan.carried)):
            game._places, game._opened = [place] * len(plan.things), everything
            for room in range(len(plan.rooms)):
                game._room = room
                game._scene = plan.scene(room, game._places, everything)
                observation = f"{plan.objective}\n{game.step('look')[0]}"
                assert observation in game.observation_space
                longest = max(longest, len(observation))
    assert isinstance(game.observation_space, gymnasium.spaces.Text)
    assert longest > game.observation_space.max_length / 2


def test_the_charset_covers_all_that_can_be_said() -> None:
    names = " ".join(
        (*textnav.ROOMS, *textnav.THINGS.values(), *textnav.DOORS, *textnav.SUPPORTERS, *textnav.CONTAINERS)
    )
    ways = "".join(re.sub(r"\{\d\}", "", way) for slot in WORDINGS.values() for way in slot)
    answers = "".join(answer for _, answer in REFUSALS) + textnav.WON + textnav.LOST
    assert set(names + ways + answers + OBJECTIVE) <= set(CHARSET)


def test_commands_fit_the_reply_budget() -> None:
    for seed in range(100):
        house = random_house(np.random.default_rng(seed))
        carried = [house.carried] * len(house.things)
        for room in range(len(house.rooms)):
            commands = house.scene(room, carried, (1 << 32) - 1).commands
            assert max(map(len, commands)) <= TextNav.max_reply_chars


def test_the_scenes_kept_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(textnav.STANDARD)
    monkeypatch.setattr(textnav, "MAX_SCENES", 10)
    seen = [house.scene(room % 8, [room % 15] * 7, room % 32) for room in range(100)]
    assert len(house._scenes) <= 10
    again = [house.scene(room % 8, [room % 15] * 7, room % 32) for room in range(100)]
    assert [scene.listing for scene in seen] == [scene.listing for scene in again]


@pytest.mark.usefixtures("plain")
def test_render() -> None:
    env, _ = started("kitchen", render_mode="ansi")
    after(env, "open fridge", "take fruit from fridge", "go north")
    picture = str(env.render()).splitlines()
    assert "  kitchen; east dining room; north garden; west backyard; fridge: -; floor: -" in picture
    assert "> garden; south kitchen; floor: -" in picture
    assert "  office; east bathroom; north living room; chest (closed): utensils; floor: -" in picture
    assert picture[-1] == "  carrying: fruit"
    assert TextNav().render() is None


@pytest.mark.slow
@pytest.mark.parametrize("env_kwargs", [{}, {"house": "random"}])
@pytest.mark.parametrize("env_id", [FO, PO])
def test_the_contract_is_kept(env_id: str, env_kwargs: dict[str, Any]) -> None:
    assert [verdict for verdict in check(env_id, env_kwargs) if verdict.problem] == []
