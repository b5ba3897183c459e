"""The commands of the command line, one dataclass each: its fields are the options, `run` does the work.

Heavy imports stand inside `run`, so that asking for help is quick.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lmgym.chat_agent import ChatOptions
from lmgym.errors import UsageError
from lmgym.methods import method_module

EnvArgs = tuple[str, ...]
NO_CHOICE = ChatOptions()


def parsed(env_args: EnvArgs) -> dict[str, Any]:
    """Read KEY=VALUE words; a value is JSON where it can be, else text.

    >>> parsed(("maze=umaze", "invalid_reward=-4"))
    {'maze': 'umaze', 'invalid_reward': -4}
    """
    values = {}
    for word in env_args:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--env-args takes words like maze=umaze, not {word!r}")
        try:
            values[key] = json.loads(value, parse_constant=_no_number)
        except ValueError:
            values[key] = value
    return values


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True)
class DecodingOptions:
    """How a policy chooses tokens; what is left out is as its run was tuned."""

    temperature: float | None = None
    """1 samples as trained, 0 takes the best token. Chat models play at 0 if left out."""
    beta: float | None = None
    """Weight of the critic's Q beside the policy's log-probability."""
    support: float | None = None
    """With a critic: least share of the likeliest token's probability that a token needs to be said."""
    top_k: int | None = None
    """Sample among so many best tokens only."""
    top_p: float | None = None
    """Sample among the fewest best tokens that together have this probability."""

    def given(self) -> dict[str, Any]:
        """Return the options that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Tasks:
    """List every game: limits, history, data statistics, and min, data and best return with their origin."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from lmgym.tasks import list_tasks, print_tasks

        tasks = list_tasks()
        if self.json:
            print(json.dumps(tasks, indent=2))
        else:
            print_tasks(tasks)
        return 0


@dataclass(frozen=True)
class Check:
    """Test whether a game keeps the contract; prints a line for each rule, exit status 1 where one is broken."""

    env: tyro.conf.Positional[str]
    """Id of the game: lmgym/FOMaze-v0, my_pkg:MyGame-v0."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        from lmgym.check import check
        from lmgym.env import fidelity, make_env

        broken = 0
        env_kwargs = parsed(self.env_args)
        for verdict in check(self.env, env_kwargs):
            broken += verdict.problem is not None
            print(f"ok    {verdict.rule}" if verdict.problem is None else f"FAIL  {verdict.rule}: {verdict.problem}")
        if not broken:
            for name, figure in fidelity(make_env(self.env, env_kwargs)).items():
                print(f"      fidelity, {name}: {figure if isinstance(figure, int) else format(figure, '.3f')}")
        print(f"{self.env}: {'all rules kept' if not broken else f'{broken} broken'}")
        return 1 if broken else 0


@dataclass(frozen=True)
class Collect:
    """Play games and write them to a Parquet file."""

    env: tyro.conf.Positional[str]
    """Id of the game."""
    out: Path
    """File to write; must not exist yet."""
    episodes: int | None = None
    """Number of games; the game's default data size if left out."""
    agent: str = "behaviour"
    """random, behaviour, expert, a run folder, openai:MODEL[@BASE_URL], hf:MODEL, my_pkg:MyAgent."""
    seed: int = 0
    """Which series of games."""
    decoding: DecodingOptions = DecodingOptions()
    """How a policy chooses tokens."""
    chat: ChatOptions = NO_CHOICE
    """How a chat model plays."""
    batch: int = 64
    """Games at a time; the result does not depend on it."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        from lmgym.agents import load_agent
        from lmgym.env import contract_of
        from lmgym.evaluate import collect
        from lmgym.progress import progress
        from lmgym.store import write_episodes

        require_absent(self.out)
        env_kwargs = parsed(self.env_args)
        agent = load_agent(self.agent, self.env, env_kwargs, settings=self.decoding.given(), chat=self.chat)
        count = contract_of(self.env, env_kwargs).data_episodes if self.episodes is None else self.episodes
        require_positive("episodes", count)
        games = collect(
            agent,
            self.env,
            env_kwargs=env_kwargs,
            episodes=count,
            seed=self.seed,
            num_envs=at_a_time(self.agent, self.batch),
        )
        with progress("collect", count) as bar:
            metadata = write_episodes(self.out, bar.over(games), series=self.seed)
        print_metadata(self.out, metadata)
        return 0


@dataclass(frozen=True)
class DataInfo:
    """Print what a file of episodes says of itself, after checking its content."""

    file: tyro.conf.Positional[Path]
    """A Parquet file of episodes."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from lmgym.store import iterate_episodes, read_metadata

        metadata = read_metadata(self.file)
        for _ in iterate_episodes(self.file):
            pass
        if self.json:
            print(json.dumps(dataclasses.asdict(metadata), indent=2))
        else:
            print_metadata(self.file, metadata)
        return 0


