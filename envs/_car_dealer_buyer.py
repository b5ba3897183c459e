"""The buyer of Car Dealer: a state machine that hears what a seller means and says what it thinks of it.

What a buyer would pay at most is its `limit`: a share of its cap (the budget or the list price, whichever is less).
The share depends on the kind of buyer and on how it is treated; see KINDS and `Buyer.limit`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_LIST_FACTOR = 10.0  # a price above this many times the list price is no price
RAISED = 1.001  # an asking price higher than the last one by more than this factor
CUT_SHARE = 0.01  # of the list price: a smaller step down is no discount worth the name
COUNTED_CUTS = 4
MAX_FEATURES_AT_ONCE = 2
LONG = 25  # words; more try the patience of somebody in a hurry
VERY_LONG = 80
CONFIRMED_LIES = 2
GOING_ON = ("counter", "cut", "hint", "interest", "price_first", "feature_more", "show_first", "promised")
NEAR_END = 1.5  # of patience: time for a last word


class Car(NamedTuple):
    """A car on the lot. Prices are dollars; `cost` is what the dealer paid."""

    brand: str
    type: str
    list_price: int
    cost: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """Who the buyer is and what it wants."""

    kind: str
    personality: str
    brand: str
    type: str
    features: tuple[str, ...]
    budget: int


class Kind(NamedTuple):
    """What a kind of buyer starts with: ranges of patience (turns) and of the share of the cap it would pay."""

    patience: tuple[float, float]
    share: tuple[float, float]
    cap: float
    """Of the list price: more it pays in no case."""
    per_cut: float
    for_features: float
    per_turn: float


KINDS = {
    "discount": Kind((9.0, 12.0), (0.82, 0.88), 0.96, per_cut=0.035, for_features=0.0, per_turn=0.0),
    "features": Kind((9.0, 12.0), (0.76, 0.82), 1.0, per_cut=0.0, for_features=0.22, per_turn=0.0),
    "impatient": Kind((5.0, 7.0), (0.96, 1.0), 1.0, per_cut=0.0, for_features=0.0, per_turn=0.03),
}


class Manner(NamedTuple):
    """What a personality changes: how it speaks, its patience, its mood at first, what courtesy does for it."""

    register: str
    patience: float
    mood: float
    courtesy: float


PERSONALITIES = {
    "abusive": Manner("harsh", -1.0, -1.0, 0.1),
    "angry": Manner("harsh", -1.5, -1.5, 0.3),
    "insulting": Manner("harsh", -0.5, -1.0, 0.1),
    "polite": Manner("polite", 1.0, 0.5, 0.6),
    "respectful": Manner("polite", 1.0, 0.5, 0.6),
    "rude": Manner("harsh", -0.5, -0.5, 0.1),
    "sarcastic": Manner("plain", 0.0, -0.5, 0.2),
    "talkative": Manner("plain", 2.0, 0.5, 0.4),
    "toxic": Manner("harsh", -1.0, -1.0, 0.0),
    "uncommunicative": Manner("terse", 0.0, 0.0, 0.2),
}
MINI_MANNER = Manner("mini", 0.0, 0.0, 0.3)


class Said(NamedTuple):
    """What a seller's utterance means on this lot. `car` is the one it is about, by index."""

    car: int | None = None
    named: bool = False
    """Whether the utterance itself names the car."""
    not_here: str | None = None
    """Another car that is named but is not on the lot."""
    several: bool = False
    price: float | None = None
    unclear: bool = False
    instalments: bool = False
    wrong_base: float | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    about_car: str | None = None
    """The car that a question asks about: `yes` where it is the buyer's own wish, else `no`."""
    ask: str | None = None
    accepts: bool = False
    promises: bool = False
    polite: bool = False
    greets: bool = False
    insults: bool = False
    leaves: bool = False
    num_words: int = 0


