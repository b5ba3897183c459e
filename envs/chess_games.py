"""Chess: full games (`lmgym/Chess-v0`, `lmgym/ChessMini-v0`) and endgames (`lmgym/Endgames-v0`,
`lmgym/EndgamesMini-v0`).

`python -m lmgym.envs.chess_games FOLDER` writes the lists of fixed positions that are kept in `envs/data/`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import chess
import chess.engine
import chess.svg
import numpy as np
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv, require_options
from lmgym.envs._chess_players import (
    ENDGAMES,
    Embedded,
    Strength,
    find_stockfish,
    make_opponent,
    moves_to_mate,
    piece_set,
    position_key,
    random_move,
    strong_player,
    table_move,
)
from lmgym.errors import UsageError, unknown
from lmgym.files import replacing
from lmgym.prompts import filled
from lmgym.scores import Reference, Score

STARTS = ("initial", "endgames", "simple", "simple_endgames")

CHARSET = "/- 0123456789abcdefghknpqrwBKNPQR"
MAX_OBSERVATION_CHARS = 200
MAX_FULLMOVE = 5_000

FIRST_MOVES = ("e 4", "d 4", "N f 3", "c 4", "g 3", "N c 3")
KING_MOVES = tuple(f"K {file} {rank}" for file in "bcdefg" for rank in "234567")

UNREADABLE, ILLEGAL = "not a move", "an illegal move"
AMBIGUOUS = "an ambiguous move: it could mean several"


class ChessGame(TextEnv):
    """Win as White, from the initial position, from an endgame or from a position of your own.

    Description:
        Chess by the rules of FIDE. The agent is White; an engine, weakened, answers as Black. An agent sees the
        position alone, not the moves before it (`history = 1`).
    Observation:
        The position in FEN with a space between any two characters (a space of FEN thus becomes three):
        `8 / 8 / 8 / 8 / 8 / 2 k 5 / 4 Q 3 / 4 K 3   w   -   -   0   1`. It is the position after Black's reply,
        or the last one where White ended the game.
    Action:
        A move in SAN with a space between any two characters: `N f 3`, `O - O`, `e x d 5`, `e 8 = Q`, `Q h 7 #`.
        Plain SAN (`Nf3`), long algebraic (`Ng1-f3`) and UCI notation (`g1f3`) are understood too; `+`, `#`, `x`,
        `=`, `-` may be missing, `+` and `#` also wrong, and case matters only where it changes the move (`Bc4`, `bc4`).
    Start:
        `starts="initial"`: the initial position. `starts="endgames"`: a piece set, uniform over `pieces`, on
        uniformly drawn squares, White to move, nobody in check, never one of the 645 evaluation positions.
        `starts="simple"`, `"simple_endgames"`: uniform over 16, over 24 fixed positions. A sequence of FENs:
        uniform over these. `reset(options={"position": FEN})` starts from any position with White to move.
    Reward:
        +1 for mate, -1 for being mated, 0 otherwise, -1 for an invalid reply. Returns lie in minus the number of
        steps to 1.
    What an invalid reply does:
        The board stays, Black does not move, it costs -1 and one step. `info["invalid"]` says whether the text
        is no move, an illegal move, or one that could mean several (`Nd2` for two knights, `e8` without a piece).
        A null move (`--`, `0000`) is no move.
    Episode end:
        Terminated by mate and by every draw: stalemate, insufficient material, the third occurrence of a
        position, 50 moves of both sides without capture or pawn move. Truncated after 400 steps (chess),
        50 (endgames) or 20 (the two minis) (`max_episode_steps`).
    Info:
        `success` (White has mated), `engine` (name, version and limits), `reply` (Black's move in UCI, if any),
        `outcome` (how the game ended, if it did), `invalid` (why, for an invalid action only).
    Arguments:
        starts: "initial", "endgames", "simple", "simple_endgames" or a sequence of FENs.
        pieces: the piece sets of `starts="endgames"`, of KQK, KQRK, KRK, KRRK.
        engine: "embedded" (in this file), "stockfish" (Stockfish over UCI, found by the environment variable
            LMGYM_STOCKFISH, on PATH or in /usr/games) or "random" (uniform over the legal moves).
        nodes, blunder, halving: strength of the engine (see `Strength`); None: the calibrated one, below.
    Opponents:
        All chance comes from the game's generator. Stockfish runs with one thread and a hash table of 1 MB that is
        cleared before every move, limited by nodes and never by time, and is weakened by our own choice among
        its four best moves: games repeat exactly for one version. One process serves all games of a process.
        Wins of White in full games, against the embedded opponent / against Stockfish: Stockfish 15.1 at 2,000
        nodes 300 of 300 / 300 of 300; a uniform random mover 2 of 500 / 0 of 500. In endgames a uniform random
        mover wins 12 of 1,000 / 13 of 1,000, in the minis 36 of 1,000 (chess, against a bare engine of depth 1).
    Data:
        `behaviour()` never needs Stockfish. Default data sets (seed 0) against the published ones: chess, 2,000
        games, return 0.216 (0.210), success 0.583 (0.60), 51.9 turns (46.7); endgames, 5,000 games, return and
        success 0.585 (0.586, 0.59), 11.2 turns (11.9). LMRL-Gym has 625,000 and 97,756 games: ask for as many.
    Expert:
        Exact tables by retrograde analysis for KQK, KRK, KQRK, KRRK, kept in the user's cache folder
        (LMGYM_CACHE overrides); elsewhere Stockfish at 2,000 nodes if there is one, else the embedded engine.
    Departures from LMRL-Gym (arXiv 2311.18232; its released code):
        The opponent is limited by nodes instead of 100 ms, so that games can be repeated. The third occurrence
        of a position and the 50-move rule end the game at once (code: fifth occurrence, 75 moves), as over the
        board, where the side that would lose claims them. The limit is 400 steps for chess (code: 401) and 50
        for endgames (code: 401; 50 for GPT-4). The 645 evaluation positions are our own: not won in 1 to 4
        moves by exact tables, where the publication gives two contradictory criteria. The state is never closed
        by a newline (the code closes it in the data and not in the games). Ambiguous moves are invalid.
    Version history:
        v0: first version.
    """

    metadata = {"render_modes": ["ansi", "svg"], "render_fps": 1}  # noqa: RUF012 (Gymnasium declares it so)
    history = 1
    max_reply_chars = 16
    tokenizer = "word"
    preset = "1M"
    keep = "success"

    def __init__(
        self,
        starts: str | Sequence[str] = "initial",
        pieces: Sequence[str] = ENDGAMES,
        engine: str = "embedded",
        nodes: int | None = None,
        blunder: float | None = None,
        halving: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._starts = _require_starts(starts)
        self._pieces = _require_pieces(pieces, starts)
        kind = starts if isinstance(starts, str) else "initial"
        self._kind = kind
        self._beginning = BEGINNINGS["other" if kind != starts else kind].format(pieces=" or ".join(self._pieces))
        standard = kind == starts and tuple(pieces) == ENDGAMES and (nodes, blunder, halving) == (None,) * 3
        self._opponent = make_opponent(engine, STRENGTHS[kind], nodes, blunder, halving)
        self.reference = REFERENCES[kind] if standard and engine == "embedded" else None
        self.data_episodes, self.evaluation_episodes = EPISODES[kind]
        if kind.startswith("simple"):
            self.tokenizer, self.preset = "phrase", "0.3M"
        if not isinstance(starts, str):
            self.evaluation_episodes = 20 * len(self._starts)
        self.action_space = AnyText(FIRST_MOVES if kind == "initial" else KING_MOVES)
        self.observation_space = spaces.Text(MAX_OBSERVATION_CHARS, charset=CHARSET)
        self._board = chess.Board()
        self._seen: dict[Any, int] = {}
        self._sans: dict[str, chess.Move] | None = None
        self._observation = ""
        self._outcome: str | None = None
        self._skill: Strength | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        options = require_options(options, ("position",), "chess")
        if "position" in options:
            self._board = _require_position(options["position"])
        elif self._starts:
            self._board = chess.Board(self._starts[int(self.np_random.integers(len(self._starts)))])
        else:
            self._board = _endgame(self._pieces, self.np_random)
        self._seen = {position_key(self._board): 1}
        self._sans = self._outcome = self._skill = None
        self._observation = spaced_fen(self._board)
        return self._observation, self._info()

    def _info(self, reply: chess.Move | None = None) -> dict[str, Any]:
        info: dict[str, Any] = {"success": False, "engine": self._opponent.description()}
        if reply is not None:
            info["reply"] = reply.uci()
        if self._outcome is not None:
            info["outcome"] = self._outcome
            info["success"] = self._outcome == "checkmate" and self._board.turn == chess.BLACK
        return info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        board = self._board
        if self._outcome is not None:
            return self._observation, 0.0, True, False, self._info()
        move = self._read(action)
        if isinstance(move, str):
            return self._observation, -1.0, False, False, {**self._info(), "invalid": move}
        reply = None
        self._play(move)
        if self._outcome is None:
            reply = self._opponent.move(board, self._seen, self.np_random)
            self._play(reply)
        self._observation = spaced_fen(board)
        reward = 0.0
        if self._outcome == "checkmate":
            reward = 1.0 if board.turn == chess.BLACK else -1.0
        return self._observation, reward, self._outcome is not None, False, self._info(reply)

    def _play(self, move: chess.Move) -> None:
        board, seen = self._board, self._seen
        board.push(move)
        self._sans = None
        if board.halfmove_clock == 0:
            seen.clear()
        key = position_key(board)
        seen[key] = count = seen.get(key, 0) + 1
        if not any(board.generate_legal_moves()):
            self._outcome = "checkmate" if board.is_check() else "stalemate"
        elif board.is_insufficient_material():
            self._outcome = "insufficient material"
        elif count >= 3:
            self._outcome = "threefold repetition"
        elif board.halfmove_clock >= 100:
            self._outcome = "fifty-move rule"

    def _read(self, action: str) -> chess.Move | str:
        token = action.strip().replace(" ", "") if len(action) <= 1000 else ""
        if SAN.fullmatch(token):
            try:
                return self._board.parse_san(token)
            except chess.AmbiguousMoveError:
                return AMBIGUOUS
            except ValueError:
                return ILLEGAL
        loose = _loose(token)
        if not LOOSE.fullmatch(loose):
            return UNREADABLE
        moves = _readings(self._board, self._legal_sans()).get(loose, set())
        if len(moves) > 1:
            return AMBIGUOUS
        return moves.pop() if moves else ILLEGAL

    def _legal_sans(self) -> dict[str, chess.Move]:
        if self._sans is None:
            self._sans = {self._board.san(move): move for move in self._board.generate_legal_moves()}
        return self._sans

    def choices(self) -> Sequence[str]:
        if self._outcome is not None:
            return ()
        return [" ".join(san) for san in self._legal_sans()]

    def prompt(self) -> str:
        return filled("lmgym.envs", "data/prompts/chess.txt", start=self._beginning)

    def official_starts(self) -> Sequence[dict[str, Any]]:
        """The fixed positions: 645 for endgames, those of `pieces`; none for the initial position."""
        if self._kind == "endgames":
            fens = [fen for fen in fixed_positions("endgames_evaluation") if piece_set(fen) in self._pieces]
            return tuple({"position": fen} for fen in fens)
        return tuple({"position": fen} for fen in self._starts) if len(self._starts) > 1 else ()

    def expert(self) -> str:
        """The quickest mate where an exact table knows it, else the choice of a strong engine.

        Against a lone king that is the embedded one: at few nodes Stockfish makes no progress where every move
        wins.
        """
        board = self._board
        move = table_move(board) if piece_set(board) in ENDGAMES else None
        if move is None:
            is_lone = board.occupied_co[chess.BLACK].bit_count() == 1
            player = strong_player(None if is_lone else find_stockfish())
            move = player.move(board, self._seen, self.behaviour_random)
        return self._spaced_san(move)

    def behaviour(self) -> str:
        """A player of a skill of its own: a share of its moves is random, the others are good.

        In endgames the good ones are the expert's, elsewhere the embedded engine's. Shares are drawn from
        SKILLS, which is set so that the default data come near the published return and success.
        """
        chance = self.behaviour_random
        if self._skill is None:
            self._skill = replace(WEAK["embedded"], blunder=float(chance.uniform(*SKILLS[self._kind])))
        if piece_set(self._board) in ENDGAMES:
            if chance.random() < self._skill.blunder:
                return self._spaced_san(random_move(self._board, chance))
            return self.expert()
        return self._spaced_san(Embedded(self._skill).move(self._board, self._seen, chance))

    def _spaced_san(self, move: chess.Move) -> str:
        return " ".join(self._board.san(move))

    def render(self) -> str | None:
        """Return the board as text, White below, or as SVG with the last move marked."""
        if self.render_mode == "svg":
            last = self._board.peek() if self._board.move_stack else None
            return chess.svg.board(self._board, lastmove=last)
        return str(self._board) if self.render_mode == "ansi" else None


# ---- Text of positions and moves --------------------------------------------------------------------------

SAN = re.compile(r"(?:[NBRQK][a-h]?[1-8]?x?[a-h][1-8]|(?:[a-h]x)?[a-h](?:[2-7]|[18]=[NBRQ])|O-O(?:-O)?)[+#]?", re.ASCII)
LOOSE = re.compile(r"[nbrqk]?(?:[a-h][1-8]?|[1-8])?[a-h][1-8][nbrq]?|ooo?", re.ASCII)
LOOSE_TABLE = str.maketrans({**dict.fromkeys("x=+#-"), "0": "o"})


def _loose(text: str) -> str:
    """Return what is left of a move when everything that may be missing is taken away."""
    return text.lower().translate(LOOSE_TABLE)


def _readings(board: chess.Board, sans: dict[str, chess.Move]) -> dict[str, set[chess.Move]]:
    """Return every loose text that stands for a legal move, with the moves it may stand for."""
    readings: dict[str, set[chess.Move]] = {}
    for san, move in sans.items():
        piece = chess.piece_symbol(board.piece_type_at(move.from_square) or chess.PAWN)
        texts = {_loose(san), move.uci(), piece + move.uci(), piece + chess.square_name(move.to_square)}
        if move.promotion:
            texts |= {text[:-1] for text in texts}
        for text in texts:
            readings.setdefault(text, set()).add(move)
    return readings


def spaced_fen(board: chess.Board) -> str:
    """Return the FEN of a position with a space between any two characters.

    >>> spaced_fen(chess.Board("8/8/8/8/8/2k5/4Q3/4K3 w - - 0 1"))
    '8 / 8 / 8 / 8 / 8 / 2 k 5 / 4 Q 3 / 4 K 3   w   -   -   0   1'
    """
    squares = ["."] * 64
    kinds = (board.pawns, board.knights, board.bishops, board.rooks, board.queens, board.kings)
    for color, letters in ((chess.WHITE, "PNBRQK"), (chess.BLACK, "pnbrqk")):
        own = board.occupied_co[color]
        for letter, mask in zip(letters, kinds, strict=True):
            mask &= own
            while mask:
                squares[mask.bit_length() - 1] = letter
                mask ^= 1 << mask.bit_length() - 1
    text = "".join(squares)
    ranks = " / ".join([_spaced_rank(text[first : first + 8]) for first in range(56, -1, -8)])
    castling = board.castling_xfen() if board.castling_rights else "-"
    en_passant = "-"
    if board.ep_square is not None and board.has_legal_en_passant():
        en_passant = chess.SQUARE_NAMES[board.ep_square]
    turn = "w" if board.turn else "b"
    rest = " ".join(f"{castling} {en_passant} {board.halfmove_clock} {board.fullmove_number}")
    return f"{ranks}   {turn}   {rest}"


@lru_cache(10_000)
def _spaced_rank(squares: str) -> str:
    return " ".join(re.sub(r"\.+", lambda empty: str(len(empty[0])), squares))


# ---- Starts -----------------------------------------------------------------------------------------------


def _require_starts(starts: str | Sequence[str]) -> tuple[str, ...]:
    """Return the positions that a game starts from; none where they are drawn piece by piece."""
    if not isinstance(starts, str):
        if not starts:
            raise UsageError("at least one position is needed to start from")
        return tuple(_require_position(fen).fen() for fen in starts)
    if starts not in STARTS:
        raise unknown("kind of start", starts, STARTS)
    if starts == "endgames":
        return ()
    return (chess.STARTING_FEN,) if starts == "initial" else fixed_positions(f"chess_{starts}")


def _require_pieces(pieces: Sequence[str], starts: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(pieces, str) or not pieces:
        raise UsageError(f"pieces is a sequence of piece sets such as {list(ENDGAMES)}, not {pieces!r}")
    if tuple(pieces) != ENDGAMES and starts != "endgames":
        raise UsageError('pieces goes with starts="endgames" only')
    for name in pieces:
        if name not in ENDGAMES:
            raise unknown("piece set", name, ENDGAMES)
    return tuple(pieces)


def _require_position(position: Any) -> chess.Board:
    """Return the board of a FEN, plain or spaced. Raises ValueError where White has no game to play."""
    text = str(position).strip()
    plain = text[::2] if len(text) > 1 and set(text[1::2]) == {" "} else text
    board = chess.Board(plain)
    if not board.is_valid():
        raise ValueError(f"the position {plain} cannot occur in a game")
    if board.turn != chess.WHITE or board.is_game_over() or board.halfmove_clock >= 100:
        raise ValueError(f"White has no move to make in the position {plain}")
    if board.fullmove_number > MAX_FULLMOVE:
        raise ValueError(f"the position {plain} stands at a later move than {MAX_FULLMOVE}")
    return board


@cache
def fixed_positions(name: str) -> tuple[str, ...]:
    """Return the FENs of a list in `envs/data/`."""
    text = resources.files("lmgym.envs").joinpath("data", f"{name}.txt").read_text(encoding="ascii")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))


@cache
def _reserved() -> frozenset[str]:
    return frozenset(fixed_positions("endgames_evaluation"))


def _endgame(pieces: Sequence[str], chance: np.random.Generator) -> chess.Board:
    """Draw a piece set and squares for it, until the position is none of the evaluation."""
    name = pieces[int(chance.integers(len(pieces)))]
    while True:
        board = _placed(name, chance)
        if board.fen() not in _reserved():
            return board


def _placed(name: str, chance: np.random.Generator) -> chess.Board:
    symbols = [*name[:-1], "k"]
    while True:
        board = chess.Board(None)
        for symbol, square in zip(symbols, chance.choice(64, len(symbols), replace=False), strict=True):
            board.set_piece_at(int(square), chess.Piece.from_symbol(symbol))
        if board.is_valid() and not board.is_check():
            return board


def evaluation_positions() -> Iterator[str]:
    """Yield the 645 positions of the official evaluation: not won in 1 to 4 moves, sets in turn."""
    chance = np.random.default_rng(645)
    chosen: set[str] = set()
    while len(chosen) < 645:
        name = ENDGAMES[len(chosen) % len(ENDGAMES)]
        board = _placed(name, chance)
        if (moves_to_mate(board) or 0) > 4 and board.fen() not in chosen:
            chosen.add(board.fen())
            yield board.fen()


def simple_endgame_positions() -> Iterator[str]:
    """Yield 24 positions of KQK and KRK in turn that are won in 2 to 6 moves."""
    chance = np.random.default_rng(24)
    for index in range(24):
        while True:
            board = _placed(("KQK", "KRK")[index % 2], chance)
            if (moves_to_mate(board) or 0) == 2 + index // 2 % 5 and board.fen() not in _reserved():
                yield board.fen()
                break


# ---- Constants that were measured ------------------------------------------------------------------------

WEAK = {"embedded": Strength(40, 0.3, 5), "stockfish": Strength(100, 0.3, 40)}
WEAKEST = {"embedded": Strength(20, 0.0, 0), "stockfish": Strength(1, 0.0, 0)}
STRENGTHS = {"initial": WEAK, "endgames": WEAK, "simple": WEAKEST, "simple_endgames": WEAKEST}

SKILLS = {  # the share of random moves of the players of the data: uniform between these
    "initial": (0.0, 0.47),
    "endgames": (0.0, 0.97),
    "simple": (0.0, 1.0),
    "simple_endgames": (0.0, 1.0),
}
EPISODES = {  # of the default data and of an official evaluation
    "initial": (2000, 1000),
    "endgames": (5000, 645),
    "simple": (2000, 320),
    "simple_endgames": (2000, 480),
}
BEGINNINGS = {  # what a player is told of the first position
    "initial": "The game begins at the initial position.",
    "endgames": "The game begins with few pieces left, White's and then Black's: {pieces}.",
    "simple": "The game begins at a position that is won for you.",
    "simple_endgames": "The game begins with a king and a queen or rook of yours against the bare king.",
    "other": "The game begins at one of a few positions.",
}
REFERENCES = {
    "initial": Reference(
        min=Score(-400.0, "400 invalid moves"),
        data=Score(0.216, "mean of the default 2,000 episodes (seed 0)"),
        best=Score(1.0, "a win; expert() with Stockfish 15.1 won 300 of 300 games"),
        data_success=0.583,
        data_turns=51.9,
    ),
    "endgames": Reference(
        min=Score(-50.0, "50 invalid moves"),
        data=Score(0.585, "mean of the default 5,000 episodes (seed 0)"),
        best=Score(1.0, "a win; expert() won all 645 official games"),
        data_success=0.585,
        data_turns=11.2,
    ),
    "simple": Reference(
        min=Score(-20.0, "20 invalid moves"),
        data=Score(0.356, "mean of the default 2,000 episodes (seed 0)"),
        best=Score(1.0, "a win; expert() won 20 games from each of the 16 positions"),
        data_success=0.448,
        data_turns=10.7,
    ),
    "simple_endgames": Reference(
        min=Score(-20.0, "20 invalid moves"),
        data=Score(0.451, "mean of the default 2,000 episodes (seed 0)"),
        best=Score(1.0, "a win; expert() won 480 of 480 games from the 24 positions"),
        data_success=0.451,
        data_turns=8.0,
    ),
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    note = "# Written by `python -m lmgym.envs.chess_games`: see {} there.\n"
    for list_name, positions in (
        ("endgames_evaluation", evaluation_positions),
        ("chess_simple_endgames", simple_endgame_positions),
    ):
        with replacing(folder / f"{list_name}.txt") as partial:
            partial.write_text(note.format(positions.__name__) + "".join(f"{fen}\n" for fen in positions()), "ascii")
