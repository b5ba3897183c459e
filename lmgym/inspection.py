"""A game through the eyes of the policy that played it: what each token was to it, and what each turn was worth."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lmgym.decoding import log_probabilities
from lmgym.episode import Episode
from lmgym.files import replacing
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.tokens import TokenBatch, TokenDataset

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class SeenToken:
    """A token that the agent wrote. `probability` is the policy's own, `played` that of the choice with values and
    settings of play; `q` and `v` are discounted returns in the game's units, None without a critic."""

    text: str
    probability: float
    played: float
    q: float | None
    v: float | None

    @property
    def advantage(self) -> float | None:
        """Q - V: how much better than usual the token was thought to be."""
        return None if self.q is None or self.v is None else self.q - self.v


@dataclass(frozen=True)
class SeenTurn:
    """An observation and what the agent made of it."""

    observation: str
    tokens: list[SeenToken]
    reward: float
    invalid: bool

    @property
    def value(self) -> float | None:
        """What the rest of the game was thought to be worth before the turn."""
        return self.tokens[0].v if self.tokens else None


@dataclass(frozen=True)
class SeenGame:
    """A game, turn by turn; `last` is the observation after the last action."""

    episode: Episode
    turns: list[SeenTurn]
    last: str | None

    @property
    def values(self) -> list[float]:
        """The value before each turn; empty without a critic."""
        return [turn.value for turn in self.turns if turn.value is not None]


def look(agent: PolicyAgent, episode: Episode) -> SeenGame:
    """Read a game that `agent` has played once more, as in training, and note what it thought of its tokens."""
    tokens = _tokens(agent, episode)
    turns = [
        SeenTurn(seen.text, [next(tokens) for _ in said.token_ids or ()], said.reward, said.invalid)
        for seen, said in zip(episode.observations, episode.actions, strict=False)
    ]
    ends_by_observation = len(episode.turns) % 2 == 1
    return SeenGame(episode, turns, episode.turns[-1].text if ends_by_observation else None)


@torch.inference_mode()
def _tokens(agent: PolicyAgent, episode: Episode) -> Iterator[SeenToken]:
    policy = agent.policy
    data = TokenDataset([episode], policy.codec, policy.view)
    for row in data.rows_with_actions():
        batch = data.batch([row]).to(policy.device)
        actions = batch.action_ids
        logits = policy(batch).logits
        q, v = _values(policy, batch, logits)
        played = log_probabilities(agent.scores(logits, q), agent.decoding).exp()
        scale = 1.0 if policy.critic is None else policy.critic.shape.reward_scale
        for index, action in enumerate(actions.tolist()):
            yield SeenToken(
                text=policy.codec.tokenizer.decode([action]),
                probability=float(logits[index].softmax(dim=-1)[action]),
                played=float(played[index, action]),
                q=None if q is None else float(q[index, action]) / scale,
                v=None if v is None else float(v[index]) / scale,
            )


