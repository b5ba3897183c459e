"""The policy of every method: a Hugging Face causal language model with its tokenizer and its view."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from lmgym import lora
from lmgym.critic import Critic, CriticShape, states_before_actions
from lmgym.errors import UsageError, unknown
from lmgym.files import read_json, sha256, write_json
from lmgym.lora import ADAPTERS, Adapted, Base, LoraSettings
from lmgym.tokens import Codec, TokenBatch, View
from lmgym.weights import load_weights, save_weights

FORMAT = 1
RECORD = "lmgym.json"
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}"
CRITIC = "critic.safetensors"
MAX_TOKENS = 1024


class Size(NamedTuple):
    """Shape of a decoder. A preset is named by its parameters, the embedding not counted."""

    width: int
    layers: int
    heads: int
    inner: int


PRESETS = {
    "0.1M": Size(width=64, layers=2, heads=4, inner=160),
    "0.3M": Size(width=96, layers=3, heads=4, inner=224),
    "1M": Size(width=128, layers=5, heads=4, inner=320),
    "5M": Size(width=256, layers=6, heads=8, inner=704),
    "20M": Size(width=512, layers=6, heads=8, inner=1408),
}


def best_device() -> torch.device:
    """Return the GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_pretrained(
    name: str, *, download: bool, dtype: torch.dtype | str, permission: str, quantization_config: Any = None
) -> tuple[Any, Any]:
    """Load a causal LM and its tokenizer from a folder or by name; weights must be safetensors.

    Raises UsageError where they cannot be had; it names `permission`, what a user has to say for a download.
    """
    if (Path(name) / ADAPTERS).is_file():
        raise UsageError(
            f"{name} holds adapters to another model, not a whole one: go on training them by --init, or merge them "
            f"(lmgym.policy.Policy.from_pretrained({name!r}).merged().save_pretrained(...))"
        )
    here = {"local_files_only": not download, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, **here)
        tokenizer = AutoTokenizer.from_pretrained(name, **here)
        with _quiet():
            how = {
                "dtype": dtype,
                "quantization_config": quantization_config,
                "adapter_kwargs": _adapters(download),
                **here,
            }
            lm = AutoModelForCausalLM.from_pretrained(name, config=config, use_safetensors=True, **how)
    except Exception as error:
        advice = "" if download or Path(name).exists() else f" (nothing is downloaded unless asked: {permission})"
        raise UsageError(f"cannot load the model {name!r}{advice}: {_first_line(error)}") from error
    return lm, tokenizer


def _adapters(download: bool) -> dict[str, bool]:
    """Return what keeps transformers, where peft is installed, from asking the network for adapters to a model."""
    return {"local_files_only": not download}


def max_positions(lm: Any) -> int | None:
    """Return how many tokens a model can read and write together, if it says so."""
    return getattr(lm.config, "max_position_embeddings", None)


def _view_of(lm: Any, history: int | None, max_reply_chars: int) -> View:
    return View.of(history, max_reply_chars, min(max_positions(lm) or MAX_TOKENS, MAX_TOKENS))


class Outputs(NamedTuple):
    """What the policy says of a batch. hidden [B, T, width]: last hidden states; logits [N, V] float32: of each
    action token, before it, in the order of `TokenBatch.action_ids`."""

    hidden: torch.Tensor
    logits: torch.Tensor


