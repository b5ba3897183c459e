"""The maze, fully observed (`lmgym/FOMaze-v0`) and partially observed (`lmgym/POMaze-v0`)."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.errors import unknown
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

Cell = tuple[int, int]

LAYOUTS = {
    "double_t": (
        "#############",
        "#.....#.....#",
        "###.#####.###",
        "###.#####.###",
        "###.#####.###",
        "###.......###",
        "######.######",
        "######.######",
        "######G######",
        "#############",
    ),
    "umaze": ("#####", "#...#", "#.#.#", "#.#G#", "#####"),
    "medium": (
        "########",
        "#..#...#",
        "#..#.#.#",
        "##....##",
        "###.#..#",
        "#....#.#",
        "#..#...#",
        "########",
    ),
    "large": (
        "#########",
        "#.....#.#",
        "#.#.#.#.#",
        "#...#...#",
        "#.###.###",
        "#.......#",
        "###.###.#",
        "#...#...#",
        "#.#.#####",
        "#.#.#...#",
        "#.....#.#",
        "#########",
    ),
}

MOVES: dict[str, Cell] = {
    "move right": (0, 1),
    "move left": (0, -1),
    "move up": (-1, 0),
    "move down": (1, 0),
}
NOT_A_MOVE = "not one of the four moves"
LOST = 0.88
STUMBLE = 0.7
SKILL = (0.2, 0.9)
WALL_NAMES = ("to your right", "to your left", "above you", "below you")  # in the order of MOVES


class Grid:
    """A maze that does not change: free cells, moves, what is seen in each cell, distances to a goal."""

    def __init__(self, rows: Sequence[str]) -> None:
        self.rows = tuple(rows)
        _require_grid(self.rows)
        self.cells = [(r, c) for r, row in enumerate(rows) for c, char in enumerate(row) if char != "#"]
        self.marked_goal = next((cell for cell in self.cells if rows[cell[0]][cell[1]] == "G"), None)
        free = set(self.cells)
        self.steps: dict[str, dict[Cell, Cell]] = {}
        for move, (down, right) in MOVES.items():
            targets = {(r, c): (r + down, c + right) for r, c in self.cells}
            self.steps[move] = {cell: to if to in free else cell for cell, to in targets.items()}
        self.walls = {cell: self._wall_sentence(cell) for cell in self.cells}
        self._distances: dict[Cell, dict[Cell, int]] = {}
        self._positions: dict[Cell, dict[Cell, str]] = {}

    def _wall_sentence(self, cell: Cell) -> str:
        blocked = [steps[cell] == cell for steps in self.steps.values()]
        names = [name for name, is_wall in zip(WALL_NAMES, blocked, strict=True) if is_wall]
        if not names:
            return "There are no walls near you."
        return f"There {'is a wall' if len(names) == 1 else 'are walls'} {', '.join(names)}."

    def positions(self, goal: Cell) -> dict[Cell, str]:
        """Return the fully observed text of every cell."""
        if goal not in self._positions:
            prefix = f"The goal is at position {_spaced(goal[0])}, {_spaced(goal[1])}. Your current position is at"
            self._positions[goal] = {
                (r, c): f"{prefix} position {_spaced(r)}, {_spaced(c)}. {walls}" for (r, c), walls in self.walls.items()
            }
        return self._positions[goal]

    def distances(self, goal: Cell) -> dict[Cell, int]:
        """Return the number of moves from every cell that can reach `goal`."""
        if goal not in self._distances:
            found, queue = {goal: 0}, deque([goal])
            while queue:
                cell = queue.popleft()
                for steps in self.steps.values():
                    if steps[cell] not in found:
                        found[steps[cell]] = found[cell] + 1
                        queue.append(steps[cell])
            self._distances[goal] = found
        return self._distances[goal]

    def towards(self, cell: Cell, goal: Cell) -> str:
        """Return the first move (in the order of MOVES) of a shortest path."""
        distance = self.distances(goal)
        return min(MOVES, key=lambda move: distance[self.steps[move][cell]])


class Maze(TextEnv):
    """Walk to the goal of a maze, one cell at a time.

    Description:
        A grid of walls and free cells with one goal. Cells are (row, column) from the top left, zero-based.
    Observation:
        `observation="position"` (FO): `The goal is at position 8, 6. Your current position is at position 5, 3.
        There are walls to your left, below you.` Digits of a coordinate are separated by spaces (`1 0`).
        `observation="walls"` (PO): the sentence on walls alone. On arrival: `Success`.
    Action:
        `move up` (row minus one), `move down`, `move left`, `move right`; case and outer spaces do not matter.
    Start:
        Uniform over the free cells but the goal; `reset(options={"start": (row, column), "goal": ...})`.
        A grid without a marked goal draws it uniformly.
    Reward:
        0 for the move that reaches the goal, -1 for any other. Returns lie in -100 to 0.
    What an invalid reply does:
        Nothing moves, it costs `invalid_reward` and one step, and the observation is repeated.
    Episode end:
        Terminated at the goal; truncated after 100 steps (`max_episode_steps`).
    Info:
        `success`, `position`, `goal`, `invalid` (why, for an invalid action only).
    Arguments:
        observation: "position" or "walls".
        maze: "double_t", "umaze", "medium", "large", "random" (another one each game, always solvable) or a
            grid as rows of `#` and `.`, with `G` for a fixed goal.
        size: rows and columns of a random maze, odd numbers of 5 or more.
        invalid_reward: cost of an invalid action.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        An unknown action costs -1 as in the paper (code: -4, here `invalid_reward=-4.0`) and does not wipe the
        agent's history. There is no 101st step that answers `Failure`: the limit truncates. The PO window of
        40 pieces holds at most the 20 latest observations and the actions between them, so that it never
        begins with an action, and when it is full it keeps the last ten turns
        (`lmgym.tokens.Window`).
        `move up` lowers the row, as in the code (the paper's figure raises it). Who played the published data
        is not known; `behaviour()` reproduces their mean return.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)
    max_reply_chars = 12
    tokenizer = "phrase"
    preset = "0.1M"
    data_episodes = 1240
    keep = "success"
    evaluation_episodes = 800

    def __init__(
        self,
        observation: str = "position",
        maze: str | Sequence[str] = "double_t",
        size: tuple[int, int] = (11, 11),
        invalid_reward: float = -1.0,
        render_mode: str | None = None,
    ) -> None:
        if observation not in ("position", "walls"):
            raise unknown("observation", observation, ("position", "walls"))
        self.render_mode = render_mode
        self.history = 1 if observation == "position" else 40
        self.invalid_reward = float(invalid_reward)
        self._shows_position = observation == "position"
        self._size = _require_size(size) if maze == "random" else None
        self._grid = _fixed_grid("double_t" if maze == "random" else maze)
        standard = maze == "double_t" and self.invalid_reward == -1.0
        self.reference = REFERENCES[observation] if standard else None
        self.action_space = AnyText(tuple(MOVES))
        self.observation_space = spaces.Text(160, charset=_charset())
        self._position: Cell | None = None
        self._goal: Cell = (0, 0)
        self._sights: dict[Cell, str] = {}
        self._skill: float | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        options = require_options(options, ("start", "goal"), "the maze")
        if self._size is not None:
            self._grid = Grid(_carve(self._size, self.np_random))
        self._goal = self._chosen(options, "goal", self._grid.marked_goal, self._grid.cells)
        starts = [cell for cell in self._grid.distances(self._goal) if cell != self._goal]
        self._position = self._chosen(options, "start", None, sorted(starts))
        self._sights = self._grid.positions(self._goal) if self._shows_position else self._grid.walls
        self._skill = None
        return self._sights[self._position], {
            "success": False,
            "position": self._position,
            "goal": self._goal,
        }

    def _chosen(self, options: dict[str, Any], name: str, fixed: Cell | None, cells: list[Cell]) -> Cell:
        if name in options:
            wanted = tuple(options[name])
            if wanted not in cells:
                raise ValueError(f"{name} {wanted} is not a free cell of the maze that can be a {name}")
            return wanted
        return fixed if fixed is not None else cells[int(self.np_random.integers(len(cells)))]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        steps = self._grid.steps.get(action) or self._grid.steps.get(action.strip().casefold())
        position = self._position
        assert position is not None
        if steps is None:
            info = {"success": False, "position": position, "goal": self._goal, "invalid": NOT_A_MOVE}
            return self._sights[position], self.invalid_reward, False, False, info
        self._position = position = steps[position]
        if position == self._goal:
            return "Success", 0.0, True, False, {"success": True, "position": position, "goal": self._goal}
        return (
            self._sights[position],
            -1.0,
            False,
            False,
            {"success": False, "position": position, "goal": self._goal},
        )

    def choices(self) -> Sequence[str]:
        return tuple(MOVES)

    def prompt(self) -> str:
        name = "maze_position.txt" if self._shows_position else "maze_walls.txt"
        return filled("lmgym.envs", f"data/prompts/{name}", invalid_reward=self.invalid_reward)

    def official_starts(self) -> Sequence[dict[str, Any]]:
        """Every free cell but the goal, as published; none where goal or maze change from game to game."""
        goal = self._grid.marked_goal
        if goal is None or self._size is not None:
            return ()
        return tuple({"start": cell} for cell in self._grid.cells if cell != goal)

    def expert(self) -> str:
        """The first move of a shortest path. It knows the position, also where the agent does not."""
        assert self._position is not None
        return self._grid.towards(self._position, self._goal)

    def behaviour(self) -> str:
        """One of many players: most are lost, some know the way to a degree.

        A share LOST of the players knows nothing and walks into a wall with probability STUMBLE. The others
        take the shortest path with a probability of their own, uniform in SKILL. What is left is a uniform
        move. The three constants are set so that the default data have the published mean return of -83.
        """
        assert self._position is not None
        chance = self.behaviour_random
        if self._skill is None:
            self._skill = 0.0 if chance.random() < LOST else float(chance.uniform(*SKILL))
        luck = chance.random()
        if luck < self._skill:
            return self.expert()
        bumps = [move for move, steps in self._grid.steps.items() if steps[self._position] == self._position]
        moves = bumps if bumps and self._skill == 0 and luck < STUMBLE else list(MOVES)
        return moves[int(chance.integers(len(moves)))]

    def render(self) -> str | None:
        """Return the maze with `A` for the agent and `G` for the goal."""
        if self.render_mode is None:
            return None
        rows = [list(row.replace("G", ".")) for row in self._grid.rows]
        rows[self._goal[0]][self._goal[1]] = "G"
        if self._position is not None:
            rows[self._position[0]][self._position[1]] = "A"
        return "\n".join("".join(row) for row in rows)