def _values(policy: Policy, batch: TokenBatch, logits: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return Q [N, V] and V [N] of a batch's action tokens; where no V is learned, the mean of Q under the policy
    stands for it."""
    critic = policy.critic
    if critic is None:
        return None, None
    states, _ = critic.states(policy.lm, batch)
    if not len(critic.q):
        return None, critic.value(states)
    q = critic.lowest_q(states)
    return q, (logits.softmax(dim=-1) * q).sum(dim=-1) if critic.v is None else critic.value(states)


def print_seen(seen: SeenGame, console: Console) -> None:
    """Print the game with each token on a colour: green where it was thought better than usual, red where worse;
    without a critic, the stronger the likelier."""
    console.print(Group(*_lines(seen)))


def _lines(seen: SeenGame) -> Iterator[RenderableType]:
    spread = _spread(seen)
    for turn in seen.turns:
        yield Text(turn.observation, style="dim")
        line = Text(f"{_short(turn.value):>8} " if turn.value is not None else "  ")
        for token in turn.tokens:
            colour = "#{:02x}{:02x}{:02x}".format(*_colour(token, spread))
            line.append(_visible(token.text), style=Style(bgcolor=colour, color="black"))
        line.append(f"  [{turn.reward:g}]{' invalid' if turn.invalid else ''}", style="dim")
        yield line
    if seen.last is not None:
        yield Text(seen.last, style="dim")
    yield _token_table(seen)
    if seen.values:
        yield Text(f"value before each turn, {min(seen.values):.3g} to {max(seen.values):.3g}: {_bars(seen.values)}")
    yield Text(_summary(seen.episode))


def _token_table(seen: SeenGame) -> Table:
    table = Table(title="tokens", caption="pi: the policy alone; played: with values and settings of play")
    for heading in ("turn", "token", "pi", "played", "Q", "V", "advantage"):
        table.add_column(heading, justify="left" if heading == "token" else "right")
    for number, turn in enumerate(seen.turns, start=1):
        for token in turn.tokens:
            numbers = (token.probability, token.played, token.q, token.v, token.advantage)
            table.add_row(str(number), Text(_visible(token.text)), *(_short(value) for value in numbers))
    return table


def _summary(episode: Episode) -> str:
    solved = "" if episode.success is None else f", {'solved' if episode.success else 'not solved'}"
    ended = "terminated" if episode.terminated else "truncated"
    return f"{ended}{solved}: return {episode.total_reward:g} in {len(episode.actions)} turns"


def _spread(seen: SeenGame) -> float:
    advantages = [abs(token.advantage) for turn in seen.turns for token in turn.tokens if token.advantage is not None]
    return max(advantages, default=0.0) or 1.0


def _colour(token: SeenToken, spread: float) -> tuple[int, int, int]:
    """From white to green (good) or red (bad); to blue by probability where there are no values."""
    if token.advantage is None:
        fade = round(255 - 115 * token.probability)
        return fade, fade, 255
    fade = round(255 - 135 * min(1.0, abs(token.advantage) / spread))
    return (fade, 255, fade) if token.advantage >= 0 else (255, fade, fade)


def _visible(text: str) -> str:
    return text.replace("\n", "⏎")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(BARS[round((value - low) / width * (len(BARS) - 1))] for value in values)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
.seen {{ color: #666; white-space: pre-wrap; margin-top: .6rem; }}
.turn {{ display: flex; gap: .8rem; align-items: baseline; }}
.value {{ width: 4.5rem; text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }}
.said {{ flex: 1; }}
.said span {{ font-family: ui-monospace, monospace; padding: .1rem 0; white-space: pre-wrap; color: #111; }}
.reward {{ color: #666; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .1rem .7rem; text-align: right; }} td:nth-child(2), th:nth-child(2) {{ text-align: left; }}
tr:nth-child(even) {{ background: #f4f4f4; }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<p>{legend}</p>
{plot}
{turns}
<details><summary>every token</summary>{table}</details>
</body></html>
"""


def write_page(seen: SeenGame, path: Path) -> None:
    """Write the game as one HTML file that needs nothing else."""
    episode = seen.episode
    legend = (
        "Number before a turn: what the rest of the game was thought to be worth (V). Green: tokens thought better "
        "than usual (Q above V), red: worse. Point at a token for its numbers."
        if seen.values
        else "The stronger the blue, the likelier the token was to the policy. Point at a token for its numbers."
    )
    page = _PAGE.format(
        title=html.escape(f"{episode.env_id}, {episode.agent}, game {episode.seed}"),
        summary=html.escape(_summary(episode)),
        legend=html.escape(legend),
        plot=_plot(seen.values),
        turns="\n".join(_turn_html(turn, _spread(seen)) for turn in seen.turns)
        + (f'<div class="seen">{html.escape(seen.last)}</div>' if seen.last is not None else ""),
        table=_table_html(seen),
    )
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")


def _turn_html(turn: SeenTurn, spread: float) -> str:
    tokens = "".join(
        f'<span style="background: rgb{_colour(token, spread)}" title="{html.escape(_numbers(token))}">'
        f"{html.escape(_visible(token.text))}</span>"
        for token in turn.tokens
    )
    reward = f"{turn.reward:g}{' invalid' if turn.invalid else ''}"
    value = "" if turn.value is None else _short(turn.value)
    return (
        f'<div class="seen">{html.escape(turn.observation)}</div><div class="turn"><span class="value">{value}</span>'
        f'<span class="said">{tokens}</span><span class="reward">{reward}</span></div>'
    )


def _numbers(token: SeenToken) -> str:
    named = {"pi": token.probability, "played": token.played, "Q": token.q, "V": token.v, "advantage": token.advantage}
    return ", ".join(f"{name} {_short(value)}" for name, value in named.items() if value is not None)


def _table_html(seen: SeenGame) -> str:
    rows = [
        f"<tr><td>{number}</td><td><code>{html.escape(_visible(token.text))}</code></td>"
        + "".join(
            f"<td>{_short(value)}</td>"
            for value in (token.probability, token.played, token.q, token.v, token.advantage)
        )
        + "</tr>"
        for number, turn in enumerate(seen.turns, start=1)
        for token in turn.tokens
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("turn", "token", "pi", "played", "Q", "V", "advantage"))
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def _plot(values: Sequence[float]) -> str:
    """Return V before each turn as a line of SVG, with the axis labelled at both ends."""
    if not values:
        return ""
    width, height, left, margin = 720, 160, 60, 20
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(index: int, value: float) -> str:
        x = left + (width - left - margin) * index / max(1, len(values) - 1)
        y = height - margin - (height - 2 * margin) * (value - low) / span
        return f"{x:.1f},{y:.1f}"

    points = [place(index, value) for index, value in enumerate(values)]
    dots = "".join(
        f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="3" fill="#2563eb">'
        f"<title>turn {index}: {_short(value)}</title></circle>"
        for index, (point, value) in enumerate(zip(points, values, strict=True), start=1)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="value before each turn" style="width: 100%">'
        f'<polyline points="{" ".join(points)}" fill="none" stroke="#2563eb" stroke-width="2"/>{dots}'
        f'<text x="4" y="{margin + 4}" font-size="12">{_short(high)}</text>'
        f'<text x="4" y="{height - margin + 4}" font-size="12">{_short(low)}</text>'
        f'<text x="{left}" y="{height - 2}" font-size="12">turn 1</text>'
        f'<text x="{width - margin}" y="{height - 2}" font-size="12" text-anchor="end">turn {len(values)}</text></svg>'
    )
