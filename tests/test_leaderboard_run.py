"""The leaderboard's matrix: every entry is made once, whatever is killed or fails, and holds when it is verified."""

import dataclasses
import gzip
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lmgym import provenance
from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.leaderboard import making, verify
from lmgym.leaderboard import submit as submitting
from lmgym.leaderboard.entries import (
    EPISODES,
    GAMES,
    RECIPE,
    EpisodeLine,
    checksum,
    find_entries,
    read_entry,
    same_recipe,
    three_games,
    write_entry,
)
from lmgym.leaderboard.estimates import estimates
from lmgym.leaderboard.matrix import run
from lmgym.leaderboard.presets import Job, Plan, Preset, Task, jobs_of, load_preset
from lmgym.leaderboard.submit import submit
from lmgym.leaderboard.suites import GREEDY, SUITES
from lmgym.policy import Policy
from lmgym.run import Recipe, commits_of, opened, read_record
from lmgym.seeds import Stream, game_seed
from lmgym.store import read_episodes, write_episodes
from lmgym.tune import grid
from tests.games import ECHO, FOREIGN, WRAPPED

QUICK: dict[str, Any] = {"lm": {"model": "0.1M"}, "optim": {"steps": 40, "batch_tokens": 256, "checkpoint_every": 10}}
SETTINGS = {
    "data": 200,
    "bc": QUICK,
    "mc_returns": {"optim": {"steps": 30, "batch_tokens": 256, "checkpoint_every": 10}},
    "ppo": {"play": {"rounds": 2, "episodes": 16, "validation_episodes": 8}},
}


RED = "tests.test_leaderboard_run:Red"


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
    for agent in ("mc_returns", "bc", GREEDY, "random"):
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
    assert len(recipe["trials"]) == 5
    assert recipe["decoding"] == max(recipe["trials"], key=lambda trial: trial["mean_return"][0])["decoding"]
    assert recipe["tokens"] == entry.curve[-1]["tokens"] + read_entry(made.entry(job("bc"))).curve[-1]["tokens"]
    assert set(recipe["made"]["seconds"]) == {"clone", "train", "tune", "evaluate"}
    assert recipe["made"]["peak_memory_mib"] > 50
    assert str(made.out) not in (made.entry(job("mc_returns")) / RECIPE).read_text()
    assert [len(entry.episodes), len(entry.replays)] == [20, 3]
    assert [line.seed for line in entry.episodes] == [game_seed(Stream.EVALUATE, 0, place) for place in range(20)]
    best = entry.replays[0]
    assert best.rank == "best"
    assert best.total == entry.returns.max()
    assert sum(turn.reward for turn in best.turns) == best.total
    text, probability, q, _ = best.turns[0].tokens[0]
    assert text.strip() in best.turns[0].action
    assert 0 < probability <= 1
    assert isinstance(q, float)


def test_agents_sample_and_the_greedy_clone_does_not(made: Plan, tmp_path: Path) -> None:
    clone, greedy = read_entry(made.entry(job("bc"))), read_entry(made.entry(job(GREEDY)))
    assert [clone.recipe["decoding"]["temperature"], greedy.recipe["decoding"]["temperature"]] == [1.0, 0.0]
    assert clone.recipe["trials"] == greedy.recipe["trials"] == []  # there is nothing to tune
    assert clone.recipe["policy"] == greedy.recipe["policy"]
    assert [clone.recipe["kind"], greedy.recipe["kind"]] == ["method", "control"]
    mc_returns = read_entry(made.entry(job("mc_returns"))).recipe
    assert {trial["decoding"]["temperature"] for trial in mc_returns["trials"]} == {1.0}
    again = verify.verify(greedy.folder, run=None, agent=None, retrain=tmp_path)
    assert again.differing == []


def test_settings_are_tuned_again_where_others_were_tried(made: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(made.run(job("mc_returns")), folder)
    before = json.loads((folder / "tuned.json").read_text())
    other = {**before, "trials": before["trials"][:2]}
    (folder / "tuned.json").write_text(json.dumps(other))
    policy = Policy.from_pretrained(folder)
    trials = making.tuned(folder, policy, grid(policy, (1.0,)), 10)
    assert trials == before["trials"]


def test_clones_and_data_are_made_once_for_all(made: Plan) -> None:
    folder = made.out / "runs" / Task(ECHO).name
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "bc-seed-0",
        "data-200.parquet",
        "mc_returns-seed-0",
    ]


