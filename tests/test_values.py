"""Values of tokens: targets against slow loops, losses against hand numbers, tables against exact solutions."""

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from lmgym.agents import load_agent
from lmgym.algorithms import ilql, mc_returns
from lmgym.critic import TRUNKS, Critic, CriticConfig, CriticShape, Head
from lmgym.episode import Episode, Turn
from lmgym.evaluate import collect
from lmgym.losses import ends_turn, expectile, next_values
from lmgym.policy import Policy
from lmgym.targets import DiscountConfig, add_scaled_returns, chains, discounts, returns_to_go
from lmgym.tokens import Codec, TokenBatch, TokenDataset, View
from lmgym.vocabulary import build_tokenizer
from tests.games import ECHO

LETTERS = "abcdefgh"


@pytest.fixture
def letters() -> Codec:
    """One token a character."""
    return Codec(build_tokenizer("char", [LETTERS + "\n"]))


def episode(pieces: Sequence[tuple[str, str, float]], *, terminated: bool = True, last: str = "") -> Episode:
    """An episode of (observation, action, reward) and the observation after the last action."""
    turns: list[Turn] = []
    for seen, said, reward in pieces:
        turns += [Turn(seen, by_agent=False), Turn(said, by_agent=True, reward=reward)]
    turns.append(Turn(last, by_agent=False))
    return Episode(tuple(turns), terminated=terminated, truncated=not terminated, env_id="x", seed=0, agent="a")


def random_episodes(count: int, seed: int = 0) -> list[Episode]:
    generator = np.random.default_rng(seed)

    def word(low: int) -> str:
        return "".join(LETTERS[i] for i in generator.integers(len(LETTERS), size=generator.integers(low, 4)))

    return [
        episode(
            [(word(1), word(0), float(generator.normal())) for _ in range(generator.integers(1, 9))],
            terminated=bool(generator.integers(2)),
            last=word(1),
        )
        for _ in range(count)
    ]


def slow_returns(games: Sequence[Episode], codec: Codec, config: DiscountConfig) -> list[float]:
    """The definition, token by token: every action token, in order."""
    found = []
    for game in games:
        lengths = [len(codec.encode(turn.text)) for turn in game.actions]
        tokens = [(turn, place) for turn, length in enumerate(lengths) for place in range(length)]
        for here, (turn, _) in enumerate(tokens):
            total = 0.0
            for later in range(turn, len(lengths)):
                end = sum(lengths[: later + 1]) - 1
                steps = end - here if config.discount_per == "token" else later - turn
                total += config.discount**steps * game.actions[later].reward
            found.append(total)
    return found


@pytest.mark.parametrize("per", ["token", "turn"])
@pytest.mark.parametrize("view", [View(None, 1000, 10), View(1, 1000, 10), View(3, 1000, 10), View(None, 24, 10)])
def test_returns_to_go_do_not_depend_on_how_a_chain_is_cut(letters: Codec, per: str, view: View) -> None:
    games, config = random_episodes(20), DiscountConfig(0.9, per)
    data = TokenDataset(games, letters, view)
    scale, values = add_scaled_returns(data, config, 2.0)
    assert scale == 2.0
    assert values == pytest.approx(2.0 * np.array(slow_returns(games, letters, config)), abs=1e-5)
    batch = data.batch(np.arange(len(data)))
    assert batch.at_actions(batch.columns["returns"]).numpy() == pytest.approx(values, abs=1e-5)
    assert not batch.columns["returns"][~batch.action_mask].any()


def test_returns_are_scaled_to_vary_by_one(letters: Codec) -> None:
    data = TokenDataset(random_episodes(50), letters, View(None, 1000, 10))
    scale, values = add_scaled_returns(data, DiscountConfig())
    assert values.std() == pytest.approx(1.0)
    assert scale > 0
    flat = TokenDataset([episode([("a", "b", 0.0)])], letters, View(None, 1000, 10))
    assert add_scaled_returns(flat, DiscountConfig())[0] == 1.0


