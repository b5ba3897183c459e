"""`make demo`: a language model of 0.1M parameters learns to walk a maze by six methods, and one table says how well.

Collects the offline data of the maze, clones them, improves the clone by each method, and evaluates all beside a
random walker, the players of the data, and shortest paths, next to what was published.
"""

import argparse
import dataclasses
import shutil
import time
from pathlib import Path

from rich.table import Table

from lmgym.agents import load_agent
from lmgym.evaluate import Evaluation, evaluate
from lmgym.methods import method_module
from lmgym.policy import Policy, best_device
from lmgym.progress import console, progress
from lmgym.run import Recipe, opened
from lmgym.tasks import output_console
from lmgym.tune import grid, tune

GAME = "lmgym/FOMaze-v0"
EPISODES = 200
TUNING_EPISODES = 50
SEED = 0

# Scores of the fully observed maze in LMRL-Gym (arXiv 2311.18232), table 2.
PUBLISHED = {
    "bc": 58.2,
    "filtered_bc": 68.9,
    "mc_returns": 75.0,
    "ilql": 99.9,
    "ppo": 79.7,
    "online_filtered_bc": 57.4,
}


def trained(method: str, folder: Path, init: Path | None) -> Path:
    """Train by a method with its default settings, from the policy of `init` where it starts from one."""
    module = method_module(method)
    config = module.Config()
    if init is not None:
        config = dataclasses.replace(config, init=str(init))
    with opened(folder, Recipe(method, GAME, {}, SEED, None, dataclasses.asdict(config))) as run:
        if not run.finished:
            module.train(run, config)
    return folder


def tuned(folder: Path) -> None:
    """Choose the weight of learned values on validation games; a policy without values plays as it was trained."""
    policy = Policy.from_pretrained(folder).to(best_device())
    settings = grid(policy)
    if policy.critic is None or not len(policy.critic.q):
        return
    with progress("tune", TUNING_EPISODES * len(settings)) as bar:
        tune(folder, policy, episodes=TUNING_EPISODES, num_envs=TUNING_EPISODES, watch=lambda _: bar.advance())


def evaluated(name: str) -> Evaluation:
    """Evaluate one agent."""
    agent = load_agent(name, GAME)
    with progress("eval", EPISODES) as bar:
        return evaluate(agent, GAME, episodes=EPISODES, seed=SEED, num_envs=100, watch=lambda _: bar.advance())


def row(label: str, result: Evaluation, seconds: float | None) -> tuple[str, ...]:
    """Return a line of the table."""
    mean, low, high = result.mean_return
    return (
        label,
        f"{mean:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{result.score:.1f}" if result.score is not None else "-",
        f"{PUBLISHED[label]:.1f}" if label in PUBLISHED else "-",
        f"{result.success_rate:.3f}",
        f"{result.invalid_rate:.2%}",
        "-" if seconds is None else f"{seconds:.0f}",
    )


def main() -> None:
    """Train, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(options.out, ignore_errors=True)
    started = time.perf_counter()
    table = Table(title=f"{GAME}: six methods, one model of 0.1M parameters, {EPISODES} games each")
    for heading in ("agent", "return", "95 % interval", "score", "published", "success", "invalid", "seconds"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name, label in (("random", "random"), ("behaviour", "data"), ("expert", "expert")):
        table.add_row(*row(label, evaluated(name), None))
    table.add_section()
    clone = options.out / "bc"
    for method in PUBLISHED:
        console.print(f"[bold]{method}[/]")
        begun = time.perf_counter()
        folder = trained(method, options.out / method, None if method == "bc" else clone)
        tuned(folder)
        table.add_row(*row(method, evaluated(str(folder)), time.perf_counter() - begun))
    output_console().print(table)
    print("score: 0 worst possible return, 50 mean of the offline data, 100 best known return (expert)")
    print("data: the players of the offline data, most of whom are lost; bc: a clone of them, where all others start")
    print("published: scores of LMRL-Gym, of a larger model on other data; seconds: training, tuning, playing")
    print(f"{time.perf_counter() - started:.0f} s; see how one of them thinks: lmgym inspect {folder.parent / 'ilql'}")


if __name__ == "__main__":
    main()
