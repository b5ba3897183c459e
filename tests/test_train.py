"""What every method must do: learn a tiny game, repeat under a seed, go on after a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lmgym.agents import load_agent
from lmgym.algorithms import bc
from lmgym.env import make_env
from lmgym.envs.maze import MOVES, Maze
from lmgym.errors import UsageError
from lmgym.evaluate import collect, evaluate
from lmgym.files import sha256
from lmgym.losses import cloning
from lmgym.methods import method_module, methods
from lmgym.online import RoundsConfig
from lmgym.policy import Policy
from lmgym.run import Recipe, opened
from lmgym.start import ModelConfig
from lmgym.store import read_episodes
from lmgym.tokens import TokenDataset
from lmgym.train import Curriculum, Learner, OptimConfig, RowSampler, Stage, chosen_precision
from tests.games import ECHO, Echo
from tests.test_policy import gpt2_folder

# Found by themselves; and one outside lmgym, named as its users name it.
METHODS = [*methods(), "custom_method.awr"]
VARYING = ("seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the tiny game's data, which methods start from."""
    return trained("bc", tmp_path_factory.mktemp("start") / "bc", quick(bc))


def quick(module: ModuleType, init: Path | None = None, **optim: Any) -> Any:
    """The method's config, small enough for a test."""
    config = module.Config()
    if hasattr(config, "optim"):
        small = {"steps": 200, "batch_tokens": 512, "checkpoint_every": 50, "learning_rate": 2e-3, **optim}
        config = dataclasses.replace(config, optim=OptimConfig(**small))
    else:
        rounds = {"rounds": 16, "batch_tokens": 512, "learning_rate": 3e-3, "validation_episodes": 50}
        config = dataclasses.replace(config, play=RoundsConfig(**rounds))  # type: ignore[arg-type]
    return dataclasses.replace(config, init=str(init)) if hasattr(config, "init") else config


def trained(method: str, folder: Path, config: Any, seed: int = 0, env_id: str = ECHO) -> Path:
    module = method_module(method)
    recipe = Recipe(method, env_id, {}, seed, None, dataclasses.asdict(config))
    with opened(folder, recipe) as run:
        if not run.finished:
            module.train(run, config)
    return folder


def metrics(folder: Path) -> list[Mapping[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in VARYING} for line in lines]


def weights(folder: Path) -> dict[str, str]:
    """A checksum of each file of weights."""
    return {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}