def _spaced(coordinate: int) -> str:
    return " ".join(str(coordinate))


def _charset() -> str:
    sentences = ["Success", "The goal is at position 0123456789. Your current", *WALL_NAMES]
    return "".join(sorted(set("".join(sentences) + "There is a wall, are walls, no walls near you.")))


def _fixed_grid(maze: str | Sequence[str]) -> Grid:
    if isinstance(maze, str):
        if maze not in LAYOUTS:
            raise unknown("maze", maze, [*LAYOUTS, "random"])
        return Grid(LAYOUTS[maze])
    return Grid(maze)


def _require_grid(rows: Sequence[str]) -> None:
    text = "".join(rows)
    if not rows or len({len(row) for row in rows}) != 1 or not set(text) <= set("#.G"):
        raise ValueError("a maze is given as rows of equal length made of '#', '.' and at most one 'G'")
    border = rows[0] + rows[-1] + "".join(row[0] + row[-1] for row in rows)
    if set(border) != {"#"}:
        raise ValueError("the border of a maze must be walls ('#')")
    if text.count("G") > 1 or len(text) - text.count("#") < 2:
        raise ValueError("a maze needs at least two free cells and at most one goal ('G')")


def _require_size(size: Iterable[int]) -> tuple[int, int]:
    rows, columns = (int(length) for length in size)
    if rows < 5 or columns < 5 or rows % 2 == 0 or columns % 2 == 0:
        raise ValueError(f"the size of a random maze is two odd numbers of 5 or more, not {rows} x {columns}")
    return rows, columns


