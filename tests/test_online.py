"""Online methods: advantages against slow loops, losses by hand, ratios of one, guards, and what is kept."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmgym.algorithms import online_filtered_bc, ppo
from lmgym.critic import Critic, CriticShape
from lmgym.env import TextEnv
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.losses import clipped_surrogate, clipped_value_loss
from lmgym.online import RoundsConfig
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.run import Recipe, opened
from lmgym.seeds import Stream, game_seed
from lmgym.store import read_episodes
from lmgym.targets import chains, generalised_advantages, whitened
from lmgym.tokens import TokenDataset
from tests.games import ECHO, Echo
from tests.test_train import quick, trained

__all__ = ["clone"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the tiny game's data, which methods start from."""
    from lmgym.algorithms import bc

    return trained("bc", tmp_path_factory.mktemp("start") / "bc", quick(bc))


def slow_advantages(
    rewards: list[float], values: list[float], last: float, factors: list[float], decays: list[float]
) -> list[float]:
    """One chain, by the definition: the sum of all later errors, each discounted and decayed from there to here."""
    following = [*values[1:], last]
    errors = [r + f * n - v for r, f, n, v in zip(rewards, factors, following, values, strict=True)]
    found = []
    for here in range(len(rewards)):
        total, weight = 0.0, 1.0
        for later in range(here, len(rewards)):
            total += weight * errors[later]
            weight *= factors[later] * decays[later]
        found.append(total)
    return found


def test_advantages_against_a_slow_loop() -> None:
    generator = np.random.default_rng(0)
    lengths = [1, 5, 2, 9]
    expected, parts = [], []
    for length in lengths:
        rewards, values, factors, decays = (generator.random(length).tolist() for _ in range(4))
        last = float(generator.random())
        expected += slow_advantages(rewards, values, last, factors, decays)
        ends = [*[False] * (length - 1), True]
        parts.append(list(zip(rewards, values, [9.0] * (length - 1) + [last], factors, decays, ends, strict=True)))
    columns = [np.array(column) for column in zip(*[token for part in parts for token in part], strict=True)]
    rewards_, values_, last_, factors_, decays_, ends_ = columns
    found = generalised_advantages(rewards_, values_, last_, factors_, decays_, ends_.astype(bool))
    assert found == pytest.approx(expected)


def test_advantages_without_decay_are_returns_above_values() -> None:
    ends = np.array([False, False, True])
    one = np.ones(3)
    found = generalised_advantages(np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0]), np.zeros(3), one, one, ends)
    assert found.tolist() == [6.0 - 5.0, 5.0 - 6.0, 3.0 - 7.0]


def test_whitening() -> None:
    values = whitened(np.array([1.0, 2.0, 6.0]))
    assert values.mean() == pytest.approx(0.0)
    assert values.std() == pytest.approx(1.0)
    assert whitened(np.array([3.0, 3.0])).tolist() == [0.0, 0.0]


def test_the_surrogate_by_hand() -> None:
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = torch.tensor([2.0, -2.0, 2.0, -2.0, 1.0])
    found = clipped_surrogate(ratios.log(), torch.zeros(5), advantages, 0.2)
    assert found.tolist() == pytest.approx([-2.4, 3.0, -1.0, 1.6, -1.1])


def test_the_value_loss_by_hand() -> None:
    values, old, returns = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.9]), torch.tensor([2.0, 2.0])
    assert clipped_value_loss(values, old, returns, None).tolist() == pytest.approx([0.5, 0.5])
    assert clipped_value_loss(values, old, returns, 0.2).tolist() == pytest.approx([0.5 * 1.8**2, 0.5])


def networks_of(policy: Policy, trunk: str = "detached") -> ppo.Networks:
    critic = Critic.seeded(policy.lm, CriticShape(trunk, num_q=0, has_v=True), np.zeros(1), 0)
    return ppo.Networks(policy, critic)