def test_a_clone_may_learn_what_the_environment_says(clone: Path, tmp_path: Path) -> None:
    """Against a loop over tokens: those of the agent count 1, those of the environment as they are weighted."""
    policy = Policy.from_pretrained(clone)
    games = list(collect(load_agent("behaviour", ECHO, {}), ECHO, episodes=5, seed=3))
    batch = TokenDataset(games, policy.codec, policy.view).batch(range(5))
    said = heard = 0.0
    for ids, written, filled in zip(batch.ids, batch.action_mask, batch.attention_mask, strict=True):
        logps = policy.lm(input_ids=ids[None]).logits[0].log_softmax(dim=-1)
        for place in range(1, int(filled.sum())):
            nats = -logps[place - 1, ids[place]].item()
            said, heard = said + nats * bool(written[place]), heard + nats * (not written[place])
    count = int(batch.action_mask.sum())
    total, parts = bc.reading(batch, bc.Reader(policy)(batch), 0.25)
    assert total.item() == pytest.approx((said + 0.25 * heard) / count, rel=1e-5)
    assert parts["observation_loss"].item() == pytest.approx(heard / count, rel=1e-5)
    assert bc.reading(batch, bc.Reader(policy)(batch), 0.0)[0].item() == pytest.approx(
        cloning(batch, policy(batch))[0].item(), rel=1e-5
    )
    for weight in (0.0, 1.0):
        config = dataclasses.replace(quick(bc, steps=100), observation_weight=weight)
        folder = trained("bc", tmp_path / str(weight), config)
        _, left = bc.reading(batch, bc.Reader(Policy.from_pretrained(folder))(batch), 1.0)
        assert (left["observation_loss"] < 0.6 * heard / count) == bool(weight)
    with pytest.raises(UsageError, match="observation_weight"):
        bc.Config(observation_weight=-1.0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_tiny_game_and_repeats(method: str, tmp_path: Path, clone: Path) -> None:
    module = method_module(method)
    first = trained(method, tmp_path / "a", quick(module, clone))
    # A clone of noisy players is as noisy as they are, except at its most likely; the others shall do without that.
    temperature = 0.0 if method == "bc" else 1.0
    result = evaluate(load_agent(str(first), ECHO, settings={"temperature": temperature}), ECHO)
    assert result.mean_return.mean >= 0.95 * Echo.optimum
    again = trained(method, tmp_path / "b", quick(module, clone))
    assert metrics(again) == metrics(first)
    assert weights(again) == weights(first)
    other = trained(method, tmp_path / "c", quick(module, clone), seed=1)
    assert weights(other) != weights(first)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_where_it_was_stopped(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clone: Path
) -> None:
    goes_on_where_it_was_stopped(method, quick(method_module(method), clone), tmp_path, monkeypatch)


def goes_on_where_it_was_stopped(method: str, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lmgym.train as loop

    whole = trained(method, tmp_path / "whole", config)
    save, calls = loop.save_checkpoint, []

    def save_twice_then_die(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(loop, "save_checkpoint", save_twice_then_die)
    with pytest.raises(KeyboardInterrupt):
        trained(method, tmp_path / "cut", config)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    with pytest.raises(UsageError, match="has not finished"):
        Policy.from_pretrained(tmp_path / "cut")
    cut = trained(method, tmp_path / "cut", config)
    assert metrics(cut) == metrics(whole)
    assert weights(cut) == weights(whole)
    assert not (cut / "checkpoints").exists()


def test_a_clone_may_learn_the_best_games_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in its first stage (step 50 of 120) and goes on into the second."""
    config = dataclasses.replace(quick(bc), best_first="0.25", best_first_steps=120)
    goes_on_where_it_was_stopped("bc", config, tmp_path, monkeypatch)
    notes = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert notes["episodes_first"] == round(0.25 * notes["episodes"]) > 0
    plain = trained("bc", tmp_path / "plain", quick(bc))
    assert weights(plain) != weights(tmp_path / "whole")
    # The best games of noisy players are nearly without noise; what is cloned in the end is as noisy as all of them.
    losses = {line["step"]: line["loss"] for line in metrics(tmp_path / "whole")}
    in_the_end = {line["step"]: line["loss"] for line in metrics(plain)}[200]
    assert losses[120] < 0.7 * in_the_end
    assert losses[200] == pytest.approx(in_the_end, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"best_first": "best"}, "--best-first is success or a share"),
        ({"best_first_steps": 10}, "best_first_steps is for best_first"),
        ({"best_first": "success", "best_first_steps": 600}, "less than the 600 steps"),
    ],
)
def test_contradictory_stages_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bc.Config(**settings)


def test_a_curriculum_is_one_data_set_after_the_other(clone: Path, tmp_path: Path) -> None:
    policy = Policy.from_pretrained(clone)
    games = list(collect(load_agent("behaviour", ECHO, {}), ECHO, episodes=40, seed=3))
    few, all_of_them = (TokenDataset(part, policy.codec, policy.view) for part in (games[:10], games))
    recipe = Recipe("bc", ECHO, {}, 0, None, {})
    with opened(tmp_path / "run", recipe) as run:
        learner = Learner(run, policy, OptimConfig(batch_tokens=40))
        staged = Curriculum(learner, all_of_them, Stage(few, 7), seed=5)
        whole = Curriculum(learner, all_of_them, None, seed=5)
    samplers = [
        RowSampler(data.rows_with_actions(), learner.rows_per_step(data, data.rows_with_actions()), 5)
        for data in (few, all_of_them)
    ]
    for step in (0, 6, 7, 20):
        source, sampler, since = (few, samplers[0], step) if step < 7 else (all_of_them, samplers[1], step - 7)
        assert torch.equal(staged.batch(step).ids, source.batch(sampler.rows_of(since)).ids)
        assert torch.equal(whole.batch(step).ids, all_of_them.batch(samplers[1].rows_of(step)).ids)


def test_dropout_of_a_pretrained_model_repeats_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is drawn by seed and step, so that neither a repeat nor a stop changes a number."""
    config = quick(bc, steps=20, checkpoint_every=10)
    config = dataclasses.replace(config, lm=ModelConfig(model=str(gpt2_folder(tmp_path / "gpt2"))))
    state = torch.random.get_rng_state()
    first, again = (metrics(trained("bc", tmp_path / name, config)) for name in ("a", "b"))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == again
    goes_on_where_it_was_stopped("bc", config, tmp_path, monkeypatch)  # at its last step
    assert metrics(tmp_path / "cut") == first


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "state.json").write_text("[]"), "cannot be read"),
        (lambda f: (f / "state.json").write_text('{"step": 99999}'), "speaks of step 99999"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "cannot be read"),
        (lambda f: (f / "optimizer.safetensors").unlink(), "cannot be read"),
        (lambda f: (f.parents[1] / "metrics.jsonl").write_text("{}\n"), "is no line of metrics"),
        (lambda f: (f.parents[1] / "run.json").write_text('{"format": 1}'), "holds no whole recipe"),
    ],
)
def test_a_damaged_run_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], message: str
) -> None:
    config = quick(bc, steps=20, checkpoint_every=10)
    monkeypatch.setattr(Policy, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained("bc", tmp_path / "a", config)
    monkeypatch.undo()
    (checkpoint,) = (tmp_path / "a" / "checkpoints").glob("step-*")
    damage(checkpoint)
    with pytest.raises(UsageError, match=message):
        trained("bc", tmp_path / "a", config)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_kill_left_before_the_first_file_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / ".run.json.99999999.partial").touch()
    (folder / ".lock").touch()
    trained("bc", folder, quick(bc, steps=10, checkpoint_every=10))


