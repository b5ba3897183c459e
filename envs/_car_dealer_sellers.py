"""The scripted sellers of Car Dealer. They know the lot and what the buyer has said, never its state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

STYLES = ("discounts", "features", "concise", "pushy")


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
        self.step = {"discounts": 0.02 + 0.04 * chance(), "pushy": 0.005 + 0.015 * chance()}.get(
            self.style, 0.01 + 0.04 * chance()
        )
        self.floor = 0.76 + 0.2 * chance()
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
    """How the expert treats a kind of buyer: its first asking price as a share of the list price, how many small cuts
    it makes first, and then the prices it asks, as multiples of the buyer's standing offer."""

    opening: float
    small_cuts: int
    small_cut: float
    over_counter: tuple[float, ...]


PLANS = {
    "discount": Plan(1.0, 3, 0.011, (1.08, 1.05, 1.03)),
    "features": Plan(1.0, 0, 0.0, (1.1, 1.07, 1.04, 1.02)),
    "impatient": Plan(0.97, 0, 0.0, (1.1, 1.05)),
}


def best_move(notes: Notes, plans: dict[str, Plan]) -> Move:
    """Return the expert's next move: find out who the buyer is, then treat each kind as it likes to be treated."""
    if notes.match is None or notes.kind is None:
        return Move("ask_wants")
    car, plan = notes.match, plans[notes.kind]
    features = _next_features(notes) if notes.kind == "features" else ()
    if features and (notes.num_asked > 0 or _more_wanted(notes, features)):
        if notes.num_asked == 0:
            return Move("features", car, features=features)
        return Move("features_price", car, _next_price(notes, plan), features=features)
    price = _next_price(notes, plan)
    if notes.counter is not None and (notes.is_warned or price <= notes.counter):
        return Move("accept")
    return Move("short_price", car, price)


def _next_features(notes: Notes) -> tuple[str, ...]:
    """The features to talk about next: first those that the buyer has asked for, two at a time."""
    assert notes.match is not None
    left = [name for name in notes.features[notes.match] if name not in notes.described]
    return tuple(sorted(left, key=lambda name: name not in notes.wanted)[:2])


def _more_wanted(notes: Notes, features: Sequence[str]) -> bool:
    return any(name in notes.wanted for name in features) or not notes.praised


def _next_price(notes: Notes, plan: Plan) -> float:
    assert notes.match is not None
    list_price, step = notes.list_prices[notes.match], notes.price_step
    if notes.asked is None:
        return float(round(plan.opening * list_price / step) * step)
    lower = notes.asked - max(step, plan.small_cut * list_price)
    cuts = notes.num_asked - 1
    if cuts >= plan.small_cuts:
        place = min(cuts - plan.small_cuts, len(plan.over_counter) - 1)
        target = 0.93 * notes.asked if notes.counter is None else plan.over_counter[place] * notes.counter
        lower = min(notes.asked - step, target)
    return max(float(int(lower / step) * step), notes.costs[notes.match] + step)