def test_long_chains_do_not_underflow() -> None:
    count = 100_000
    rewards = np.ones(count)
    ends = np.zeros(count, dtype=bool)
    ends[-1] = True
    values = returns_to_go(rewards, np.full(count, 0.5), ends)
    assert values[0] == pytest.approx(2.0)
    assert np.isfinite(values).all()


class Memoryless(torch.nn.Module):
    """A trunk whose state is the embedding of the last token alone, so that windows change no value."""

    def __init__(self, size: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(size, width)

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


class FakeLM(torch.nn.Module):
    """As much of a causal LM as a critic needs."""

    def __init__(self, trunk: torch.nn.Module, size: int, width: int) -> None:
        super().__init__()
        self.base_model = trunk
        self.output = torch.nn.Linear(width, size, bias=False)

    def get_output_embeddings(self) -> torch.nn.Linear:
        return self.output


def policy_of(trunk: torch.nn.Module, size: int, width: int) -> Any:
    policy = torch.nn.Module()
    policy.lm = FakeLM(trunk, size, width)
    policy.logits = policy.lm.output.forward
    return policy


def slow_next_values(games: Sequence[Episode], codec: Codec, value: Callable[[int], float]) -> list[float]:
    """V of the last token before the next action token; after the last action, of the last token of the game."""
    found = []
    for game in games:
        ids: list[int] = []
        mine: list[bool] = []
        turns = game.turns[:-1] if game.terminated else game.turns
        for turn in turns:
            piece = codec.encode(turn.text)
            ids += piece
            mine += [turn.by_agent] * len(piece)
        places = [place for place, written in enumerate(mine) if written]
        following = [*(place - 1 for place in places[1:]), len(ids) - 1]
        found += [value(ids[place]) for place in following]
    return found


@pytest.mark.parametrize("view", [View(None, 1000, 10), View(1, 1000, 10), View(3, 1000, 10), View(None, 24, 10)])
def test_the_state_after_a_token_is_the_same_however_a_chain_is_cut(letters: Codec, view: View) -> None:
    """Pointers cross from one row to the row that continues it, after a cut-off game its last observation counts."""
    torch.manual_seed(0)
    games = random_episodes(20, seed=1)
    size = len(letters.tokenizer)
    critic = Critic(FakeLM(Memoryless(size), size, 8), CriticShape("own", num_q=2, has_v=True))
    assert critic.v is not None
    torch.nn.init.normal_(critic.v.outer.weight)
    networks = ilql.Networks(policy_of(Memoryless(size), size, 8), critic)
    data = TokenDataset(games, letters, view)
    outputs = networks(data.batch(np.arange(len(data))))
    table = critic.value(critic.trunk_beside(None)(torch.arange(size)).last_hidden_state).tolist()
    assert outputs.next_v.tolist() == pytest.approx(slow_next_values(games, letters, table.__getitem__), abs=1e-5)


def test_parts_of_a_batch_keep_the_states_after_their_rows(letters: Codec) -> None:
    data = TokenDataset(random_episodes(5), letters, View(1, 1000, 10))
    batch = data.batch(np.arange(len(data)))
    assert (batch.next_lengths > 0).any()
    part = batch.part(slice(2, 4))
    assert torch.equal(part.next_ids, batch.next_ids[2:4])
    assert torch.equal(part.next_lengths, batch.next_lengths[2:4])
    for row in range(len(data)):
        length = int(batch.next_lengths[row])
        assert length == 0 or batch.next_ids[row, :length].tolist() == batch.ids[row + 1, :length].tolist()


def test_an_expectile_by_hand() -> None:
    errors = torch.tensor([2.0, -2.0, 0.0])
    assert expectile(errors, 0.9).tolist() == pytest.approx([0.5 * 0.9 * 4, 0.5 * 0.1 * 4, 0.0])
    assert expectile(errors, 0.5).tolist() == pytest.approx([1.0, 1.0, 0.0])


def two_turns(letters: Codec, view: View | None = None) -> TokenBatch:
    """One game of two turns, the first action of two letters, the second of none; rewards -1 and 3; terminated."""
    data = TokenDataset(
        [episode([("a", "bc", -1.0), ("d", "", 3.0)])], letters, View(None, 100, 10) if view is None else view
    )
    add_scaled_returns(data, DiscountConfig(0.5, "turn"), 1.0)
    return data.batch(np.arange(len(data)))


def test_turns_end_at_their_last_token(letters: Codec) -> None:
    batch = two_turns(letters)
    assert ends_turn(batch).tolist() == [False, False, True, True]
    found = chains(TokenDataset([episode([("a", "bc", -1.0), ("d", "", 3.0)])] * 2, letters, View(1, 100, 10)))
    assert found.ends_turn.tolist() == [False, False, True, True] * 2
    assert found.ends_chain.tolist() == [False, False, False, True] * 2
    assert discounts(found.ends_turn[:4], DiscountConfig(0.5, "turn")).tolist() == [1.0, 1.0, 0.5, 0.5]
    assert discounts(found.ends_turn[:4], DiscountConfig(0.5, "token")).tolist() == [0.5] * 4


def test_next_values_by_hand(letters: Codec) -> None:
    values, tails = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([9.0])
    assert next_values(two_turns(letters), values, tails).tolist() == [2.0, 3.0, 4.0, 9.0]
    rows = two_turns(letters, View(1, 100, 10))
    assert next_values(rows, values, torch.tensor([4.5, 9.0])).tolist() == [2.0, 3.0, 4.5, 9.0]


def test_monte_carlo_loss_by_hand(letters: Codec) -> None:
    """G = -1 + 0.5 * 3 for the three tokens of the first action and 3 for the one of the second."""
    batch = two_turns(letters)
    q = torch.tensor([0.0, 1.0, 0.5, 2.0])
    outputs = mc_returns.Outputs(q, torch.tensor(8.0), None)
    value, metrics = mc_returns.loss(batch, outputs, mc_returns.Config(cql_weight=0.25))
    squares = (0.0 - 0.5) ** 2 + (1.0 - 0.5) ** 2 + (0.5 - 0.5) ** 2 + (2.0 - 3.0) ** 2
    assert metrics["q_loss"].item() == pytest.approx(0.5 * squares / 4)
    assert metrics["cql_loss"].item() == pytest.approx(2.0)
    assert value.item() == pytest.approx(0.5 * squares / 4 + 0.25 * 2.0)


def test_implicit_q_learning_loss_by_hand(letters: Codec) -> None:
    batch = two_turns(letters)
    outputs = ilql.Outputs(
        q=torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]),
        v=torch.tensor([0.0, 0.0, 1.0, 1.0]),
        next_v=torch.tensor([2.0, 4.0, 6.0, 99.0]),
        slow_q=torch.tensor([1.0, -1.0, 1.0, 3.0]),
        q_cross_entropy=torch.tensor(8.0),
        logits=None,
    )
    config = ilql.Config(tau=0.75, cql_weight=0.5, clamp=True, discount=DiscountConfig(0.5, "turn"))
    value, metrics = ilql.loss(batch, outputs, config, scale=2.0, bounds=(-10.0, 5.0))
    # Scaled rewards 0, 0, -2, 6; factors 1, 1, .5, .5; the last token ends the task; 6 is above the bound of 5.
    targets = [2.0, 4.0, -2.0 + 0.5 * 6.0, 5.0]
    q_loss = sum(0.5 * (q - target) ** 2 for q in (0.0, 1.0) for target in targets) / 4
    v_loss = 0.5 * (0.75 * 1.0 + 0.25 * 1.0 + 0.0 + 0.75 * 4.0) / 4
    assert metrics["q_loss"].item() == pytest.approx(q_loss)
    assert metrics["v_loss"].item() == pytest.approx(v_loss)
    assert value.item() == pytest.approx(q_loss + v_loss + 0.5 * 2.0)


