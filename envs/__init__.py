"""The games of lmgym. Importing this registers their ids and imports none of them."""

if __name__ != "lmgym.envs":
    raise ImportError("import this folder as `lmgym.envs` (install lmgym first), not as `envs`")

from gymnasium import register

register(
    "lmgym/FOMaze-v0",
    entry_point="lmgym.envs.maze:Maze",
    kwargs={"observation": "position"},
    max_episode_steps=100,
)
register(
    "lmgym/POMaze-v0",
    entry_point="lmgym.envs.maze:Maze",
    kwargs={"observation": "walls"},
    max_episode_steps=100,
)
register(
    "lmgym/FOTextNav-v0",
    entry_point="lmgym.envs.textnav:TextNav",
    kwargs={"observation": "full"},
    max_episode_steps=15,
)
register(
    "lmgym/POTextNav-v0",
    entry_point="lmgym.envs.textnav:TextNav",
    kwargs={"observation": "partial"},
    max_episode_steps=15,
)
