"""What a run starts from: the offline episodes of its game and its first policy. What several runs of one parent
folder need is made once and kept in the folder `shared` beside them."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmgym import __version__
from lmgym.agents import load_agent
from lmgym.env import contract_of, make_env, plays_itself
from lmgym.episode import Episode
from lmgym.errors import UsageError, unknown
from lmgym.evaluate import collect
from lmgym.files import locked, sha256
from lmgym.lora import DTYPES, LoraSettings
from lmgym.methods import method_module
from lmgym.policy import MAX_TOKENS, PRESETS, RECORD, Policy
from lmgym.progress import progress
from lmgym.run import Recipe, Run, opened, processes, read_record
from lmgym.store import iterate_episodes, read_episodes, read_metadata, write_episodes
from lmgym.tokens import View
from lmgym.vocabulary import build_tokenizer

# A game's default data set is one and the same, whatever the seed of the training on it.
DATA_SEED = 0

# So many games of a kept data set are played again, to see that the game is still the one that made it.
REPLAYED = 20


@dataclass(frozen=True)
class ModelConfig:
    """Which language model learns."""

    model: str | None = None
    """A preset trained from scratch (0.1M, 0.3M, 1M, 5M, 20M), or a pretrained causal LM by folder or name;
    the game's own preset if left out."""
    tokenizer: str | None = None
    """For a preset: `char`, `word`, `phrase`, `template` or `rows`, of 512 tokens at most or of as many as are
    named (`phrase:4096`); the game's own kind if left out."""
    download: bool = False
    """Allow a pretrained model to come from the network."""
    lora_rank: int | None = None
    """Train low-rank adapters (LoRA) of this rank beside a pretrained model that stays as it is; the whole model is
    trained if left out."""
    lora_alpha: float | None = None
    """What adapters add is multiplied by this over their rank; twice the rank if left out."""
    lora_dropout: float | None = None
    """Share of an adapter's inputs that are dropped in training; 0 if left out."""
    lora_targets: tuple[str, ...] | None = None
    """Linear layers that get adapters, by (the end of) their names, or `all-linear`; what peft chooses for the
    architecture if left out."""
    dtype: str | None = None
    """How the model beside adapters is loaded: `float32`, `bfloat16`, `float16`, `auto` (as it was saved), or `4bit`
    (with bitsandbytes, on a GPU); float32 if left out."""

    def __post_init__(self) -> None:
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_dropout", "lora_targets", "dtype"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')} is for adapters: give --lora-rank, too")
        elif self.model is None or self.model in PRESETS:
            raise UsageError("--lora-rank adapts a pretrained model: name its folder by --model")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        self.lora()  # refuses what makes no sense

    def lora(self) -> LoraSettings | None:
        """Return the shape of the adapters, or None where the whole model is trained."""
        if self.lora_rank is None:
            return None
        alpha = 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
        return LoraSettings(self.lora_rank, alpha, self.lora_dropout or 0.0, self.lora_targets)


def offline_episodes(run: Run) -> list[Episode]:
    """Return the run's episodes: those of its data file, or the game's default data set, collected once."""
    recipe = run.recipe
    if recipe.data:
        path = Path(recipe.data)
    else:
        count = _default_count(recipe)
        path = _shared(run, "", [count]).with_suffix(".parquet")
        with processes().main_process_first():
            collect_once(recipe.env_id, recipe.env_kwargs, path, count)
    metadata = read_metadata(path)
    if (metadata.env_id, metadata.env_kwargs) != (recipe.env_id, recipe.env_kwargs):
        raise UsageError(f"{path} holds episodes of {metadata.env_id} {metadata.env_kwargs or ''}".rstrip())
    run.require_same("data", metadata.checksum)
    episodes = read_episodes(path)
    # A game that broke down says nothing of its player, and being short it may look like a good one.
    whole = [episode for episode in episodes if episode.error is None]
    if len(whole) < len(episodes):
        run.note(failed_games_left_out=len(episodes) - len(whole))
    return whole


