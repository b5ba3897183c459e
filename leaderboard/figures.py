"""The figures of the page: SVG drawn here, coloured by the page's style sheet, so that light and dark both fit.

What a figure shows is also said in numbers beside it; its label says in words what it is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lmgym.scores import Interval

MAX_POINTS = 40  # of a line: more cannot be seen, and pages stay small
MAX_COLUMNS = 24  # of a histogram

Point = tuple[float, float]


def number(value: float | None, digits: int = 2) -> str:
    """Return a number as people write it, with a real minus sign; a dash for none.

    >>> number(-1.005), number(-0.001), number(12345.6, 1), number(None)
    ('−1.00', '0.00', '12,345.6', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    return (text if text.strip("-0.,") else text.lstrip("-")).replace("-", "−")


def short(value: float) -> str:
    """Return a number for an axis, with no more digits than it needs.

    >>> short(-20.0), short(1500000), short(0.25), short(0)
    ('−20', '1.5M', '0.25', '0')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return short(value / (1e3 if letter == "k" else size)) + letter
    return f"{value:.4g}".replace("-", "−")


@dataclass(frozen=True)
class Axis:
    """A scale from numbers to pixels, with the numbers that are written beside it."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a number."""
        inner, low, high = (math.log(x) if self.log else x for x in (value, self.low, self.high))
        return self.start + (self.end - self.start) * (inner - low) / (high - low)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round numbers inside the scale, near `about` of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = [10.0**power * step for power in powers for step in (1, 2, 5)]
            inside = [step for step in steps if self.low <= step <= self.high]
            return inside[:: max(1, round(len(inside) / about))]
        rough = (self.high - self.low) / about
        size = 10.0 ** math.floor(math.log10(rough))
        step = min((1, 2, 5, 10), key=lambda times: abs(times * size - rough)) * size
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(place * step, 12) for place in range(first, last + 1)]


