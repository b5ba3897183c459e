"""Wrapped games are games: they keep the contract, play in rollout, and differ from the plain game in one thing."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lmgym.agents import ScriptedAgent, load_agent
from lmgym.check import RULES, check
from lmgym.env import contract_of, make_env
from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.evaluate import collect, evaluate
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.rollout import Start, rollout
from lmgym.store import append_episodes, read_episodes, read_metadata, write_episodes
from lmgym.wrappers import (
    ChatObservation,
    HistoryObservation,
    MaskAction,
    RecordEpisodes,
    ShapeReward,
    TurnFacts,
    register_wrapped,
)
from tests.games import COLOURS, ECHO, FOREIGN, WRAPPED

MAZE = "lmgym/FOMaze-v0"


def make(env_id: str) -> gymnasium.Env[str, str]:
    return make_env(env_id)


def played(env_id: str, agent: str = "random", episodes: int = 5, num_envs: int = 64) -> list[Episode]:
    return list(collect(load_agent(agent, env_id), env_id, episodes=episodes, num_envs=num_envs))


@pytest.mark.parametrize("env_id", WRAPPED)
def test_wrapped_games_keep_every_rule(env_id: str) -> None:
    assert {verdict.rule: verdict.problem for verdict in check(env_id)} == dict.fromkeys(RULES)


@pytest.mark.parametrize(
    "wrap",
    [
        HistoryObservation,
        ChatObservation,
        lambda env: ShapeReward(env, lambda turn: 2 * turn.reward),
        MaskAction,
        lambda env: MaskAction(HistoryObservation(ChatObservation(env))),
    ],
)
@pytest.mark.parametrize("env_id", [ECHO, FOREIGN])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*already in registry")
def test_gymnasium_finds_nothing_wrong(wrap: Callable[[Any], gymnasium.Env], env_id: str) -> None:
    env = wrap(make(env_id))
    check_env(env)
    copied = env.spec.make()  # type: ignore[union-attr]
    assert type(copied) is type(env)
    copied.close()
    env.close()


@pytest.mark.parametrize("env_id", WRAPPED)
def test_games_do_not_depend_on_how_many_are_played_at_a_time(env_id: str) -> None:
    assert played(env_id, num_envs=1) == played(env_id, num_envs=5)


@pytest.mark.parametrize("env_id", WRAPPED)
def test_policies_play_wrapped_games(env_id: str, tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(env_id)
    assert policy.view.max_turns == contract_of(env_id).history
    games = [list(collect(PolicyAgent(policy), env_id, episodes=4, num_envs=count)) for count in (1, 4)]
    # Not the log-probabilities, whose last digits depend on the width of a batch.
    said = [[[(turn.text, turn.reward) for turn in game.turns] for game in played] for played in games]
    assert said[0] == said[1]
    assert all(game.error is None for game in games[0])


@pytest.mark.parametrize("pieces", [None, 1, 2, 3, 4, 5, 100])
def test_history_as_text_is_the_end_of_the_conversation(pieces: int | None) -> None:
    plain, shown = make(MAZE), HistoryObservation(make(MAZE), pieces, mark="I: ")
    said = [plain.reset(seed=3)[0]]
    # Of an even number the first would be an action; the maze declares that one piece is all there is to see.
    count = {None: 1, 1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 100: 99}[pieces]
    assert shown.reset(seed=3)[0] == said[0]
    for action in ("move up", "move left", "nonsense", "move down", "move right"):
        said += [f"I: {action}", plain.step(action)[0]]
        assert shown.step(action)[0] == "\n".join(said[-count:])
    assert shown.reset(seed=3)[0] == said[0]


def test_a_game_that_declares_no_history_is_shown_whole() -> None:
    game = played("tests.games:test/EchoHistory-v0", episodes=1)[0]
    plain = played(ECHO, episodes=1)[0]
    assert [turn.text for turn in game.actions] == [turn.text for turn in plain.actions]
    assert game.turns[-1].text == "\n".join(f"> {turn.text}" if turn.by_agent else turn.text for turn in plain.turns)


def test_what_a_wrapper_declares_goes_before_the_games_own() -> None:
    plain, history = contract_of(ECHO), contract_of("tests.games:test/EchoHistory-v0")
    assert (plain.history, history.history) == (None, 1)
    assert history.reference == plain.reference is not None
    assert contract_of("tests.games:test/EchoShaped-v0").reference is None
    assert contract_of("tests.games:test/EchoShaped-v0").max_reply_chars == plain.max_reply_chars


def test_an_agent_without_memory_sees_the_conversation() -> None:
    """Repeat what was shown two turns ago: possible from the last observation of the wrapped game alone."""

    def remembers(game: Any) -> str:
        lines = game.turns[-1].text.splitlines()
        return lines[-5] if len(lines) >= 5 else lines[-1]

    agent = ScriptedAgent("remembers", remembers)
    (episode,) = rollout(agent, "tests.games:test/EchoHistory-v0", [Start(0, {})])
    colours = [turn.text.splitlines()[-1] for turn in episode.observations]
    assert len(set(colours[:3])) > 1
    assert [turn.text for turn in episode.actions] == [colours[0], colours[1], colours[0]]


def test_chat_messages_have_roles_and_start_with_the_system() -> None:
    env = ChatObservation(make(ECHO), system="Repeat the colour.")
    shown, _ = env.reset(seed=0)
    first = json.loads(shown)[1]["content"]
    shown, _, _, _, _ = env.step('say "☃"\n')
    messages = json.loads(shown)
    assert messages == env.messages
    assert messages[0] == {"role": "system", "content": "Repeat the colour."}
    assert [message["role"] for message in messages[1:]] == ["user", "assistant", "user"]
    assert [message["content"] for message in messages[1:3]] == [first, 'say "☃"\n']
    env.messages.clear()
    assert env.messages == messages


def test_chat_messages_are_rendered_by_a_template() -> None:
    def template(messages: list[dict[str, str]]) -> str:
        return "".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>"

    env = ChatObservation(make(ECHO), pieces=3, render=template)
    first, _ = env.reset(seed=0)
    colour = first.removeprefix("<user>").removesuffix("<assistant>")
    assert colour in COLOURS
    second, *_ = env.step("red")
    assert second.startswith(f"<user>{colour}<assistant>red<user>")
    third, *_ = env.step("blue")
    assert third.count("<user>") == 2
    assert "<assistant>blue<user>" in third


def test_an_agent_reads_chat_messages() -> None:
    agent = ScriptedAgent("chat", lambda game: json.loads(game.turns[-1].text)[-1]["content"])
    assert evaluate(agent, "tests.games:test/EchoChat-v0", episodes=10).mean_return.mean == 3.0


def test_shaped_rewards_are_the_functions_and_the_true_ones_stay() -> None:
    seen: list[TurnFacts] = []

    def shape(turn: TurnFacts) -> float:
        seen.append(turn)
        return turn.reward - 0.25 * bool(turn.info.get("invalid"))

    env = ShapeReward(make(ECHO), shape)
    colour, _ = env.reset(seed=0)
    second, reward, *_, info = env.step(colour)
    assert (reward, info["true_reward"], info["true_return"]) == (1.0, 1.0, 1.0)
    third, reward, *_, info = env.step("no colour")
    assert (reward, info["true_reward"], info["true_return"]) == (-0.25, 0.0, 1.0)
    *_, terminated, _, info = env.step(third)
    assert (terminated, info["true_return"]) == (True, 2.0)
    assert [(turn.turn, turn.observation, turn.action) for turn in seen] == [
        (1, colour, colour),
        (2, second, "no colour"),
        (3, third, third),
    ]
    assert [turn.next_observation for turn in seen[:2]] == [second, third]
    assert [turn.terminated for turn in seen] == [False, False, True]
    env.reset(seed=0)
    assert env.step(colour)[4]["true_return"] == 1.0


def test_the_limit_of_turns_is_seen_by_wrappers() -> None:
    told: list[bool] = []

    def shape(turn: TurnFacts) -> float:
        told.append(turn.truncated)
        return 0.0

    env = ShapeReward(gymnasium.make(FOREIGN), shape)
    env.reset(seed=1)
    for _ in range(5):
        env.step("99")
    assert told == [False] * 4 + [True]


def test_rewards_shaped_twice_keep_the_true_one() -> None:
    env = ShapeReward(ShapeReward(make(ECHO), lambda turn: 5.0), lambda turn: turn.reward + 1)
    colour, _ = env.reset(seed=0)
    _, reward, _, _, info = env.step(colour)
    assert (reward, info["true_reward"]) == (6.0, 1.0)


def test_a_shaped_reward_that_is_no_number_ends_the_game_with_the_reason() -> None:
    env = ShapeReward(make(ECHO), lambda turn: float("nan"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="the shaped reward of turn 1 is nan"):
        env.step("red")


def test_evaluation_tells_the_true_return_of_shaped_games() -> None:
    games = played("tests.games:test/EchoShaped-v0", "behaviour")
    plain = played(ECHO, "behaviour")
    assert [game.outcome["true_return"] for game in games] == [game.total_reward for game in plain]
    assert [game.total_reward for game in games] == [2 * game.total_reward for game in plain]


def test_only_listed_actions_reach_the_game() -> None:
    env = MaskAction(make(MAZE), penalty=-2.0, max_refused=3)
    plain = make(MAZE)
    shown, info = env.reset(seed=0)
    plain.reset(seed=0)
    assert sorted(info["choices"]) == ["move down", "move left", "move right", "move up"]
    refused = env.step("fly")
    assert refused[:4] == (shown, -2.0, False, False)
    assert refused[4]["invalid"] == "not one of the 4 listed actions"
    assert refused[4]["choices"] == info["choices"]
    assert refused[4]["position"] == info["position"]
    for action, meant in ((" Move Up\n", "move up"), ("move left", "move left")):
        shown, reward, *_, info = env.step(action)
        assert (shown, reward) == plain.step(meant)[:2]
        assert "invalid" not in info
    assert env.step("")[3] is False
    *_, truncated, info = env.step("fly")
    assert truncated
    assert "choices" not in info
    assert env.reset(seed=0)[1]["choices"]
    assert env.step("fly")[3] is False  # the count begins anew


def test_a_game_that_lists_no_actions_is_left_alone() -> None:
    env = MaskAction(make(FOREIGN))
    _, info = env.reset(seed=0)
    assert "choices" not in info
    assert "invalid" not in env.step("12")[4]


def test_the_end_of_a_game_lists_nothing() -> None:
    env = MaskAction(make(ECHO))
    env.reset(seed=0)
    for _ in range(3):
        *_, terminated, _, info = env.step("red")
    assert terminated
    assert "choices" not in info


def test_refused_actions_end_a_rollout_in_the_end() -> None:
    agent = ScriptedAgent("stubborn", lambda game: "fly")
    (episode,) = rollout(agent, "tests.games:test/EchoMasked-v0", [Start(0, {})])
    assert episode.truncated
    assert len(episode.actions) == 4  # as registered
    assert all(turn.invalid for turn in episode.actions)
    assert episode.total_reward == -4.0


def test_recorded_games_are_those_that_were_played(tmp_path: Path) -> None:
    path = tmp_path / "games.parquet"
    new_id = "test/EchoRecorded-v0"
    register_wrapped(new_id, ECHO, RecordEpisodes.wrapper_spec(path=path, agent="behaviour", env_id=ECHO))
    try:
        list(collect(load_agent("behaviour", new_id), new_id, episodes=30, num_envs=4))
    finally:
        del gymnasium.registry[new_id]
    expected = played(ECHO, "behaviour", 30)
    recorded = read_episodes(path)
    assert sorted(recorded, key=lambda game: game.seed) == expected
    assert read_metadata(path).statistics.mean_return == pytest.approx(np.mean([g.total_reward for g in expected]))
    assert [item.name for item in tmp_path.iterdir() if item.suffix == ".parquet"] == ["games.parquet"]


def test_a_file_of_records_is_whole_at_any_time_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "games.parquet"
    env = RecordEpisodes(make(ECHO), path, agent="me", env_id=ECHO)
    sizes = []
    for seed in range(60):
        env.reset(seed=seed)
        for _ in range(3):
            env.step("red")
        sizes.append(len(read_episodes(path)))
    assert sizes[:10] == list(range(1, 11))
    assert sizes == sorted(sizes)
    assert all(size >= 0.9 * (games + 1) for games, size in enumerate(sizes))
    env.reset(seed=99)
    env.step("red")  # left in the middle
    env.close()
    env.close()
    assert [game.seed for game in read_episodes(path)] == list(range(60))
    again = RecordEpisodes(make(ECHO), path, agent="me", env_id=ECHO)
    again.reset()
    for _ in range(3):
        again.step("red")
    again.close()
    assert read_episodes(path)[-1].seed == -1
    assert len(read_episodes(path)) == 61


def test_records_keep_arguments_and_the_limit(tmp_path: Path) -> None:
    kwargs = {"maze": "umaze", "max_episode_steps": 2}
    env = RecordEpisodes(make_env(MAZE, kwargs), tmp_path / "a.parquet")
    env.reset(seed=4, options={"start": (1, 1)})
    env.step("move down")
    env.step("fly")
    env.close()
    (game,) = read_episodes(tmp_path / "a.parquet")
    assert (game.env_id, game.env_kwargs, game.agent, game.seed) == (MAZE, kwargs, "unknown", 4)
    assert (game.truncated, game.options, [turn.invalid for turn in game.actions]) == (
        True,
        {"start": [1, 1]},
        [False, True],
    )


def test_records_of_other_games_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_episodes(path, played(ECHO, "behaviour"))
    with pytest.raises(
        UsageError, match=r"holds games of behaviour in tests\.games:test/Echo-v0, to which those of me"
    ):
        RecordEpisodes(make(ECHO), path, agent="me", env_id=ECHO)
    with pytest.raises(UsageError, match="cannot be added"):
        append_episodes(path, played(ECHO, "random"))
    assert read_metadata(path).agent == "behaviour"
    assert len(read_episodes(path)) == 5


def test_an_append_that_breaks_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    games = played(ECHO, "behaviour")
    write_episodes(path, games[:2], series=3)

    def breaking() -> Any:
        yield games[2]
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        append_episodes(path, breaking())
    assert path.read_bytes() == before
    assert append_episodes(path, games[2:]).series == 3
    assert read_episodes(path) == games


def test_many_may_append_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    games = played(ECHO, "behaviour", 12)
    threads = [threading.Thread(target=append_episodes, args=(path, [game])) for game in games]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_episodes(path), key=lambda game: game.seed) == games


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda env: HistoryObservation(env, 0), "the number of pieces is 1 or more, not 0"),
        (lambda env: MaskAction(env, penalty=float("inf")), "the penalty is a finite number"),
        (lambda env: MaskAction(env, max_refused=0), "max_refused is 1 or more"),
        (lambda env: RecordEpisodes(env.unwrapped.__class__(), "a.parquet"), "has no id to record"),
    ],
)
def test_mistakes_are_said_when_the_wrapper_is_made(wrap: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrap(make(ECHO))


def test_an_unknown_game_is_not_wrapped() -> None:
    with pytest.raises(UsageError, match="did you mean 'lmgym/FOMaze-v0'"):
        register_wrapped("test/Nothing-v0", "lmgym/FoMaze-v0")
