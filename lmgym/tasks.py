"""What people read: the list of games, results of evaluations, a game as it was played."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gymnasium
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmgym.env import contract, listed_choices, make_env, turn_limit
from lmgym.episode import Episode
from lmgym.evaluate import Evaluation

if TYPE_CHECKING:
    from lmgym.tune import Trial

MIN_WIDTH = 120


def list_tasks() -> list[dict[str, Any]]:
    """Return what is known of every registered game of lmgym, as plain values."""
    return [_task(env_id) for env_id in game_ids()]


def game_ids() -> list[str]:
    """Return the ids of the games of lmgym, not of what else it registers."""
    specs = gymnasium.registry.items()
    return sorted(env_id for env_id, spec in specs if str(spec.entry_point).startswith("lmgym.envs."))


def _task(env_id: str) -> dict[str, Any]:
    env = make_env(env_id)
    rules = contract(env)
    env.close()
    scale = rules.reference
    return {
        "id": env_id,
        "max_turns": turn_limit(env),
        "history": rules.history,
        "data_episodes": rules.data_episodes,
        "evaluation_episodes": rules.evaluation_episodes,
        "official_starts": len(rules.official_starts),
        "data_success": scale and scale.data_success,
        "data_turns": scale and scale.data_turns,
        **{name: None if scale is None else getattr(scale, name)._asdict() for name in ("min", "data", "best")},
    }


def print_tasks(tasks: Sequence[Mapping[str, Any]]) -> None:
    """Print the games as a table, and below it where each reference score comes from."""
    table = Table(title="Games", caption="history: pieces of text the agent sees; data: the default offline data set")
    for heading in ("game", "turns", "history", "episodes", "success", "length", "min", "data mean", "best"):
        table.add_column(heading, justify="left" if heading == "game" else "right", no_wrap=True)
    for task in tasks:
        table.add_row(
            task["id"],
            _number(task["max_turns"], "d"),
            "all" if task["history"] is None else str(task["history"]),
            _number(task["data_episodes"], ",d"),
            _number(task["data_success"], ".2f"),
            _number(task["data_turns"], ".1f"),
            *(_number(task[name] and task[name]["value"], ".2f") for name in ("min", "data", "best")),
        )
    console = output_console()
    console.print(table)
    for task in tasks:
        for name in ("min", "data", "best"):
            if task[name]:
                console.print(f"{task['id']} {name} {task[name]['value']:.2f}: {task[name]['how']}", highlight=False)


def evaluation_json(result: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain values."""
    return {**asdict(result), "mean_return": result.mean_return._asdict()}


def print_evaluations(results: Sequence[Evaluation], title: str | None = None) -> None:
    """Print evaluations as one table."""
    table = Table(title=title)
    headings = (
        "game",
        "agent",
        "return",
        "95 % interval",
        "score",
        "success",
        "turns",
        "invalid",
        "episodes",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("game", "agent") else "right")
    for result in results:
        mean, low, high = result.mean_return
        table.add_row(
            result.env_id,
            result.agent,
            f"{mean:.2f}",
            f"{low:.2f} to {high:.2f}",
            _number(result.score, ".1f"),
            _number(result.success_rate, ".3f"),
            f"{result.turns:.1f}",
            f"{result.invalid_rate:.2%}",
            f"{result.episodes:,}",
        )
    console = output_console()
    console.print(table)
    for result in results:
        if result.errors:
            console.print(f"{result.agent}: {result.errors} games failed, the first with {result.first_error}")
        for who, spent in _bills(result):
            console.print(f"{who}: {spent}", highlight=False)


def _bills(result: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield what language models did in these games, the agent and the other side apart."""
    for who in ("agent", "oracle"):
        calls, prompt, reply, cost = (
            result.usage.get(f"{who}_{name}", 0) for name in ("calls", "prompt_tokens", "completion_tokens", "cost")
        )
        if calls:
            yield who, f"{calls:,} calls, {prompt:,} tokens of prompt and {reply:,} of answer, cost {cost:.4f}"


def print_trials(trials: "Sequence[Trial]") -> None:
    """Print what each setting earned on the validation games, the chosen one marked."""
    table = Table(title="validation games", caption="* kept in the run, and used by eval, play and collect")
    for heading in ("beta", "temperature", "return", "95 % interval", "score", "success", "invalid", ""):
        table.add_column(heading, justify="right")
    from lmgym.tune import best

    chosen = best(trials)
    for trial in trials:
        mean, low, high = trial.mean_return
        table.add_row(
            f"{trial.decoding.beta:g}",
            f"{trial.decoding.temperature:g}",
            f"{mean:.2f}",
            f"{low:.2f} to {high:.2f}",
            _number(trial.score, ".1f"),
            _number(trial.success_rate, ".3f"),
            f"{trial.invalid_rate:.2%}",
            "*" if trial is chosen else "",
        )
    output_console().print(table)


def print_rules(env_id: str, env_kwargs: Mapping[str, Any], seed: int) -> None:
    """Tell a person what can be typed at the start of the game with this seed."""
    env = make_env(env_id, env_kwargs)
    env.reset(seed=seed)
    listed = listed_choices(env)
    limit = turn_limit(env)
    env.close()
    print(f"{env_id}{f', {limit} turns at most' if limit else ''}; end with Ctrl-D")
    if listed:
        more = f", ... ({len(listed)} in all)" if len(listed) > 12 else ""
        print(f"for example: {', '.join(listed[:12])}{more}")


def print_game(episode: Episode, *, whole: bool) -> None:
    """Print a game: all of it, or only how it ended."""
    console = output_console()
    shown = episode.turns if whole else episode.turns[-1:]
    for turn in shown:
        if turn.by_agent:
            mark = f"  [{turn.reward:g}]" + (" invalid" if turn.invalid else "")
            console.print(Text.assemble("> ", (turn.text, "bold cyan"), (mark, "dim")))
        else:
            console.print(Text(turn.text))
    ended = "terminated" if episode.terminated else "truncated"
    success = "" if episode.success is None else f", {'solved' if episode.success else 'not solved'}"
    console.print(f"{ended}{success}: return {episode.total_reward:g} in {len(episode.actions)} turns")
    if episode.error:
        console.print(f"error: {episode.error}")


def output_console() -> Console:
    """Return the console of results: standard output, not narrower than the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=max(MIN_WIDTH, console.width))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