def axis(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
    """Return a scale on which all values fit, with some air."""
    low, high = min(values), max(values)
    if log:
        return Axis(low / 1.1, high * 1.1, start, end, log=True)
    air = 0.04 * (high - low) or 0.5
    return Axis(low - air, high + air, start, end)


@dataclass(frozen=True)
class Bar:
    """A line of the plot of scores: an interval, a dot for every training seed, and the published value."""

    label: str
    interval: Interval
    seeds: Sequence[float]
    published: float | None
    best: bool


def scores(bars: Sequence[Bar], *, unit: str, marks: Sequence[tuple[float, str]], label: str) -> Markup:
    """Draw agents below each other. `marks` are numbers with a meaning, drawn as dashed lines with their names."""
    if not bars:
        return Markup()
    left, width, top, height = 126, 430, 26, 24
    bottom = top + height * len(bars)
    published = [bar.published for bar in bars if bar.published is not None]
    values = [x for bar in bars for x in (*bar.interval, *bar.seeds)] + published + [value for value, _ in marks]
    scale = axis(values, left, width - 24)
    return _svg(
        width,
        bottom + 38,
        label,
        *_bottom_axis(scale, top, bottom, unit),
        *(_mark(scale.at(value), top, bottom, name) for value, name in marks),
        *(_bar(bar, scale, top + height * (place + 0.5)) for place, bar in enumerate(bars)),
    )


def _bar(bar: Bar, scale: Axis, y: float) -> Markup:
    middle, low, high = (scale.at(value) for value in bar.interval)
    said = f"{bar.label}: {number(bar.interval.mean)}, 95 % {number(bar.interval.low)} to {number(bar.interval.high)}"
    spread = 8 / max(1, len(bar.seeds) - 1)
    dots = [
        _shape("circle", "seed", cx=scale.at(value), cy=y - 4 + spread * place if len(bar.seeds) > 1 else y, r=2.5)
        for place, value in enumerate(bar.seeds)
    ]
    diamond = (
        ()
        if bar.published is None
        else (_path("published", [(scale.at(bar.published) + dx, y + dy) for dx, dy in DIAMOND], closed=True),)
    )
    return _group(
        "bar best" if bar.best else "bar",
        Markup("<title>{}</title>").format(said),
        _text(116, y + 4, _clipped(bar.label, 17), "end"),
        _shape("line", "interval", x1=low, x2=high, y1=y, y2=y),
        *dots,
        *diamond,
        _shape("line", "mean", x1=middle, x2=middle, y1=y - 7, y2=y + 7),
    )


DIAMOND = ((0, -5), (5, 0), (0, 5), (-5, 0))


def _clipped(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


@dataclass(frozen=True)
class Curve:
    """How a training went, for every seed: `lines` of what `measure` says, and `faint` lines behind them."""

    across: str
    measure: str
    lines: Sequence[Sequence[Point]]
    faint: Sequence[Sequence[Point]]

    @property
    def log(self) -> bool:
        """Whether the numbers are positive and so far apart that only powers tell them from each other."""
        values = [y for line in self.lines for _, y in line]
        return min(values) > 0 and max(values) > 20 * min(values)


def learning(trainings: Sequence[Sequence[dict[str, Any]]]) -> Curve | None:
    """Return what there is to see of trainings by one method, an item a seed.

    A method that plays is judged by its validation games (behind them: its training games) against games played; one
    that reads data has its loss against the tokens of its own training. None where neither was noted.
    """
    noted = {name for training in trainings for line in training for name in line}
    faint: list[list[Point]] = []
    if "validation_return" in noted:
        across, measure = "games played", "validation return"
        lines = _thinned([_points(training, "validation_return", _games) for training in trainings])
        faint = _thinned([_points(training, "return", _games) for training in trainings])
    elif {"return", "games"} <= noted:
        across, measure = "games played", "training return"
        lines = _thinned([_points(training, "return", _games) for training in trainings])
    else:
        across, measure = "tokens read", "training loss"
        lines = _thinned([_points(training, "loss", _tokens) for training in trainings])
    return Curve(across, measure, lines, faint) if lines else None


def _games(training: Sequence[dict[str, Any]]) -> Iterator[float]:
    yield from (line.get("games", math.nan) for line in training)


def _tokens(training: Sequence[dict[str, Any]]) -> Iterator[float]:
    total = 0.0
    for line in training:
        total += line.get("tokens", math.nan)
        yield total


def _points(
    training: Sequence[dict[str, Any]], name: str, across: Callable[[Sequence[dict[str, Any]]], Iterator[float]]
) -> list[Point]:
    pairs = zip(across(training), (line.get(name) for line in training), strict=True)
    return [(float(x), float(y)) for x, y in pairs if y is not None and math.isfinite(x) and math.isfinite(y)]


def _thinned(lines: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """Return the lines that have points, long ones as means of neighbours."""
    thin = []
    for line in filter(None, lines):
        parts = np.array_split(np.array(line), min(MAX_POINTS, len(line)))
        thin.append([(float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts)])
    return thin


def panel(curve: Curve, *, label: str, marks: Sequence[tuple[float, str]] = ()) -> Markup:
    """Draw a curve. A mark, a number with a meaning, is drawn where it lies inside of what is shown."""
    width, height, left, top, bottom = 320, 190, 60, 12, 150
    shown = [point for line in (*curve.lines, *curve.faint) for point in line]
    log = curve.log and min(y for _, y in shown) > 0
    across = axis([0, *(x for x, _ in shown)], left, width - 12)
    up = axis([y for _, y in shown], bottom, top, log=log)
    measure = curve.measure + (", log scale" if log else "")
    return _svg(
        width,
        height,
        label,
        *_bottom_axis(across, top, bottom, curve.across, about=4),
        *_left_axis(up, left, width - 12, measure),
        *(_level(up.at(y), left, width - 12, name) for y, name in marks if up.low <= y <= up.high),
        *(_path("faint", [(across.at(x), up.at(y)) for x, y in line]) for line in curve.faint),
        *(_path("line", [(across.at(x), up.at(y)) for x, y in line]) for line in curve.lines),
        *(
            _shape("circle", "seed", cx=across.at(x), cy=up.at(y), r=2)
            for line in curve.lines
            for x, y in line
            if len(line) <= 12
        ),
    )


def histogram(returns: np.ndarray, *, label: str) -> Markup:
    """Draw how often each return was earned; a column for each where there are few."""
    if not returns.size:
        return Markup()
    width, height, left, top, bottom = 320, 190, 60, 12, 150
    kinds = np.unique(returns)
    gap = np.diff(kinds).min() if len(kinds) > 1 else 1.0
    places = round((kinds[-1] - kinds[0]) / gap) + 1
    merged = math.ceil(places / MAX_COLUMNS)  # returns to a column: a whole number, or integers would alias
    edges = kinds[0] - gap / 2 + gap * merged * np.arange(math.ceil(places / merged) + 1)
    counts, _ = np.histogram(returns, edges)
    across = Axis(float(edges[0]), float(edges[-1]), left, width - 12)
    up = Axis(0, float(counts.max()) * 1.05, bottom, top)
    columns = [
        _shape("rect", "column", x=across.at(low) + 0.5, y=up.at(count), height=bottom - up.at(count),
               width=max(0.5, across.at(high) - across.at(low) - 1))
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
        if count
    ]  # fmt: skip
    return _svg(
        width,
        height,
        label,
        *_bottom_axis(across, top, bottom, "return of a game", about=4),
        *_left_axis(up, left, width - 12, "games"),
        *columns,
    )


def _bottom_axis(scale: Axis, top: float, bottom: float, unit: str, about: int = 5) -> Iterator[Markup]:
    for tick in scale.ticks(about):
        x = scale.at(tick)
        yield _shape("line", "grid", x1=x, x2=x, y1=top, y2=bottom)
        yield _text(x, bottom + 15, short(tick), "middle")
    yield _text((scale.start + scale.end) / 2, bottom + 33, unit, "middle", "unit")


def _left_axis(scale: Axis, left: float, right: float, unit: str) -> Iterator[Markup]:
    for tick in scale.ticks(4):
        y = scale.at(tick)
        yield _shape("line", "grid", x1=left, x2=right, y1=y, y2=y)
        yield _text(left - 6, y + 4, short(tick), "end")
    middle = (scale.start + scale.end) / 2
    turned = Markup('<text class="unit" text-anchor="middle" transform="translate(11 {}) rotate(-90)">{}</text>')
    yield turned.format(_coordinate(middle), unit)


def _mark(x: float, top: float, bottom: float, name: str) -> Markup:
    line = _shape("line", "mark", x1=x, x2=x, y1=top - 4, y2=bottom)
    return line + _text(x, top - 9, name, "middle", "name")


def _level(y: float, left: float, right: float, name: str) -> Markup:
    return _shape("line", "mark", x1=left, x2=right, y1=y, y2=y) + _text(right - 2, y - 3, name, "end", "name")


def _svg(width: float, height: float, label: str, *parts: Markup) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, label)
    return opening + Markup("").join(parts) + Markup("</svg>")


def _group(kind: str, *parts: Markup) -> Markup:
    return Markup('<g class="{}">').format(kind) + Markup("").join(parts) + Markup("</g>")


def _shape(tag: str, kind: str, **numbers: float) -> Markup:
    said = Markup(" ").join(Markup('{}="{}"').format(name, _coordinate(value)) for name, value in numbers.items())
    return Markup('<{} class="{}" {}/>').format(tag, kind, said)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> Markup:
    of = Markup(' class="{}"').format(kind) if kind else Markup()
    return Markup('<text{} x="{}" y="{}" text-anchor="{}">{}</text>').format(
        of, _coordinate(x), _coordinate(y), anchor, text
    )


def _path(kind: str, points: Sequence[Point], *, closed: bool = False) -> Markup:
    steps = " ".join(f"{_coordinate(x)} {_coordinate(y)}" for x, y in points)
    return Markup('<path class="{}" d="M{}{}"/>').format(kind, steps, "Z" if closed else "")


def _coordinate(pixel: float) -> str:
    return f"{pixel:.1f}".removesuffix(".0")