def test_the_same_work_gives_the_same_bytes(made: Plan, tmp_path: Path) -> None:
    again = plan(tmp_path)
    for agent in ("random", "bc", GREEDY, "mc_returns"):
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


def test_an_entry_that_was_made_otherwise_is_not_taken_for_done(made: Plan) -> None:
    making.require_current(job("bc"), made)
    making.require_current(job("ppo"), made)  # not there
    other = {ECHO: {**SETTINGS, "bc": {**QUICK, "optim": {"steps": 41}}}}
    for changes, message in (({"settings": other}, "other settings"), ({"evaluation_episodes": 30}, "number of games")):
        changed = dataclasses.replace(made, preset=dataclasses.replace(made.preset, **changes))
        with pytest.raises(UsageError, match=message):
            making.require_current(job("bc"), changed)
    making.require_current(job("random"), dataclasses.replace(made, preset=preset(settings=other)))


def test_a_setting_that_came_after_an_entry_was_at_its_default(made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = read_entry(made.entry(job("mc_returns")))
    recipe = json.loads(json.dumps(entry.recipe))
    del recipe["settings"]["start"]["observation_weight"]
    assert same_recipe(recipe, entry.recipe) is None  # what `verify --retrain` and the table ask
    monkeypatch.setattr(making, "read_entry", lambda _: dataclasses.replace(entry, recipe=recipe))
    making.require_current(job("mc_returns"), made)
    other = {ECHO: {**SETTINGS, "bc": {**QUICK, "observation_weight": 1.0}}}
    with pytest.raises(UsageError, match="other settings"):
        making.require_current(job("mc_returns"), dataclasses.replace(made, preset=preset(settings=other)))
    recipe["settings"]["method"]["gone"] = 1
    with pytest.raises(UsageError, match="other settings"):
        making.require_current(job("mc_returns"), made)


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
        (["--seed", "-1"], "--seed is 0 or more, not -1"),
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
        (
            'tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nilql.optim.steps = "many"\n',
            ".ilql.optim.steps is like",
        ),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nilq.optim.steps = 3\n', "ilql"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\nevaluation_episodes = 24\n', "multiple of 25"),
        ('tasks = ["FOMaze-v0"]\n', "needs tasks"),
        ("tasks = [3]\nseeds = 1\n", "needs tasks"),
        ('tasks = ["FOMaze-v0"]\nseeds = true\n', "needs tasks"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\ntuning_episodes = "many"\n', "number of games, not 'many'"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\nsettings = 3\n', "tables by game"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaz-v0"]\ndata = 3\n', "did you mean 'lmgym/FOMaze-v0'"),
        ('tasks = ["FOMaze-v0"]\nseeds = 1\n[settings."FOMaze-v0"]\nbc = 3\n', "is a table of settings"),
        (
            'tasks = ["FOMaze-v0"]\nseeds = 1\nsettings = {"FOMaze-v0" = {data = 3}, "lmgym/FOMaze-v0" = {data = 4}}\n',
            "settings of one game twice",
        ),
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
    methods_and_players = 7 * chosen.seeds + 3  # greedy clones are one more
    assert len(jobs) == len(chosen.tasks) * methods_and_players
    suites = {"standard": "mini", "full": "full"}
    if name in suites:
        assert [Task.of(text).name for text in chosen.tasks] == list(SUITES[suites[name]])
    for one in jobs:
        if one.is_trained:
            assert making.settings_of(one, Plan(chosen, Path("x"), Path("x"), 1))["data"] > 0


def test_submit_writes_an_entry_of_any_agent(tmp_path: Path, capsys: Any) -> None:
    words = [
        "leaderboard",
        "submit",
        RED,
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
    assert main(["leaderboard", "verify", str(entry.folder)]) == 2  # it does not choose what is imported here
    assert "name it by --agent" in capsys.readouterr().err
    assert main(["leaderboard", "verify", str(entry.folder), "--agent", RED]) == 0
    assert main([*words, str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    taken = ["leaderboard", "submit", "random", "--tasks", ECHO, "--name", "ilql", "--entries", str(tmp_path)]
    assert main(taken) == 2
    assert "one of lmgym's own" in capsys.readouterr().err


def test_names_of_our_agents_are_not_for_others_however_they_are_written(tmp_path: Path, capsys: Any) -> None:
    for name in ("ILQL", "MC returns", "data"):
        words = ["leaderboard", "submit", "random", "--tasks", ECHO, "--name", name, "--entries", str(tmp_path)]
        assert main(words) == 2
        assert "one of lmgym's own" in capsys.readouterr().err


class Stumbling(Red):
    """Breaks down in one game until it is mended."""

    broken = True
    asked = 0

    def reset(self, seed: int) -> None:
        self.seed = seed

    def act(self, conversation: Any) -> str:
        if Stumbling.broken and self.seed % (1 << 32) == 7:
            raise RuntimeError("stumbled")
        Stumbling.asked += 1
        return "red"


def test_a_submission_with_a_failed_game_keeps_the_others(tmp_path: Path, monkeypatch: Any) -> None:
    name = "tests.test_leaderboard_run:Stumbling"
    with pytest.raises(UsageError, match=r"1 of 60 games failed.*stumbled; the same command"):
        submit(name, Task(ECHO), tmp_path, "Stumbling")
    assert not list(find_entries(tmp_path))
    played = Stumbling.asked
    monkeypatch.setattr(Stumbling, "broken", False)
    entry = submit(name, Task(ECHO), tmp_path, "Stumbling")
    assert Stumbling.asked - played <= max(line.turns for line in entry.episodes), "one game was played, not all"
    assert not list(tmp_path.rglob("*.journal"))


def test_games_kept_of_another_version_of_the_game_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Stumbling, "broken", True)
    name = "tests.test_leaderboard_run:Stumbling"
    with pytest.raises(UsageError, match="failed"):
        submit(name, Task(ECHO), tmp_path, "Stumbling")
    monkeypatch.setattr(submitting, "fingerprint", lambda *_: "another")
    with pytest.raises(UsageError, match="fingerprint"):
        submit(name, Task(ECHO), tmp_path, "Stumbling")


def test_an_interrupted_submission_of_several_games_goes_on(tmp_path: Path, capsys: Any) -> None:
    words = ["leaderboard", "submit", RED, "--name", "Red", "--entries", str(tmp_path), "--tasks"]
    assert main([*words, ECHO]) == 0
    assert main([*words, ECHO, WRAPPED[0]]) == 0
    assert len(list(find_entries(tmp_path))) == 2
    other = ["leaderboard", "submit", "random", "--name", "Red", "--entries", str(tmp_path), "--tasks", ECHO]
    capsys.readouterr()
    assert main(other) == 2
    assert "choose another --name" in capsys.readouterr().err


def test_the_command_of_a_submission_says_all_that_makes_it() -> None:
    said = submitting.command("runs/a b", Task(ECHO), "It's mine", 2, {"temperature": 0.5, "max_tokens": 9})
    words = shlex.split(said)
    assert words[3:] == [
        *("runs/a b", "--tasks", ECHO, "--name", "It's mine", "--seed", "2"),
        *("--temperature", "0.5", "--max-tokens", "9"),
    ]


def test_data_and_runs_of_another_version_of_the_game_are_not_used(
    made: Plan, tmp_path: Path, monkeypatch: Any
) -> None:
    the_plan = dataclasses.replace(made, out=tmp_path)
    path = making.offline_data(Task(ECHO), the_plan, 200)
    whole = path.read_bytes()
    path.unlink()  # other games under the name of this game's
    write_episodes(path, collect(load_agent("random", ECHO), ECHO, episodes=200, seed=1), series=0)
    assert path.read_bytes() != whole
    assert read_episodes(making.offline_data(Task(ECHO), the_plan, 200)) == read_episodes(
        making.offline_data(Task(ECHO), made, 200)
    )
    monkeypatch.setattr(making, "fingerprint", lambda *_: "another")
    with pytest.raises(UsageError, match=r"the game of .*bc-seed-0 has changed"):
        making.trained(job("bc"), made)


def test_a_run_that_other_code_went_on_with_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    recipe = Recipe("bc", ECHO, {}, 0, None, {})
    for commit in ("one", "one", "two", "one"):
        monkeypatch.setattr(provenance, "commit", lambda commit=commit: commit)
        with opened(tmp_path / "run", recipe):
            pass
    assert commits_of(read_record(tmp_path / "run")) == ["one", "two", "one"]
    assert making.trained_by([tmp_path / "run"]) == "one, two"


def test_a_method_that_is_named_twice_is_made_once() -> None:
    assert jobs_of(preset(), [], ["bc", "bc"], [0]) == [job("bc")]


def test_one_entry_made_alone_has_as_many_threads_as_among_others(tmp_path: Path, monkeypatch: Any) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def noted(plan: Plan, *_: Any) -> dict[Job, str]:
        plans.append(plan)
        return {}

    monkeypatch.setattr("lmgym.leaderboard.matrix.run", noted)
    words = [*command(tmp_path / "out", tmp_path)[3:-5], "--methods", "bc"]
    for more in (["ppo", "random"], [], ["--jobs", "4"], ["--threads", "3"]):
        assert main([*words, *more]) == 0
    assert [plan.threads for plan in plans] == [4, 4, 2, 3]


def test_games_without_the_player_leave_nothing_to_make(capsys: Any) -> None:
    assert main(["leaderboard", "run", "--tasks", FOREIGN, "--methods", "expert"]) == 2
    assert "no expert of their own" in capsys.readouterr().err


def test_verify_finds_the_run_beside_the_entries_and_retrains_in_a_new_folder(made: Plan, tmp_path: Path) -> None:
    entry = made.entry(job("mc_returns"))
    assert verify.verify(entry, run=None, agent=None, retrain=None).differing == []
    with pytest.raises(UsageError, match="is not empty: --retrain names a new folder"):
        verify.verify(entry, run=None, agent=None, retrain=made.out)


@pytest.mark.parametrize(
    "odd",
    [{"total": float("nan")}, {"turns": -1}, {"invalid": 99}, {"success": "yes"}, {"ended": "won"}, {"seed": "0"}],
)
def test_games_that_cannot_have_been_are_refused(made: Plan, tmp_path: Path, odd: dict[str, Any]) -> None:
    entry = read_entry(made.entry(job("bc")))
    rest = {name: value for name, value in entry.recipe.items() if name not in ("format", "files", "checksum")}
    lines = [dataclasses.replace(entry.episodes[0], **odd), *entry.episodes[1:]]
    with pytest.raises(UsageError, match=r"game 0 in .* does not keep the schema"):
        write_entry(tmp_path / "e", rest, lines, entry.replays, entry.curve)


def test_an_entry_names_every_file_it_is_made_of(made: Plan, tmp_path: Path) -> None:
    shutil.copytree(made.entry(job("bc")), tmp_path / "e")
    recipe = json.loads((tmp_path / "e" / RECIPE).read_text())
    del recipe["files"][EPISODES]  # whose checksum nobody would look at
    (tmp_path / "e" / RECIPE).write_text(json.dumps({**recipe, "checksum": checksum(recipe)}))
    with pytest.raises(UsageError, match="does not keep the schema: files"):
        read_entry(tmp_path / "e")


def test_what_entries_need_is_there_before_the_first_begins() -> None:
    """A checkout that changes while a command is at work changes neither what runs nor the commit that is recorded."""
    code = (
        "import sys, lmgym.leaderboard.preloaded\n"
        "from lmgym import provenance\n"
        "from lmgym.methods import methods\n"
        "assert provenance.commit.cache_info().currsize == 1\n"
        "assert {f'lmgym.algorithms.{name}' for name in methods()} <= set(sys.modules)\n"
        "assert {'lmgym.inspection', 'lmgym.play'} <= set(sys.modules)\n"
        "assert {'lmgym.envs.maze', 'lmgym.envs.textnav', 'lmgym.envs.wordle'} <= set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ['{"task":', "[]", '{"made": {}}', '{"made": {"seconds": 3}}'])
def test_estimates_leave_damaged_entries_out(made: Plan, tmp_path: Path, text: str) -> None:
    (tmp_path / "game/agent/seed-0").mkdir(parents=True)
    (tmp_path / "game/agent/seed-0" / RECIPE).write_text(text)
    assert estimates(made, [job("bc")], [tmp_path]) == {}
