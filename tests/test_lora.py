"""Adapters (LoRA) beside pretrained models: what is trained, what is kept, and what is refused."""

import dataclasses
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.algorithms import bc
from lmgym.critic import Critic, CriticConfig, CriticShape
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.leaderboard.presets import with_settings
from lmgym.lora import Base, LoraSettings
from lmgym.losses import cloning
from lmgym.methods import method_module
from lmgym.online import RoundsConfig, frozen_copy
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.run import Recipe, opened
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.store import write_episodes
from lmgym.tokens import TokenBatch
from lmgym.train import OptimConfig
from lmgym.vocabulary import build_tokenizer
from lmgym.weights import base_weights, copied, is_adapter, trained_weights
from tests.games import ECHO
from tests.test_policy import data_batch, gpt2_folder
from tests.test_train import metrics, weights

pytest.importorskip("peft", reason="peft is not installed (pip install 'lmgym[peft]')")


def llama_folder(folder: Path, dtype: torch.dtype = torch.float32, **saving: Any) -> Path:
    """A tiny Llama checkpoint with a tokenizer."""
    tokenizer = build_tokenizer("word", ["red\nblue\ngreen\n"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=128,
            initializer_range=0.2,
        )
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder, **saving)
    tokenizer.save_pretrained(folder)
    return folder


BASES = {"gpt2": gpt2_folder, "llama": llama_folder}


@pytest.fixture(params=sorted(BASES))
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pretrained model of each family, as a user would bring it."""
    return BASES[request.param](tmp_path / request.param)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Offline games."""
    path = tmp_path_factory.mktemp("data") / "echo.parquet"
    write_episodes(path, collect(load_agent("behaviour", ECHO), ECHO, episodes=300))
    return path


def adapted(base: Path, dtype: str = "float32", **lora: Any) -> Policy:
    return Policy.from_base(str(base), None, 8, LoraSettings(4, 8.0, **lora), dtype=dtype, seed=0).eval()


def shaken(policy: Policy) -> Policy:
    """With adapters that change something."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in policy.named_parameters():
        if is_adapter(name):
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    return policy


def quick(method: str, model: ModelConfig, init: Path | None = None, **more: Any) -> Any:
    """The method's config, small enough for a test."""
    config = method_module(method).Config(lm=model, **more)
    if hasattr(config, "optim"):
        optim = OptimConfig(steps=20, batch_tokens=256, checkpoint_every=10, learning_rate=1e-2)
        config = dataclasses.replace(config, optim=optim)
    else:
        play = RoundsConfig(rounds=3, episodes=16, batch_tokens=128, validation_episodes=20, validate_every=1)
        config = dataclasses.replace(config, play=play)
    return config if init is None else dataclasses.replace(config, init=str(init))


def trained(method: str, folder: Path, config: Any, data: Path, seed: int = 0) -> Path:
    recipe = Recipe(method, ECHO, {}, seed, str(data), dataclasses.asdict(config))
    with opened(folder, recipe) as run:
        if not run.finished:
            method_module(method).train(run, config)
    return folder


