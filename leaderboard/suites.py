"""What the leaderboard is made of: the games of its suites, and the agents that have a column of their own."""

from lmgym.errors import unknown

# What people call the games, by task, which is the name of their folders.
TITLES = {
    "FOMaze-v0": "FO Maze",
    "POMaze-v0": "PO Maze",
    "FOTextNav-v0": "FO Text-Nav",
    "POTextNav-v0": "PO Text-Nav",
    "Wordle-v0": "Wordle",
    "Chess-v0": "Chess",
    "Endgames-v0": "Endgames",
    "TwentyQuestions-v0": "20 Questions",
    "GuessMyCity-v0": "Guess My City",
    "CarDealer-v0": "Car Dealer",
    "WordleMini-v0": "Wordle mini",
    "ChessMini-v0": "Chess mini",
    "EndgamesMini-v0": "Endgames mini",
    "TwentyQuestionsMini-v0": "20 Questions mini",
    "GuessMyCityMini-v0": "Guess My City mini",
    "CarDealerMini-v0": "Car Dealer mini",
}

# The full suite is the published benchmark; the mini suite has the small version of each game that has one.
_FULL = tuple(task for task in TITLES if "Mini-" not in task)
SUITES = {
    "full": _FULL,
    "mini": tuple(mini if (mini := task.replace("-v0", "Mini-v0")) in TITLES else task for task in _FULL),
}

# The agents that have a column in every table, in this order; submitted ones stand between.
METHODS = {
    "bc": "BC",
    "filtered_bc": "filtered BC",
    "mc_returns": "MC returns",
    "ilql": "ILQL",
    "ppo": "PPO",
    "online_filtered_bc": "online filtered BC",
}
SCRIPTED = {"random": "random", "behaviour": "data", "expert": "expert"}

# The clone played greedily: what taking the data's most frequent action alone is worth.
GREEDY = "bc_greedy"

# They stand beside the others for comparison and do not compete.
BESIDE = {"random": "random", "behaviour": "data", GREEDY: "greedy BC", "expert": "expert"}

# The agents whose cells everybody expects in every row; submitted ones may choose.
EXPECTED = (*METHODS, *BESIDE)

# What the recipes of agents with these names say.
AGENT_KINDS = {**dict.fromkeys(METHODS, "method"), **dict.fromkeys(SCRIPTED, "scripted"), GREEDY: "control"}

# The method that the others start from, and that improvement is measured against.
START = "bc"


# What others may not call their agents, whatever the case.
TAKEN = {name.lower() for named in (METHODS, BESIDE) for name in (*named, *named.values())}


def env_id(task: str) -> str:
    """Return the id of a game of the suites. Raises UsageError for another.

    >>> env_id("FOMaze-v0")
    'lmgym/FOMaze-v0'
    """
    if task not in TITLES:
        raise unknown("task", task, TITLES)
    return f"lmgym/{task}"