@dataclass(frozen=True)
class DataImportLmrl:
    """Turn a published data file of LMRL-Gym (JSON lines or one JSON list) into a file of episodes."""

    file: tyro.conf.Positional[Path]
    """The published file."""
    env: str
    """Id of the game it belongs to."""
    out: Path
    """File to write; must not exist yet."""

    def run(self) -> int:
        from lmgym.env import make_env
        from lmgym.lmrl import import_lmrl
        from lmgym.store import write_episodes

        require_absent(self.out)
        make_env(self.env).close()
        try:
            metadata = write_episodes(self.out, import_lmrl(self.file, self.env))
        except ValueError as error:
            raise UsageError(f"{self.file} holds nothing to import: {error}") from error
        print_metadata(self.out, metadata)
        return 0


@dataclass(frozen=True)
class Eval:
    """Evaluate an agent: mean return with a 95 % interval, success rate, normalised score."""

    agent: tyro.conf.Positional[str]
    """random, behaviour, expert, human, a run folder, openai:MODEL[@BASE_URL], hf:MODEL, my_pkg:MyAgent."""
    env: str | None = None
    """Id of the game; a run folder's own if left out."""
    episodes: int | None = None
    """Number of games; the published number if left out."""
    seed: int = 0
    """Which series of games."""
    decoding: DecodingOptions = DecodingOptions()
    """How a policy chooses tokens."""
    chat: ChatOptions = NO_CHOICE
    """How a chat model plays."""
    batch: int = 64
    """Games at a time; the result does not depend on it."""
    threads: int | None = None
    """Processor threads of a policy; 1 is safe on a busy machine."""
    save: Path | None = None
    """Also write the games to this Parquet file. Until all are played, those that are over are kept in FILE.journal:
    when it was interrupted, the same command goes on with the others."""
    json: bool = False
    """Print JSON."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        from lmgym.agents import load_agent
        from lmgym.env import contract_of
        from lmgym.evaluate import default_episodes, evaluate
        from lmgym.progress import progress
        from lmgym.tasks import evaluation_json, print_evaluations

        if self.save is not None:
            require_absent(self.save)
        env_id, env_kwargs = game_of(self.agent, self.env, self.env_args)
        if self.threads is not None:
            set_threads(self.threads)
        agent = load_agent(self.agent, env_id, env_kwargs, settings=self.decoding.given(), chat=self.chat)
        count = default_episodes(contract_of(env_id, env_kwargs), self.episodes, env_id)
        played = {
            "agent": agent.name,
            "env_id": env_id,
            "env_kwargs": env_kwargs,
            "seed": self.seed,
            "settings": {**settings_of(agent), "policy": policy_checksum(self.agent)},
        }
        with (
            journalling(self.save, played) as journal,
            progress("eval", count, show=self.agent != "human") as bar,
            saving(self.save, self.seed) as keep,
        ):

            def watch(episode: Any) -> None:
                bar.advance()
                keep(episode)

            result = evaluate(
                agent,
                env_id,
                env_kwargs=env_kwargs,
                episodes=count,
                seed=self.seed,
                num_envs=at_a_time(self.agent, self.batch),
                watch=watch,
                journal=journal,
            )
        if self.json:
            print(json.dumps({**evaluation_json(result), **settings_of(agent)}, indent=2))
        else:
            print_evaluations([result])
            print_settings(agent, result.usage.get("agent_calls", 0))
        return 0


@dataclass(frozen=True)
class Tune:
    """Find the settings that a run's policy plays best with, on validation games, and keep them for eval."""

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    episodes: int | None = None
    """Games per setting; about 100 if left out."""
    seed: int = 0
    """Which series of validation games; those of evaluations are others."""
    batch: int = 64
    """Games at a time; the result does not depend on it."""
    threads: int | None = None
    """Processor threads; 1 is safe on a busy machine."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from lmgym.env import contract_of
        from lmgym.policy import Policy, best_device
        from lmgym.progress import progress
        from lmgym.run import read_record
        from lmgym.tasks import print_trials
        from lmgym.tune import grid, tune, tuning_episodes

        if self.threads is not None:
            set_threads(self.threads)
        policy = Policy.from_pretrained(self.run_folder).to(best_device())
        recipe = read_record(self.run_folder)["recipe"]
        usual = tuning_episodes(contract_of(recipe["env_id"], recipe["env_kwargs"]))
        count = usual if self.episodes is None else self.episodes
        with progress("tune", count * len(grid(policy))) as bar:
            trials = tune(
                self.run_folder,
                policy,
                episodes=count,
                seed=self.seed,
                num_envs=self.batch,
                watch=lambda _: bar.advance(),
            )
        if self.json:
            print(json.dumps([dataclasses.asdict(trial) for trial in trials], indent=2))
        else:
            print_trials(trials)
        return 0


@dataclass(frozen=True)
class Play:
    """Play a game at the keyboard, or watch an agent play it."""

    env: tyro.conf.Positional[str]
    """Id of the game."""
    agent: str = "human"
    """human, random, behaviour, expert, a run folder, openai:MODEL[@BASE_URL], hf:MODEL, my_pkg:MyAgent."""
    render: bool = False
    """Also show the board or map before each turn; it may show more than the agent sees."""
    seed: int = 0
    """Which game."""
    decoding: DecodingOptions = DecodingOptions()
    """How a policy chooses tokens."""
    chat: ChatOptions = NO_CHOICE
    """How a chat model plays."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        from lmgym.agents import Rendering, load_agent
        from lmgym.env import make_env
        from lmgym.evaluate import play_one
        from lmgym.seeds import Stream, game_seed
        from lmgym.tasks import print_game, print_rules

        env_kwargs = parsed(self.env_args)
        agent = load_agent(self.agent, self.env, env_kwargs, settings=self.decoding.given(), chat=self.chat)
        if self.render:
            modes = make_env(self.env, env_kwargs).metadata.get("render_modes", [])
            if "ansi" not in modes:
                raise UsageError(f"{self.env} cannot be rendered as text; leave --render out")
            env_kwargs["render_mode"] = "ansi"
            agent = Rendering(agent)
        if self.agent == "human":
            print_rules(self.env, env_kwargs, game_seed(Stream.EVALUATE, self.seed, 0))
        episode = play_one(agent, self.env, env_kwargs, seed=self.seed)
        print_game(episode, whole=self.agent != "human")
        return 0


