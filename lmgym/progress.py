"""Progress bars and messages for people, on standard error, so that standard output stays for results."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

console = Console(stderr=True)

# Told of each step of a bar: label, how many are done, how many there are.
Listener = Callable[[str, int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Within the block, bars tell `listener` how far they are instead of being shown."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Bar:
    """One line of progress."""

    def __init__(self, bars: Progress, label: str, total: int, done: int) -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total, completed=done, facts="")
        self._tell()

    def advance(self) -> None:
        """One more is done."""
        self._bars.advance(self._task)
        self._tell()

    def _tell(self) -> None:
        listener, task = _listener.get(), self._bars.tasks[self._task]
        if listener is not None:
            listener(str(task.description), int(task.completed), int(task.total or 0))

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
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not show or _listener.get() is not None
    ) as bars:
        yield Bar(bars, label, total, done)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
