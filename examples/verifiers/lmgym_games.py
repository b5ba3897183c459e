"""The games of lmgym as a taskset of verifiers 0.4; the model talks with the game.

PYTHONPATH=examples/verifiers vf-eval lmgym_games --env.taskset.game lmgym/Wordle-v0 --no-push -m MODEL ...
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import verifiers.v1 as vf
from openai import AsyncOpenAI
from pydantic import Field

from lmgym.env import contract_of, make_env
from lmgym.evaluate import evaluation_starts
from lmgym.prompts import prompt_of
from lmgym.seeds import Stream

__all__ = ["GameEnv", "GameTaskset", "ReplyHarness"]


class GameConfig(vf.TasksetConfig):
    game: str = "lmgym/FOMaze-v0"
    """Id of the game: lmgym/Wordle-v0, my_pkg:MyGame-v0."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the game, such as {"maze": "umaze"}."""
    games: int | None = None
    """Number of games; the published number if left out."""
    series: Literal["evaluate", "train"] = "evaluate"
    """Which games: those that `lmgym eval` plays, or others."""
    seed: int = 0
    """Which series of them."""


class GameData(vf.TaskData):
    info: dict[str, Any]
    """Where the game starts: id, arguments, seed and reset options."""


class GameTask(vf.Task[GameData, vf.State, vf.TaskConfig]):
    """One game, from one start."""


class GameTaskset(vf.Taskset[GameTask, GameConfig]):
    """A game's starts. The first words are the game's, spoken when it is played."""

    def load(self) -> Iterator[GameTask]:
        """Yield a task for each start."""
        asked = self.config
        rules = contract_of(asked.game, asked.arguments)
        stream = Stream.TRAIN if asked.series == "train" else Stream.EVALUATE
        told = _rules(asked.game, asked.arguments)
        for start in evaluation_starts(rules, asked.games or rules.evaluation_episodes, asked.seed, stream):
            info = {
                "game": asked.game,
                "arguments": asked.arguments,
                "seed": start.seed,
                "options": dict(start.options),
            }
            yield GameTask(GameData(name=f"{asked.game}#{start.seed}", system_prompt=told, info=info), asked.task)


def _rules(game: str, arguments: dict[str, Any]) -> str:
    env = make_env(game, arguments)
    env.reset(seed=0)
    told = prompt_of(env)
    env.close()
    return told


class GameEnvConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    """Who plays. Nothing that the model says is executed, so that no sandbox is needed."""


class GameEnv(vf.Env[GameEnvConfig]):
    """Plays a game with the player; the reward is the game's return."""

    async def run(self, task: GameTask, agents: Any) -> None:
        """Play until the game ends or the player stops answering."""
        start, total_reward, info = task.data.info, 0.0, {}
        env = make_env(start["game"], start["arguments"])
        try:
            said, _ = await asyncio.to_thread(env.reset, seed=start["seed"], options=start["options"])
            async with agents.player.interaction(task) as talk:
                while not (reply := await talk.turn(said)).terminated:
                    said, reward, terminated, truncated, info = await asyncio.to_thread(env.step, reply.last_reply)
                    total_reward += float(reward)
                    if terminated or truncated:
                        break
        finally:
            env.close()
        talk.trace.record_reward("total_reward", total_reward, 1.0)
        if "success" in info:
            talk.trace.record_metric("success", float(info["success"]))


class ReplyHarness(vf.Harness[vf.HarnessConfig]):
    """One reply of the model a turn, asked for in this process: no tools, no program to install."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Ask for the reply to the conversation; verifiers records it on its way."""
        system, conversation = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn.role, "content": turn.content} for turn in conversation]
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, max_retries=0) as client:
            await client.chat.completions.create(model=ctx.model, messages=messages)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")