def _shared(run: Run, prefix: str, identity: list[object]) -> Path:
    """Return a name in `shared` for what depends on the run's game and on `identity` alone."""
    text = json.dumps([run.recipe.env_id, run.recipe.env_kwargs, *identity], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    game = run.recipe.env_id.rpartition("/")[2].replace(":", "-")
    # A run that is itself shared stands in the folder already.
    folder = run.folder.parent if run.folder.parent.name == "shared" else run.folder.parent / "shared"
    return folder / f"{prefix}{game}-{digest}"


def _default_count(recipe: Recipe) -> int:
    env = make_env(recipe.env_id, recipe.env_kwargs)
    env.close()
    if not plays_itself(env, "behaviour"):
        raise UsageError(
            f"{recipe.env_id} has no behaviour() that generates data: name a file by --data "
            f"(lmgym collect {recipe.env_id} --agent random --out F.parquet)"
        )
    return contract_of(recipe.env_id, recipe.env_kwargs).data_episodes


def collect_once(env_id: str, env_kwargs: dict[str, Any], path: Path, count: int) -> None:
    """Collect a data set of `DATA_SEED` by a game's own players into a file, unless it is there and they still play its
    first games as they are in it."""
    players = load_agent("behaviour", env_id, env_kwargs)

    def games(episodes: int) -> Iterator[Episode]:
        return collect(players, env_id, env_kwargs=env_kwargs, episodes=episodes, seed=DATA_SEED)

    with locked(path.parent, path.name, wait=True):
        if path.exists():
            kept = zip(iterate_episodes(path), games(REPLAYED), strict=False)
            if all(old == new for old, new in kept):
                return
            path.unlink()
        with progress("collect", count) as bar:
            write_episodes(path, bar.over(games(count)), series=DATA_SEED)


def new_policy(run: Run, config: ModelConfig, episodes: list[Episode]) -> Policy:
    """Return a policy that has learned nothing of the game: a preset with a tokenizer of the game's text, or a
    pretrained one."""
    recipe = run.recipe
    rules = contract_of(recipe.env_id, recipe.env_kwargs)
    model = rules.preset if config.model is None else config.model
    if model not in PRESETS:
        if config.tokenizer is not None:
            raise UsageError(f"{model!r} is no preset and brings its own tokenizer; leave --tokenizer out")
        if not config.download and "/" not in model and not Path(model).exists():
            raise unknown("model", model, [*PRESETS, "a folder", "a model's name with --download"])
        lora = config.lora()
        if lora is None:
            return Policy.from_model(model, rules.history, rules.max_reply_chars, download=config.download)
        dtype, seed = config.dtype or "float32", recipe.seed
        policy = Policy.from_base(
            model, rules.history, rules.max_reply_chars, lora, dtype=dtype, seed=seed, download=config.download
        )
        if policy.adapted is not None:  # Checkpoints hold the adapters alone.
            run.require_same("model", policy.adapted.base.checksum)
        return policy
    texts = (turn.text + "\n" for episode in episodes for turn in episode.turns)
    kind = rules.tokenizer if config.tokenizer is None else config.tokenizer
    tokenizer = build_tokenizer(kind, texts)
    view = View.of(rules.history, rules.max_reply_chars, MAX_TOKENS)
    return Policy.from_preset(model, tokenizer, view, seed=recipe.seed)


def trained_policy(run: Run, init: str | None, config: ModelConfig, method: str) -> Policy:
    """Return the policy of the finished run `init`; without one, that of a run of `method` with its default
    settings, the run's game, data and seed, which is trained where no run before this one has done it."""
    if init is None:
        folder = _trained_on_demand(run, config, method)
    elif config != ModelConfig():
        raise UsageError("--init names a trained policy: leave out what says which model (--model, --lora-rank, ...)")
    else:
        folder = Path(init)
        _require_game(folder, run.recipe.env_id)
    policy = Policy.from_pretrained(folder)
    policy.critic = None
    run.require_same("init", sha256(folder / RECORD))
    return policy


def _require_game(folder: Path, env_id: str) -> None:
    game = read_record(folder)["recipe"]["env_id"] if (folder / "run.json").exists() else env_id
    if game != env_id:
        raise UsageError(f"{folder} was trained on {game}, not on {env_id}; as a model: --model {folder}")


def _trained_on_demand(run: Run, config: ModelConfig, method: str) -> Path:
    module = method_module(method)
    settings = module.Config(lm=config)
    recipe = dataclasses.replace(run.recipe, method=method, config=dataclasses.asdict(settings))
    if recipe.data is not None:
        recipe = dataclasses.replace(recipe, data=str(Path(recipe.data).resolve()))
    identity = [method, recipe.config, recipe.seed, run.record["data_checksum"], __version__]
    folder = _shared(run, f"{method}-", identity)
    if not (folder / "run.json").exists() or read_record(folder)["status"] != "finished":
        with opened(folder, recipe, wait=True) as start:
            if not start.finished:
                module.train(start, settings)
    return folder
