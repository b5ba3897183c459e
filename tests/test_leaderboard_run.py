"""The leaderboard's matrix: every entry is made once, whatever is killed or fails, and holds when it is verified."""

import dataclasses
import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lmgym.__main__ import main
from lmgym.errors import UsageError
from lmgym.leaderboard import making, verify
from lmgym.leaderboard.entries import (
    EPISODES,
    GAMES,
    RECIPE,
    EpisodeLine,
    find_entries,
    read_entry,
    three_games,
    write_entry,
)
from lmgym.leaderboard.estimates import estimates
from lmgym.leaderboard.making import Plan
from lmgym.leaderboard.matrix import run
from lmgym.leaderboard.presets import Job, Preset, Task, jobs_of, load_preset
from tests.games import ECHO

QUICK = {"lm": {"model": "0.1M"}, "optim": {"steps": 40, "batch_tokens": 256, "checkpoint_every": 10}}
SETTINGS = {
    "data": 200,
    "bc": QUICK,
    "mc_returns": {"optim": {"steps": 30, "batch_tokens": 256, "checkpoint_every": 10}},
    "ppo": {"play": {"rounds": 2, "episodes": 16, "validation_episodes": 8}},
}


class Red:
    """An agent as a user would write it."""

    def act(self, conversation: Any) -> str:
        return "red"


def preset(**changes: Any) -> Preset:
    small = Preset("small", (ECHO,), 1, tuning_episodes=10, evaluation_episodes=20, settings={ECHO: SETTINGS})
    return dataclasses.replace(small, **changes)


def plan(folder: Path, chosen: Preset | None = None) -> Plan:
    return Plan(chosen or preset(), folder, folder / "entries", threads=1)


def job(agent: str, seed: int = 0) -> Job:
    return Job(Task(ECHO), agent, seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A clone and what learns on top of it, made in this process."""
    the_plan = plan(tmp_path_factory.mktemp("made"))
    for agent in ("mc_returns", "bc", "random"):
        making.make(job(agent), the_plan)
    return the_plan


def contents(folder: Path) -> dict[str, Any]:
    """What entries hold that must not vary between repeats."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.gz")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(folder.rglob(RECIPE)):
        recipe = json.loads(path.read_text())
        found[str(path.relative_to(folder))] = {k: v for k, v in recipe.items() if k not in ("made", "checksum")}
    return found


def test_an_entry_says_what_was_done(made: Plan) -> None:
    entry = read_entry(made.entry(job("mc_returns")))
    recipe = entry.recipe
    assert recipe["settings"]["method"]["optim"]["steps"] == 30
    assert recipe["settings"]["start"]["optim"]["steps"] == 40
    assert recipe["settings"]["data"] == 200
    assert len(recipe["trials"]) == 10
    assert recipe["decoding"] == max(recipe["trials"], key=lambda trial: trial["mean_return"][0])["decoding"]
    assert recipe["tokens"] == entry.curve[-1]["tokens"] + read_entry(made.entry(job("bc"))).curve[-1]["tokens"]
    assert set(recipe["made"]["seconds"]) == {"clone", "train", "tune", "evaluate"}
    assert recipe["made"]["peak_memory_mib"] > 50
    assert str(made.out) not in (made.entry(job("mc_returns")) / RECIPE).read_text()
    assert [len(entry.episodes), len(entry.replays)] == [20, 3]
    assert len({line.seed for line in entry.episodes}) == 20
    best = entry.replays[0]
    assert best.rank == "best"
    assert best.total == entry.returns.max()
    assert sum(turn.reward for turn in best.turns) == best.total
    text, probability, q, _ = best.turns[0].tokens[0]
    assert text.strip() in best.turns[0].action
    assert 0 < probability <= 1
    assert isinstance(q, float)


def test_clones_and_data_are_made_once_for_all(made: Plan) -> None:
    folder = made.out / "runs" / Task(ECHO).name
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "bc-seed-0",
        "data-200.parquet",
        "mc_returns-seed-0",
    ]


def test_the_same_work_gives_the_same_bytes(made: Plan, tmp_path: Path) -> None:
    again = plan(tmp_path)
    for agent in ("random", "bc", "mc_returns"):
        making.make(job(agent), again)
    assert contents(again.entries) == contents(made.entries)


@pytest.mark.parametrize("name", [EPISODES, GAMES, RECIPE])
def test_an_edited_entry_is_refused(made: Plan, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "entry"
    shutil.copytree(made.entry(job("bc")), folder)
    path = folder / name
    if name == RECIPE:
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    else:
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"0", b"1", 1)))
    with pytest.raises(UsageError, match="edited"):
        read_entry(folder)


def test_an_entry_at_another_place_is_refused(made: Plan, tmp_path: Path) -> None:
    source = made.entry(job("bc"))
    shutil.copytree(source, tmp_path / source.parts[-3] / "bc" / "seed-1")
    with pytest.raises(UsageError, match="says of itself"):
        list(find_entries(tmp_path))


