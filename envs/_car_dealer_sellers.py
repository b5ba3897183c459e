"""The scripted sellers of Car Dealer. They know the lot and what the buyer has said, never its state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

STYLES = ("discounts", "features", "concise", "pushy")


@dataclass
class Belief:
    """Between what bounds the most that the buyer would pay must lie, as its answers show it.

    The rules of the buyer are common knowledge: its first offer is 84 to 92 % of its limit, a later one goes 20 to 40 %
    of the way from the last one to the limit but no further than the seller came down, and it says so when a price is
    more than 1.3 times the limit.
    """

    low: float
    high: float

    def refused(self, price: float, *, far: bool) -> None:
        """Hear that a price is too much, by far or not."""
        if far:
            self.high = min(self.high, price / 1.3)
        else:
            self.high, self.low = min(self.high, price), max(self.low, min(price / 1.3, self.high))

    def offered(self, amount: float, last: float | None, step: float, cost: float, came_down: float) -> None:
        """Hear the buyer's offer, after one that was `last` and a step down of the seller."""
        self.low = max(self.low, amount)
        if last is not None:
            self.low = max(self.low, last + (amount - last) / 0.4)
            if amount + step < last + came_down:
                self.high = min(self.high, last + (amount + step - last) / 0.2)
        elif amount >= cost + step:  # else it may be the cost that the offer was rounded up to
            self.low, self.high = max(self.low, amount / 0.92), min(self.high, (amount + step) / 0.84)

    def scale(self, factor: float) -> None:
        """Allow for a change of the limit."""
        self.low, self.high = self.low * factor, self.high * factor


@dataclass
class Notes:
    """What a seller has heard and said so far, all of it spoken aloud. Cars are indices of the lot."""

    list_prices: Sequence[int]
    costs: Sequence[int]
    features: Sequence[Sequence[str]]
    price_step: int
    turn: int = 0
    match: int | None = None
    """The car that the buyer says it wants."""
    kind: str | None = None
    """The kind of buyer, as its words show it."""
    wanted: list[str] = field(default_factory=list)
    praised: list[str] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    asked: float | None = None
    """The last price that was asked for `match`."""
    num_asked: int = 0
    counter: float | None = None
    is_warned: bool = False
    belief: Belief = field(default_factory=lambda: Belief(0.0, 0.0))


class Move(NamedTuple):
    """What a seller means to say: a head of the file of phrases and what fills its blanks."""

    name: str
    car: int | None = None
    price: float | None = None
    features: tuple[str, ...] = ()
    percent: int = 0


@dataclass
class Seller:
    """One of many sellers that play the data: a style, and habits drawn for the game."""

    style: str
    chance: Callable[[], float]
    flexibility: float
    """How readily the seller takes the buyer's offer, from 0 to 1."""

    def __post_init__(self) -> None:
        chance = self.chance
        self.opening = {"pushy": 1.02 + 0.18 * chance()}.get(self.style, 0.98 + 0.08 * chance())
        self.step = {"pushy": 0.01 + 0.03 * chance()}.get(self.style, 0.02 + 0.05 * chance())
        self.floor = 0.66 + 0.24 * chance()
        self.takes_offers = self.flexibility * chance()
        self.talks = {"features": 0.75, "discounts": 0.15, "concise": 0.0, "pushy": 0.1}[self.style]

    def move(self, notes: Notes) -> Move:
        """Return what to say next."""
        chance = self.chance
        if notes.match is None:
            return self._find_out(notes)
        list_price = notes.list_prices[notes.match]
        floor = max(self.floor * list_price, notes.costs[notes.match] + notes.price_step)
        if notes.counter is not None and notes.counter >= 0.9 * floor and chance() < self.takes_offers:
            return Move("accept")
        if self.style == "pushy" and chance() < 0.3:
            return self._push(notes)
        undescribed = [name for name in notes.features[notes.match] if name not in notes.described]
        if undescribed and chance() < self.talks:
            return Move("features", notes.match, features=tuple(undescribed[: 1 + int(2 * chance())]))
        if chance() < 0.08:
            return self._blunder(notes)
        return self._ask_price(notes, notes.match, floor)

    def _find_out(self, notes: Notes) -> Move:
        guess = int(self.chance() * len(notes.list_prices))
        if self.style == "pushy" and self.chance() < 0.5:
            return Move("push", guess, price=self._rounded(notes, self.opening * notes.list_prices[guess]))
        if self.chance() < 0.15:
            return Move("show", guess)
        return Move("ask_wants" if self.chance() < 0.8 else "ask_features")

    def _push(self, notes: Notes) -> Move:
        chance = self.chance()
        if chance < 0.4 and notes.asked is not None:
            return Move("push", notes.match, price=notes.asked)
        if chance < 0.8:
            return Move("close")
        return Move("insult" if chance < 0.88 else "ask_budget")

    def _blunder(self, notes: Notes) -> Move:
        """Ask what will not be told, promise, or claim what is not so."""
        chance = self.chance()
        assert notes.match is not None
        if chance < 0.6:
            return Move(("ask_budget", "ask_offer", "promise", "ask_features")[int(chance / 0.15)])
        missing = [name for name in notes.wanted if name not in notes.features[notes.match]]
        if missing and chance < 0.8:
            return Move("features", notes.match, features=(missing[0],))
        return Move("close")

    def _ask_price(self, notes: Notes, car: int, floor: float) -> Move:
        list_price = notes.list_prices[car]
        if notes.asked is None:
            price = self._rounded(notes, self.opening * list_price)
            return Move("short_price" if self.style in ("concise", "pushy") else "price", car, price)
        price = self._rounded(notes, max(floor, notes.asked - self.step * list_price * (0.5 + self.chance())))
        if price >= notes.asked:
            return Move("push" if self.style == "pushy" else "price", car, notes.asked)
        if self.style == "discounts":
            return self._discount(notes, car, price)
        return Move("short_price" if self.style == "concise" else "cut_price", car, price)

    def _discount(self, notes: Notes, car: int, price: float) -> Move:
        assert notes.asked is not None
        form, percent = self.chance(), max(1, round(100 * (1 - price / notes.asked)))
        if form < 0.3:
            return Move("cut_percent", car, round(notes.asked * (1 - percent / 100)), percent=percent)
        return Move("cut_amount" if form < 0.5 else "cut_price", car, price)

    @staticmethod
    def _rounded(notes: Notes, price: float) -> float:
        return float(round(price / notes.price_step) * notes.price_step)


