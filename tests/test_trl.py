"""TRL on our games and our data: the example learns, and its tokens are held against the chat template."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from lmgym.agents import load_agent
from lmgym.env import AnyText, TextEnv, make_env
from lmgym.evaluate import collect
from lmgym.export import export
from lmgym.prompts import prompt_of
from lmgym.store import write_episodes
from lmgym.tasks import list_tasks
from tests.chats import TEMPLATE, build_chat_model

pytest.importorskip("trl", reason="trl is not installed (pip install trl==1.16.0)")
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of TRL and the packages it brings

FO = "lmgym/FOMaze-v0"
UMAZE = {"maze": "umaze"}


class Lowercase(TextEnv):
    """Three times the share of small letters in what is said: a model that says anything earns something at once."""

    observation_space = AnyText()
    metadata = {"render_modes": []}  # noqa: RUF012

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = 3
        return f"say {self.np_random.integers(10)}", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        share = sum("a" <= letter <= "z" for letter in action) / max(1, len(action))
        return "go on", share, self._left == 0, False, {}


gymnasium.register("test/Lowercase-v0", entry_point="tests.test_trl:Lowercase")


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a chat model with random weights, whose tokens are characters."""
    return str(build_chat_model(tmp_path_factory.mktemp("chat") / "model", max_positions=1024))


def tokenizer_of(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_a_conversation_in_tokens_is_the_chat_of_the_game(chat_model: str) -> None:
    from examples.trl_grpo.train import Conversation

    tokenizer = tokenizer_of(chat_model)
    game, env = Conversation(FO, UMAZE, 5, tokenizer), make_env(FO, UMAZE)
    observation, _ = env.reset(seed=5)
    messages = [{"role": "user", "content": f"{prompt_of(env)}\n\n{observation}"}]
    assert "move up" in prompt_of(env)
    earned = 0.0
    for text, ended in (("move up", True), ("fly to the moon", False), ("move left", True)):
        observation, reward, *_ = env.step(text)
        earned += float(reward)
        game.take(tokenizer.encode(text) + [tokenizer.eos_token_id] * ended, room=10_000)
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": observation}]
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert game.prompt + game.completion == whole
    assert game.total_reward == earned
    said = [token for token, own in zip(game.completion, game.by_model, strict=True) if own]
    assert tokenizer.decode(said) == "move up</s>fly to the moonmove left</s>"
    assert not game.over
    game.take(tokenizer.encode("move up"), room=len(game.prompt))
    assert game.over


@pytest.mark.parametrize("env_id", [task["id"] for task in list_tasks()])
def test_every_game_is_a_conversation(chat_model: str, env_id: str) -> None:
    from examples.trl_grpo.train import Conversation, starts

    tokenizer = tokenizer_of(chat_model)
    first = int(starts(env_id, 1)[0]["prompt"][0]["content"])
    game, chance = Conversation(env_id, {}, first, tokenizer), random.Random(0)
    replies = 0
    while not game.over and replies < 30:
        letters = [chance.randrange(3, len(tokenizer)) for _ in range(chance.randrange(6))]
        game.take([*letters, tokenizer.eos_token_id], room=10**6)
        replies += 1
    assert replies > 1
    assert len(game.by_model) == len(game.completion)
    changes = sum(one != other for one, other in itertools.pairwise(game.by_model))
    assert changes == 2 * (replies - 1) + (not game.over), "replies of the model, words of the game between them"


def test_a_template_that_rewrites_earlier_messages_is_refused(chat_model: str) -> None:
    from examples.trl_grpo.train import Conversation

    tokenizer = tokenizer_of(chat_model)
    tokenizer.chat_template = TEMPLATE.replace("message['content']", "message['content'] if loop.last else ''")
    game = Conversation(FO, UMAZE, 5, tokenizer)
    with pytest.raises(ValueError, match="rewrites earlier messages"):
        game.take(tokenizer.encode("move up"), room=10_000)


@pytest.mark.slow
def test_grpo_learns_a_game(chat_model: str, tmp_path: Path) -> None:
    from trl import GRPOConfig

    from examples.trl_grpo import train

    config = GRPOConfig(
        str(tmp_path / "run"),
        max_steps=30,
        max_completion_length=4,
        per_device_train_batch_size=8,
        num_generations=8,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        seed=3,
    )
    made = train.trainer("test/Lowercase-v0", chat_model, config, games=30)
    seen: list[dict[str, Any]] = []
    play = made.rollout_func

    def watched(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        seen.append({"seeds": [prompt[-1]["content"] for prompt in prompts], **play(prompts, trainer)})
        return seen[-1]

    made.rollout_func = watched
    made.train()
    assert len(seen) == 30
    for batch in seen:
        assert len(set(batch["seeds"])) == 1, "a group is games from one start"
        for tokens, mask in zip(batch["completion_ids"], batch["env_mask"], strict=True):
            assert len(tokens) == len(mask)
            assert 3 <= sum(mask) <= 12 < len(mask), "three replies of the model, and what the game said between"
    logged = [line["rewards/total_reward/mean"] for line in made.state.log_history if "reward" in line]
    assert logged == pytest.approx([sum(batch["total_reward"]) / 8 for batch in seen])
    assert sum(logged[:5]) / 5 < 1.2
    assert sum(logged[-5:]) / 5 > 2


@pytest.mark.slow
def test_sft_reads_the_exported_rows(chat_model: str, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    played = list(collect(load_agent("expert", FO, UMAZE), FO, env_kwargs=UMAZE, episodes=3))
    write_episodes(tmp_path / "games.parquet", played)
    rows = export(tmp_path / "games.parquet", "trl", tmp_path / "rows.jsonl").rows
    export(tmp_path / "games.parquet", "chat", tmp_path / "chat.jsonl")
    data = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "c"))
    assert data.num_rows == rows
    settings: dict[str, Any] = {"max_steps": 2, "report_to": [], "save_strategy": "no", "use_cpu": True}
    trainer = SFTTrainer(chat_model, args=SFTConfig(str(tmp_path / "run"), **settings), train_dataset=data)
    batch = next(iter(trainer.get_train_dataloader()))
    tokenizer = tokenizer_of(chat_model)
    learned = {tokenizer.decode(row[row != -100]) for row in batch["labels"]}
    actions = {
        json.loads(line)["completion"][0]["content"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()
    }
    assert learned <= {f"{action}</s>" for action in actions}
    trainer.train()
    chats = load_dataset("json", data_files=str(tmp_path / "chat.jsonl"), split="train", cache_dir=str(tmp_path / "c"))
    assert [row["seed"] for row in chats] == [game.seed for game in played]
    assert [row["rewards"] for row in chats] == [[turn.reward for turn in game.actions] for game in played]
