"""Seconds and peak memory of one ILQL step with a vocabulary of 50,257 tokens, 8 rows of 512 tokens: heads at every
token against heads at action tokens. Each way runs in a process of its own; the loss must be the same."""

import argparse
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from lmgym.algorithms import ilql
from lmgym.critic import Critic, CriticShape
from lmgym.tokens import TokenBatch

ROWS, LENGTH, VOCABULARY, TURN, REPLY = 8, 512, 50_257, 64, 16


def batch() -> TokenBatch:
    """Rows of eight turns, a quarter of whose tokens the agent wrote."""
    generator = torch.Generator().manual_seed(0)
    places = torch.arange(LENGTH).expand(ROWS, -1)
    action_mask = places % TURN >= TURN - REPLY
    return TokenBatch(
        ids=torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator),
        attention_mask=torch.ones(ROWS, LENGTH, dtype=torch.bool),
        action_mask=action_mask,
        rewards=torch.where(places % TURN == TURN - 1, -1.0, 0.0),
        not_done=places != LENGTH - 1,
        logprobs=torch.zeros(ROWS, LENGTH),
        next_ids=torch.zeros(ROWS, 0, dtype=torch.int64),
        next_lengths=torch.zeros(ROWS, dtype=torch.int64),
        num_actions=int(action_mask.sum()),
    )


def language_model() -> LlamaForCausalLM:
    """A small trunk, so that what the heads need stands out."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, num_attention_heads=4)
    config.intermediate_size, config.tie_word_embeddings = 160, True
    return LlamaForCausalLM(config)


class EverywhereNetworks(ilql.Networks):
    """The plain way: every head at every token, masked afterwards."""

    def forward(self, batch: TokenBatch) -> ilql.Outputs:
        """Value every token of a batch, then choose."""
        chosen = batch.action_mask[:, 1:]
        actions = batch.ids[:, 1:, None]

        def whole(critic: Critic) -> tuple[list[torch.Tensor], torch.Tensor]:
            hidden = critic.trunk_beside(self.policy.lm)(input_ids=batch.ids, use_cache=False).last_hidden_state
            return [head(hidden[:, :-1]) for head in critic.q], hidden

        q, hidden = whole(self.critic)
        with torch.no_grad():
            slow, _ = whole(self.slow_critic)
            slow_q = torch.stack([values.gather(2, actions)[..., 0][chosen] for values in slow]).amin(dim=0)
        v = self.critic.value(hidden)
        entropies = [
            (functional.cross_entropy(values.transpose(1, 2), batch.ids[:, 1:], reduction="none") * chosen).sum()
            for values in q
        ]
        return ilql.Outputs(
            q=torch.stack([values.gather(2, actions)[..., 0][chosen] for values in q]),
            v=v[:, :-1][chosen],
            next_v=ilql.next_values(batch, v[:, :-1][chosen].detach(), v[:, -1].detach()),
            slow_q=slow_q,
            q_cross_entropy=torch.stack(entropies).sum(),
            logits=None,
        )


def step(way: type[ilql.Networks]) -> float:
    """Take the gradients of one step and return the loss."""
    lm: Any = language_model()
    policy = torch.nn.Module()
    policy.lm = lm
    critic = Critic.seeded(lm, CriticShape("own", num_q=2, has_v=True), np.array([-1.0]), 0)
    networks = way(policy, critic)  # type: ignore[arg-type]
    terms = partial(ilql.loss, config=ilql.Config(regress_first=0.0), scale=1.0, bounds=(-10.0, 0.0))
    rows = batch()
    value, _ = terms(rows, networks(rows))
    value.backward()
    return float(value.detach())


def main() -> None:
    """Run both ways and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=("everywhere", "actions", "nothing"))
    way = parser.parse_args().way
    if way is not None:
        if way != "nothing":
            print(step(EverywhereNetworks if way == "everywhere" else ilql.Networks))
        return
    from stages import timed

    table = Table("heads", "seconds", "peak MiB", "above imports", "loss", title=__doc__.partition(".")[0])
    _, bare = timed([__file__, "--way", "nothing"])
    for name in ("everywhere", "actions"):
        seconds, peak = timed([__file__, "--way", name])
        said = subprocess.run([sys.executable, __file__, "--way", name], capture_output=True, text=True, check=True)
        table.add_row(name, f"{seconds:.1f}", f"{peak:.0f}", f"{peak - bare:.0f}", f"{float(said.stdout):.6f}")
    Console().print(table)


if __name__ == "__main__":
    main()
