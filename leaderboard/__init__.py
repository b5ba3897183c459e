"""Results of methods on games, and what is made of them."""

if __name__ != "lmgym.leaderboard":
    raise ImportError("import this folder as `lmgym.leaderboard` (install lmgym first), not as `leaderboard`")
