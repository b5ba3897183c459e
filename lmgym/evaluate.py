"""How well an agent plays a game: mean return with an interval, success, normalised score."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lmgym.chat import Bill
from lmgym.env import Contract, contract_of
from lmgym.episode import Episode, Tally
from lmgym.errors import UsageError
from lmgym.rollout import Agent, Start, rollout
from lmgym.scores import Interval, bootstrap_mean
from lmgym.seeds import Stream, game_seed

if TYPE_CHECKING:
    from lmgym.journal import Journal


_USAGE = [name for who in ("agent", "oracle") for name in Bill().info(who)]


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation; rates are shares between 0 and 1, `turns` is the mean of agent turns.

    Return and turns are means over the games that came to their end; where some failed (`errors`) there is no
    score, because leaving games out must not improve it.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    agent: str
    seed: int
    episodes: int
    mean_return: Interval
    success_rate: float | None
    score: float | None
    invalid_rate: float
    turns: float
    errors: int
    first_error: str | None
    usage: Mapping[str, float] = field(default_factory=dict)
    """What language models did in all games, by the names of `Bill.info`: as `agent`, as `oracle`."""


def evaluation_starts(rules: Contract, episodes: int, seed: int, stream: Stream = Stream.EVALUATE) -> Iterator[Start]:
    """Yield the starts of an evaluation: the official ones equally often, each game with a seed of its own."""
    options = rules.official_starts or ({},)
    for index in range(episodes):
        yield Start(game_seed(stream, seed, index), options[index % len(options)])


def default_episodes(rules: Contract, episodes: int | None, env_id: str) -> int:
    """Return the number of evaluation episodes: the game's own by default, a multiple of its official starts."""
    starts = max(1, len(rules.official_starts))
    if episodes is None:
        # A variant of a game may have another number of starts.
        return max(1, round(rules.evaluation_episodes / starts)) * starts
    count = episodes
    if count < 1:
        raise UsageError(f"the number of episodes is 1 or more, not {count}")
    if count % starts:
        nearest = max(1, round(count / starts)) * starts
        raise UsageError(
            f"{env_id} is evaluated from {starts} starts equally often, so that the number of episodes is a "
            f"multiple of {starts}; nearest to {count}: {nearest}"
        )
    return count


def evaluate(
    agent: Agent,
    env_id: str,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    seed: int = 0,
    num_envs: int = 64,
    stream: Stream = Stream.EVALUATE,
    watch: Any = None,
    journal: "Journal | None" = None,
) -> Evaluation:
    """Play `episodes` games (the game's published number by default) and sum up.

    `stream` says what the games are played for; those of different streams never meet. `watch`, if given, is
    called with every finished Episode. Games that the `journal` has are not played again; it hears of the others.
    """
    rules = contract_of(env_id, env_kwargs)
    count = default_episodes(rules, episodes, env_id)
    starts = evaluation_starts(rules, count, seed, stream)
    tally, first_error, usage = Tally(), None, Counter[str]()
    for episode in _played(agent, env_id, dict(enumerate(starts)), env_kwargs, num_envs, journal):
        tally.add(episode)
        first_error = first_error or episode.error
        usage.update({name: episode.outcome[name] for name in _USAGE if name in episode.outcome})
        if watch is not None:
            watch(episode)
    result = _summed_up(tally, rules, env_id, dict(env_kwargs or {}), agent.name, seed, first_error)
    return replace(result, usage=dict(usage))


def _played(
    agent: Agent,
    env_id: str,
    starts: dict[int, Start],
    env_kwargs: Mapping[str, Any] | None,
    num_envs: int,
    journal: "Journal | None",
) -> Iterator[Episode]:
    """Yield the games in the order of their starts, those of the journal among them."""
    kept = {} if journal is None else journal.games
    places = [place for place in starts if place not in kept]

    def finished(number: int, episode: Episode) -> None:
        if journal is not None:
            journal.add(places[number], episode)

    missing = (starts[place] for place in places)
    played = rollout(agent, env_id, missing, env_kwargs=env_kwargs, num_envs=num_envs, finished=finished)
    for place in starts:
        yield kept[place] if place in kept else next(played)


def _summed_up(
    tally: Tally,
    rules: Contract,
    env_id: str,
    env_kwargs: dict[str, Any],
    agent: str,
    seed: int,
    first_error: str | None,
) -> Evaluation:
    if not tally.returns:
        raise UsageError(f"all {tally.num_errors} games failed, the first with {first_error}")
    found = tally.statistics()
    comparable = rules.reference if found.errors == 0 else None
    return Evaluation(
        env_id=env_id,
        env_kwargs=env_kwargs,
        agent=agent,
        seed=seed,
        episodes=found.episodes,
        mean_return=bootstrap_mean(tally.returns, seed=seed),
        success_rate=found.success_rate,
        score=None if comparable is None else comparable.normalise(found.mean_return),
        invalid_rate=found.invalid_rate,
        turns=found.mean_turns,
        errors=found.errors,
        first_error=first_error,
    )


def collect_starts(episodes: int, seed: int) -> Iterator[Start]:
    """Yield the starts of a data set: chance decides all but the seed."""
    for index in range(episodes):
        yield Start(game_seed(Stream.COLLECT, seed, index), {})


def collect(
    agent: Agent,
    env_id: str,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    episodes: int,
    seed: int = 0,
    num_envs: int = 64,
) -> Iterator[Episode]:
    """Yield the episodes of a data set."""
    starts = collect_starts(episodes, seed)
    return rollout(agent, env_id, starts, env_kwargs=env_kwargs, num_envs=num_envs)


def play_one(agent: Agent, env_id: str, env_kwargs: Mapping[str, Any] | None = None, *, seed: int = 0) -> Episode:
    """Play the first game of a series of evaluation games, wherever chance starts it."""
    start = Start(game_seed(Stream.EVALUATE, seed, 0), {})
    return next(iter(rollout(agent, env_id, [start], env_kwargs=env_kwargs, num_envs=1)))