def test_a_game_that_was_cut_off_goes_on_in_the_bootstrap(letters: Codec) -> None:
    outputs = ilql.Outputs(
        q=torch.zeros(2, 2),
        v=torch.zeros(2),
        next_v=torch.tensor([0.0, 4.0]),
        slow_q=torch.zeros(2),
        q_cross_entropy=torch.tensor(0.0),
        logits=None,
    )
    config = ilql.Config(cql_weight=0.0, clamp=False, discount=DiscountConfig(0.5, "turn"))
    expected = {True: 0.5 * 2 * 1.0**2 / 2, False: 0.5 * 2 * (1.0 + 0.5 * 4.0) ** 2 / 2}
    for terminated, q_loss in expected.items():
        data = TokenDataset([episode([("a", "b", 1.0)], terminated=terminated, last="c")], letters, View(None, 100, 10))
        _, metrics = ilql.loss(data.batch([0]), outputs, config, scale=1.0, bounds=(0.0, 0.0))
        assert metrics["q_loss"].item() == pytest.approx(q_loss)


@pytest.mark.parametrize("method", ["mc_returns", "ilql"])
def test_tokens_of_the_environment_have_no_gradient(letters: Codec, method: str) -> None:
    """Only states before action tokens are moved: the others are context."""

    class Leaf(torch.nn.Module):
        """Its states are a parameter for each place."""

        def __init__(self) -> None:
            super().__init__()
            self.places = torch.nn.Parameter(torch.randn(40, 50, 8))

        def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
            return SimpleNamespace(last_hidden_state=self.places[: input_ids.shape[0], : input_ids.shape[1]])

    torch.manual_seed(0)
    size = len(letters.tokenizer)
    data = TokenDataset(random_episodes(10), letters, View(3, 1000, 10))
    add_scaled_returns(data, DiscountConfig())
    batch = data.batch(np.arange(len(data)))
    critic = Critic(FakeLM(Leaf(), size, 8), CriticShape("own", num_q=2 if method == "ilql" else 1, has_v=True))
    for head in (*critic.q, critic.v):
        assert isinstance(head, Head)
        torch.nn.init.normal_(head.outer.weight)
    policy = policy_of(Leaf(), size, 8)
    if method == "ilql":
        networks: torch.nn.Module = ilql.Networks(policy, critic)
        loss: Any = partial(ilql.loss, config=ilql.Config(), scale=1.0, bounds=(-1.0, 1.0))
    else:
        networks, loss = mc_returns.Networks(policy, critic), partial(mc_returns.loss, config=mc_returns.Config())
    loss(batch, networks(batch))[0].backward()
    assert isinstance(critic.trunk, Leaf)
    gradient = critic.trunk.places.grad
    assert gradient is not None
    before = torch.zeros(batch.ids.shape, dtype=torch.bool)
    before[:, :-1] = batch.action_mask[:, 1:]
    moved = gradient[: len(batch.ids), : batch.ids.shape[1]].abs().sum(dim=-1) > 0
    assert torch.equal(moved, before)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("method", ["mc_returns", "ilql"])