@dataclass(frozen=True)
class Serve:
    """Serve a game over HTTP, to agents and trainers elsewhere; Ctrl-C ends it.

    There it is played as lmgym/Remote-v0 --env-args url=http://127.0.0.1:8000, or by any program that speaks JSON.
    """

    env: tyro.conf.Positional[str]
    """Id of the game."""
    host: str = "127.0.0.1"
    """Address to listen at. Any but this machine's own takes a token; 0.0.0.0 listens to everybody, unencrypted."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    token: str | None = None
    """What clients must know; LMGYM_TOKEN if left out, which other users of the machine cannot see. Where one is
    needed and none is given, one is made and printed."""
    max_sessions: int = 256
    """Games at a time, all clients together."""
    idle_minutes: float = 30.0
    """A session that nobody used for so long is closed."""
    max_request_kib: int = 4096
    """Longest request, in units of 1,024 bytes."""
    threads: int = 64
    """Turns that are computed at a time; 1 for a game whose code cannot bear threads."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        try:
            from lmgym.serve import ServeSettings, Service, is_loopback, new_token, run
        except ImportError as error:
            raise UsageError(f"lmgym serve needs packages (pip install 'lmgym[serve]'): {error}") from None

        from lmgym.wire import TOKEN_VARIABLE

        token = self.token if self.token is not None else (os.environ.get(TOKEN_VARIABLE) or None)
        made = token is None and not is_loopback(self.host)
        settings = ServeSettings(
            host=self.host,
            port=self.port,
            token=new_token() if made else token,
            max_sessions=self.max_sessions,
            idle_seconds=60 * self.idle_minutes,
            max_request_bytes=1024 * self.max_request_kib,
            threads=self.threads,
        )
        if made:
            print(f"token, shown this once (clients: {TOKEN_VARIABLE}): {settings.token}", flush=True)
        closed = run(Service(self.env, parsed(self.env_args), settings), lambda line: print(line, flush=True))
        print(f"\nended; open sessions closed: {closed}")
        return 0


