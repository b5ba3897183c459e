"""What the page of an entry says, as values for its template."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lmgym.leaderboard import figures, stats
from lmgym.leaderboard.board import SEED, agent_title
from lmgym.leaderboard.entries import Entry, Replay
from lmgym.scores import Interval, Reference

Lines = list[tuple[str, str]]

# What people call the parts of a recipe's settings.
PARTS = {"method": "training", "start": "training of the clone it starts from"}


def values_of(entry: Entry, scale: Reference | None) -> dict[str, Any]:
    """Return the values that the template needs of an entry; `scale` is None for a game without one."""
    recipe, returns = entry.recipe, entry.returns
    mean = Interval(*stats.summarise([returns], seed=SEED).mean[:3]) if returns.size else None
    successes = entry.successes
    turns = [line.turns for line in entry.episodes if line.error is None]
    curve = figures.learning([entry.curve]) if entry.curve else None
    games = entry.replays
    tokens = [token for game in games for turn in game.turns for token in turn.tokens]
    return {
        "entry": entry,
        "mean": mean,
        "score": Interval(*map(scale.normalise, mean)) if mean and scale and not entry.num_errors else None,
        "success": float(successes.mean()) if successes is not None and successes.size else None,
        "turns": sum(turns) / len(turns) if turns else None,
        "cost": list(_cost(recipe)),
        "games": games,
        "games_data": games_json(games),
        "with_tokens": bool(tokens),
        "with_values": any(q is not None for _, _, q, _ in tokens),
        "histogram": figures.histogram(returns, label=f"How often each return was earned in {len(turns)} games"),
        "learning": learning_panel(curve, agent_title(entry), scale) if curve else None,
        "setting_parts": list(_setting_parts(recipe)),
        "made_parts": [("", flat(recipe["made"]))],
        **_trials(recipe),
    }


def learning_panel(curve: figures.Curve, title: str, scale: Reference | None) -> Markup:
    """Draw how an agent learned; where that is in returns, with those that people compare with."""
    returns = curve.measure.endswith("return")
    marks = [(scale.data.value, "data"), (scale.best.value, "best known")] if scale and returns else []
    return figures.panel(curve, label=f"{title}: {curve.measure} against {curve.across}", marks=marks)


def games_json(games: Sequence[Replay]) -> Markup:
    """Return recorded games as JSON that may stand inside of a script element. Short, because games are long: a turn is
    [observation, action, reward, invalid, tokens], a token [text, probability, q, v] without what is not known."""
    data = [
        {
            "rank": game.rank,
            "total": game.total,
            "success": game.success,
            "ended": game.ended,
            "last": game.last,
            "turns": [
                [
                    turn.observation,
                    turn.action,
                    turn.reward,
                    int(turn.invalid),
                    [_token(token) for token in turn.tokens],
                ]
                for turn in game.turns
            ],
        }
        for game in games
    ]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # no tag and no comment begins without it


def _token(token: Sequence[Any]) -> list[Any]:
    text, probability, q, v = token
    short = [text, _rounded(probability, 4), _rounded(q, 3), _rounded(v, 3)]
    while short[-1] is None and len(short) > 2:
        short.pop()
    return short


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _cost(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    made = recipe["made"]
    if recipe["parameters"]:
        yield "parameters", f"{recipe['parameters']:,}", ""
    if recipe["tokens"]:
        yield "tokens read", figures.short(float(f"{recipe['tokens']:.3g}")), "in training, its clone included"
    if recipe["games"]:
        yield "games played", f"{recipe['games']:,}", "in training"
    seconds = _total(made.get("seconds"))
    if seconds:
        yield "time", duration(seconds), "all stages"
    memory = _total(made.get("peak_memory_mib"))
    if memory:
        yield "peak memory", f"{memory:,.0f} MiB", ""


def _total(value: Any) -> float:
    """Return a number, or the sum of the numbers of a record by stage."""
    if isinstance(value, Mapping):
        return sum(_total(part) for part in value.values())
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(7.4), duration(192), duration(7500)
    ('7 s', '3 min 12 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def flat(values: Mapping[str, Any], before: str = "") -> Lines:
    """Return nested settings as lines of name and value.

    >>> flat({"optim": {"steps": 3}, "init": None, "keep": True})
    [('optim.steps', '3'), ('init', 'none'), ('keep', 'yes')]
    """
    lines: Lines = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += flat(value, f"{before}{name}.")
        else:
            lines.append((before + name, said(value)))
    return lines


def said(value: Any) -> str:
    """Return the value of a setting as people read it."""
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _setting_parts(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Lines]]:
    named = {name: recipe[name] for name in ("kind", "preset", "seed", "policy") if recipe[name] is not None}
    yield "", flat({**named, "game": recipe["game"]})
    yield "evaluation", flat(recipe["evaluation"])
    if recipe["decoding"]:
        yield "tokens are chosen by", flat(recipe["decoding"])
    single = {name: value for name, value in recipe["settings"].items() if not isinstance(value, Mapping)}
    if single:
        yield "other settings", flat(single)
    for name, value in recipe["settings"].items():
        if isinstance(value, Mapping) and value:
            yield PARTS.get(name, name), flat(value)


def _trials(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trials of tuning, with those settings that are not the same in all of them."""
    trials = recipe["trials"]
    varied = [
        name
        for name in (trials[0]["decoding"] if trials else ())
        if any(trial["decoding"].get(name) != trials[0]["decoding"][name] for trial in trials)
    ]
    rows = [
        {
            "settings": [said(trial["decoding"].get(name)) for name in varied],
            "chosen": trial["decoding"] == recipe["decoding"],
            **dict(zip(("mean", "low", "high"), trial["mean_return"], strict=True)),
            "success": _percent(trial.get("success_rate")),
            "invalid": _percent(trial.get("invalid_rate")),
        }
        for trial in trials
    ]
    return {"trials": rows, "trial_names": varied}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