@pytest.mark.slow
def test_kill_9_at_any_time_changes_no_number(tmp_path: Path) -> None:
    """The command line, killed again and again at moments of the clock's choosing, ends as if it had not been."""

    def command(folder: str) -> list[str]:
        options = ["--steps", "300", "--batch-tokens", "512", "--checkpoint-every", "20", "--threads", "1"]
        return [sys.executable, "-m", "lmgym", "train", "bc", "--env", ECHO, "--out", str(tmp_path / folder), *options]

    subprocess.run(command("whole"), check=True, capture_output=True)
    kills = 0
    while not ((tmp_path / "cut" / "lmgym.json").exists()) and kills < 3:
        process = subprocess.Popen(command("cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = set((tmp_path / "cut").glob("checkpoints/step-*"))
        while process.poll() is None and not set((tmp_path / "cut").glob("checkpoints/step-*")) - before:
            time.sleep(0.01)
        if process.poll() is None:
            time.sleep(0.15 * (kills % 3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command("cut"), check=True, capture_output=True)
    assert kills >= 2
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert sha256(tmp_path / "cut" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """DDP over two processors: the same run as one process that computes each step in two parts."""
    options = ["--steps", "40", "--batch-tokens", "512", "--checkpoint-every", "20", "--learning-rate", "0.001"]
    train = ["-m", "lmgym", "train", "bc", "--env", ECHO, *options]
    one = [sys.executable, *train, "--out", str(tmp_path / "one"), "--accumulate", "2"]
    subprocess.run(one, check=True, capture_output=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += [*train, "--out", str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    losses = [[line["loss"] for line in metrics(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_a_step_change_nothing(method: str, tmp_path: Path, clone: Path) -> None:
    """Eight rows at once, or one by one: the same losses."""
    module = method_module(method)
    config = quick(module, clone, steps=30, checkpoint_every=30, batch_tokens=8 * 16)
    if hasattr(config, "play"):
        play = dataclasses.replace(config.play, rounds=2, episodes=16, batch_tokens=8 * 16)
        config = dataclasses.replace(config, play=play)
    whole = trained(method, tmp_path / "1", config)
    field = "optim" if hasattr(config, "optim") else "play"
    part = dataclasses.replace(getattr(config, field), accumulate=8)
    parts = trained(method, tmp_path / "8", dataclasses.replace(config, **{field: part}))
    losses = [[line["loss"] for line in metrics(folder)] for folder in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lmgym.algorithms.bc as method

    def infinite(batch: Any, outputs: Any) -> Any:
        value = outputs.logits.sum() * float("inf")
        return value, {"loss": value}

    monkeypatch.setattr(method, "cloning", infinite)
    with pytest.raises(UsageError, match="lower --learning-rate"):
        trained("bc", tmp_path / "a", quick(bc, steps=10, checkpoint_every=10))
    assert json.loads((tmp_path / "a" / "run.json").read_text())["status"] == "started"


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    folder = trained("bc", tmp_path / "a", quick(bc, steps=10, checkpoint_every=10))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    trained("bc", folder, quick(bc, steps=10, checkpoint_every=10))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"} == {
        name: time for name, time in before.items() if name != ".lock"
    }


def test_another_command_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    folder = trained("bc", tmp_path / "a", quick(bc, steps=10, checkpoint_every=10))
    with pytest.raises(UsageError, match=r"started with learning_rate=0\.002 and this command says 0\.1"):
        trained("bc", folder, quick(bc, steps=10, checkpoint_every=10, learning_rate=0.1))
    with pytest.raises(UsageError, match="started with seed=0 and this command says 1"):
        trained("bc", folder, quick(bc, steps=10, checkpoint_every=10), seed=1)


def test_foreign_and_damaged_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match=r"is not empty and holds no run\.json"):
        trained("bc", tmp_path, quick(bc))
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{half")
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        trained("bc", run, quick(bc))
    (run / "run.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match="is not a run of format 1"):
        trained("bc", run, quick(bc))


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    recipe = Recipe("bc", ECHO, {}, 0, None, {})
    with (
        opened(tmp_path / "a", recipe),
        pytest.raises(UsageError, match="another process is at work"),
        opened(tmp_path / "a", recipe),
    ):
        pass


def test_data_of_another_game_are_refused(tmp_path: Path) -> None:
    first = trained("bc", tmp_path / "a", quick(bc, steps=10, checkpoint_every=10))
    config = quick(bc)
    (data,) = (first.parent / "shared").glob("*.parquet")
    recipe = Recipe("bc", "lmgym/FOMaze-v0", {}, 0, str(data), dataclasses.asdict(config))
    with pytest.raises(UsageError, match=r"holds episodes of tests\.games"), opened(tmp_path / "b", recipe) as run:
        bc.train(run, config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 1 or more"),
        ({"checkpoint_every": 15}, "must be a multiple of log_every"),
        ({"precision": "bf16"}, "did you mean 'bfloat16'"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OptimConfig(**options)


def test_rows_come_in_permutations_by_seed_and_step_alone() -> None:
    rows = np.arange(100, 110)
    sampler = RowSampler(rows, 4, seed=3)
    stream = np.concatenate([sampler.rows_of(step) for step in range(10)])
    for epoch in range(4):
        assert sorted(stream[10 * epoch : 10 * epoch + 10]) == rows.tolist()
    assert not np.array_equal(stream[:10], stream[10:20])
    assert RowSampler(rows, 4, seed=3).rows_of(7).tolist() == stream[28:32].tolist()
    assert not np.array_equal(RowSampler(rows, 4, seed=4).rows_of(0), stream[:4])


def test_precision_follows_size_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for amx, size, expected in [
        (True, 5_000_000, "bfloat16"),
        (True, 100_000, "float32"),
        (False, 5_000_000, "float32"),
    ]:
        monkeypatch.setattr("lmgym.train._has_amx", lambda amx=amx: amx)
        assert chosen_precision("auto", size) == expected
    assert chosen_precision("bfloat16", 10) == "bfloat16"


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_learns_as_well(method: str, tmp_path: Path, clone: Path) -> None:
    """One process may compute in different precisions, such as a clone in one and what starts from it in another."""
    module = method_module(method)
    config = quick(module, clone, steps=20, checkpoint_every=20)
    field = "optim" if hasattr(config, "optim") else "play"
    half = dataclasses.replace(getattr(config, field), precision="bfloat16")
    if field == "play":
        half = dataclasses.replace(half, rounds=2, episodes=16)
    folder = trained(method, tmp_path / "half", dataclasses.replace(config, **{field: half}))
    assert json.loads((folder / "run.json").read_text())["precision"] == "bfloat16"
    assert all(np.isfinite(line["loss"]) for line in metrics(folder))
    assert Policy.from_pretrained(folder).lm.dtype == torch.float32


def maze_value(probabilities: Mapping[tuple[int, int], np.ndarray], maze: Maze) -> float:
    """Exact mean return over all starts of a policy that sees the cell, by dynamic programming over 100 moves."""
    grid, goal = maze._grid, maze._goal
    value = dict.fromkeys(grid.cells, 0.0)
    for _ in range(100):
        value = {
            cell: sum(
                share * (0.0 if steps[cell] == goal else -1.0 + value[steps[cell]])
                for share, steps in zip(probabilities[cell], grid.steps.values(), strict=True)
            )
            for cell in grid.cells
            if cell != goal
        } | {goal: 0.0}
    return float(np.mean([value[cell] for cell in grid.cells if cell != goal]))


@pytest.mark.slow
def test_cloning_the_maze_learns_its_data_no_more_and_no_less(tmp_path: Path) -> None:
    """The policy's own probabilities and the data's frequencies, both valued exactly, lie within two points."""
    env_id = "lmgym/FOMaze-v0"
    folder = trained("bc", tmp_path / "a", bc.Config(), env_id=env_id)
    env = make_env(env_id)
    maze = env.unwrapped
    assert isinstance(maze, Maze)
    texts, counts = {}, {}
    for cell in maze._grid.cells:
        if cell != maze._grid.marked_goal:
            texts[env.reset(seed=0, options={"start": cell})[0]] = cell
            counts[cell] = np.zeros(4)
    for episode in read_episodes(next((tmp_path / "shared").glob("*.parquet"))):
        for seen, said in zip(episode.observations, episode.actions, strict=False):
            counts[texts[seen.text]][list(MOVES).index(said.text)] += 1
    data_value = maze_value({cell: count / count.sum() for cell, count in counts.items()}, maze)

    policy = Policy.from_pretrained(folder)
    learned, invalid = {}, []
    for text, cell in texts.items():
        shares = np.array([action_probability(policy, text, move) for move in MOVES])
        learned[cell] = shares / shares.sum()
        invalid.append(1 - shares.sum())
    assert max(invalid) < 0.01
    assert maze_value(learned, maze) == pytest.approx(data_value, abs=2.0)
    sampled = evaluate(load_agent(str(folder), env_id), env_id, num_envs=200)
    assert sampled.mean_return.mean == pytest.approx(data_value, abs=5.0)  # four standard errors of 800 games


@torch.no_grad()
def action_probability(policy: Policy, seen: str, said: str) -> float:
    context, action = policy.codec.encode(seen), policy.codec.encode(said)
    logits = policy.lm(torch.tensor([[*context, *action]])).logits[0].double()
    logits[:, sorted(policy.codec.banned)] = -torch.inf
    logprobs = logits.log_softmax(-1)
    places = range(len(context) - 1, len(context) + len(action) - 1)
    return float(torch.exp(sum(logprobs[place, token] for place, token in zip(places, action, strict=True))))