class Act(NamedTuple):
    """One thing that the buyer says: a head of the file of phrases and what fills its blanks."""

    name: str
    car: int | None = None
    price: float | None = None
    first: float | None = None
    features: tuple[str, ...] = ()
    other: str = ""


@dataclass
class Buyer:
    """A buyer in a game. `hear` changes its state and returns what it says; `decision` ends the game."""

    profile: Profile
    lot: Sequence[Car]
    chance: Callable[[], float]
    """Uniform in [0, 1)."""
    price_step: int
    manner: Manner
    decision: str | None = None
    price: float | None = None
    car_sold: int | None = None
    invalid: str | None = None
    """What was wrong with the last utterance."""
    mood: float = 0.0
    turn: int = 0
    asked: dict[int, float] = field(default_factory=dict)
    counter: float | None = None
    """The buyer's own standing offer for the matching car."""
    cuts: int = 0
    overlong: int = 0
    lies: int = 0
    known: list[str] = field(default_factory=list)
    """Wanted features that the buyer has been told of and that the matching car has."""
    told_features: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        profile, kind, chance = self.profile, KINDS[self.profile.kind], self.chance
        self.match = next(
            index for index, car in enumerate(self.lot) if (car.brand, car.type) == (profile.brand, profile.type)
        )
        self.patience = _between(kind.patience, chance()) + self.manner.patience
        self.share = _between(kind.share, chance())
        self.stinginess = _between((0.84, 0.92), chance())
        self.mood = self.manner.mood
        self._courtesies = 0
        self._told_car = self._hinted = self._warned = self._was_promised = self._interested = False
        self._moved = 0.0  # how far the seller has come down since the buyer's last offer
        self._secrets = 0
        self._cost = 1.0
        self._acts: list[Act] = []

    @property
    def limit(self) -> float:
        """The most that the buyer would pay for the matching car now, in dollars."""
        kind, car = KINDS[self.profile.kind], self.lot[self.match]
        share = self.share + kind.per_cut * min(self.cuts, COUNTED_CUTS)
        share += kind.for_features * len(self.known) / len(self.profile.features)
        share -= kind.per_turn * max(0, self.turn - 2) + 0.01 * self.overlong
        share += 0.01 * max(-4.0, min(2.0, self.mood))
        limit = max(0.5, min(1.0, share)) * min(self.profile.budget, kind.cap * car.list_price)
        return max(limit, self.counter or 0.0)

    def hear(self, said: Said, *, is_last: bool) -> list[Act]:
        """Take in an utterance and return what to say; at the last one the buyer decides."""
        self.turn += 1
        self.invalid = None
        self._acts, self._cost = [], 1.0
        self._hear_manners(said)
        if said.leaves and said.price is None:
            self._end("leave")
            return self._acts
        if self.decision is None:
            self._hear_matter(said)
        if self.decision is None and not self._acts:
            self._answer_nothing(said)
        if self.decision is None:
            self._run_out(is_last)
        return self._acts

    # What is said about other things than the car.

    def _hear_manners(self, said: Said) -> None:
        if said.insults:
            self._dislike(2.0 if self.manner.register != "harsh" else 1.0, patience=1.5)
            self._say("insulted")
        elif said.polite and self._courtesies < 2:
            self._courtesies += 1
            self.mood += self.manner.courtesy
        if said.num_words > LONG and self.profile.kind == "impatient":
            self.overlong += 1
            self._cost += 1.0
            self._say("too_long")
        elif said.num_words > VERY_LONG:
            self._cost += 0.5

    def _answer_nothing(self, said: Said) -> None:
        if said.ask == "other":
            self._say("small_talk")
        elif said.greets or said.polite:
            self._say("greet")
            if not self._told_car:
                self._tell_wish()
        elif not said.insults:
            self.invalid = self.invalid or "not understood"
            self._say("confused")

    def _run_out(self, is_last: bool) -> None:
        """Pay for the turn with patience; go when there is none left, decide when there is no turn left."""
        self.patience -= self._cost
        if is_last or self.patience <= 0:
            standing = self.asked.get(self.match)
            if standing is not None and standing <= self.limit:
                self._buy(standing)
            else:
                polite = self.mood >= 0 and standing is not None
                self._end("reject" if is_last or polite else "leave")
        elif self.patience <= NEAR_END and not self._warned:
            self._warned = True
            self._say("last_chance")

    # What is said about the car.

    def _hear_matter(self, said: Said) -> None:
        if said.several:
            self._say("one_car")
        elif said.not_here:
            self._say("not_here", other=said.not_here)
            self._tell_wish_once()
        elif said.about_car:
            self._answer_about_car(said)
        elif said.named and said.car is not None:
            self._look_at(said.car, is_answered=said.price is not None or bool(said.has))
        if said.has or said.lacks:
            self._hear_features(said)
        if self.decision is None:
            self._hear_money(said)
        if self.decision is None and said.ask and said.price is None and not said.unclear:
            self._answer(said)

    def _look_at(self, car: int, *, is_answered: bool = False) -> None:
        """Say whether a car will do; `is_answered`: the utterance already says more about it."""
        if car != self.match:
            self._dislike(0.3)
            self._say("mismatch", car=self.match, other=self._name(car))
            self._told_car = True
        elif not self._interested:
            self._interested = self._told_car = True
            if is_answered:
                self._hint()
            else:
                self._hinted = True
                self._say(f"interest_{self.profile.kind}", car=car)

    def _answer_about_car(self, said: Said) -> None:
        if said.about_car == "yes":
            self._say("right_car", car=self.match)
            self._told_car = True
        else:
            self._say("mismatch", car=self.match, other=said.about_car)
            self._told_car = True
        self._hint()

    def _hear_features(self, said: Said) -> None:
        if said.car is None:
            self._say("which_car")
            return
        car = self.lot[said.car]
        false = tuple(name for name in said.has if name not in car.features)
        if false:
            self._catch_lie("feature_lie", false)
            return
        if said.car != self.match:
            return
        self._hear_true_features([name for name in said.has if name in self.profile.features], said.has)
        honest = tuple(name for name in said.lacks if name not in car.features)
        if len(honest) < len(said.lacks):
            self._say("feature_wrong", features=tuple(name for name in said.lacks if name in car.features))
        elif set(honest) & set(self.profile.features):
            self._say("feature_pity", features=honest)

    def _hear_true_features(self, wanted: list[str], said: Sequence[str]) -> None:
        new = [name for name in wanted if name not in self.known]
        taken_in = new[:MAX_FEATURES_AT_ONCE]
        if taken_in:
            self.known += taken_in
            self.mood += 0.2
            self._say("feature_good", features=tuple(taken_in))
            if self.profile.kind == "features":
                self._cost -= 0.5
            if len(new) > len(taken_in):
                self._say("feature_more")
        elif wanted:
            self._say("feature_known", features=tuple(wanted))
        elif said:
            self._say("feature_unneeded", features=tuple(said))

    def _catch_lie(self, act: str, features: tuple[str, ...] = (), **words: float) -> None:
        self.lies += 1
        self._dislike(2.0, patience=1.5)
        self._say(act, features=features, **words)
        if self.lies >= CONFIRMED_LIES:
            self.decision = "leave"
            self._say("leave_liar")

    # What is said about money.

    def _hear_money(self, said: Said) -> None:
        if said.unclear:
            self.invalid = "no one price"
            self._dislike(0.3)
            self._say("unclear")
        elif said.wrong_base is not None:
            assert said.car is not None
            self._catch_lie("wrong_base", price=said.wrong_base, first=float(self.lot[said.car].list_price))
        elif said.price is not None:
            self._hear_price(said.price, said.car)
        elif said.instalments:
            self._say("instalments")
        elif said.accepts:
            self._hear_consent()
        elif said.promises:
            self._was_promised = True
            self._say("promised")

    def _hear_consent(self) -> None:
        if self.counter is not None:
            self._buy(self.counter)
            return
        self._dislike(0.5)
        self._say("not_agreed")
        if not self.asked:
            self._say("price_first")

    def _hear_price(self, price: float, car: int | None) -> None:
        if car is None:
            self.invalid = "a price without a car"
            self._say("which_car")
            self._tell_wish_once()
            return
        goods = self.lot[car]
        if not 0 < price <= MAX_LIST_FACTOR * goods.list_price:
            self.invalid = "an impossible price"
            self._dislike(1.0, patience=1.0)
            self._say("impossible", price=price)
        elif price < goods.cost:
            self.invalid = "a price below cost"
            self._dislike(0.3, patience=0.5)
            self._say("below_cost", price=price)
        elif car != self.match:
            if not any(act.name == "mismatch" for act in self._acts):
                self._look_at(car)
            self.asked.setdefault(car, price)
        else:
            self._weigh(price)

    def _weigh(self, price: float) -> None:
        """Hear a possible price for the car that is wanted: take it, or say why not."""
        last = self.asked.get(self.match)
        if last is not None and price > last * RAISED:
            self._dislike(1.5, patience=1.0)
            self._say("raised", price=price, first=last)
            return
        self._notice_cut(price, last)
        self.asked[self.match] = price
        limit = self.limit
        if price <= limit:
            self._buy(price)
        elif last is not None and price >= last / RAISED:
            self._dislike(0.3, patience=1.0)
            self._say("repeated", price=price)
            self._restate()
        else:
            self._refuse(price, limit)

    def _notice_cut(self, price: float, last: float | None) -> None:
        list_price = self.lot[self.match].list_price
        was_promised, self._was_promised = self._was_promised, False
        if last is None:
            self._moved = price
            return
        # Coming down to the list price from above is no favour: only what is below it counts.
        came_down = min(last, float(list_price)) - price
        if came_down >= CUT_SHARE * list_price:
            self._moved = came_down
            self.cuts += 1
            if self.profile.kind == "discount" and price > self.limit:
                self._cost -= 0.4
                self._say("cut_discount")
        elif was_promised:
            self._dislike(1.0, patience=0.5)
            self._say("promise", first=last)

    def _refuse(self, price: float, limit: float) -> None:
        if price > 1.3 * limit:
            self._dislike(0.5, patience=1.0)
            self._say("too_far", price=price)
            return
        self._say("too_much", price=price)
        if self._moved:
            if self.counter is None:
                nearer = limit * self.stinginess
            else:
                # No further than the seller came: small steps do not draw out what the buyer would pay.
                nearer = self.counter + min(self._moved, (limit - self.counter) * (0.2 + 0.2 * self.chance()))
            self._moved = 0.0
            self._offer(nearer, price)
        else:
            self._restate()

    def _offer(self, amount: float, price: float) -> None:
        """Make an offer below a price, in round figures, never below the dealer's cost or the last offer."""
        step = self.price_step
        cost = self.lot[self.match].cost
        rounded = max(int(amount // step) * step, -(-cost // step) * step)
        if rounded > self.limit or rounded >= price or (self.counter is not None and rounded <= self.counter):
            self._restate()
            return
        self.counter = float(rounded)
        self._say("counter", price=self.counter)

    def _restate(self) -> None:
        if self.counter is not None:
            self._say("counter_same", price=self.counter)

    def _buy(self, price: float) -> None:
        self.decision, self.price, self.car_sold = "accept", price, self.match
        self._say("accept", car=self.match, price=price)

    # Questions.

    def _answer(self, said: Said) -> None:
        ask = said.ask
        if self.profile.kind == "impatient":
            self._cost += 0.5
        if ask == "budget":
            self._secrets += 1
            self._say("budget_secret")
            if self._secrets > 1:
                self._dislike(0.3, patience=0.5)
            else:
                self._hint()
        elif ask == "features":
            self._answer_features(said.about)
        elif ask == "wants":
            if not said.about_car:
                self._answer_wants()
        elif ask == "offer":
            self._answer_offer()
        elif ask == "close" and not said.accepts:
            self._say("not_agreed" if self.asked else "price_first")
            self._restate()

    def _answer_wants(self) -> None:
        if self._told_car and self._hinted and len(self.told_features) == len(self.profile.features):
            self._dislike(0.2, patience=0.5)
            self._say("told_already")
            self._say("wish", car=self.match)
            return
        self._tell_wish()

    def _tell_wish(self) -> None:
        """Name the car, and some of the features: one at a time for those who say little."""
        if not self._told_car or self.manner.register != "terse":
            self._say("wish", car=self.match)
        if self._told_car or self.manner.register != "terse":
            self._tell_features(2)
        self._told_car = True
        self._hint()

    def _tell_wish_once(self) -> None:
        if not self._told_car:
            self._told_car = True
            self._say("wish", car=self.match)

    def _tell_features(self, count: int) -> None:
        if self.manner.register == "terse":
            count = 1
        new = [name for name in self.profile.features if name not in self.told_features][:count]
        if new:
            self.told_features += new
            self._say("wish_features", features=tuple(new))

    def _answer_features(self, about: tuple[str, ...]) -> None:
        if about:
            wanted = tuple(name for name in about if name in self.profile.features)
            if wanted:
                self.told_features += [name for name in wanted if name not in self.told_features]
            self._say("yes" if wanted else "no", features=wanted or about)
        elif len(self.told_features) == len(self.profile.features):
            self._dislike(0.2, patience=0.5)
            self._say("told_already")
            self._say("wish_features", features=self.profile.features)
        else:
            self._tell_features(2)
        self._hint()

    def _answer_offer(self) -> None:
        if not self._interested:
            self._say("show_first")
            self._tell_wish_once()
        elif self.counter is None and self.match in self.asked:
            self._offer(self.limit * self.stinginess, self.asked[self.match])
        elif self.counter is None:
            self._say("price_first")
        else:
            self._restate()

    def _hint(self) -> None:
        if not self._hinted:
            self._hinted = True
            self._say(f"hint_{self.profile.kind}")

    # The rest.

    def _end(self, decision: str) -> None:
        """Go without a deal, and without what only somebody says who stays."""
        self.decision = decision
        self._acts = [act for act in self._acts if not act.name.startswith(GOING_ON)]
        self._say(decision)

    def _say(self, act: str, **words: object) -> None:
        self._acts.append(Act(act, **words))  # type: ignore[arg-type]

    def _dislike(self, mood: float, patience: float = 0.0) -> None:
        self.mood -= mood
        self._cost += patience

    def _name(self, car: int) -> str:
        return car_with_article(self.lot[car].brand, self.lot[car].type)


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def car_name(brand: str, kind: str) -> str:
    """Return what a car is called.

    >>> car_name("Ford", "truck"), car_name("Tesla", "electric")
    ('Ford truck', 'Tesla electric car')
    """
    return f"{brand} {kind} car" if kind in ("luxury", "electric") else f"{brand} {kind}"


def car_with_article(brand: str, kind: str) -> str:
    """Return a car's name with its article.

    >>> car_with_article("Audi", "SUV")
    'an Audi SUV'
    """
    return f"{'an' if brand[0] in 'AEIO' else 'a'} {car_name(brand, kind)}"


ARTICLES = {"backup camera": "a", "navigation system": "a", "sunroof": "a"}


def listed(names: Iterable[str], *, articles: bool) -> str:
    """Return names in a row, as one says them.

    >>> listed(["sunroof", "heated seats", "leather seats"], articles=True)
    'a sunroof, heated seats and leather seats'
    """
    named = [f"{ARTICLES[name]} {name}" if articles and name in ARTICLES else name for name in names]
    return " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))