def test_the_best_the_middle_and_the_worst_game_are_kept() -> None:
    def lines(*totals: float) -> list[EpisodeLine]:
        return [EpisodeLine(0, {}, total, 1, 0, None, "terminated", "") for total in totals]

    assert three_games(lines(3, 1, 5, 2, 4)) == [("best", 2), ("middle", 0), ("worst", 1)]
    assert three_games(lines(1, 0)) == [("best", 0), ("worst", 1)]
    assert three_games(lines(7)) == [("middle", 0)]
    assert three_games([dataclasses.replace(line, error="broke") for line in lines(1, 2)]) == []


def test_verify_plays_the_same_games_and_notices_others(made: Plan, tmp_path: Path) -> None:
    entry = read_entry(made.entry(job("mc_returns")))
    same = verify.verify(entry.folder, run=made.run(job("mc_returns")), agent=None, retrain=None)
    assert same.differing == []
    assert "to the letter" in verify.verdict(same)
    rest = {name: value for name, value in entry.recipe.items() if name not in ("format", "files", "checksum")}
    lines = [dataclasses.replace(entry.episodes[0], total=3.5), *entry.episodes[1:]]
    write_entry(tmp_path / "e", rest, lines, entry.replays, entry.curve)
    beside = verify.verify(entry.folder, run=None, agent=None, retrain=None)  # where it was made, whatever --out
    assert beside.new == same.new
    other = verify.verify(tmp_path / "e", run=made.run(job("mc_returns")), agent=None, retrain=None)
    assert other.differing == [0]
    assert other.means[0] - other.means[1] == pytest.approx((3.5 - entry.episodes[0].total) / 20)
    assert "NOT verified" in verify.verdict(other)
    with pytest.raises(UsageError, match="another policy"):
        verify.verify(entry.folder, run=made.run(job("bc")), agent=None, retrain=None)


def test_verify_trains_once_more_from_the_recipe_alone(made: Plan, tmp_path: Path) -> None:
    again = verify.verify(made.entry(job("mc_returns")), run=None, agent=None, retrain=tmp_path)
    assert again.differing == []


@pytest.mark.slow
def test_every_method_can_be_made_again_from_its_recipe(tmp_path: Path) -> None:
    tiny = {"optim": {"steps": 4, "batch_tokens": 256}}
    rounds = {"play": {"rounds": 1, "episodes": 8, "validation_episodes": 4}}
    settings = {"data": 100, "bc": {**tiny, "lm": {"model": "0.1M"}}}
    settings |= dict.fromkeys(("filtered_bc", "mc_returns", "ilql"), tiny)
    settings |= dict.fromkeys(("ppo", "online_filtered_bc"), rounds)
    chosen = preset(settings={ECHO: settings}, tuning_episodes=4, evaluation_episodes=6)
    the_plan = plan(tmp_path / "one", chosen)
    for agent in settings:
        if agent != "data":
            making.make(job(agent), the_plan)
            again = verify.verify(the_plan.entry(job(agent)), run=None, agent=None, retrain=tmp_path / "two" / agent)
            assert again.differing == [], agent


def test_a_failed_job_is_written_down_and_the_rest_goes_on(tmp_path: Path, capsys: Any) -> None:
    broken = preset(settings={ECHO: {**SETTINGS, "mc_returns": {"optim": {"steps": 2, "learning_rate": 1e30}}}})
    the_plan = plan(tmp_path, broken)
    jobs = [job("bc"), job("mc_returns"), job("random")]
    errors = run(the_plan, jobs, 2, {})
    assert list(errors) == [job("mc_returns")]
    record = json.loads((tmp_path / "failed" / f"{job('mc_returns').name}.json").read_text())
    assert record["error"] == errors[job("mc_returns")]
    assert "Traceback" in record["trace"]
    assert the_plan.entry(job("random")).exists()
    assert the_plan.entry(job("bc")).exists()


def test_without_its_clone_a_job_fails_at_once(tmp_path: Path) -> None:
    broken = preset(settings={ECHO: {**SETTINGS, "bc": {"lm": {"model": "no/such/model"}}}})
    errors = run(plan(tmp_path, broken), [job("bc"), job("mc_returns"), job("expert")], 2, {})
    assert set(errors) == {job("bc"), job("mc_returns")}
    assert "its clone failed" in errors[job("mc_returns")]


@pytest.mark.slow
def test_two_commands_share_the_work(tmp_path: Path) -> None:
    """Side by side on one folder: both end well, and no entry was made twice."""
    commands = [command(tmp_path / "out", tmp_path) for _ in range(2)]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in commands
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    told = [line for _, said in outputs for line in said.splitlines() if line.endswith(" s") and "seed-" in line]
    names = [line.partition(":")[0] for line in told]
    assert len(names) == len(set(names))
    assert len(list(find_entries(tmp_path / "out" / "entries"))) == 4


