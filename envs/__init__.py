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

# No `max_episode_steps`: Wordle ends itself at the sixth try, and a limit of six would cut the same step.
register("lmgym/Wordle-v0", entry_point="lmgym.envs.wordle:Wordle")
register(
    "lmgym/WordleLMRL-v0",
    entry_point="lmgym.envs.wordle:Wordle",
    kwargs={"accepted": None, "letter_counts": False},
)
register(
    "lmgym/WordleMini-v0",
    entry_point="lmgym.envs.wordle:Wordle",
    kwargs={"words": "mini", "accepted": None, "behaviour_skills": (0.0, 1.0)},
)
register("lmgym/Chess-v0", entry_point="lmgym.envs.chess_games:ChessGame", max_episode_steps=400)
register(
    "lmgym/Endgames-v0",
    entry_point="lmgym.envs.chess_games:ChessGame",
    kwargs={"starts": "endgames"},
    max_episode_steps=50,
)
register(
    "lmgym/ChessMini-v0",
    entry_point="lmgym.envs.chess_games:ChessGame",
    kwargs={"starts": "simple"},
    max_episode_steps=20,
)
register(
    "lmgym/EndgamesMini-v0",
    entry_point="lmgym.envs.chess_games:ChessGame",
    kwargs={"starts": "simple_endgames"},
    max_episode_steps=20,
)

# No `max_episode_steps`: the buyer decides at the last turn.
register("lmgym/CarDealer-v0", entry_point="lmgym.envs.car_dealer:CarDealer")
register("lmgym/CarDealerMini-v0", entry_point="lmgym.envs.car_dealer:CarDealer", kwargs={"size": "mini"})

# No `max_episode_steps`, as for Wordle: the last question ends the game.
register("lmgym/GuessMyCity-v0", entry_point="lmgym.envs.guess_my_city:GuessMyCity")
register(
    "lmgym/GuessMyCityMini-v0",
    entry_point="lmgym.envs.guess_my_city:GuessMyCity",
    kwargs={"cities": "mini"},
)

# Like Wordle, 20 Questions ends itself at the last question.
register("lmgym/TwentyQuestions-v0", entry_point="lmgym.envs.twenty_questions:TwentyQuestions")
register(
    "lmgym/TwentyQuestionsMini-v0",
    entry_point="lmgym.envs.twenty_questions:TwentyQuestions",
    kwargs={"objects": "mini", "turns": 10},
)