class Plan(NamedTuple):
    """How the expert treats a kind of buyer.

    `opening`: its first price, as a share of the list price. `small_cuts` steps down by `small_cut` of the list price
    come next. From then on it asks `low + bold * (high - low)`, where the buyer's limit is believed to lie between low
    and high, with the boldness of its turn in `boldness`; after the last one it takes the buyer's offer.
    """

    opening: float
    small_cuts: int
    small_cut: float
    boldness: tuple[float, ...]


PLANS = {
    "discount": Plan(1.0, 4, 0.0105, (0.48, 0.39, 0.1, 0.05)),
    "features": Plan(1.0, 0, 0.0, (0.94, 0.57, 0.5, 0.05, 0.02)),
    "impatient": Plan(0.95, 0, 0.0, (0.1, 0.15)),
}
MINI_PLANS = {**PLANS, "impatient": Plan(0.97, 0, 0.0, (0.25, 0.16))}


def best_move(notes: Notes, plans: Mapping[str, Plan]) -> Move:
    """Return the expert's next move: find out who the buyer is, then treat each kind as it likes to be treated."""
    if notes.match is None or (notes.kind is None and notes.turn < 3):
        return Move("ask_wants")
    car, plan = notes.match, plans[notes.kind or "discount"]
    features = _next_features(notes) if notes.kind == "features" else ()
    if features and notes.asked is None and _more_wanted(notes, features):
        return Move("features", car, features=features)
    price = _next_price(notes, plan)
    if notes.counter is not None and (notes.is_warned or price is None or price <= notes.counter):
        return Move("accept")
    price = notes.costs[car] + notes.price_step if price is None else price
    return Move("features_price", car, price, features) if features else Move("short_price", car, price)


def _next_features(notes: Notes) -> tuple[str, ...]:
    """The features to talk about next: first those that the buyer has asked for, two at a time."""
    assert notes.match is not None
    left = [name for name in notes.features[notes.match] if name not in notes.described]
    return tuple(sorted(left, key=lambda name: name not in notes.wanted)[:2])


def _more_wanted(notes: Notes, features: Sequence[str]) -> bool:
    return any(name in notes.wanted for name in features) or not notes.praised


def _next_price(notes: Notes, plan: Plan) -> float | None:
    """Return the price to ask, None where the plan has come to its end."""
    assert notes.match is not None
    list_price, cost, step = notes.list_prices[notes.match], notes.costs[notes.match], notes.price_step
    if notes.asked is None:
        return float(round(plan.opening * list_price / step) * step)
    cuts = notes.num_asked - 1
    if cuts < plan.small_cuts:
        wanted = notes.asked - max(step, plan.small_cut * list_price)
    elif cuts - plan.small_cuts >= len(plan.boldness):
        return None
    else:
        low, high = notes.belief.low, max(notes.belief.low, notes.belief.high)
        wanted = low + plan.boldness[cuts - plan.small_cuts] * (high - low)
    return max(float(int(min(wanted, notes.asked - step) / step) * step), float(-(-cost // step) * step))