def names_in(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as tensors:
        return set(tensors.keys())


@torch.no_grad()
def log_probabilities(policy: Policy, batch: TokenBatch) -> torch.Tensor:
    return policy(batch).logits.log_softmax(-1)


def test_fresh_adapters_change_nothing_and_alone_have_gradients(base: Path) -> None:
    policy, plain = adapted(base), Policy.from_model(str(base), None, 8).eval()
    batch = data_batch(policy)
    assert torch.equal(log_probabilities(policy, batch), log_probabilities(plain, batch))
    cloning(batch, policy(batch))[0].backward()
    with_gradient = {name for name, weight in policy.named_parameters() if weight.grad is not None}
    assert with_gradient == {name for name, _ in policy.named_parameters() if is_adapter(name)}
    # Two layers; peft adapts queries and values, which are one matrix in GPT-2.
    assert len(with_gradient) == 2 * 2 * {"c_attn": 1, "q_proj": 2}[policy.lm.peft_config["default"].target_modules[0]]
    shaken(policy)
    assert (log_probabilities(policy, batch) - log_probabilities(plain, batch)).abs().max() > 0.01


def test_weights_of_adapters_depend_on_the_seed_alone(base: Path) -> None:
    state = torch.random.get_rng_state()
    first, again = adapted(base).state_dict(), adapted(base).state_dict()
    other = Policy.from_base(str(base), None, 8, LoraSettings(4, 8.0), seed=1).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing == {name for name in first if ".lora_A." in name}


def test_saved_and_merged_adapters_say_the_same(base: Path, tmp_path: Path) -> None:
    policy = shaken(adapted(base))
    batch = data_batch(policy)
    expected = log_probabilities(policy, batch)
    policy.save_pretrained(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").glob("*.safetensors")} == {"adapter_model.safetensors"}
    loaded = Policy.from_pretrained(tmp_path / "run")
    assert loaded.adapted == policy.adapted
    assert torch.equal(log_probabilities(loaded, batch), expected)
    assert [w.requires_grad for w in loaded.parameters()] == [w.requires_grad for w in policy.parameters()]
    merged = policy.merged()
    assert not any(is_adapter(name) for name, _ in merged.named_parameters())
    assert all(weight.requires_grad for weight in merged.parameters())
    merged.save_pretrained(tmp_path / "merged")
    for whole in (merged, Policy.from_pretrained(tmp_path / "merged")):
        torch.testing.assert_close(log_probabilities(whole, batch), expected, rtol=0, atol=1e-5)
    assert torch.equal(log_probabilities(policy, batch), expected), "merging changes a copy"
    for folder in (tmp_path / "run", tmp_path / "merged"):
        plain = AutoModelForCausalLM.from_pretrained(folder)
        torch.testing.assert_close(plain(batch.ids).logits, policy.lm(batch.ids).logits, rtol=0, atol=1e-5)


def test_the_same_adapters_are_the_same_files(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        adapted(base, targets=("all-linear",)).save_pretrained(tmp_path / name)
    assert (tmp_path / "a" / "lmgym.json").read_bytes() == (tmp_path / "b" / "lmgym.json").read_bytes()
    record = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert record["target_modules"] == sorted(record["target_modules"])
    assert len(record["target_modules"]) == 2 * {"gpt2": 4, "llama": 7}[base.name], "linear layers of two blocks"


def test_copies_share_the_frozen_weights_and_nothing_else(base: Path) -> None:
    policy = shaken(adapted(base))
    before, batch = frozen_copy(policy), data_batch(policy)
    expected = log_probabilities(policy, batch)
    mine, theirs = dict(policy.named_parameters()), dict(before.named_parameters())
    for name in mine:
        assert (mine[name] is theirs[name]) == (not is_adapter(name))
    with torch.no_grad():
        for weight in trained_weights(policy):
            weight += 0.1
    assert torch.equal(log_probabilities(before, batch), expected)
    assert all(w.requires_grad == is_adapter(name) for name, w in policy.named_parameters())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("bc", {}),
        ("ilql", {"critic": CriticConfig(trunk="own")}),
        ("ilql", {"critic": CriticConfig(trunk="shared")}),
        ("ppo", {"trunk": "own", "kl_weight": 0.1}),
    ],
    ids=["bc", "ilql-own", "ilql-shared", "ppo-own"],
)
def test_methods_train_adapters_repeat_and_go_on(
    method: str, more: dict[str, Any], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lmgym.train as loop

    model = ModelConfig(model=str(llama_folder(tmp_path / "llama")), lora_rank=4, lora_dropout=0.1)
    config = quick("bc", model)
    if method != "bc":
        init = trained("bc", tmp_path / "clone", config, data)
        config = quick(method, ModelConfig(), init, **more)
    whole = trained(method, tmp_path / "whole", config, data)
    base = Policy.from_model(str(tmp_path / "llama"), None, 8)
    learned = Policy.from_pretrained(whole)
    new = {name.replace(".base_layer", ""): weight for name, weight in learned.lm.named_parameters()}
    assert all(torch.equal(weight, new[name]) for name, weight in base.lm.named_parameters())
    assert all(weight.abs().max() > 0 for name, weight in new.items() if ".lora_B." in name)

    kept: list[set[str]] = []
    save = loop.save_checkpoint

    def save_then_die(folder: Path, step: int, *arguments: Any) -> None:
        save(folder, step, *arguments)
        kept.append(names_in(folder / "checkpoints" / f"step-{step:08d}" / "model.safetensors"))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        trained(method, tmp_path / "cut" / "run", config, data)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    cut = trained(method, tmp_path / "cut" / "run", config, data)
    assert metrics(cut) == metrics(whole)
    assert weights(cut) == weights(whole)
    heads = ("q.", "v.")
    trunk = {name for name in kept[0] if not any(f"critic.{head}" in name for head in heads) and name != "step"}
    assert trunk
    assert all(is_adapter(name) for name in trunk), "checkpoints hold no frozen weights"


def test_the_command_line_trains_tunes_evaluates_and_goes_on(tmp_path: Path, data: Path) -> None:
    """The whole road of a user; the adapters of the clone are those that PPO goes on training."""
    base, clone, better = (str(tmp_path / name) for name in ("llama", "bc", "ppo"))
    llama_folder(Path(base))
    common = ["--env", ECHO, "--data", str(data), "--batch-tokens", "256"]
    lora = ["--model", base, "--lora-rank", "4", "--lora-targets", "q_proj", "mlp.up_proj", "--dtype", "bfloat16"]
    short = ["--steps", "150", "--checkpoint-every", "50", "--learning-rate", "0.02"]
    assert main(["train", "bc", *common, *lora, *short, "--out", clone]) == 0
    learned = load_agent(clone, ECHO, settings={"temperature": 0.0})
    games = list(collect(learned, ECHO, episodes=40))
    assert np.mean([game.total_reward for game in games]) > 2.5, "it was learned: the likeliest is right"
    short = ["--rounds", "1", "--warmup-rounds", "0", "--episodes", "32", "--validation-episodes", "20"]
    assert main(["train", "ppo", *common, "--init", clone, *short, "--out", better]) == 0
    assert main(["tune", better, "--episodes", "20"]) == 0
    assert main(["eval", better, "--episodes", "20"]) == 0
    before, after = Policy.from_pretrained(clone), Policy.from_pretrained(better)
    assert after.adapted == before.adapted
    assert after.adapted is not None
    assert after.adapted.lora.targets == ("q_proj", "mlp.up_proj")
    assert after.lm.dtype == torch.bfloat16
    assert (
        main(["train", "ppo", *common, "--init", clone, *short, "--out", str(tmp_path / "x"), "--lora-rank", "2"]) == 2
    )


def test_a_clone_made_on_demand_has_the_adapters(tmp_path: Path, data: Path) -> None:
    model = ModelConfig(model=str(llama_folder(tmp_path / "llama")), lora_rank=3)
    with opened(tmp_path / "run", Recipe("ppo", ECHO, {}, 0, str(data), {})) as run:
        offline_episodes(run)
        policy = trained_policy(run, None, model, "tests.quick_bc")
    assert policy.adapted is not None
    assert policy.adapted.lora == LoraSettings(3, 6.0, 0.0, ("q_proj", "v_proj"))
    assert all(weight.abs().max() > 0 for name, weight in policy.named_parameters() if ".lora_B." in name)


def test_a_critic_with_a_trunk_of_its_own_keeps_its_adapters(tmp_path: Path) -> None:
    policy = shaken(adapted(llama_folder(tmp_path / "llama")))
    policy.critic = Critic.seeded(policy.lm, CriticShape("own", num_q=1), np.zeros(1), seed=0)
    torch.nn.init.normal_(policy.critic.q[0].outer.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in trained_weights(policy.critic.trunk):
            weight += 0.1
    policy.save_pretrained(tmp_path / "run")
    heads_and_adapters = {
        name for name in names_in(tmp_path / "run" / "critic.safetensors") if ".base_layer." not in name
    }
    assert heads_and_adapters == names_in(tmp_path / "run" / "critic.safetensors")
    loaded, batch = Policy.from_pretrained(tmp_path / "run"), data_batch(policy)
    merged = policy.merged()
    assert loaded.critic is not None
    assert merged.critic is not None
    with torch.no_grad():
        expected = policy.critic.lowest_q_at(policy.lm, batch)
        assert torch.equal(loaded.critic.lowest_q_at(loaded.lm, batch), expected)
        torch.testing.assert_close(merged.critic.lowest_q_at(merged.lm, batch), expected, rtol=0, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    told = [
        list(collect(PolicyAgent(Policy.from_pretrained(tmp_path / f)), ECHO, episodes=5)) for f in ("run", "merged")
    ]
    said = [[action.text for game in games for action in game.actions] for games in told]
    assert said[0] == said[1]


@pytest.mark.parametrize(("dtype", "alike"), [("bfloat16", 0.999), ("float16", 0.9999)])
def test_a_base_of_half_precision_teaches_almost_the_same(tmp_path: Path, dtype: str, alike: float) -> None:
    """Adapters are float32 whatever stands beside them, and their gradients point where those of full precision do."""
    base = llama_folder(tmp_path / "llama")
    gradients = []
    for kind in ("float32", dtype):
        policy = shaken(adapted(base, kind, targets=("all-linear",)))
        assert {weight.dtype for weight in trained_weights(policy)} == {torch.float32}
        assert {weight.dtype for weight in base_weights(policy).values()} == {getattr(torch, kind)}
        batch = data_batch(policy)
        cloning(batch, policy(batch))[0].backward()
        found = [weight.grad.flatten() for weight in trained_weights(policy) if weight.grad is not None]
        gradients.append(torch.cat(found))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > alike
    assert gradients[1].norm() == pytest.approx(gradients[0].norm().item(), rel=0.05)


def test_auto_loads_as_it_was_saved(tmp_path: Path) -> None:
    policy = shaken(adapted(llama_folder(tmp_path / "llama", torch.bfloat16), "auto"))
    assert policy.lm.dtype == torch.bfloat16
    policy.save_pretrained(tmp_path / "run")
    loaded, batch = Policy.from_pretrained(tmp_path / "run"), data_batch(policy)
    assert loaded.lm.dtype == torch.bfloat16
    assert torch.equal(log_probabilities(loaded, batch), log_probabilities(policy, batch))


def test_ratios_begin_at_one_beside_a_base_of_half_precision(tmp_path: Path, data: Path) -> None:
    """What was sampled with the attention cache is read again as it is learned: half precision rounds otherwise."""
    model = ModelConfig(model=str(llama_folder(tmp_path / "llama")), lora_rank=4, dtype="bfloat16")
    clone = trained("bc", tmp_path / "bc", quick("bc", model), data)
    config = quick("ppo", ModelConfig(), clone, warmup_rounds=1, epochs=1)
    config = dataclasses.replace(config, play=dataclasses.replace(config.play, rounds=1))
    (line,) = metrics(trained("ppo", tmp_path / "ppo", config, data))
    assert abs(line["step_kl"]) < 1e-6
    assert abs(line["kl"]) < 1e-6


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda base, run: changed(base / "model.safetensors"), r"model\.safetensors of .*llama is not the one"),
        (lambda base, run: (base / "config.json").write_text("{}"), r"config\.json of .*llama is not the one"),
        (lambda base, run: shutil.rmtree(base), r"adapters to .*llama, which is not there: put it back, or name"),
        (lambda base, run: changed(run / "adapter_model.safetensors"), r"adapter_model\.safetensors was changed"),
        (lambda base, run: (run / "adapter_model.safetensors").unlink(), r"adapter_model\.safetensors is missing"),
    ],
)
def test_what_adapters_were_not_trained_beside_is_refused(
    tmp_path: Path, damage: Callable[[Path, Path], object], message: str
) -> None:
    base, run = llama_folder(tmp_path / "llama"), tmp_path / "run"
    adapted(base).save_pretrained(run)
    damage(base, run)
    with pytest.raises(UsageError, match=message):
        Policy.from_pretrained(run)


def test_a_run_does_not_go_on_beside_another_base(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    base = llama_folder(tmp_path / "llama")
    config = quick("bc", ModelConfig(model=str(base), lora_rank=4))
    monkeypatch.setattr(Policy, "save_pretrained", killed)
    with pytest.raises(KeyboardInterrupt):
        trained("bc", tmp_path / "run", config, data)
    changed(base / "model.safetensors")
    with pytest.raises(UsageError, match=r"the model of .*run has changed since it was started"):
        trained("bc", tmp_path / "run", config, data)


def test_a_base_that_moved_is_found_where_the_record_says(tmp_path: Path) -> None:
    base, run = llama_folder(tmp_path / "llama"), tmp_path / "run"
    policy = shaken(adapted(base))
    policy.save_pretrained(run)
    base.rename(tmp_path / "elsewhere")
    text = (run / "lmgym.json").read_text()
    (run / "lmgym.json").write_text(text.replace(str(base), str(tmp_path / "elsewhere")))
    batch = data_batch(policy)
    assert torch.equal(log_probabilities(Policy.from_pretrained(run), batch), log_probabilities(policy, batch))


def test_a_base_in_parts_is_checked_in_all_its_parts(tmp_path: Path) -> None:
    base = llama_folder(tmp_path / "llama", max_shard_size="20KB")
    parts = sorted(path.name for path in base.glob("*.safetensors"))
    assert len(parts) > 1
    policy = adapted(base)
    assert policy.adapted is not None
    assert sorted(policy.adapted.base.files) == sorted(["config.json", "model.safetensors.index.json", *parts])
    policy.save_pretrained(tmp_path / "run")
    Policy.from_pretrained(tmp_path / "run")
    changed(base / parts[-1])
    with pytest.raises(UsageError, match=f"{parts[-1]} of .* is not the one"):
        Policy.from_pretrained(tmp_path / "run")


def test_a_base_by_name_is_one_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As huggingface_hub keeps what it has downloaded; the network is not asked."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    kept = tmp_path / "models--me--tiny"
    llama_folder(kept / "snapshots" / "0123abcd")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    found = Base.of("me/tiny", "float32")
    assert found.files == Base.of(str(kept / "snapshots" / "0123abcd"), "float32").files
    with pytest.raises(OSError, match=r"me/other has no config\.json"):
        Base.of("me/other", "float32")
    policy = shaken(Policy.from_base("me/tiny", None, 8, LoraSettings(4, 8.0), seed=0).eval())
    policy.save_pretrained(tmp_path / "run")
    loaded, batch = Policy.from_pretrained(tmp_path / "run"), data_batch(policy)
    assert loaded.adapted is not None
    assert loaded.adapted.base == found
    assert torch.equal(log_probabilities(loaded, batch), log_probabilities(policy, batch))
    shutil.rmtree(kept)
    with pytest.raises(UsageError, match="adapters to me/tiny, which is not there"):
        Policy.from_pretrained(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "m", "lora_alpha": 8.0}, "--lora-alpha is for adapters: give --lora-rank, too"),
        ({"model": "m", "dtype": "bfloat16"}, "--dtype is for adapters: give --lora-rank, too"),
        ({"lora_rank": 4}, "--lora-rank adapts a pretrained model"),
        ({"model": "0.1M", "lora_rank": 4}, "--lora-rank adapts a pretrained model"),
        ({"model": "m", "lora_rank": 0}, "lora_rank is 1 or more, not 0"),
        ({"model": "m", "lora_rank": 4, "lora_alpha": 0.0}, "lora_alpha is more than 0"),
        ({"model": "m", "lora_rank": 4, "lora_dropout": 1.0}, "lora_dropout is from 0 to below 1"),
        ({"model": "m", "lora_rank": 4, "lora_targets": ()}, "--lora-targets names layers, or all-linear alone"),
        ({"model": "m", "lora_rank": 4, "dtype": "bf16"}, "unknown dtype 'bf16'; did you mean 'bfloat16'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ModelConfig(**settings)


def test_a_preset_of_the_leaderboard_names_targets_in_a_list() -> None:
    given = {"lm": {"model": "m", "lora_rank": 4, "lora_targets": ["q_proj"], "dtype": "auto"}}
    config = with_settings(bc.Config(), given, "settings.x.bc")
    assert config.lm.lora() == LoraSettings(4, 8.0, 0.0, ("q_proj",))


def test_an_unknown_target_names_the_nearest(base: Path) -> None:
    nearest = {"gpt2": "c_attn", "llama": "q_proj"}[base.name]
    with pytest.raises(UsageError, match=f"unknown LoRA target '{nearest[:-1]}'; did you mean '{nearest}'"):
        adapted(base, targets=(nearest[:-1],))
    with pytest.raises(UsageError, match="unknown LoRA target 'lm_head'"):
        adapted(base, targets=("lm_head",))


@pytest.mark.parametrize(
    ("absent", "dtype", "message"),
    [
        ("peft", "float32", r"adapters \(LoRA\) need a package: pip install 'lmgym\[peft\]'"),
        ("bitsandbytes", "4bit", "--dtype 4bit needs a package: pip install bitsandbytes"),
    ],
)
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str, dtype: str, message: str
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == absent else find(name, *more))
    with pytest.raises(UsageError, match=message):
        adapted(llama_folder(tmp_path / "llama"), dtype)


def test_four_bits_need_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--dtype 4bit needs a GPU; bfloat16 is the smallest on a processor"):
        adapted(llama_folder(tmp_path / "llama"), "4bit")


def test_adapters_are_no_whole_model(tmp_path: Path) -> None:
    adapted(llama_folder(tmp_path / "llama")).save_pretrained(tmp_path / "run")
    with pytest.raises(UsageError, match="holds adapters to another model, not a whole one: go on training them by"):
        Policy.from_model(str(tmp_path / "run"), None, 8)
    with pytest.raises(UsageError, match="holds adapters to another model"):
        adapted(tmp_path / "run")


def test_models_without_adapters_have_no_frozen_weights(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    assert not base_weights(policy)
    assert trained_weights(policy) == list(policy.parameters())
    twin = copied(policy)
    assert all(a is not b and torch.equal(a, b) for a, b in zip(policy.parameters(), twin.parameters(), strict=True))
    assert policy.merged() is policy
