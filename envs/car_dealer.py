"""Car Dealer (`lmgym/CarDealer-v0`) and a small version of it (`lmgym/CarDealerMini-v0`)."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from gymnasium import spaces
from gymnasium.error import ResetNeeded

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.envs._car_dealer_buyer import (
    KINDS,
    MAX_LIST_FACTOR,
    MINI_MANNER,
    PERSONALITIES,
    Act,
    Buyer,
    Car,
    Profile,
    Said,
    car_name,
    car_with_article,
    listed,
)
from lmgym.envs._car_dealer_chat import LAST_WORD, Verdict, system_prompt, tamed, verdict
from lmgym.envs._car_dealer_language import BRANDS, FEATURES, TYPES, Reading, expected_readings, facts, read
from lmgym.envs._car_dealer_sellers import MINI_PLANS, PLANS, STYLES, Belief, Move, Notes, Plan, Seller, best_move
from lmgym.errors import UsageError, unknown
from lmgym.oracle import OracleError, OtherSide, load_oracle
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

HEADER = "You sell cars. A buyer walks in. On your lot:"
REWARD_WORDS = {
    "revenue": "the price in thousands of dollars if you sell the car, 0 if you do not, and 0 for all actions before.",
    "ratio": "if you sell the car, its price over the mean of the buyer's budget and the list price; 0 if you do not, "
    "and 0 for all actions before.",
    "ratio_lmrl": "if you sell the car, its price over the mean of the buyer's budget and the list price; if you do "
    "not, list price minus budget over list price, of the car that was last spoken of; 0 for all actions before.",
}
REWARDS = tuple(REWARD_WORDS)


@dataclass(frozen=True)
class Size:
    """How large the game is."""

    brands: tuple[str, ...]
    types: tuple[str, ...]
    features: tuple[str, ...]
    max_wanted: int
    budgets: tuple[int, ...]
    personalities: tuple[str, ...]
    num_cars: int
    price_step: int
    list_step: int
    list_range: tuple[float, float]
    """The list price of the matching car as a share of the budget."""
    cost_range: tuple[float, float]
    max_turns: int
    flexibility: float
    """Of the sellers that play the data; sets their success."""
    plans: Mapping[str, Plan]


SIZES = {
    "full": Size(
        brands=tuple(BRANDS),
        types=tuple(TYPES),
        features=tuple(FEATURES),
        max_wanted=4,
        budgets=(10_000, 30_000, 50_000, 70_000, 90_000),
        personalities=tuple(PERSONALITIES),
        num_cars=5,
        price_step=100,
        list_step=100,
        list_range=(0.9, 1.2),
        cost_range=(0.66, 0.70),
        max_turns=25,
        flexibility=0.64,
        plans=PLANS,
    ),
    "mini": Size(
        brands=("Ford", "Tesla"),
        types=("truck", "sedan"),
        features=("heated seats", "leather seats", "sunroof"),
        max_wanted=2,
        budgets=(20_000, 30_000, 40_000),
        personalities=("plain",),
        num_cars=2,
        price_step=1000,
        list_step=2000,
        list_range=(0.9, 1.2),
        cost_range=(0.68, 0.68),
        max_turns=12,
        flexibility=0.6,
        plans=MINI_PLANS,
    ),
}
FLAVOUR_SHARE = 0.3
BLOCK = 48


class CarDealer(TextEnv):
    """Sell a car to a buyer, at the best price.

    Description:
        The agent sells and speaks first, in free text. The buyer wants one car of the lot (brand and type), likes
        some features, has a budget that it never tells, a personality, and is of one of three kinds: it loves
        discounts, wants many features, or is impatient. It reads prices (`$32,500`, `32.5k`, `thirty-two
        thousand`), discounts (`10% off`, `knock off $500`), features, cars, questions and manners, makes offers of
        its own, and remembers what was said. What it would pay at most is a share of its budget or of the list
        price, whichever is less; the share grows with steps down in price for the first kind, with wanted features
        that it is told of (two at a time) for the second, and shrinks with every turn for the third.
    Observation:
        First `You sell cars. A buyer walks in. On your lot:` and a line for each car: `Ford truck: list $38,000,
        cost $26,100; backup camera, sunroof`. Then what the buyer says.
    Action:
        Any text: `The Ford truck has a sunroof, and I can do $36,500.` Only the first 500 characters are heard.
        `Deal.`, or nothing but `Yes.`, takes the buyer's standing offer.
    Start:
        The buyer's kind, personality, brand, type, budget and features, and the lot, are uniform draws;
        `reset(options={"buyer": "impatient"})` fixes the kind, a mapping any of `kind`, `personality`, `brand`,
        `type`, `features`, `budget`.
    Reward:
        Only at the end. `revenue`: on a sale its price in thousands of dollars, else 0. `ratio`: price over the
        mean of budget and list price, else 0. `ratio_lmrl`: the same, but without a sale -(budget - list) / list
        of the car that was last spoken of, 0 if there is none.
    What an invalid reply does:
        It costs a turn (patience and mood besides, where it annoys) and the buyer says what is wrong: nothing
        that can be understood, a price without a car, two prices at once, fees on top, a price that is zero,
        negative or above ten times the list price, a price below cost.
    Episode end:
        Terminated when the buyer accepts, rejects or leaves; it decides after 25 turns at the latest. Truncated
        only where a language model as the buyer gives no answer (`info["oracle_error"]`): no sale, so 0 in any unit
        of the reward, and the observation is empty.
    Info:
        `success` (sold), `offer` (the price that was understood, discounts worked out, or None); at the end
        `decision` (accept, reject, leave), `price` (on a sale), `buyer`; `invalid` (why, for an invalid action
        only). With a language model as the buyer also `void` (why, where it accepted what it could not),
        `oracle_calls`, `oracle_prompt_tokens`, `oracle_completion_tokens`, `oracle_cost` (so far) and, if it
        failed, `oracle_error`.
    Arguments:
        size: "full", or "mini": two cars, three features, prices in thousands, one way to speak, 12 turns.
        reward: "revenue", "ratio" or "ratio_lmrl".
        oracle: who the buyer is: "embedded" (the state machine) or a language model, see `lmgym.oracle`. A model
            decides by a marker at the end of its reply; a deal needs a price that the seller offered for the wanted
            car, not below cost and not above the budget.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        The buyer is a state machine by default (released: GPT-2 XL without seeds). The three kinds of buyer are
        those of the paper, the profile (ten personalities, 13 brands, 6 types, 8 features, 5 budgets) that of the
        code, which has no kinds. The first observation shows the lot (released: the word Start): without it a
        seller could not know what there is to sell, nor what it cost. Brand and type are independent draws, as in
        the code, so there are cars that nobody builds. Only a car of the wanted brand and type is bought; released
        buyers buy whatever they agree to. `revenue` is the default reward, in which the published scores seem
        to be; `ratio` is the released default without its reward for refusing a car above the budget, which
        `ratio_lmrl` keeps. At the last turn the buyer decides; the released code never got an answer there. The
        published mean length, 116.5 utterances at most 50 of which fit, cannot be meant.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        size: str = "full",
        reward: str = "revenue",
        oracle: str = "embedded",
        render_mode: str | None = None,
    ) -> None:
        if size not in SIZES:
            raise unknown("size", size, SIZES)
        if reward not in REWARDS:
            raise unknown("reward", reward, REWARDS)
        self.render_mode = render_mode
        self._size = SIZES[size]
        self._reward = reward
        self._oracle = load_oracle(oracle)
        self.remote = self._oracle is not None
        self.reference = REFERENCES.get((size, reward)) if self._oracle is None else None
        is_mini = size == "mini"
        self._register = " mini" if is_mini else ""
        self.tokenizer = "phrase" if is_mini else "word"
        self.preset = "0.1M" if is_mini else "5M"
        self.data_episodes = 10_000 if is_mini else 19_000
        self.max_reply_chars = 60 if is_mini else 200
        self.max_turns = self._size.max_turns
        self.observation_space = spaces.Text(1500, min_length=0, charset=CHARSET)
        self.action_space = AnyText(_examples(size))
        self._profile: Profile | None = None
        self._buyer: Buyer | None = None
        self._chat: _Chat | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        options = require_options(options, ("buyer",), "Car Dealer")
        self._uniforms: list[float] = []
        fixed = _fixed_fields(options.get("buyer", {}), self._size)
        self._profile = profile = self._draw_profile(fixed)
        self._lot = self._draw_lot(profile)
        self._named = {(car.brand, car.type): index for index, car in enumerate(self._lot)}
        manner = PERSONALITIES.get(profile.personality, MINI_MANNER)
        self._buyer = Buyer(profile, self._lot, self._chance, self._size.price_step, manner)
        self._phrases = _phrases(profile.personality)
        self._car: int | None = None
        self._turns = 0
        self._seller: Seller | None = None
        self._notes: Notes | None = None
        self._heard: list[tuple[Said, Sequence[Act]]] = []
        self._lines: list[str] = []
        self._ended = False
        if self._oracle is not None:
            wish = car_with_article(profile.brand, profile.type)
            wanted = listed(profile.features, articles=True)
            system = system_prompt(profile.kind, profile.personality, wish, wanted, profile.budget)
            self._chat = _Chat(OtherSide(self._oracle, self.np_random), system)
        self._first = "\n".join([HEADER, *map(_car_line, self._lot)])
        return self._first, {"success": False} | (self._chat.other.info() if self._chat else {})

    def _chance(self) -> float:
        """Uniform in [0, 1). Drawn in blocks: one draw at a time would cost more than the rest of a turn."""
        if not self._uniforms:
            self._uniforms = self.np_random.random(BLOCK).tolist()
        return self._uniforms.pop()

    def _one_of(self, items: Sequence[Any]) -> Any:
        return items[int(self._chance() * len(items))]

    def _drawn(self, items: Sequence[str], count: int) -> tuple[str, ...]:
        """Draw different items, in the order of the list."""
        left = list(items)
        chosen = {left.pop(int(self._chance() * len(left))) for _ in range(count)}
        return tuple(item for item in items if item in chosen)

    def _draw_profile(self, fixed: Mapping[str, Any]) -> Profile:
        """Draw all fields, whatever is fixed: the others are then the same under a seed."""
        size = self._size
        drawn = {
            "kind": self._one_of(tuple(KINDS)),
            "personality": self._one_of(size.personalities),
            "brand": self._one_of(size.brands),
            "type": self._one_of(size.types),
            "budget": self._one_of(size.budgets),
            "features": self._drawn(size.features, 1 + int(self._chance() * size.max_wanted)),
        }
        return Profile(**{**drawn, **fixed})

    def _draw_lot(self, profile: Profile) -> list[Car]:
        """One car that the buyer wants, one of the same brand, one of the same type, and others, in any order."""
        size = self._size
        names = [(profile.brand, profile.type)]
        if size.num_cars > 2:
            names.append((profile.brand, self._one_of([kind for kind in size.types if kind != profile.type])))
            names.append((self._one_of([brand for brand in size.brands if brand != profile.brand]), profile.type))
        while len(names) < size.num_cars:
            name = (self._one_of(size.brands), self._one_of(size.types))
            if name not in names:
                names.append(name)
        lot = [self._draw_car(name, profile if index == 0 else None) for index, name in enumerate(names)]
        return [lot.pop(int(self._chance() * len(lot))) for _ in range(len(lot))]

    def _draw_car(self, name: tuple[str, str], profile: Profile | None) -> Car:
        """Draw a car; that of the buyer suits its budget and has at least half of the features that it wants."""
        size = self._size
        budget = profile.budget if profile else self._one_of(size.budgets)
        low, high = size.list_range
        list_price = round(budget * (low + (high - low) * self._chance()) / size.list_step) * size.list_step
        low, high = size.cost_range
        cost = round(list_price * (low + (high - low) * self._chance()) / size.price_step) * size.price_step
        wanted = profile.features if profile else ()
        sure = self._drawn(wanted, (len(wanted) + 1) // 2)
        features = tuple(
            name for name in size.features if self._chance() < (0.5 if name in wanted else 0.35) or name in sure
        )
        return Car(*name, list_price, cost, features or (self._one_of(size.features),))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        buyer = self._buyer
        if buyer is None or self._ended:
            raise ResetNeeded("no game of Car Dealer is running: call reset first")
        self._turns += 1
        reading = read(action)
        said = self._meaning(reading, buyer)
        if said.car is not None:
            self._car = said.car
        is_last = self._turns >= self._size.max_turns
        if self._chat is not None:
            return self._ask_model(self._chat, action, said, is_last)
        acts = buyer.hear(said, is_last=is_last)
        text = self._spoken(acts)
        self._heard.append((said, acts))
        self._lines += (action, text)
        offer = reading.price if said.car is None else said.price
        info: dict[str, Any] = {"success": buyer.decision == "accept", "offer": offer}
        if buyer.invalid:
            info["invalid"] = buyer.invalid
        if buyer.decision is None:
            return text, 0.0, False, False, info
        return text, self._finish(buyer.decision, buyer.price, info), True, False, info

    def _finish(self, decision: str, price: float | None, info: dict[str, Any]) -> float:
        """End the game and return its reward."""
        self._ended = True
        assert self._profile is not None
        profile = self._profile
        info["decision"] = decision
        info["buyer"] = self._buyer_facts()
        if price is not None:
            info["price"] = price
            if self._reward == "revenue":
                return price / 1000
            list_price = self._lot[self._named[profile.brand, profile.type]].list_price
            return price / ((profile.budget + list_price) / 2)
        if self._reward == "ratio_lmrl" and self._car is not None:
            list_price = self._lot[self._car].list_price
            return -(profile.budget - list_price) / list_price
        return 0.0

    def _buyer_facts(self) -> dict[str, Any]:
        assert self._profile is not None
        return {item.name: getattr(self._profile, item.name) for item in fields(self._profile)}

    # A language model as the buyer.

    def _ask_model(
        self, chat: "_Chat", action: str, said: Said, is_last: bool
    ) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Hand the utterance to the model; what may be agreed to is decided here, not by the model."""
        buyer = self._buyer
        assert buyer is not None
        info: dict[str, Any] = {"success": False, "offer": said.price}
        invalid = _impossible(said, self._lot)
        if invalid:
            info["invalid"] = invalid
        elif said.price is not None and said.car == buyer.match:
            chat.offers.add(said.price)
            buyer.asked[buyer.match] = said.price
        if said.accepts and said.price is None:
            chat.offers |= chat.own_prices
        try:
            answer = chat.ask(action, is_last=is_last)
        except OracleError as error:
            self._ended = True
            return chat.other.cut_off(error, 0.0, {**info, "buyer": self._buyer_facts()})
        info |= chat.other.info()
        self._heard.append((said, _acts_heard(answer.text, buyer.match, self._profile, self._lot)))
        self._lines += (action, answer.text)
        decision, void = chat.judged(answer.decision, answer.price, self._ceiling(buyer))
        if void:
            info["void"] = void
        if decision is None and is_last:
            decision = "reject"
        if decision is None:
            return answer.text, 0.0, False, False, info
        info["success"] = decision == "accept"
        price = answer.price if decision == "accept" else None
        return answer.text, self._finish(decision, price, info), True, False, info

    def _ceiling(self, buyer: Buyer) -> tuple[float, float]:
        """Return the lowest and the highest price that a model can agree to: the cost and the budget."""
        assert self._profile is not None
        return float(self._lot[buyer.match].cost), float(self._profile.budget)

    # What the seller's words mean on this lot.

    def _meaning(self, reading: Reading, buyer: Buyer) -> Said:
        brands, types = reading.brands, reading.types
        car, named, not_here, several, about_car = self._car, False, None, False, None
        if reading.ask == "wants" and (brands or types):
            about_car = self._is_wish(brands, types)
            if about_car == "yes" and brands and types:
                car = buyer.match
        elif len(brands) > 1 or len(types) > 1:
            car, several = None, True
        elif brands or types:
            car, named, not_here = self._find(brands, types, buyer)
        price, wrong_base, unclear = self._offered(reading, car, buyer)
        return Said(
            *(car, named, not_here, several, price, unclear, reading.instalments, wrong_base),
            *(reading.has, reading.lacks, reading.about, about_car, reading.ask, reading.accepts, reading.promises),
            *(reading.polite, reading.greets, reading.insults, reading.leaves, reading.num_words),
        )

    def _is_wish(self, brands: tuple[str, ...], types: tuple[str, ...]) -> str:
        """Return `yes` where a question names what the buyer wants, else what it names."""
        assert self._profile is not None
        if self._profile.brand in (brands or (self._profile.brand,)) and self._profile.type in (
            types or (self._profile.type,)
        ):
            return "yes"
        return _something_named(brands[:1], types[:1])

    def _find(
        self, brands: tuple[str, ...], types: tuple[str, ...], buyer: Buyer
    ) -> tuple[int | None, bool, str | None]:
        """Return which car is meant, whether it is one that is named, and what is named but not on the lot.

        Where several would do it is the one under discussion, or else the one that the buyer hopes to hear of.
        """
        if brands and types:
            car = self._named.get((brands[0], types[0]))
            found = [] if car is None else [car]
        else:
            found = [index for name, index in self._named.items() if name[0] in brands or name[1] in types]
        if not found:
            return None, False, _something_named(brands, types, article=False)
        if self._car in found:
            return self._car, True, None
        return (buyer.match if buyer.match in found else found[0]), True, None

    def _offered(self, reading: Reading, car: int | None, buyer: Buyer) -> tuple[float | None, float | None, bool]:
        """Return the price that is asked, a list price that is wrongly named, and whether the sums are unclear."""
        price, discount = reading.price, reading.discount
        if discount is None or reading.unclear:
            return price, None, reading.unclear
        if car is None:
            return price or 0.0, None, False
        list_price = float(self._lot[car].list_price)
        asked = buyer.asked.get(car)
        bases = [list_price] if asked is None else [asked, list_price]
        if reading.base is not None:
            if not any(abs(reading.base - base) <= 0.01 * base for base in bases):
                return None, reading.base, False
            bases = [reading.base]
        off = [base * (1 - discount / 100) if reading.is_percent else base - discount for base in bases]
        if price is None or any(abs(price - base) <= 0.01 * base for base in bases):
            return float(round(off[0])), None, False
        return price, None, all(abs(price - result) > 0.02 * base for result, base in zip(off, bases, strict=True))

    # What the buyer's acts sound like.

    def _spoken(self, acts: Sequence[Act]) -> str:
        sentences = [self._sentence(act) for act in acts]
        if self._phrases.flavours and self._buyer is not None and self._buyer.decision is None:
            form = self._chance()
            if form < FLAVOUR_SHARE:
                flavour = self._one_of(self._phrases.flavours)
                sentences.insert(0 if form < FLAVOUR_SHARE / 2 else len(sentences), flavour)
        return " ".join(sentences)

    def _sentence(self, act: Act) -> str:
        ways = self._phrases.ways[act.name]
        template = ways[int(self._chance() * len(ways))] if len(ways) > 1 else ways[0]
        if "{" not in template:
            return template
        words = {"other": act.other}
        if act.car is not None:
            car = self._lot[act.car]
            words |= {"car": car_with_article(car.brand, car.type), "name": car_name(car.brand, car.type)}
        if act.price is not None:
            words["price"] = dollars(act.price)
        if act.first is not None:
            words["first"] = dollars(act.first)
        if act.features:
            named = listed(act.features, articles=True)
            words |= {"features": named, "feature": named, "bare": listed(act.features, articles=False)}
        said = template.format_map(words)
        return said[0].upper() + said[1:]

    # The game plays itself.

    def _notes_now(self) -> Notes:
        """Return what a seller can know from what was said, brought up to date."""
        if self._notes is None:
            lot = self._lot
            self._notes = Notes(
                [car.list_price for car in lot],
                [car.cost for car in lot],
                [car.features for car in lot],
                self._size.price_step,
            )
        for said, acts in self._heard[self._notes.turn :]:
            _note(self._notes, said, acts)
        return self._notes

    def behaviour(self) -> str:
        """One of many sellers: a style (gives discounts, talks about features, is concise, is pushy) and habits
        (first price, steps down, lowest price, readiness to take an offer), drawn at the first word of a game,
        whatever the buyer's kind is. `Size.flexibility` is set so that half of the games end in a sale."""
        if self._seller is None:
            chance = self.behaviour_random.random
            style = STYLES[int(chance() * len(STYLES))]
            self._seller = Seller(style, chance, self._size.flexibility)
        return self._worded(self._seller.move(self._notes_now()), self.behaviour_random.random)

    def expert(self) -> str:
        """The best seller we have: it asks what the buyer wants, hears of which kind it is, and treats it so.

        It knows what has been said aloud, not the buyer's state: steps the price down for one who loves
        discounts, describes wanted features while it asks for one who cares about them, hurries for one in a
        hurry; its prices follow the buyer's offers.
        """
        return self._worded(best_move(self._notes_now(), self._size.plans), None)

    def _worded(self, move: Move, chance: Callable[[], float] | None) -> str:
        ways = _templates("car_dealer_sellers.txt", self._register)[move.name]
        template = ways[int(chance() * len(ways))] if chance else ways[0]
        words: dict[str, Any] = {"percent": move.percent}
        if move.car is not None:
            car = self._lot[move.car]
            words["name"] = car_name(car.brand, car.type)
            if move.price is not None:
                words["price"] = dollars(move.price)
                words["amount"] = dollars((self._notes_now().asked or car.list_price) - move.price)
        if move.features:
            words["features"] = listed(move.features, articles=True)
        return template.format_map(words)

    def prompt(self) -> str:
        facts = {"turns": self._size.max_turns, "reward": REWARD_WORDS[self._reward]}
        return filled("lmgym.envs", "data/prompts/car_dealer.txt", **facts)

    def fidelity(self) -> dict[str, float]:
        """Return how much of the file of held-out utterances is read right: shares of all of them. Empty where a
        language model is the buyer."""
        return {} if self._oracle is not None else fidelity("car_dealer_heldout.txt")

    def render(self) -> str | None:
        """Return the conversation so far, the seller's lines after `>`."""
        if self.render_mode is None:
            return None
        said = [f"> {ascii(line)[1:-1]}" if index % 2 == 0 else line for index, line in enumerate(self._lines)]
        return "\n".join([self._first, *said])


@dataclass
class _Chat:
    """A conversation with a language model: what was said and which prices may be agreed to."""

    other: OtherSide
    system: str

    def __post_init__(self) -> None:
        self.offers: set[float] = set()
        self.own_prices: set[float] = set()
        self._said: list[tuple[str, str]] = []

    def ask(self, action: str, *, is_last: bool) -> Verdict:
        """Return the model's reply to an utterance. Raises OracleError where there is none."""
        seller = tamed(action)
        system = f"{self.system} {LAST_WORD}" if is_last else self.system
        found = verdict(self.other.reply(system, self._said, seller, max_tokens=96))
        self._said.append((seller, found.text))
        price = read(found.text).price
        self.own_prices = set() if price is None else {price}
        return found

    def judged(
        self, decision: str | None, price: float | None, bounds: tuple[float, float]
    ) -> tuple[str | None, str | None]:
        """Return the decision that counts, and why an acceptance does not."""
        if decision != "accept" or price is None:
            return decision, None
        if price not in self.offers:
            return None, "accepted a price that was not offered"
        if not bounds[0] <= price <= bounds[1]:
            return None, "accepted a price below cost or above the budget"
        return decision, None


def _impossible(said: Said, lot: Sequence[Car]) -> str | None:
    """Return what is wrong with an offer that no buyer may take."""
    if said.unclear or said.wrong_base is not None:
        return "no one price"
    if said.price is None:
        return None
    if said.car is None:
        return "a price without a car"
    if not 0 < said.price <= MAX_LIST_FACTOR * lot[said.car].list_price:
        return "an impossible price"
    return "a price below cost" if said.price < lot[said.car].cost else None


def _acts_heard(text: str, match: int, profile: Profile | None, lot: Sequence[Car]) -> list[Act]:
    """Return what a scripted seller makes of a model's free text: the car, the features and the price it names."""
    reading, car = read(text), lot[match]
    acts = []
    if profile and car.brand in reading.brands and car.type in reading.types:
        acts.append(Act("wish", car=match))
    named = reading.has + reading.about
    if named:
        acts.append(Act("wish_features", features=named))
    if reading.price is not None and car.cost <= reading.price:
        acts.append(Act("counter", price=reading.price))
    return acts


def _fixed_fields(buyer: Any, size: Size) -> dict[str, Any]:
    """Return the fields of the profile that the reset option `buyer` fixes. Raises UsageError for unknown ones."""
    if isinstance(buyer, str):
        buyer = {"kind": buyer}
    if not isinstance(buyer, Mapping):
        raise UsageError(f"the reset option 'buyer' is a kind of buyer or a mapping of fields, not {buyer!r}")
    valid: dict[str, Sequence[Any]] = {
        "kind": tuple(KINDS),
        "personality": size.personalities,
        "brand": size.brands,
        "type": size.types,
        "features": size.features,
        "budget": (),
    }
    fixed: dict[str, Any] = {}
    for name, value in buyer.items():
        if name not in valid:
            raise unknown("field of a buyer", name, valid)
        if name == "budget":
            fixed[name] = _budget(value)
        elif name == "features":
            fixed[name] = _wanted(value, size.features)
        elif value not in valid[name]:
            raise unknown(f"{name} of a buyer", value, valid[name])
        else:
            fixed[name] = value
    return fixed


def _budget(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 5_000 <= value <= 1_000_000:
        raise UsageError(f"the budget of a buyer is a whole number of dollars from 5,000 to 1,000,000, not {value!r}")
    return value


def _wanted(value: Any, features: Sequence[str]) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else []
    if not names:
        raise UsageError(f"the features of a buyer are a list of one or more names, not {value!r}")
    for name in names:
        if name not in features:
            raise unknown("feature of a buyer", name, features)
    return tuple(name for name in features if name in names)


def _note(notes: Notes, said: Said, acts: Sequence[Act]) -> None:
    """Write down what an exchange has made known to the seller."""
    notes.turn += 1
    if said.car is not None:
        notes.described += [name for name in said.has if name not in notes.described]
    for act in acts:
        if act.name.startswith(("hint_", "interest_")):
            notes.kind = act.name.rpartition("_")[2]
        if act.name in ("wish", "mismatch", "right_car") or act.name.startswith("interest_"):
            notes.match = act.car
        if act.name in ("wish_features", "yes", "feature_good"):
            notes.wanted += [name for name in act.features if name not in notes.wanted]
        if act.name == "feature_good":
            notes.praised += act.features
        if act.name == "feature_more":
            notes.described = [name for name in notes.described if name in notes.praised]
        if act.name == "last_chance":
            notes.is_warned = True
    answers = {act.name: act for act in acts}
    if notes.match is not None and notes.belief.high == 0.0:
        notes.belief = Belief(float(notes.costs[notes.match]), float(notes.list_prices[notes.match]))
    came_down = (notes.asked or 0.0) - (said.price or 0.0)
    _believe(notes, answers, came_down)
    if said.price and said.car == notes.match and said.car is not None and not answers.keys() & REFUSED_OUTRIGHT:
        notes.asked = said.price
        notes.num_asked += 1


def _believe(notes: Notes, answers: Mapping[str, Act], came_down: float) -> None:
    """Work out what the answers say about the buyer's limit."""
    belief = notes.belief
    if "cut_discount" in answers and notes.num_asked <= 4:
        belief.scale(1.04)
    if notes.kind == "features" and "feature_good" in answers:
        belief.scale(1 + 0.25 * len(answers["feature_good"].features) / max(1, len(notes.wanted)))
    if notes.kind == "impatient" and notes.turn > 2:
        belief.scale(0.97)
    for name in ("too_much", "too_far", "repeated"):
        price = answers[name].price if name in answers else None
        if price is not None:
            belief.refused(price, far=name == "too_far")
    offer = answers.get("counter") or answers.get("counter_same")
    if offer is not None and offer.price is not None and notes.match is not None:
        if offer.price != notes.counter:
            belief.offered(offer.price, notes.counter, notes.price_step, notes.costs[notes.match], came_down)
        notes.counter = offer.price


REFUSED_OUTRIGHT = {"raised", "impossible", "below_cost", "unclear", "which_car"}


def dollars(amount: float) -> str:
    """Return an amount as it is written.

    >>> dollars(32500.0), dollars(99.5), dollars(-3.0)
    ('$32,500', '$99.50', '-$3')
    """
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    return f"{sign}${size:,.0f}" if size == int(size) else f"{sign}${size:,.2f}"


def _car_line(car: Car) -> str:
    name = car_name(car.brand, car.type)
    return f"{name}: list {dollars(car.list_price)}, cost {dollars(car.cost)}; {', '.join(car.features)}"


def _something_named(brands: Sequence[str], types: Sequence[str], *, article: bool = True) -> str:
    """Return the name of a car, a brand or a type."""
    if brands and types:
        name = car_name(brands[0], types[0])
    elif brands:
        name = brands[0]
    else:
        name = f"{types[0]} car" if types[0] in ("luxury", "electric") else types[0]
    if not article:
        return name
    return f"{'an' if name[0] in 'AEIO' or name.startswith(('SUV', 'electric')) else 'a'} {name}"


@dataclass(frozen=True)
class Phrases:
    """How a buyer of one personality speaks: the ways to say each act, and what it adds now and then."""

    ways: Mapping[str, tuple[str, ...]]
    flavours: tuple[str, ...]


@cache
def _phrases(personality: str) -> Phrases:
    manner = PERSONALITIES.get(personality, MINI_MANNER)
    ways = _templates("car_dealer_phrases.txt", f" {manner.register}")
    return Phrases(ways, ways.get(f"flavour {personality}", ()))


@cache
def _templates(file: str, register: str) -> Mapping[str, tuple[str, ...]]:
    """Return act -> ways to say it in a register (` harsh`), the plain ways where there are none."""
    sections: dict[str, list[str]] = {}
    for line in _lines(file):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.append(line)
    return {head: tuple(sections.get(f"{head}{register}", ways)) for head, ways in sections.items()}


def _lines(file: str) -> list[str]:
    return (resources.files("lmgym.envs") / "data" / file).read_text(encoding="utf-8").splitlines()


@cache
def fidelity(file: str) -> dict[str, float]:
    """Return the shares of the utterances of a file that are read right, by what is read of them."""
    right = {"prices": 0, "discounts": 0, "cars": 0, "features": 0, "questions": 0, "all": 0}
    fields_of = {
        "prices": ("price",),
        "discounts": ("discount",),
        "cars": ("brand", "type"),
        "features": ("has", "lacks", "about"),
        "questions": ("ask",),
        "all": ("price", "discount", "brand", "type", "has", "lacks", "about", "ask"),
    }
    examples = list(expected_readings(_lines(file)))
    for utterance, wanted in examples:
        found = facts(read(utterance))
        for name, keys in fields_of.items():
            right[name] += all(_as_said(found[key]) == _as_said(wanted[key]) for key in keys)
    shares = {f"{name} read right": count / len(examples) for name, count in right.items()}
    return {"held-out utterances": len(examples), **shares}


def _as_said(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _examples(size: str) -> tuple[str, ...]:
    """Return utterances of all sorts, for players that know nothing of the game."""
    chosen = SIZES[size]
    names = [car_name(brand, kind) for brand in chosen.brands for kind in chosen.types]
    if size == "mini":
        named = names[:1] + names[-1:]
        return (
            *("What are you looking for?", "Deal.", "Do we have a deal?", "Hello."),
            *(f"The {name} is {dollars(1000 * price)}." for name in named for price in range(16, 46, 4)),
            *(f"The {name} has {listed([what], articles=True)}." for name in named for what in chosen.features),
        )
    return (
        *("Hello, how can I help you?", "What is your budget?", "Deal.", "Do we have a deal?", "10% off.", "Goodbye."),
        *(
            "I'll knock off $500.",
            "What features do you need?",
            "It has a sunroof and heated seats.",
            "$30,000",
            "32.5k",
        ),
        *(f"I can offer you the {name} for {dollars(1000 * (9 + 7 * i % 80))}." for i, name in enumerate(names)),
        *(f"The {name} comes with {chosen.features[i % 8]}." for i, name in enumerate(names)),
    )


CHARSET = string.ascii_letters + string.digits + string.punctuation + " \n"


def _reference(data: float, best: float, success: float, turns: float) -> Reference:
    return Reference(
        min=Score(0.0, "no sale"),
        data=Score(data, "100,000 games of behaviour(), series 0"),
        best=Score(best, "20,000 games of expert(), series 0 (standard error below 0.5 %)"),
        data_success=success,
        data_turns=turns,
    )


REFERENCES = {
    ("full", "revenue"): _reference(22.18, 46.12, 0.538, 6.30),
    ("full", "ratio"): _reference(0.436, 0.902, 0.538, 6.30),
    ("mini", "revenue"): _reference(13.40, 27.73, 0.534, 6.11),
    ("mini", "ratio"): _reference(0.435, 0.901, 0.534, 6.11),
}
