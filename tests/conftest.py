"""What tests share: threads, a tiny policy, and all that is registered."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lmgym.env import contract_of
from lmgym.policy import MAX_TOKENS, Policy
from lmgym.tokens import View
from lmgym.vocabulary import build_tokenizer
from tests import warm
from tests.newcomer import prepare

torch.set_num_threads(1)  # several test processes share few cores


@pytest.fixture
def tiny_policy() -> Callable[..., Policy]:
    """A factory of policies with random weights for a game: `tiny_policy(env_id, kind="word", seed=0)`."""

    def make(env_id: str, kind: str = "word", seed: int = 0, **view: Any) -> Policy:
        from lmgym.agents import load_agent
        from lmgym.evaluate import collect

        episodes = list(collect(load_agent("random", env_id), env_id, episodes=20))
        texts = [turn.text + "\n" for episode in episodes for turn in episode.turns]
        rules = contract_of(env_id)
        seen = View.of(rules.history, rules.max_reply_chars, view.pop("max_tokens", MAX_TOKENS))
        return Policy.from_preset("0.1M", build_tokenizer(kind, texts), seen, seed=seed).eval()

    return make


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what games cache out of the user's own folder; one folder for all test processes, as in real use."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMGYM_CACHE", str(shared / "lmgym-cache"))
        yield


@pytest.fixture
def root() -> Path:
    """The top folder of the repository."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def warm_server() -> Iterator[str]:
    """The address of a process that runs commands; see `tests.warm`."""
    with warm.server() as address:
        yield address


@pytest.fixture
def newcomer(root: Path, tmp_path: Path, warm_server: str) -> Path:
    """The folder of somebody who has just installed lmgym; see `tests.newcomer`."""
    return prepare(tmp_path, root, warm_server)
