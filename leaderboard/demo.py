"""`make demo`: a language model learns to walk two mazes on this machine, and one table says how well.

Collects the offline data of each maze, clones them, and evaluates the clone beside a random walker, the players
of the data, and shortest paths.
"""

import argparse
import dataclasses
import shutil
import time
from pathlib import Path

from lmgym.agents import load_agent
from lmgym.evaluate import Evaluation, evaluate
from lmgym.methods import method_module
from lmgym.progress import console, progress
from lmgym.run import Recipe, opened
from lmgym.tasks import print_evaluations

GAMES = ("lmgym/FOMaze-v0", "lmgym/POMaze-v0")
EPISODES = 200
SEED = 0


def trained(env_id: str, folder: Path) -> Path:
    """Clone the default data of a game with the default settings."""
    method = method_module("bc")
    config = method.Config()
    recipe = Recipe("bc", env_id, {}, SEED, None, dataclasses.asdict(config))
    with opened(folder, recipe) as run:
        if not run.finished:
            method.train(run, config)
    return folder


def evaluated(name: str, env_id: str, label: str) -> Evaluation:
    """Evaluate one agent."""
    agent = load_agent(name, env_id)
    agent.name = label
    with progress(label, EPISODES) as bar:
        return evaluate(agent, env_id, episodes=EPISODES, seed=SEED, num_envs=100, watch=lambda _: bar.advance())


def main() -> None:
    """Train, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(options.out, ignore_errors=True)
    started = time.perf_counter()
    results = []
    for env_id in GAMES:
        console.print(f"[bold]{env_id}[/]")
        folder = trained(env_id, options.out / env_id.partition("/")[2])
        results += [
            evaluated("random", env_id, "random"),
            evaluated("behaviour", env_id, "data"),
            evaluated(str(folder), env_id, "bc"),
            evaluated("expert", env_id, "expert"),
        ]
    print_evaluations(results, title="lmgym: behaviour cloning on two mazes")
    print("score: 0 worst possible return, 50 mean of the offline data, 100 best known return")
    print("data: the players of the offline data; bc: a 0.1M-parameter model that cloned them, temperature 1")
    print("expert: shortest paths; it knows the position, which the agent of POMaze does not (best there: -7.24)")
    print(f"{time.perf_counter() - started:.0f} s; the runs are in {options.out}: lmgym play {env_id} --agent {folder}")


if __name__ == "__main__":
    main()
