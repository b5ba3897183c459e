"""A method outside lmgym: cloning with settings that suit a test. Counts how often it trains."""

from dataclasses import dataclass, field

from lmgym.algorithms import bc
from lmgym.run import Run
from lmgym.start import ModelConfig
from lmgym.train import OptimConfig

trainings: list[str] = []


@dataclass(frozen=True)
class Config:
    """As cloning, a few steps."""

    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=10, batch_tokens=256, checkpoint_every=10))
    """The optimizer."""


def train(run: Run, config: Config) -> None:
    """Clone, and remember it."""
    trainings.append(run.folder.name)
    bc.train(run, bc.Config(config.lm, config.optim))