@pytest.mark.parametrize("env_id", ["lmgym/FOMaze-v0", "lmgym/POMaze-v0", "lmgym/WordleMini-v0", ECHO])
def test_the_first_ratio_is_one(env_id: str, tiny_policy: Callable[..., Policy]) -> None:
    """What was noted while sampling is what the training forward computes, to 1e-5 in float32."""
    policy = tiny_policy(env_id)
    data = TokenDataset(list(collect(PolicyAgent(policy), env_id, episodes=4)), policy.codec, policy.view)
    for rows in np.array_split(data.rows_with_actions(), max(1, len(data) // 64)):
        batch = data.batch(rows)
        with torch.no_grad():
            outputs = networks_of(policy)(batch)
        logps = ppo.log_probabilities(outputs.logits, batch)
        assert torch.allclose(logps, batch.at_actions(batch.logprobs), rtol=0, atol=1e-5)


def test_policy_and_value_terms_by_hand(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    data = TokenDataset(list(collect(PolicyAgent(policy), ECHO, episodes=3)), policy.codec, policy.view)
    generator = np.random.default_rng(0)
    for name in ("advantages", "returns", "values"):
        data.columns[name] = generator.normal(size=len(data.ids)).astype(np.float32)
    batch = data.batch(data.rows_with_actions())
    with torch.no_grad():
        outputs = networks_of(policy)(batch)
    outputs = outputs._replace(v=torch.randn(len(outputs.v), generator=torch.Generator().manual_seed(0)))
    batch = dataclasses.replace(batch, logprobs=batch.logprobs - 0.1)
    config = ppo.Config(value_weight=0.3, entropy_weight=0.05, clip=0.05)
    value, metrics = ppo.loss(batch, outputs, config)
    policy_terms, value_terms, entropies = [], [], []
    where = batch.action_mask.nonzero().tolist()
    for index, (row, place) in enumerate(where):
        shares = outputs.logits[index].double().softmax(dim=-1)
        token = int(batch.ids[row, place])
        ratio = float(shares[token]) / np.exp(float(batch.logprobs[row, place]))
        advantage = float(batch.columns["advantages"][row, place])
        policy_terms.append(max(-advantage * ratio, -advantage * min(max(ratio, 0.95), 1.05)))
        value_terms.append(0.5 * (float(outputs.v[index]) - float(batch.columns["returns"][row, place])) ** 2)
        entropies.append(-sum(float(p) * np.log(float(p)) for p in shares if p > 0))
    assert metrics["policy_loss"].item() == pytest.approx(np.mean(policy_terms), rel=1e-4)
    assert metrics["value_loss"].item() == pytest.approx(np.mean(value_terms), rel=1e-4)
    assert metrics["entropy"].item() == pytest.approx(np.mean(entropies), rel=1e-4)
    expected = np.mean(policy_terms) + 0.3 * np.mean(value_terms) - 0.05 * np.mean(entropies)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert metrics["clipped"].item() == 1.0
    alone, _ = ppo.loss(batch, outputs, config, policy_moves=False)
    assert alone.item() == pytest.approx(0.3 * np.mean(value_terms), rel=1e-4)


@pytest.mark.parametrize(("trunk", "trains_policy"), [("detached", False), ("own", False), ("shared", True)])
def test_values_train_the_policy_only_where_they_share(
    trunk: str, trains_policy: bool, tiny_policy: Callable[..., Policy]
) -> None:
    policy = tiny_policy(ECHO)
    networks = networks_of(policy, trunk)
    torch.nn.init.normal_(networks.critic.v.outer.weight)  # type: ignore[union-attr]
    data = TokenDataset(list(collect(PolicyAgent(policy), ECHO, episodes=3)), policy.codec, policy.view)
    for name in ("advantages", "returns", "values"):
        data.columns[name] = np.ones(len(data.ids), dtype=np.float32)
    batch = data.batch(data.rows_with_actions())
    ppo.loss(batch, networks(batch), ppo.Config(), policy_moves=False)[0].backward()
    assert all(p.grad is not None for p in networks.parameters()), "or several processes would wait for it"
    moved = any(p.grad is not None and bool(p.grad.any()) for p in policy.lm.parameters())
    assert moved == trains_policy


def test_what_a_round_is_told_along_a_game(tiny_policy: Callable[..., Policy], tmp_path: Path) -> None:
    """Penalised rewards, discounts and the value after a cut-off game meet in the advantages, token by token."""
    policy = tiny_policy("lmgym/POMaze-v0")
    with opened(tmp_path / "run", Recipe("ppo", "lmgym/POMaze-v0", {}, 0, None, {})) as run:
        networks = networks_of(policy)
        torch.nn.init.normal_(networks.critic.v.outer.weight)  # type: ignore[union-attr]
        config = ppo.Config(kl_weight=0.5, whiten=False)
        method = ppo.Ppo(run, networks, config, None)
        with torch.no_grad():
            for parameter in policy.lm.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        (episode,) = collect(PolicyAgent(policy), "lmgym/POMaze-v0", episodes=1)
        assert episode.truncated
        data = TokenDataset([episode], policy.codec, policy.view)
        from lmgym.train import Learner

        learner = Learner(run, networks, config.play)
        facts = method._valued(data, data.rows_with_actions(), learner)
    assert facts["kl"] > 0
    assert len(data) > 3, "several rows, so that the chain crosses from one to the next"
    places = chains(data).places
    values, last, old, first, ends = [], None, [], [], []
    with torch.no_grad():
        for row in range(len(data)):
            batch = data.batch([row])
            outputs = networks(batch)
            values += outputs.v.tolist()
            old += batch.at_actions(batch.logprobs).tolist()
            whole = method.first_policy(batch).logits
            first += ppo.log_probabilities(policy.without_never_said(whole), batch).tolist()
            mask = batch.action_mask[0].tolist()
            ends += [not later for here, later in zip(mask, [*mask[1:], False], strict=True) if here]
            hidden = policy.lm.base_model(input_ids=batch.ids).last_hidden_state
            last = networks.critic.value(hidden[0, -1]).item()
    assert last is not None
    rewards = data.rewards[places] / method.deviation() - 0.5 * (np.array(old) - np.array(first))
    factors = [0.99 if end else 1.0 for end in ends]
    decays = [0.95 if end else 1.0 for end in ends]
    expected = slow_advantages(rewards.tolist(), values, last, factors, decays)
    assert data.columns["advantages"][places] == pytest.approx(np.array(expected), abs=2e-4)
    assert data.columns["returns"][places] == pytest.approx(np.array(expected) + np.array(values), abs=2e-4)


def test_rewards_are_divided_by_the_running_deviation(tmp_path: Path, tiny_policy: Callable[..., Policy]) -> None:
    with opened(tmp_path / "run", Recipe("ppo", ECHO, {}, 0, None, {})) as run:
        method = ppo.Ppo(run, networks_of(tiny_policy(ECHO)), ppo.Config(), None)
    generator = np.random.default_rng(0)
    rounds = [generator.normal(3, 2, size=size) for size in (5, 17, 1)]
    for returns in rounds:
        method._count(returns)
    assert method.deviation() == pytest.approx(np.concatenate(rounds).std())


def test_an_adaptive_penalty_follows_its_target(tmp_path: Path, tiny_policy: Callable[..., Policy]) -> None:
    with opened(tmp_path / "run", Recipe("ppo", ECHO, {}, 0, None, {})) as run:
        method = ppo.Ppo(
            run, networks_of(tiny_policy(ECHO)), ppo.Config(kl_weight=0.1, kl_target=0.5, kl_horizon=1000.0), None
        )
    method._adapt(kl=5.0, games=100)
    assert method.state["kl_weight"] == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    method._adapt(kl=0.45, games=100)
    assert method.state["kl_weight"] == pytest.approx(0.1 * (1 + 0.2 * 0.1) * (1 - 0.1 * 0.1))


def small(module: Any, clone: Path, **rounds: Any) -> Any:
    play = {"rounds": 4, "episodes": 16, "validate_every": 2, "validation_episodes": 8, "batch_tokens": 128, **rounds}
    return dataclasses.replace(module.Config(), init=str(clone), play=RoundsConfig(**play))


def test_training_games_are_games_of_training_only(tmp_path: Path, clone: Path) -> None:
    folder = trained("online_filtered_bc", tmp_path / "a", small(online_filtered_bc, clone))
    seeds = [episode.seed for path in sorted(folder.glob("games/*")) for episode in read_episodes(path)]
    assert seeds == [game_seed(Stream.TRAIN, 0, index) for index in range(4 * 16)]
    samples = [turn for episode in read_episodes(folder / "games/round-000000.parquet") for turn in episode.actions]
    assert all(turn.token_ids and turn.logprobs for turn in samples)


def test_the_best_weights_by_validation_are_the_result(tmp_path: Path, clone: Path) -> None:
    """A run that only gets worse ends with the policy that it started from."""
    config = small(online_filtered_bc, clone, learning_rate=10.0, max_invalid=1.0)
    folder = trained("online_filtered_bc", tmp_path / "a", config)
    record = json.loads((folder / "run.json").read_text())
    assert record["best_round"] == 0
    before, after = Policy.from_pretrained(clone).state_dict(), Policy.from_pretrained(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_policy_that_talks_nonsense_stops_the_run(
    tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Echo.step

    def nothing_is_valid(self: Echo, action: str) -> Any:
        observation, reward, ended, cut, info = step(self, action)
        return observation, reward, ended, cut, {**info, "invalid": "no"}

    monkeypatch.setattr(Echo, "step", nothing_is_valid)
    folder = trained("ppo", tmp_path / "a", small(ppo, clone, rounds=6))
    record = json.loads((folder / "run.json").read_text())
    assert "stopped in round 3 of 6: 100% of the actions are invalid" in record["stopped"]
    assert record["status"] == "finished"
    assert "the best weights so far are kept" in " ".join(capsys.readouterr().err.split())


def test_a_policy_that_runs_away_stops_the_run(tmp_path: Path, clone: Path) -> None:
    config = dataclasses.replace(
        small(ppo, clone, rounds=8, learning_rate=0.3, max_invalid=1.0), max_kl=1e-6, warmup_rounds=0, max_step_kl=1e9
    )
    folder = trained("ppo", tmp_path / "a", config)
    assert "nats per token from the first one" in json.loads((folder / "run.json").read_text())["stopped"]


def test_epochs_end_where_the_policy_has_moved_far(tmp_path: Path, clone: Path) -> None:
    def epochs(max_step_kl: float) -> list[int]:
        # Several steps an epoch: in the first step of a round nothing has moved yet.
        config = dataclasses.replace(
            small(ppo, clone, learning_rate=0.01, batch_tokens=48), epochs=3, max_step_kl=max_step_kl, warmup_rounds=1
        )
        folder = trained("ppo", tmp_path / f"{max_step_kl}", config)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["epochs"] for line in lines]

    assert epochs(1e-9)[0] == 3, "values learn alone in the first round"
    assert set(epochs(1e-9)[1:]) == {1}
    assert set(epochs(1e9)) == {3}


@pytest.mark.parametrize("trunk", ["detached", "shared", "own"])
def test_the_policy_rests_while_values_learn_alone(tmp_path: Path, clone: Path, trunk: str) -> None:
    config = dataclasses.replace(small(ppo, clone), warmup_rounds=4, trunk=trunk, bc_weight=1.0)
    folder = trained("ppo", tmp_path / "a", config)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(abs(line["kl"]) < 1e-6 for line in lines)
    before, after = Policy.from_pretrained(clone), Policy.from_pretrained(folder)
    assert all(torch.equal(*pair) for pair in zip(before.lm.parameters(), after.lm.parameters(), strict=True))


def test_ratios_begin_at_one_with_dropout_and_in_half_precision(tmp_path: Path) -> None:
    from lmgym.algorithms import bc
    from lmgym.start import ModelConfig
    from tests.test_policy import gpt2_folder

    model = ModelConfig(model=str(gpt2_folder(tmp_path / "gpt2")))
    start = dataclasses.replace(quick(bc, steps=20, checkpoint_every=20), lm=model)
    init = trained("bc", tmp_path / "bc", start)
    # Half precision rounds differently in batches of different shape.
    for precision, bound in (("float32", 1e-6), ("bfloat16", 2e-3)):
        config = dataclasses.replace(small(ppo, init, rounds=1, precision=precision), warmup_rounds=1)
        folder = trained("ppo", tmp_path / precision, config)
        (line,) = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert abs(line["step_kl"]) < bound
        assert precision == "bfloat16" or line["clipped"] == 0.0


def test_validation_games_that_fail_are_said(tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Echo, action: str) -> Any:
        raise RuntimeError("down")

    (data,) = (clone.parent / "shared").glob("*.parquet")
    monkeypatch.setattr(Echo, "step", broken)
    config = small(ppo, clone)
    recipe = Recipe("ppo", ECHO, {}, 0, str(data), dataclasses.asdict(config))
    with (
        opened(tmp_path / "run", recipe) as run,
        pytest.raises(UsageError, match="all 8 games failed, the first with environment: RuntimeError: down"),
    ):
        ppo.train(run, config)


def test_cloning_is_taken_along(tmp_path: Path, clone: Path) -> None:
    folder = trained("ppo", tmp_path / "a", dataclasses.replace(small(ppo, clone), bc_weight=1.0))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["bc_loss"] > 0 for line in lines[1:])
    assert "bc_loss" not in lines[0], "not while values learn alone"


def test_a_game_that_never_succeeds_teaches_nothing(tmp_path: Path, clone: Path, monkeypatch: Any) -> None:
    step = Echo.step

    def never(self: Echo, action: str) -> Any:
        observation, reward, ended, cut, info = step(self, action)
        return observation, reward, ended, cut, {**info, "success": False}

    monkeypatch.setattr(Echo, "step", never)
    config = dataclasses.replace(small(online_filtered_bc, clone), keep="success")
    folder = trained("online_filtered_bc", tmp_path / "a", config)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["kept"] for line in lines] == [0.0] * 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trunk": "common"}, "unknown trunk 'common'"),
        ({"clip": 0.0}, "clip is more than 0"),
        ({"gae_lambda": 1.5}, "gae_lambda is between 0 and 1"),
        ({"epochs": 0}, "epochs is 1 or more"),
        ({"kl_weight": -1.0}, "kl_weight is 0 or more"),
        ({"kl_weight": float("nan")}, "kl_weight is 0 or more"),
        ({"kl_target": 0.0}, "kl_target is more than 0"),
        ({"value_clip": -1.0}, "value_clip is more than 0"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ppo.Config(**options)


def test_rounds_out_of_range_are_refused() -> None:
    for options in ({"rounds": 0}, {"episodes": 0}, {"max_invalid": 2.0}, {"batch_tokens": 0}):
        with pytest.raises(UsageError):
            RoundsConfig(**options)
    assert issubclass(Echo, TextEnv)
