"""Low-rank adapters (LoRA, arXiv 2106.09685, by peft): small weights that are trained beside a model that is not.

The model stays where it came from; what is kept of it is its name and the checksums of its files.
"""

import copy
import dataclasses
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from lmgym.errors import UsageError, require_number, unknown
from lmgym.files import sha256
from lmgym.weights import is_adapter

ADAPTERS = "adapter_model.safetensors"
DTYPES = ("auto", "float32", "bfloat16", "float16", "4bit")
ALL = "all-linear"


@dataclass(frozen=True)
class LoraSettings:
    """Shape of the adapters: what they add is `alpha / rank` times a matrix of rank `rank`. `targets` are names, or
    ends of names, of linear layers; peft's choice for the architecture if None."""

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"lora_rank is 1 or more, not {self.rank}")
        require_number("lora_alpha", self.alpha, above=True)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"lora_dropout is from 0 to below 1, not {self.dropout}")
        if self.targets is not None and (not self.targets or (ALL in self.targets and len(self.targets) > 1)):
            raise UsageError(f"--lora-targets names layers, or {ALL} alone")


@dataclass(frozen=True)
class Base:
    """The model beside adapters: a folder or a name, how it is loaded (one of `DTYPES`), and the SHA-256 of its
    configuration and weights by file."""

    name: str
    dtype: str
    files: dict[str, str]

    @classmethod
    def of(cls, name: str, dtype: str) -> "Base":
        """Return the base of this name as it is now, in a folder or in the cache of downloads."""
        return cls(name, dtype, {file: sha256(path) for file, path in _model_files(name).items()})

    @property
    def checksum(self) -> str:
        """One for all files."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()

    def require_unchanged(self, folder: Path) -> None:
        """Raise UsageError where the base is not what the adapters in `folder` were trained beside."""
        advice = f"put it back, or name its new place in {folder / 'lmgym.json'}"
        try:
            now = Base.of(self.name, self.dtype)
        except OSError as error:
            raise UsageError(f"{folder} holds adapters to {self.name}, which is not there: {advice}") from error
        for file, checksum in self.files.items():
            if now.files.get(file) != checksum:
                raise UsageError(
                    f"{file} of {self.name} is not the one that the adapters in {folder} were trained beside"
                )


@dataclass(frozen=True)
class Adapted:
    """Which base a model adapts, and how."""

    lora: LoraSettings
    base: Base

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Adapted":
        """Return what `dataclasses.asdict` made a record of."""
        targets = record["lora"]["targets"]
        lora = LoraSettings(**{**record["lora"], "targets": None if targets is None else tuple(targets)})
        return cls(lora, Base(**record["base"]))


def _model_files(name: str) -> dict[str, Path]:
    """Return a model's configuration and weights, by name of the file. Raises OSError where they are missing."""
    files = ["config.json", "model.safetensors"]
    index = "model.safetensors.index.json"
    if _file(name, "model.safetensors") is None and (path := _file(name, index)) is not None:
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        files = ["config.json", index, *sorted(set(shards))]
    found = {file: _file(name, file) for file in files}
    if missing := [file for file, path in found.items() if path is None]:
        raise FileNotFoundError(f"{name} has no {missing[0]}")
    return {file: path for file, path in found.items() if path is not None}


def _file(name: str, file: str) -> Path | None:
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    cached = None if Path(name).is_absolute() else try_to_load_from_cache(name, file)
    return Path(cached) if isinstance(cached, str) else None


def require_means(dtype: str) -> None:
    """Raise UsageError where what adapters beside such a base need is missing."""
    if importlib.util.find_spec("peft") is None:
        raise UsageError("adapters (LoRA) need a package: pip install 'lmgym[peft]'")
    if dtype == "4bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("--dtype 4bit needs a package: pip install bitsandbytes; without it, bfloat16 is the smallest")
    if dtype == "4bit" and not torch.cuda.is_available():
        # On a processor it warns that its gradients may be wrong, and changes weights as it reads them.
        raise UsageError("--dtype 4bit needs a GPU; bfloat16 is the smallest on a processor")


def how_to_load(dtype: str) -> dict[str, Any]:
    """Return what transformers has to be told to load a frozen model like this, one of `DTYPES`."""
    if dtype == "4bit":
        bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
        return {"dtype": torch.bfloat16, "quantization_config": bits}
    return {"dtype": dtype if dtype == "auto" else getattr(torch, dtype)}


def adapt(lm: Any, lora: LoraSettings, seed: int) -> LoraSettings:
    """Put adapters that change nothing yet beside the layers of a causal LM, freeze all else, and return the settings
    with the targets they came to. New weights are float32 and depend on `seed` alone.

    Raises UsageError for targets that the model does not have.
    """
    from peft import LoraConfig

    linear = _linear_layers(lm)
    for target in lora.targets or ():
        if target != ALL and not any(name == target or name.endswith(f".{target}") for name in linear):
            raise unknown("LoRA target", target, {ALL, *(name.rpartition(".")[2] for name in linear)})
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=ALL if lora.targets == (ALL,) else None if lora.targets is None else list(lora.targets),
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in linear.values()),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            lm.add_adapter(config)
        except ValueError as error:
            names = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise UsageError(f"peft cannot adapt {type(lm).__name__}; try --lora-targets {names}: {error}") from error
    for name, weight in lm.named_parameters():
        if is_adapter(name):
            # Beside a base of half precision they would be so as well, and small steps would be lost.
            weight.data = weight.data.float()
    made = lm.peft_config["default"]
    made.target_modules = sorted(made.target_modules)  # A set, which would be written in another order each time.
    return dataclasses.replace(lora, targets=lora.targets or tuple(made.target_modules))


def _linear_layers(lm: Any) -> dict[str, torch.nn.Module]:
    """Return the linear layers of a causal LM by name, its output layer left out."""
    output, linear = lm.get_output_embeddings(), (torch.nn.Linear, Conv1D)
    return {name: layer for name, layer in lm.named_modules() if isinstance(layer, linear) and layer is not output}


def save(lm: Any, folder: Path) -> None:
    """Write adapters in the format of peft, which transformers opens as well."""
    from peft import get_peft_model_state_dict

    # Not by transformers' own way, which asks the network whether a base that has a name is what it was.
    state = get_peft_model_state_dict(lm, save_embedding_layers=False)
    named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in state.items()}
    save_file(named, folder / ADAPTERS, metadata={"format": "pt"})
    lm.peft_config["default"].save_pretrained(str(folder))


def restore(lm: Any, lora: LoraSettings, folder: Path) -> None:
    """Put the adapters that `folder` holds, in the format of peft, beside the layers of a causal LM."""
    from peft import set_peft_model_state_dict

    adapt(lm, lora, seed=0)
    try:
        found = set_peft_model_state_dict(lm, load_file(folder / ADAPTERS))
        wrong = [*found.unexpected_keys, *filter(is_adapter, found.missing_keys)]
    except RuntimeError as error:
        wrong = [str(error)]
    if wrong:
        raise UsageError(f"{folder / ADAPTERS} does not hold the adapters of {folder / 'lmgym.json'}: {wrong[0]}")


def merged(model: Any) -> Any:
    """Return a copy of an adapted transformers model as a plain one in float32, its adapters added to its weights."""
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model).float()
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    # What transformers remembers of adapters it would otherwise look for when it saves.
    model._hf_peft_config_loaded = False
    vars(model).pop("peft_config", None)
    return model.requires_grad_(True)
