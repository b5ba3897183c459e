"""How much time a step of training takes in parts of rows of about one length (`--accumulate`), against the whole step
filled up to its longest row: ratios of processor seconds, the parts taking turns."""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table

from lmgym.agents import load_agent
from lmgym.env import contract_of
from lmgym.evaluate import collect
from lmgym.losses import cloning
from lmgym.policy import MAX_TOKENS, Policy
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.train import RowSampler
from lmgym.view import View
from lmgym.vocabulary import build_tokenizer

PARTS = (1, 2, 4, 8)


def gradients(policy: Policy, batch: TokenBatch, parts: int) -> float:
    """Take the gradients of a step; return the processor seconds."""
    started = time.process_time()
    for part in batch.parts(parts):
        cloning(part, policy(part))[0].backward()
    policy.zero_grad()
    return time.process_time() - started


def main() -> None:
    """Time steps on the games of a game's own players and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="lmgym/CarDealer-v0")
    parser.add_argument("--model", default="0.3M")
    parser.add_argument("--tokenizer", default="template:1024")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rules = contract_of(options.env, {})
    games = list(collect(load_agent("behaviour", options.env, {}), options.env, episodes=2000, seed=0))
    tokenizer = build_tokenizer(options.tokenizer, (turn.text + "\n" for game in games for turn in game.turns))
    view = View.of(rules.history, rules.max_reply_chars, MAX_TOKENS)
    policy = Policy.from_preset(options.model, tokenizer, view, seed=0)
    data = TokenDataset(games, policy.codec, policy.view)
    rows = data.rows_with_actions()
    count = max(*PARTS, round(options.batch_tokens / float(data.lengths[rows].mean())))
    sampler = RowSampler(rows, count, seed=0)
    seconds = dict.fromkeys(PARTS, 0.0)
    tokens = places = 0
    for step in range(-2, options.steps):  # two to warm up
        batch = data.batch(sampler.rows_of(step % options.steps))
        spent = {parts: gradients(policy, batch, parts) for parts in PARTS}
        if step >= 0:
            seconds = {parts: seconds[parts] + spent[parts] for parts in PARTS}
            tokens, places = tokens + int(batch.attention_mask.sum()), places + batch.ids.numel()
    title = f"{options.env}, {options.model}, {count} rows a step, {1 - tokens / places:.0%} of the whole is filling"
    table = Table("parts", "tokens a second", "times as fast", title=title)
    for parts in PARTS:
        table.add_row(str(parts), f"{tokens / seconds[parts]:,.0f}", f"{seconds[1] / seconds[parts]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