class Policy(torch.nn.Module):
    """A causal language model that reads a conversation and writes the next action.

    `lm` is any Hugging Face causal LM whose logits are its output embedding applied to its last hidden state.
    `critic`, where a method has learned one, says what each next token is worth. `adapted` names the frozen model
    that `lm` is made of, where all that is trained is adapters beside it.
    """

    def __init__(self, lm: Any, tokenizer: PreTrainedTokenizerBase, view: View) -> None:
        super().__init__()
        self.lm = lm
        self.codec = Codec(tokenizer)
        self.view = view
        self.critic: Critic | None = None
        self.adapted: Adapted | None = None
        if self.num_embeddings < len(tokenizer):
            raise UsageError(
                f"the tokenizer has {len(tokenizer)} tokens and the model only {self.num_embeddings} embeddings"
            )
        _require_plain_head(lm)

    @classmethod
    def from_preset(cls, preset: str, tokenizer: PreTrainedTokenizerBase, view: View, *, seed: int) -> "Policy":
        """Build a small decoder (rotary positions, RMSNorm, SwiGLU, tied embeddings, no dropout) with random
        weights that depend on `seed` alone. Raises UsageError for an unknown preset."""
        if preset not in PRESETS:
            raise unknown("model preset", preset, PRESETS)
        size = PRESETS[preset]
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.inner,
            max_position_embeddings=MAX_TOKENS,
            tie_word_embeddings=True,
            # Unit-variance activations and logits at these widths; 0.02 is made for widths near 1000.
            initializer_range=size.width**-0.5,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            lm = LlamaForCausalLM(config)
        return cls(lm, tokenizer, view)

    @classmethod
    def from_model(cls, name: str, history: int | None, max_reply_chars: int, *, download: bool = False) -> "Policy":
        """Load a pretrained causal LM with its tokenizer, from a folder or by name.

        A name is looked up in the local Hugging Face cache; only `download` lets it come from the network.
        Weights must be safetensors. Raises UsageError where model or tokenizer cannot be had.
        """
        lm, tokenizer = load_pretrained(name, download=download, dtype=torch.float32, permission="--download")
        return cls(lm, tokenizer, _view_of(lm, history, max_reply_chars))

    @classmethod
    def from_base(
        cls,
        name: str,
        history: int | None,
        max_reply_chars: int,
        settings: LoraSettings,
        *,
        dtype: str = "float32",
        seed: int,
        download: bool = False,
    ) -> "Policy":
        """Load a pretrained causal LM as `from_model` does, to train adapters (LoRA) beside it and nothing else.

        `dtype`, one of `lmgym.lora.DTYPES`, is how the frozen model is loaded; adapters are float32. Raises UsageError
        also where a package is missing, or the model has no such layers.
        """
        lora.require_means(dtype)
        name = str(Path(name).resolve()) if Path(name).exists() else name
        lm, tokenizer = load_pretrained(name, download=download, permission="--download", **lora.how_to_load(dtype))
        policy = cls(lm, tokenizer, _view_of(lm, history, max_reply_chars))
        policy.adapted = Adapted(lora.adapt(lm, settings, seed), Base.of(name, dtype))
        return policy

    def merged(self) -> "Policy":
        """Return a whole model in float32 that says the same as these adapters beside their base; itself without any.

        Raises UsageError for a base of 4 bits.
        """
        if self.adapted is None:
            return self
        if self.adapted.base.dtype == "4bit":
            raise UsageError("adapters beside weights of 4 bits cannot be merged with them")
        policy = Policy(lora.merged(self.lm), self.codec.tokenizer, self.view)
        if self.critic is not None:
            policy.critic = copy.deepcopy(self.critic)
            if policy.critic.trunk is not None:
                policy.critic.trunk = lora.merged(policy.critic.trunk)
        return policy.train(self.training)

    def forward(self, batch: TokenBatch) -> Outputs:
        """Return hidden states and, at action tokens only, logits: never [B, T, V]."""
        before_actions, hidden = states_before_actions(self.lm.base_model, batch)
        return Outputs(hidden, self.logits(before_actions))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [..., V] float32 of hidden states [..., width]."""
        return self.lm.get_output_embeddings()(hidden).float()

    @cached_property
    def never_said(self) -> list[int]:
        """Tokens that stand for no text, and embeddings of no token: a pretrained model may have more of these than
        its tokenizer has tokens."""
        return sorted({*self.codec.banned, *range(len(self.codec.tokenizer), self.num_embeddings)})

    def without_never_said(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] with -inf for tokens that are never said."""
        never = torch.tensor(self.never_said, dtype=torch.int64, device=logits.device)
        return logits.index_fill(-1, never, -torch.inf)

    @property
    def device(self) -> torch.device:
        """Where the policy computes."""
        return next(self.parameters()).device

    @property
    def num_embeddings(self) -> int:
        """Rows of the input embedding; at least the tokens of the tokenizer."""
        return int(self.lm.get_input_embeddings().weight.shape[0])

    @property
    def num_parameters(self) -> int:
        """Parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model and critic (safetensors), tokenizer and, last, `lmgym.json` with the checksum of each file.

        The folder also opens with plain `transformers.AutoModelForCausalLM.from_pretrained`, and servers of chat
        models serve it: its template makes of messages what the policy reads, each and its terminator. Of a model with
        adapters it holds the adapters alone, in the format of peft, and what tells their base from others.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".policy-") as fresh, _quiet():
            if self.adapted is None:
                self.lm.save_pretrained(fresh)
            else:
                lora.save(self.lm, Path(fresh))
            self._generation().save_pretrained(fresh)
            tokenizer = copy.deepcopy(self.codec.tokenizer)
            tokenizer.chat_template = CHAT_TEMPLATE
            tokenizer.save_pretrained(fresh)
            if self.critic is not None:
                save_weights(self.critic, Path(fresh) / CRITIC)
            written = sorted(Path(fresh).iterdir())
            checksums = {path.name: sha256(path) for path in written}
            for path in written:
                path.replace(folder / path.name)
        record = {
            "format": FORMAT,
            "view": asdict(self.view),
            "tokenizer": self.codec.fingerprint,
            "files": checksums,
        }
        if self.critic is not None:
            record["critic"] = asdict(self.critic.shape)
        if self.adapted is not None:
            record["adapted"] = asdict(self.adapted)
        write_json(folder / RECORD, record)

    def _generation(self) -> GenerationConfig:
        """Return how others are to generate: until the action ends, and not greedily unless they are told to."""
        pad = self.codec.pad
        return GenerationConfig(
            do_sample=True,
            eos_token_id=sorted(self.codec.stops),
            pad_token_id=pad,
            max_new_tokens=self.view.max_reply_tokens,
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Policy":
        """Load what `save_pretrained` wrote, adapters beside their base. Raises UsageError, naming the file, where it
        is not whole or the base is not what it was."""
        folder = Path(folder)
        record = _require_whole(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        adapted = Adapted.of_record(record["adapted"]) if "adapted" in record else None
        source = folder if adapted is None else _base_beside(folder, adapted)
        how = {"dtype": "auto"} if adapted is None else lora.how_to_load(adapted.base.dtype)
        how |= {"local_files_only": True, "adapter_kwargs": _adapters(download=False)}
        with _quiet():
            lm = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, **how)
        policy = cls(lm, tokenizer, View(**record["view"]))
        if adapted is not None:
            lora.restore(lm, adapted.lora, folder)
            policy.adapted = adapted
        if policy.codec.fingerprint != record["tokenizer"]:
            raise UsageError(f"{folder / 'tokenizer.json'} is not the tokenizer that this policy was trained with")
        if "critic" in record:
            policy.critic = Critic(lm, CriticShape(**record["critic"]))
            load_weights(policy.critic, folder / CRITIC)
        return policy.eval()


def _base_beside(folder: Path, adapted: Adapted) -> str:
    lora.require_means(adapted.base.dtype)
    adapted.base.require_unchanged(folder)
    return adapted.base.name


def _require_whole(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        unfinished = (folder / "run.json").is_file()
        why = "its training has not finished: run its command again to go on" if unfinished else "no policy is here"
        raise UsageError(f"{path} is missing: {why}")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else None
        raise UsageError(f"{path} has format {found}; this lmgym reads format {FORMAT}")
    if not {"view", "tokenizer", "files"} <= record.keys():
        raise UsageError(f"{path} is damaged: it does not name view, tokenizer and files")
    for name, checksum in record["files"].items():
        if not (folder / name).is_file():
            raise UsageError(f"{folder / name} is missing")
        if sha256(folder / name) != checksum:
            raise UsageError(f"{folder / name} was changed after it was written: its checksum does not match")
    return record


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that transformers draws for every file."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@torch.no_grad()
def _require_plain_head(lm: Any) -> None:
    device = next(lm.parameters()).device
    was_training = lm.training
    lm.eval()
    ids = torch.zeros((1, 2), dtype=torch.int64, device=device)
    logits = lm(input_ids=ids, use_cache=False).logits
    hidden = lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
    lm.train(was_training)
    if not torch.allclose(logits, lm.get_output_embeddings()(hidden), rtol=1e-3, atol=1e-3):
        raise UsageError(f"{type(lm).__name__} changes its logits after the output layer, which is not supported")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
