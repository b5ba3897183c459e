"""Policies: presets, saving, loading, refusing what is not whole, and logits at action positions only."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from lmgym.agents import load_agent
from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.losses import cloning
from lmgym.play import PolicyAgent
from lmgym.policy import PRESETS, Policy
from lmgym.tokens import TokenBatch, TokenDataset, View
from lmgym.vocabulary import build_tokenizer
from tests.games import ECHO


def data_batch(policy: Policy, count: int = 6) -> TokenBatch:
    episodes = list(collect(load_agent("behaviour", ECHO), ECHO, episodes=count))
    return TokenDataset(episodes, policy.codec, policy.view).batch(range(count))


@pytest.mark.parametrize(("preset", "millions"), [("0.1M", 0.1), ("0.3M", 0.3), ("1M", 1), ("5M", 5), ("20M", 20)])
def test_presets_have_the_size_of_their_name(preset: str, millions: float) -> None:
    size = PRESETS[preset]
    # Counted by hand, without the embedding: attention 4 w^2, three gates of w * inner, norms.
    layer = 4 * size.width**2 + 3 * size.width * size.inner + 2 * size.width
    by_hand = size.layers * layer + size.width
    assert by_hand == pytest.approx(millions * 1e6, rel=0.1)
    if millions < 1:
        tokenizer = build_tokenizer("char", ["ab\n"])
        policy = Policy.from_preset(preset, tokenizer, View(None, 100, 10), seed=0)
        assert policy.num_parameters == by_hand + len(tokenizer) * size.width


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean '0\.1M'"):
        Policy.from_preset("0.1m", build_tokenizer("char", ["a"]), View(None, 100, 10), seed=0)


def test_weights_depend_on_the_seed_alone(tiny_policy: Callable[..., Policy]) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (tiny_policy(ECHO, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(state, torch.random.get_rng_state())


def test_logits_stand_before_each_action_token(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    batch = data_batch(policy)
    outputs = policy(batch)
    assert outputs.logits.shape == (batch.num_actions, len(policy.codec.tokenizer))
    full = policy.lm(input_ids=batch.ids, attention_mask=batch.attention_mask.long()).logits
    slow = [full[b, t - 1] for b in range(len(batch.ids)) for t in range(batch.ids.shape[1]) if batch.action_mask[b, t]]
    torch.testing.assert_close(outputs.logits, torch.stack(slow), rtol=1e-4, atol=1e-5)


def test_cloning_loss_against_a_slow_loop(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    batch = data_batch(policy)
    value, metrics = cloning(batch, policy(batch))
    full = policy.lm(input_ids=batch.ids).logits
    losses = [
        -functional.log_softmax(full[b, t - 1], dim=-1)[batch.ids[b, t]].item()
        for b in range(len(batch.ids))
        for t in range(1, batch.ids.shape[1])
        if batch.action_mask[b, t]
    ]
    assert value.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert 0 <= metrics["accuracy"] <= 1


def test_parts_of_a_batch_add_up(tiny_policy: Callable[..., Policy]) -> None:
    policy = tiny_policy(ECHO)
    batch = data_batch(policy, 8)

    def gradients(parts: list[TokenBatch]) -> dict[str, torch.Tensor]:
        policy.zero_grad()
        for part in parts:
            cloning(part, policy(part))[0].backward()
        return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}

    whole = gradients([batch])
    apart = gradients([batch.part(slice(row, row + 1)) for row in range(8)])
    for name, gradient in whole.items():
        torch.testing.assert_close(apart[name], gradient, rtol=1e-4, atol=1e-6)


def test_environment_tokens_have_no_gradient(tiny_policy: Callable[..., Policy]) -> None:
    """What stands after the last action of a row changes nothing, and targets are action tokens only."""
    policy = tiny_policy(ECHO)
    batch = data_batch(policy)
    embedded = policy.lm.get_input_embeddings()(batch.ids).detach().requires_grad_()
    hidden = policy.lm.base_model(inputs_embeds=embedded).last_hidden_state
    logits = policy.lm.get_output_embeddings()(hidden[:, :-1][batch.action_mask[:, 1:]])
    functional.cross_entropy(logits, batch.action_ids).backward()
    assert embedded.grad is not None
    for row in range(len(batch.ids)):
        last = int(batch.action_mask[row].nonzero().max())
        assert not embedded.grad[row, last:].any()
        assert embedded.grad[row, 0].any()


def test_a_saved_policy_plays_the_same(tiny_policy: Callable[..., Policy], tmp_path: Path) -> None:
    policy = tiny_policy(ECHO)
    policy.save_pretrained(tmp_path)
    loaded = Policy.from_pretrained(tmp_path)
    assert loaded.view == policy.view

    def told(policy: Policy) -> list[Episode]:
        return list(collect(PolicyAgent(policy), ECHO, episodes=5))

    assert told(loaded) == told(policy)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".bin", ".pt", ".pkl", ".pickle")]


def test_a_saved_policy_opens_with_plain_transformers(tiny_policy: Callable[..., Policy], tmp_path: Path) -> None:
    policy = tiny_policy(ECHO)
    policy.save_pretrained(tmp_path)
    lm = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer.encode("red\nblue\n")])
    assert ids[0].tolist() == [*policy.codec.encode("red"), *policy.codec.encode("blue")]
    torch.testing.assert_close(lm(ids).logits, policy.lm(ids).logits)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "lmgym.json").unlink(), r"lmgym\.json is missing"),
        (lambda f: (f / "lmgym.json").write_text("{"), r"lmgym\.json is damaged"),
        (lambda f: (f / "lmgym.json").write_text('{"format": 99}'), r"lmgym\.json has format 99"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), r"model\.safetensors was changed"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json was changed"),
    ],
)
def test_a_damaged_policy_names_the_file(
    tiny_policy: Callable[..., Policy], tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    tiny_policy(ECHO).save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UsageError, match=message):
        Policy.from_pretrained(tmp_path)


def test_another_tokenizer_is_refused(tiny_policy: Callable[..., Policy], tmp_path: Path) -> None:
    tiny_policy(ECHO).save_pretrained(tmp_path / "a")
    tiny_policy(ECHO, kind="char").save_pretrained(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "tokenizer.json", tmp_path / "a" / "tokenizer.json")
    record = json.loads((tmp_path / "a" / "lmgym.json").read_text())
    other = json.loads((tmp_path / "b" / "lmgym.json").read_text())
    record["files"]["tokenizer.json"] = other["files"]["tokenizer.json"]
    (tmp_path / "a" / "lmgym.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="not the tokenizer that this policy was trained with"):
        Policy.from_pretrained(tmp_path / "a")


def gpt2_folder(folder: Path) -> Path:
    """A tiny GPT-2 checkpoint with a tokenizer: another family than the presets, as a user would bring it."""
    tokenizer = build_tokenizer("word", ["red\nblue\ngreen\n"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=0
        )
        GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_pretrained_model_is_loaded_from_a_folder(tmp_path: Path) -> None:
    policy = Policy.from_model(str(gpt2_folder(tmp_path)), history=None, max_reply_chars=8)
    assert policy.view == View(max_turns=None, max_tokens=128, max_reply_tokens=9)
    assert len(list(collect(PolicyAgent(policy), ECHO, episodes=3))) == 3
    assert policy(data_batch(policy)).logits.shape[1] == len(policy.codec.tokenizer)


def test_nothing_is_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(UsageError, match="nothing is downloaded unless asked: --download"):
        Policy.from_model("gpt2-of-nobody/model", history=None, max_reply_chars=8)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = gpt2_folder(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="cannot load the model"):
        Policy.from_model(str(folder), history=None, max_reply_chars=8)
