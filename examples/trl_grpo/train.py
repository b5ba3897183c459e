"""GRPO of TRL on a game of lmgym: python examples/trl_grpo/train.py --env lmgym/Wordle-v0 --model MODEL.

A row of the training set is a start: its prompt is the seed of a game. `Rollouts` plays the game with the model, as a
chat in which the user's part is the game, and hands TRL the tokens as they were sampled, with those of the game masked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from lmgym.env import contract_of, make_env
from lmgym.evaluate import evaluation_starts
from lmgym.prompts import prompt_of
from lmgym.seeds import Stream


def starts(env_id: str, count: int, seed: int = 0) -> Dataset:
    """Return the training set: games that no evaluation plays."""
    played = evaluation_starts(contract_of(env_id), count, seed, Stream.TRAIN)
    return Dataset.from_list([{"prompt": [{"role": "user", "content": str(start.seed)}]} for start in played])


class Conversation:
    """One game as a chat, in tokens. What the model said stays the tokens that it sampled."""

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], seed: int, tokenizer: Any) -> None:
        self.env, self.tokenizer = make_env(env_id, env_kwargs), tokenizer
        observation, _ = self.env.reset(seed=seed)
        self.prompt = self._rendered(
            [{"role": "user", "content": f"{prompt_of(self.env)}\n\n{observation}"}], reply=True
        )
        self.completion: list[int] = []
        self.by_model: list[int] = []
        self.total_reward, self.over = 0.0, False

    def _rendered(self, messages: list[dict[str, str]], *, reply: bool) -> list[int]:
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=reply, return_dict=False)

    def take(self, reply: list[int], room: int) -> None:
        """Give the model's tokens to the game; the conversation ends with the game, or where it has no `room` left."""
        self._append(reply, by_model=1)
        text = self.tokenizer.decode(reply, skip_special_tokens=True)
        observation, reward, terminated, truncated, _ = self.env.step(text)
        self.total_reward += float(reward)
        heard = self._heard(observation, ended=reply[-1] == self.tokenizer.eos_token_id)
        self.over = terminated or truncated or len(self.prompt) + len(self.completion) + len(heard) > room
        if not self.over:
            self._append(heard, by_model=0)

    def _append(self, tokens: list[int], *, by_model: int) -> None:
        self.completion += tokens
        self.by_model += [by_model] * len(tokens)

    def _heard(self, observation: str, *, ended: bool) -> list[int]:
        """Return what the template puts between a reply and the next one. Needs a template that ends a reply with the
        end-of-text token and does not rewrite earlier messages."""
        before = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
        told = self._rendered(before, reply=False)
        end = len(told) - told[::-1].index(self.tokenizer.eos_token_id)
        whole = self._rendered([*before, {"role": "user", "content": observation}], reply=True)
        if whole[:end] != told[:end]:
            raise ValueError("this chat template rewrites earlier messages, so a game cannot go on in tokens")
        return whole[end if ended else end - 1 :]


@dataclass
class Rollouts:
    """What GRPOTrainer takes as `rollout_func`: plays a game for every prompt, all of them at once."""

    env_id: str
    env_kwargs: Mapping[str, Any]

    def __call__(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        games = [
            Conversation(self.env_id, self.env_kwargs, int(prompt[-1]["content"]), tokenizer) for prompt in prompts
        ]
        room = trainer.model.config.max_position_embeddings - trainer.max_completion_length
        while running := [game for game in games if not game.over]:
            # TRL's own sampling of one reply each, with transformers or vLLM, whichever the trainer is set up for.
            so_far = [game.prompt + game.completion for game in running]
            replies, _ = trainer._generate_single_turn(so_far, None, {}, 1)
            for game, reply in zip(running, replies, strict=True):
                game.take(reply, room)
        return {
            "prompt_ids": [game.prompt for game in games],
            "completion_ids": [game.completion for game in games],
            "logprobs": None,
            "env_mask": [game.by_model for game in games],
            "total_reward": [game.total_reward for game in games],
        }


def total_reward(total_reward: list[float], **_: Any) -> list[float]:
    """The return of each game, which is what GRPO compares within a group of games from one start."""
    return total_reward


def trainer(env_id: str, model: Any, config: GRPOConfig, *, games: int = 1000, **env_kwargs: Any) -> GRPOTrainer:
    """Return a trainer of TRL; `config.max_completion_length` limits one reply."""
    return GRPOTrainer(
        model,
        reward_funcs=total_reward,
        args=config,
        train_dataset=starts(env_id, games, config.seed),
        rollout_func=Rollouts(env_id, env_kwargs),
    )


def main(env: str, model: str, out: str = "runs/grpo", steps: int = 200) -> None:
    """Train a chat model by name or path. For other settings than these: `trainer`, from Python."""
    config = GRPOConfig(
        out,
        max_steps=steps,
        max_completion_length=32,
        num_generations=8,
        learning_rate=1e-6,
        logging_steps=1,
        use_cpu=not torch.accelerator.is_available(),
    )
    made = trainer(env, model, config)
    made.train()
    made.save_model()


if __name__ == "__main__":
    tyro.cli(main)