def command(out: Path, folder: Path) -> list[str]:
    """A small run by the command line: bc, mc_returns and ppo on the tiny game, and random."""
    chosen = folder / "small.toml"
    chosen.write_text(
        f'tasks = ["{ECHO}"]\nseeds = 1\ntuning_episodes = 10\nevaluation_episodes = 20\n'
        f'[settings."{ECHO}"]\ndata = 200\n'
        'bc.lm.model = "0.1M"\n'
        "bc.optim = {steps = 40, batch_tokens = 256, checkpoint_every = 10}\n"
        "mc_returns.optim = {steps = 60, batch_tokens = 256, checkpoint_every = 10}\n"
        "ppo.play = {rounds = 3, episodes = 16, validation_episodes = 8}\n"
    )
    words = ["leaderboard", "run", "--preset", str(chosen), "--out", str(out), "--jobs", "2"]
    return [sys.executable, "-m", "lmgym", *words, "--methods", "bc", "mc_returns", "ppo", "random"]


@pytest.mark.slow
def test_kill_9_at_five_random_moments_changes_no_entry(tmp_path: Path) -> None:
    subprocess.run(command(tmp_path / "whole", tmp_path), check=True, capture_output=True)
    moments = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            command(tmp_path / "cut", tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(2.5, 9.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path / "cut", tmp_path), check=True, capture_output=True)
    whole, cut = contents(tmp_path / "whole" / "entries"), contents(tmp_path / "cut" / "entries")
    assert len(whole) == 4 * 3 + 3  # curves of the three that were trained
    assert cut == whole


def test_the_command_says_what_is_to_be_done(tmp_path: Path, capsys: Any) -> None:
    words = command(tmp_path / "out", tmp_path)[3:]
    assert main([*words, "--dry-run"]) == 0
    assert "4 to do" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_estimates_come_from_entries_of_the_same_preset(made: Plan) -> None:
    known = estimates(made, [job("bc", 1), job("ppo")], [made.entries])
    seconds = read_entry(made.entry(job("bc"))).recipe["made"]["seconds"]
    assert known == {job("bc", 1): pytest.approx(sum(seconds.values()) - seconds["clone"])}
    other = dataclasses.replace(made, preset=dataclasses.replace(made.preset, name="other"))
    assert list(estimates(other, [job("bc"), job("random")], [made.entries])) == [job("random")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "quik"], "did you mean 'quick'"),
        (["--tasks", "FOMaz-v0"], "FOMaze-v0"),
        (["--methods", "ilq"], "did you mean 'ilql'"),
        (["--seeds", "0"], "--seeds is 1 or more"),
        (["--seed", "1", "--seeds", "2"], "one of the two"),
        (["--preset", "missing.toml"], "cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence(words: list[str], message: str, capsys: Any) -> None:
    assert main(["leaderboard", "run", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nilql.optim.step = 3\n', "steps"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nilql.optim.steps = "many"\n', "is like 1500"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nilq.optim.steps = 3\n', "ilql"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\nevaluation_episodes = 24\n', "multiple of 25"),
        ('tasks = ["FOMaze-v0"]\n', "needs tasks"),
        ("tasks = [", "no TOML"),
    ],
)
def test_a_wrong_preset_is_one_sentence(text: str, message: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "own.toml").write_text(text)
    assert main(["leaderboard", "run", "--preset", str(tmp_path / "own.toml"), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_the_presets_are_whole(name: str) -> None:
    chosen = load_preset(name)
    jobs = jobs_of(chosen, [], [], range(chosen.seeds))
    methods_and_players = 6 * chosen.seeds + 3
    assert len(jobs) == len(chosen.tasks) * methods_and_players
    for one in jobs:
        if one.is_trained:
            assert making.settings_of(one, Plan(chosen, Path("x"), Path("x"), 1))["data"] > 0


def test_submit_writes_an_entry_of_any_agent(tmp_path: Path, capsys: Any) -> None:
    words = [
        "leaderboard",
        "submit",
        "tests.test_leaderboard_run:Red",
        "--tasks",
        ECHO,
        "--name",
        "My agent",
        "--entries",
    ]
    assert main([*words, str(tmp_path)]) == 0
    (entry,) = find_entries(tmp_path)
    assert [entry.agent, entry.recipe["title"], entry.recipe["kind"]] == ["My-agent", "My agent", "submitted"]
    assert len(entry.episodes) == 60
    assert main(["leaderboard", "verify", str(entry.folder)]) == 0
    assert main([*words, str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    taken = ["leaderboard", "submit", "random", "--tasks", ECHO, "--name", "ilql", "--entries", str(tmp_path)]
    assert main(taken) == 2
    assert "one of lmgym's own" in capsys.readouterr().err
