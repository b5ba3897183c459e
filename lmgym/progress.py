"""Progress bars and messages for people, on standard error, so that standard output stays for results."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

console = Console(stderr=True)


class Bar:
    """One line of progress."""

    def __init__(self, bars: Progress, label: str, total: int, done: int) -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total, completed=done, facts="")

    def advance(self) -> None:
        """One more is done."""
        self._bars.advance(self._task)

    def describe(self, **facts: float) -> None:
        """Show numbers behind the bar."""
        self._bars.update(self._task, facts="  ".join(f"{name} {_short(value)}" for name, value in facts.items()))

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items and advance with each."""
        for item in items:
            yield item
            self.advance()


@contextmanager
def progress(label: str, total: int, done: int = 0, *, show: bool = True) -> Iterator[Bar]:
    """Show a bar with count, facts and time left while the block runs."""
    columns = [
        TextColumn("{task.description:>10}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
    ]
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not show) as bars:
        yield Bar(bars, label, total, done)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