def _carve(size: tuple[int, int], chance: np.random.Generator) -> list[str]:
    """Return a random maze in which every free cell reaches every other (depth-first carving)."""
    rows, columns = size
    grid = [["#"] * columns for _ in range(rows)]
    start = (1 + 2 * int(chance.integers(rows // 2)), 1 + 2 * int(chance.integers(columns // 2)))
    grid[start[0]][start[1]] = "."
    trail = [start]
    while trail:
        row, column = trail[-1]
        ahead = [(row + 2 * down, column + 2 * right) for down, right in MOVES.values()]
        closed = [(r, c) for r, c in ahead if 0 < r < rows and 0 < c < columns and grid[r][c] == "#"]
        if not closed:
            trail.pop()
            continue
        r, c = closed[int(chance.integers(len(closed)))]
        grid[(row + r) // 2][(column + c) // 2] = grid[r][c] = "."
        trail.append((r, c))
    return ["".join(row) for row in grid]


def best_return_from_walls(grid: Grid, goal: Cell) -> float:
    """Return the best mean return over uniform starts for a player who knows the maze but sees only walls.

    A player who sees walls alone holds a belief: how many of the equally likely starts would have it in which
    cell by now. Moves are deterministic, so a move and what is then seen split a belief into smaller ones. The
    least expected number of moves solves V(b) = min over moves of |b| + sum of V over the parts of b that
    have not arrived; sweeps over all reachable beliefs find it, starting from the shortest paths, which are a
    lower bound. Ignores the step limit, which must be longer than any walk of the best player.
    """
    distance = grid.distances(goal)
    starts = _split_by_sight(grid, Counter(cell for cell in distance if cell != goal))
    parts_of: dict[_Belief, list[list[_Belief]]] = {}
    unseen = list(starts)
    while unseen:
        belief = unseen.pop()
        if belief in parts_of:
            continue
        parts_of[belief] = []
        for steps in grid.steps.values():
            moved: Counter[Cell] = Counter()
            for cell, count in belief:
                moved[steps[cell]] += count
            del moved[goal]
            parts_of[belief].append(_split_by_sight(grid, moved))
            unseen += parts_of[belief][-1]
    moves = {belief: sum(count * distance[cell] for cell, count in belief) for belief in parts_of}
    changed = True
    while changed:
        changed = False
        for belief, options in parts_of.items():
            size = sum(count for _, count in belief)
            fewest = min(size + sum(moves[part] for part in parts) for parts in options)
            if fewest != moves[belief]:
                moves[belief], changed = fewest, True
    num_starts = len(distance) - 1
    return 1 - sum(moves[belief] for belief in starts) / num_starts


_Belief = tuple[tuple[Cell, int], ...]


def _split_by_sight(grid: Grid, cells: Counter[Cell]) -> list[_Belief]:
    parts: defaultdict[str, list[tuple[Cell, int]]] = defaultdict(list)
    for cell, count in sorted(cells.items()):
        parts[grid.walls[cell]].append((cell, count))
    return [tuple(part) for part in parts.values()]


REFERENCES = {
    "position": Reference(
        min=Score(-100.0, "100 moves that never reach the goal"),
        data=Score(-81.99, "mean of the default data set: 1,240 games of behaviour() with seed 0"),
        best=Score(-6.84, "shortest paths, mean over the 25 starts (tests/test_maze.py)"),
        data_success=0.235,
        data_turns=82.225,
    ),
    "walls": Reference(
        min=Score(-100.0, "100 moves that never reach the goal"),
        data=Score(-81.99, "mean of the default data set: 1,240 games of behaviour() with seed 0"),
        best=Score(-7.24, "search over beliefs, mean over the 25 starts (best_return_from_walls)"),
        data_success=0.235,
        data_turns=82.225,
    ),
}