def test_reading_equal_rows_once_changes_nothing_that_is_learned(
    method: str, trunk: str, tiny_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, metrics and gradients are those of a reading of every row, of which it takes several times as many."""
    policy = tiny_policy(ECHO)
    episodes = list(collect(load_agent("behaviour", ECHO), ECHO, episodes=20))
    data = TokenDataset(episodes, policy.codec, View(1, 1000, 10))
    scale, returns = add_scaled_returns(data, DiscountConfig())
    batch = data.batch(np.arange(len(data)))
    assert (batch.next_lengths > 0).any()
    critic = Critic.seeded(
        policy.lm, CriticShape(trunk, num_q=1 if method == "mc_returns" else 2, has_v=True), returns, 0
    )
    for head in (*critic.q, critic.v):
        assert isinstance(head, Head)
        torch.nn.init.normal_(head.outer.weight)
    if method == "ilql":
        networks: torch.nn.Module = ilql.Networks(policy, critic)
        bounds = (float(returns.min()), float(returns.max()))
        loss: Any = partial(ilql.loss, config=ilql.Config(), scale=scale, bounds=bounds)
    else:
        networks, loss = mc_returns.Networks(policy, critic), partial(mc_returns.loss, config=mc_returns.Config())
    num_read: list[int] = []
    for module in (policy.lm.base_model, critic.trunk):
        if module is not None:
            module.register_forward_pre_hook(
                lambda _, __, given: num_read.append(len(given["input_ids"])), with_kwargs=True
            )

    def learned() -> tuple[dict[str, torch.Tensor], int]:
        networks.zero_grad()
        num_read.clear()
        value, metrics = loss(batch, networks(batch))
        value.backward()
        gradients = {name: p.grad.clone() for name, p in networks.named_parameters() if p.grad is not None}
        return {**gradients, **{name: metric.detach() for name, metric in metrics.items()}}, sum(num_read)

    once, few = learned()
    for place in ("critic", "tokens"):
        monkeypatch.setattr(f"lmgym.{place}.distinct_rows", lambda rows: (torch.arange(len(rows)),) * 2)
    each, many = learned()
    assert few < many / 3
    assert once.keys() == each.keys()
    for name, value in each.items():
        torch.testing.assert_close(once[name], value, rtol=1e-3, atol=1e-5)


def test_values_regress_before_they_bootstrap(letters: Codec) -> None:
    """Until then nothing is read for bootstrapping, and the returns of the data are the targets of both."""
    size = len(letters.tokenizer)
    policy = policy_of(Memoryless(size), size, 8)
    networks = ilql.Networks(policy, Critic(policy.lm, CriticShape("own", num_q=2, has_v=True)), regression_steps=2)
    batch = two_turns(letters)
    config = ilql.Config(cql_weight=0.0)
    for _ in range(2):
        outputs = networks(batch)
        assert outputs.next_v is None
        assert outputs.slow_q is None
        _, metrics = ilql.loss(batch, outputs, config, scale=1.0, bounds=(-10.0, 5.0))
        # All values are 0, the returns are .5, .5, .5 and 3.
        assert metrics["q_loss"].item() == pytest.approx((3 * 0.5**2 + 3.0**2) / 4)
        assert metrics["v_loss"].item() == pytest.approx(0.25 * (3 * 0.5**2 + 3.0**2) / 4)
        networks.follow(0.5)
    outputs = networks(batch)
    assert outputs.next_v is not None
    assert outputs.slow_q is not None


def test_the_slow_networks_go_a_share_of_the_way(letters: Codec) -> None:
    size = len(letters.tokenizer)
    policy = policy_of(Memoryless(size), size, 8)
    networks = ilql.Networks(policy, Critic(policy.lm, CriticShape("shared", num_q=2, has_v=True)))
    pairs = [(networks.slow_critic, networks.critic), (networks.slow_lm, policy.lm)]
    expected = []
    for slow, trained in pairs:
        assert slow is not None
        for follower, leader in zip(slow.parameters(), trained.parameters(), strict=True):
            torch.nn.init.normal_(leader)
            expected.append(0.75 * follower + 0.25 * leader)
    networks.follow(0.25)
    moved = [follower for slow, _ in pairs if slow is not None for follower in slow.parameters()]
    for follower, value in zip(moved, expected, strict=True):
        torch.testing.assert_close(follower, value)


def test_heads_at_chosen_outputs_equal_whole_heads() -> None:
    torch.manual_seed(0)
    head, hidden, chosen = Head(8, 30, 0.5), torch.randn(20, 8), torch.randint(30, (20,))
    assert head(hidden).unique().tolist() == [0.5]
    torch.nn.init.normal_(head.outer.weight)
    torch.testing.assert_close(head.at(hidden, chosen), head(hidden).gather(1, chosen[:, None])[:, 0])


def test_values_among_all_in_chunks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, chosen = Head(8, 30), torch.randint(30, (20,))
    torch.nn.init.normal_(head.outer.weight)
    found = {}
    for entries in (30 * 100, 30 * 3):
        monkeypatch.setattr("lmgym.critic.CHUNK_ENTRIES", entries)
        hidden = torch.randn(20, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        head.zero_grad()
        values, losses = head.among_all(hidden, chosen)
        (values.square().sum() + losses.sum()).backward()
        assert hidden.grad is not None
        assert head.outer.weight.grad is not None
        found[entries] = (values.detach(), losses.detach(), hidden.grad, head.outer.weight.grad.clone())
    torch.testing.assert_close(*found.values())
    torch.testing.assert_close(values, head.at(hidden, chosen))
    torch.testing.assert_close(losses, -head(hidden).log_softmax(dim=-1)[torch.arange(20), chosen])


class Prefixes(torch.nn.Module):
    """A trunk that knows each prefix by its number: whatever is learned on it is a table."""

    def __init__(self, data: TokenDataset, width: int) -> None:
        super().__init__()
        batch = data.batch(np.arange(len(data)))
        prefixes = {tuple(row[: place + 1]) for row in batch.ids.tolist() for place in range(len(row))}
        self.numbers = {prefix: number for number, prefix in enumerate(sorted(prefixes))}
        assert len(self.numbers) <= width
        self.width = width

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        numbers = [[self.numbers[tuple(row[: t + 1])] for t in range(len(row))] for row in input_ids.tolist()]
        return SimpleNamespace(last_hidden_state=functional.one_hot(torch.tensor(numbers), self.width).float())


CORRIDOR = 4


def corridor_games(count: int) -> list[Episode]:
    """Walks in a corridor of cells 0 to 3 (letters a to d), right (r is `b`) with probability 0.5, else left (`a`),
    -1 a step and 0 for the step out of the right end. Starts are spread over the cells."""
    generator = np.random.default_rng(0)
    games = []
    for index in range(count):
        cell, pieces = index % CORRIDOR, []
        for _ in range(12):
            right = bool(generator.random() < 0.5)
            out = right and cell == CORRIDOR - 1
            pieces.append((LETTERS[cell], "b" if right else "a", 0.0 if out else -1.0))
            if out:
                break
            cell = cell + 1 if right else max(0, cell - 1)
        games.append(episode(pieces, terminated=out, last=LETTERS[cell]))
    return games


def corridor_values(games: Sequence[Episode], discount: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact values of the cells by dynamic programming: of the data's own frequencies, and of the best moves."""
    counts = np.zeros((CORRIDOR, 2))
    for game in games:
        for seen, said in zip(game.observations, game.actions, strict=False):
            counts[LETTERS.index(seen.text), "ab".index(said.text)] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    behaviour, best = np.zeros(CORRIDOR), np.zeros(CORRIDOR)
    for _ in range(2000):

        def q(values: np.ndarray) -> np.ndarray:
            left = [-1 + discount * values[max(0, cell - 1)] for cell in range(CORRIDOR)]
            right = [0.0 if cell == CORRIDOR - 1 else -1 + discount * values[cell + 1] for cell in range(CORRIDOR)]
            return np.array([left, right]).T

        behaviour = (shares * q(behaviour)).sum(axis=1)
        best = q(best).max(axis=1)
    return behaviour, best


def table(policy: Any, shape: CriticShape) -> Critic:
    """A critic whose heads are tables over the states of its trunk."""
    critic = Critic(policy.lm, shape, usual=-3.0)
    for head in (*critic.q, critic.v):
        if head is not None:
            head.inner = torch.nn.Identity()
            head.outer.bias.requires_grad_(False)
    return critic


def learned_table(data: TokenDataset, networks: Any, loss: Any, steps: int, rate: float) -> None:
    batch = data.batch(np.arange(len(data)))
    optimizer = torch.optim.Adam([p for p in networks.parameters() if p.requires_grad], lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss(batch, networks(batch))[0].backward()
        optimizer.step()
        if isinstance(networks, ilql.Networks):
            networks.follow(0.5)


def cell_values(letters: Codec, trunk: Prefixes, critic: Critic) -> np.ndarray:
    states = [torch.tensor([letters.encode(LETTERS[cell])]) for cell in range(CORRIDOR)]
    return np.array([critic.value(trunk(state).last_hidden_state[0, -1]).item() for state in states])


@pytest.mark.parametrize(("tau", "best"), [(0.5, False), (0.98, True)])
def test_implicit_q_learning_finds_the_exact_values(letters: Codec, tau: float, best: bool) -> None:
    """Without the conservative term: the behaviour's value at tau = 0.5, towards the best value as tau goes to 1."""
    torch.manual_seed(0)
    discount = DiscountConfig(0.9, "turn")
    games = corridor_games(80)
    data = TokenDataset(games, letters, View(1, 100, 10))
    trunk, size = Prefixes(data, 64), len(letters.tokenizer)
    policy = policy_of(trunk, size, 64)
    critic = table(policy, CriticShape("own", num_q=2, has_v=True))
    config = ilql.Config(tau=tau, cql_weight=0.0, clamp=False, discount=discount)
    networks = ilql.Networks(policy, critic)
    learned_table(data, networks, partial(ilql.loss, config=config, scale=1.0, bounds=(0.0, 0.0)), 500, 0.05)
    exact = corridor_values(games, discount.discount)[int(best)]
    assert cell_values(letters, trunk, critic) == pytest.approx(exact, abs=0.15 if best else 0.02)
    other = corridor_values(games, discount.discount)[int(not best)]
    assert np.abs(exact - other).min() > 0.5


def test_monte_carlo_finds_the_mean_returns_of_the_data(letters: Codec) -> None:
    torch.manual_seed(0)
    games = corridor_games(80)
    data = TokenDataset(games, letters, View(1, 100, 10))
    _, returns = add_scaled_returns(data, DiscountConfig(0.9, "turn"), 1.0)
    trunk, size = Prefixes(data, 64), len(letters.tokenizer)
    policy = policy_of(trunk, size, 64)
    critic = table(policy, CriticShape("own", num_q=1))
    loss = partial(mc_returns.loss, config=mc_returns.Config(cql_weight=0.0))
    learned_table(data, mc_returns.Networks(policy, critic), loss, 300, 0.05)
    found: dict[tuple[str, str], list[float]] = {}
    firsts = iter(returns[::2])  # of the two tokens of an action, letter and terminator, the letter
    for game in games:
        for seen, said in zip(game.observations, game.actions, strict=False):
            found.setdefault((seen.text, said.text), []).append(next(firsts))
    assert len(found) == 2 * CORRIDOR
    for (cell, move), values in found.items():
        state = trunk(torch.tensor([letters.encode(cell)])).last_hidden_state[0, -1]
        learned = critic.lowest_q(state)[letters.encode(move)[0]].item()
        assert learned == pytest.approx(float(np.mean(values)), abs=0.05)


def test_only_what_the_kind_of_trunk_trains_has_a_gradient(letters: Codec) -> None:
    size = len(letters.tokenizer)
    for trunk, trains_policy in (("own", False), ("detached", False), ("shared", True)):
        policy = policy_of(Memoryless(size), size, 8)
        critic = Critic(policy.lm, CriticShape(CriticConfig(trunk=trunk).trunk, num_q=2, has_v=True))
        for head in critic.q:
            assert isinstance(head, Head)
            torch.nn.init.normal_(head.outer.weight)
        networks = ilql.Networks(policy, critic)
        data = TokenDataset(random_episodes(5), letters, View(None, 100, 10))
        batch = data.batch(np.arange(len(data)))
        loss = partial(ilql.loss, config=ilql.Config(), scale=1.0, bounds=(-1.0, 1.0))
        loss(batch, networks(batch))[0].backward()
        assert (policy.lm.base_model.embedding.weight.grad is not None) == trains_policy
        assert (critic.trunk is not None) == (trunk == "own")
        slow = [parameter for parameter in networks.slow_critic.parameters() if parameter.grad is not None]
        assert not slow
        before = [parameter.clone() for parameter in critic.parameters()]
        networks.follow(0.5)
        assert all(torch.equal(*pair) for pair in zip(before, critic.parameters(), strict=True))