@dataclass(frozen=True)
class TrainOptions:
    """What every training run is told."""

    env: str
    """Id of the game."""
    out: Path | None = None
    """Folder of the run; runs/METHOD-GAME-seedN if left out. The same command goes on where it stopped."""
    data: Path | None = None
    """File of offline episodes; the game's default data set is collected if left out."""
    seed: int = 0
    """Seed of weights and order. The default data set does not depend on it."""
    threads: int | None = None
    """Processor threads; 1 is safe on a busy machine."""
    tensorboard: bool = False
    """Also write metrics for TensorBoard (pip install lmgym[tensorboard])."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""


@dataclass(frozen=True)
class Inspect:
    """Play one game and show what the policy thought of each token: probability, Q, V and advantage."""

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    env: str | None = None
    """Id of the game; the run's own if left out."""
    seed: int = 0
    """Which game."""
    html: Path | None = None
    """Also write the game as one HTML file."""
    decoding: DecodingOptions = DecodingOptions()
    """How the policy chooses tokens."""
    env_args: EnvArgs = ()
    """Arguments of the game: maze=umaze ..."""

    def run(self) -> int:
        from lmgym.agents import load_agent
        from lmgym.evaluate import play_one
        from lmgym.inspection import look, print_seen, write_page
        from lmgym.play import PolicyAgent
        from lmgym.tasks import output_console

        if not self.run_folder.is_dir():
            raise UsageError(f"there is no run folder {str(self.run_folder)!r}")
        if self.html is not None and self.html.is_dir():
            raise UsageError(f"{self.html} is a folder; --html names a file")
        env_id, env_kwargs = game_of(str(self.run_folder), self.env, self.env_args)
        agent = load_agent(str(self.run_folder), env_id, env_kwargs, settings=self.decoding.given())
        assert isinstance(agent, PolicyAgent)
        seen = look(agent, play_one(agent, env_id, env_kwargs, seed=self.seed))
        print_seen(seen, output_console())
        if self.html is not None:
            write_page(seen, self.html)
            print(self.html)
        return 0


def game_of(agent: str, env: str | None, env_args: EnvArgs) -> tuple[str, dict[str, Any]]:
    """Return which game is meant, and its arguments: the one of the run folder `agent` if `env` is left out."""
    if env is not None:
        return env, parsed(env_args)
    if not Path(agent).is_dir():
        raise UsageError("--env is missing: which game is the agent to play?")
    from lmgym.run import read_record

    recipe = read_record(Path(agent))["recipe"]
    return recipe["env_id"], {**recipe["env_kwargs"], **parsed(env_args)}


def settings_of(agent: Any) -> dict[str, Any]:
    """Return what a token policy (`decoding`) and a chat model (`chat`) play with; None for other agents."""
    decoding = getattr(agent, "decoding", None)
    values = None if decoding is None else dataclasses.asdict(decoding)
    return {"decoding": values, "chat": getattr(agent, "settings", None)}


def print_settings(agent: Any, calls: float) -> None:
    """Print what the agent played with and how many of a chat model's calls were not answered by the cache."""
    for name, values in settings_of(agent).items():
        if values:
            known = {key: value for key, value in values.items() if value is not None}
            words = [f"{key} {value if isinstance(value, str) else format(value, 'g')}" for key, value in known.items()]
            print(f"{name}: {', '.join(words)}")
    asked = getattr(agent, "asked", None)
    if asked is not None and asked.calls != calls:
        print(f"asked this time, the others were known: {asked.calls:,} calls, cost {asked.cost:.4f}")


def policy_checksum(agent: str) -> str | None:
    """Return what tells the policy in a run folder, or hf:FOLDER, from the one that was there before; else None."""
    from lmgym.files import sha256

    record = Path(agent.removeprefix("hf:")) / "lmgym.json"
    return sha256(record) if record.is_file() else None


def train_command(method: str) -> type:
    """Return the command that trains with a method: its config's fields are options beside the common ones."""
    module = method_module(method)

    def run(self: Any) -> int:
        return train(method, module, self.run_options, self.config)

    fields: list[Any] = [
        ("run_options", Annotated[TrainOptions, tyro.conf.arg(name="")]),
        ("config", module.Config, dataclasses.field(default_factory=module.Config)),
    ]
    command = dataclasses.make_dataclass("Train", fields, frozen=True, namespace={"run": run})
    command.__doc__ = (module.__doc__ or "").strip().partition("\n")[0]
    return command


def train(method: str, module: Any, options: TrainOptions, config: Any) -> int:
    """Open the run, train unless it is finished, and say how to evaluate it."""
    from lmgym.env import make_env
    from lmgym.progress import console
    from lmgym.run import Recipe, opened
    from lmgym.seeds import Stream, game_seed

    env_kwargs = parsed(options.env_args)
    make_env(options.env, env_kwargs).close()
    game_seed(Stream.TRAIN, options.seed, 0)  # refuses a seed out of range before anything is written
    if options.data is not None and not options.data.is_file():
        raise UsageError(f"{options.data} does not exist")
    if options.threads is not None:
        set_threads(options.threads)
    name = options.env.rpartition("/")[2].replace(":", "-")
    folder = options.out or Path("runs") / f"{method}-{name}-seed{options.seed}"
    recipe = Recipe(
        method=method,
        env_id=options.env,
        env_kwargs=env_kwargs,
        seed=options.seed,
        data=None if options.data is None else str(options.data),
        config=dataclasses.asdict(config),
    )
    with opened(folder, recipe) as run:
        if run.finished:
            console.print(f"{folder} is finished already")
        else:
            run.tensorboard = options.tensorboard
            module.train(run, config)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"lmgym eval {folder}")
    return 0


def set_threads(count: int) -> None:
    """Set the number of processor threads that PyTorch computes with."""
    require_positive("threads", count)
    import torch

    torch.set_num_threads(count)


def at_a_time(agent: str, batch: int) -> int:
    """Return how many games are played at a time: a person plays one."""
    return 1 if agent == "human" else batch


def require_positive(name: str, value: int) -> None:
    """Raise UsageError unless `value` is 1 or more."""
    if value < 1:
        raise UsageError(f"--{name} is 1 or more, not {value}")


def require_absent(path: Path) -> None:
    """Raise UsageError where writing to `path` would replace something."""
    if path.exists():
        raise UsageError(f"{path} exists already; choose another name or remove it")


@contextmanager
def journalling(path: Path | None, played: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the journal of the games that will be saved to `path`; None where they will not."""
    if path is None:
        yield None
        return
    from lmgym.journal import journal

    with journal(path, played) as kept:
        yield kept


@contextmanager
def saving(path: Path | None, series: int) -> Iterator[Any]:
    """Yield a function that keeps episodes for `path`; for None it forgets them."""
    if path is None:
        yield lambda _: None
        return
    from lmgym.store import writing

    with writing(path) as writer:
        yield writer.add
        writer.finish(series)


def print_metadata(path: Path, metadata: Any) -> None:
    """Print a file's metadata as aligned lines."""
    found = metadata.statistics
    success = "not reported" if found.success_rate is None else f"{found.success_rate:.3f}"
    commit = metadata.code.get("commit") or "no commit"
    lines: Mapping[str, Any] = {
        "file": path,
        "game": f"{metadata.env_id} {metadata.env_kwargs or ''}".rstrip(),
        "agent": f"{metadata.agent}, seed {metadata.series}",
        "episodes": f"{found.episodes:,}",
        "return": f"{found.mean_return:.3f} (std {found.std_return:.3f})",
        "success": success,
        "turns": f"{found.mean_turns:.2f} (std {found.std_turns:.2f})",
        "invalid": f"{found.invalid_rate:.4f} of actions",
        "truncated": f"{found.truncated_rate:.3f} of episodes",
        "errors": found.errors,
        "made with": f"lmgym {metadata.code.get('lmgym')}, {commit}",
        "checksum": metadata.checksum,
    }
    for name, value in lines.items():
        print(f"{name:<10} {value}")


COMMANDS: dict[str, type] = {
    "tasks": Tasks,
    "check": Check,
    "collect": Collect,
    "data info": DataInfo,
    "data import-lmrl": DataImportLmrl,
    "eval": Eval,
    "tune": Tune,
    "play": Play,
    "inspect": Inspect,
    "serve": Serve,
}
