"""Chess: full games (`lmgym/Chess-v0`, `lmgym/ChessMini-v0`) and endgames (`lmgym/Endgames-v0`,
`lmgym/EndgamesMini-v0`).

`python -m lmgym.envs.chess_games FOLDER` writes the lists of fixed positions that are kept in `envs/data/`.
"""

import asyncio
import atexit
import os
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import chess
import chess.engine
import chess.svg
import numpy as np
from gymnasium import spaces

from lmgym.env import AnyText, TextEnv
from lmgym.errors import UsageError, unknown
from lmgym.files import replacing
from lmgym.scores import Reference, Score

ENDGAMES = ("KQK", "KQRK", "KRK", "KRRK")
STARTS = ("initial", "endgames", "simple", "simple_endgames")
ENGINES = ("embedded", "stockfish", "random")

CHARSET = "/- 0123456789abcdefghknpqrwBKNPQR"
MAX_OBSERVATION_CHARS = 200
MAX_FULLMOVE = 5_000

FIRST_MOVES = ("e 4", "d 4", "N f 3", "c 4", "g 3", "N c 3")
KING_MOVES = tuple(f"K {file} {rank}" for file in "bcdefg" for rank in "234567")

UNREADABLE, ILLEGAL = "not a move", "an illegal move"
AMBIGUOUS = "an ambiguous move: it could mean several"


@dataclass(frozen=True)
class Strength:
    """How well an engine plays: it searches `nodes` nodes a move.

    With probability `blunder` it plays any legal move instead. Otherwise every `halving` centipawns that a move
    is behind the best halve its chance to be chosen, to nothing after 16; 0: only the best is played.
    """

    nodes: int
    blunder: float
    halving: int


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
        `=`, `-` may be missing and case matters only where it changes the move (`Bc4`, `bc4`).
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
        standard = kind == starts and tuple(pieces) == ENDGAMES and (nodes, blunder, halving) == (None,) * 3
        self._opponent = _opponent(engine, STRENGTHS[kind], nodes, blunder, halving)
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
        options = options or {}
        for name in options:
            if name != "position":
                raise unknown("reset option of chess", name, ("position",))
        if "position" in options:
            self._board = _require_position(options["position"])
        elif self._starts:
            self._board = chess.Board(self._starts[int(self.np_random.integers(len(self._starts)))])
        else:
            self._board = _endgame(self._pieces, self.np_random)
        self._seen = {_key(self._board): 1}
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
        key = _key(board)
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

    def official_starts(self) -> Sequence[dict[str, Any]]:
        """The fixed positions: 645 for endgames, those of `pieces`; none for the initial position."""
        if self._kind == "endgames":
            fens = [fen for fen in fixed_positions("endgames_evaluation") if _piece_set(fen) in self._pieces]
            return tuple({"position": fen} for fen in fens)
        return tuple({"position": fen} for fen in self._starts) if len(self._starts) > 1 else ()

    def expert(self) -> str:
        """The quickest mate where an exact table knows it, else the choice of a strong engine.

        Against a lone king that is the embedded one: at few nodes Stockfish makes no progress where every move
        wins.
        """
        board = self._board
        move = table_move(board) if _piece_set(board) in ENDGAMES else None
        if move is None:
            is_lone = board.occupied_co[chess.BLACK].bit_count() == 1
            player = _strong_player(None if is_lone else find_stockfish())
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
        if _piece_set(self._board) in ENDGAMES:
            if chance.random() < self._skill.blunder:
                return self._spaced_san(_random_move(self._board, chance))
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


def _key(board: chess.Board) -> tuple[Any, ...]:
    """Return what makes two positions the same for the rule of threefold repetition."""
    en_passant = board.ep_square if board.ep_square is not None and board.has_legal_en_passant() else None
    return (
        board.pawns,
        board.knights,
        board.bishops,
        board.rooks,
        board.queens,
        board.kings,
        board.occupied_co[chess.WHITE],
        board.turn,
        board.castling_rights,
        en_passant,
    )


# ---- Opponents --------------------------------------------------------------------------------------------

Ranking = list[tuple[int, chess.Move]]
"""Moves with their scores in centipawns for the side to move, best first; hopeless ones may be missing."""


class Player(Protocol):
    """Chooses moves for the side to move. `seen` counts the positions since the last irreversible move."""

    def move(self, board: chess.Board, seen: dict[Any, int], chance: np.random.Generator) -> chess.Move:
        """Return a legal move; there is one."""

    def description(self) -> str:
        """Return name, version and limits."""


class Random:
    """Plays any legal move."""

    def move(self, board: chess.Board, _seen: dict[Any, int], chance: np.random.Generator) -> chess.Move:
        """Return a uniformly drawn move."""
        return _random_move(board, chance)

    def description(self) -> str:
        """Return name and limits."""
        return "random 1 (uniform over legal moves)"


class Embedded:
    """The engine of this file: alpha-beta with captures followed to their end."""

    def __init__(self, strength: Strength) -> None:
        self._strength = strength
        self._description = f"embedded 1 ({_limits(strength)})"

    def move(self, board: chess.Board, seen: dict[Any, int], chance: np.random.Generator) -> chess.Move:
        """Return a move of the engine's strength."""
        if _blunders(self._strength, chance):
            return _random_move(board, chance)
        known = table_move(board) if _piece_set(board) in ("KQK", "KRK") else None
        ranking = [(0, known)] if known else Search(board, seen).ranked(self._strength)
        return _weighted_choice(ranking, self._strength.halving, chance)

    def description(self) -> str:
        """Return name, version and limits."""
        return self._description


class Stockfish:
    """Stockfish, limited by nodes, with our own choice among its four best moves."""

    def __init__(self, path: str, strength: Strength) -> None:
        self._path, self._strength = path, strength

    def move(self, board: chess.Board, _seen: dict[Any, int], chance: np.random.Generator) -> chess.Move:
        """Return a move of the engine's strength."""
        if _blunders(self._strength, chance):
            return _random_move(board, chance)
        num_lines = 4 if self._strength.halving else 1
        ranking = shared_engine(self._path).ranked(board, self._strength.nodes, num_lines)
        return _weighted_choice(ranking, self._strength.halving, chance)

    def description(self) -> str:
        """Return name, version and limits."""
        return f"{shared_engine(self._path).name} ({_limits(self._strength)}, one thread, 1 MB hash)"


def _limits(strength: Strength) -> str:
    return f"{strength.nodes} nodes, blunder {strength.blunder:g}, halving {strength.halving}"


def _blunders(strength: Strength, chance: np.random.Generator) -> bool:
    return strength.blunder > 0 and chance.random() < strength.blunder


def _random_move(board: chess.Board, chance: np.random.Generator) -> chess.Move:
    # Drawing among moves that look legal until one is legal is uniform over the legal, and much faster.
    own, turn = board.occupied_co[board.turn], board.turn
    promoting = board.pawns & own & (chess.BB_RANK_7 if turn else chess.BB_RANK_2)
    looking = list(board.generate_pseudo_legal_moves(promoting)) if promoting else []
    if board.castling_rights:
        looking += board.generate_castling_moves()
    if board.ep_square is not None:
        looking += board.generate_pseudo_legal_ep()
    flights = [(square, board.attacks_mask(square) & ~own) for square in chess.scan_forward(own & ~board.pawns)]
    enemies, empty = board.occupied_co[not turn], ~board.occupied
    for square in chess.scan_forward(board.pawns & own & ~promoting):
        ahead = (1 << square + 8 if turn else 1 << square - 8) & empty
        twice = (ahead & chess.BB_RANK_3) << 8 if turn else (ahead & chess.BB_RANK_6) >> 8
        flights.append((square, chess.BB_PAWN_ATTACKS[turn][square] & enemies | ahead | twice & empty))
    num_looking = len(looking) + sum([targets.bit_count() for _, targets in flights])
    while True:
        index = int(chance.random() * num_looking)
        move = looking[index] if index < len(looking) else _flight(flights, index - len(looking))
        if not board.is_into_check(move):
            return move


def _flight(flights: list[tuple[chess.Square, chess.Bitboard]], index: int) -> chess.Move:
    """Return the move of a number among the moves from squares to sets of targets."""
    for square, targets in flights:
        size = targets.bit_count()
        if index < size:
            for _ in range(index):
                targets &= targets - 1
            return chess.Move(square, chess.lsb(targets))
        index -= size
    raise AssertionError("the number is smaller than the number of moves")


def _weighted_choice(ranking: Ranking, halving: int, chance: np.random.Generator) -> chess.Move:
    """Draw a move: integer weights, so that every machine draws the same."""
    best = ranking[0][0]
    if halving == 0 or len(ranking) == 1:
        return ranking[0][1]
    weights = [(1 << WEIGHT_BITS) >> (best - score) // halving for score, _ in ranking]
    ticket = int(chance.integers(sum(weights)))
    for weight, (_, move) in zip(weights, ranking, strict=True):
        ticket -= weight
        if ticket < 0:
            return move
    raise AssertionError("the ticket is smaller than the sum of the weights")


def _opponent(
    engine: str, strengths: dict[str, Strength], nodes: int | None, blunder: float | None, halving: int | None
) -> Player:
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "random":
        if (nodes, blunder, halving) != (None, None, None):
            raise UsageError("the random opponent has no strength to set: leave out nodes, blunder and halving")
        return Random()
    default = strengths[engine]
    strength = Strength(
        default.nodes if nodes is None else int(nodes),
        default.blunder if blunder is None else float(blunder),
        default.halving if halving is None else int(halving),
    )
    if strength.nodes < 1 or not 0 <= strength.blunder <= 1 or strength.halving < 0:
        raise UsageError(
            f"an engine has 1 node or more, a blunder share in [0, 1] and a halving of 0 or more: {strength}"
        )
    if engine == "embedded":
        return Embedded(strength)
    path = find_stockfish()
    if path is None:
        raise UsageError(
            "Stockfish is not installed: install it (`apt-get install stockfish`) or name it by LMGYM_STOCKFISH"
        )
    return Stockfish(path, strength)


def _strong_player(stockfish: str | None) -> Player:
    return Stockfish(stockfish, EXPERT["stockfish"]) if stockfish else Embedded(EXPERT["embedded"])


# ---- The embedded engine ----------------------------------------------------------------------------------

MATE = 100_000
WEIGHT_BITS = 16
BRANCHING = 3
VALUES = {chess.PAWN: 100, chess.KNIGHT: 310, chess.BISHOP: 325, chess.ROOK: 500, chess.QUEEN: 950, chess.KING: 0}
CENTRE = chess.BB_D4 | chess.BB_E4 | chess.BB_D5 | chess.BB_E5
MIDDLE = chess.SquareSet(
    square for square in chess.SQUARES if 2 <= chess.square_file(square) <= 5 and 2 <= chess.square_rank(square) <= 5
).mask
SHELTER = {
    color: chess.BB_RANKS[rank]
    & (chess.BB_FILE_A | chess.BB_FILE_B | chess.BB_FILE_C | chess.BB_FILE_G | chess.BB_FILE_H)
    for color, rank in ((chess.WHITE, 0), (chess.BLACK, 7))
}
BACK = {chess.WHITE: chess.BB_RANK_1, chess.BLACK: chess.BB_RANK_8}
ADVANCED = {  # bonus of a pawn by the ranks it has left to go
    color: tuple(
        (chess.BB_RANKS[rank if color else 7 - rank], bonus) for rank, bonus in ((3, 8), (4, 20), (5, 45), (6, 90))
    )
    for color in chess.COLORS
}


def _rim(square: chess.Square) -> int:
    """Return 0 in the centre, more towards the edge and most in a corner."""
    file, rank = chess.square_file(square), chess.square_rank(square)
    from_side, from_end = min(file, 7 - file), min(rank, 7 - rank)
    return 3 - min(from_side, from_end) + max(0, 3 - from_side - from_end)


RIM = [_rim(square) for square in chess.SQUARES]


def evaluate(board: chess.Board) -> int:
    """Return what a position is worth to the side to move, in centipawns, without looking ahead."""
    score = _worth(board, chess.WHITE) - _worth(board, chess.BLACK)
    return score if board.turn else -score


def _worth(board: chess.Board, color: chess.Color) -> int:
    own, other = board.occupied_co[color], board.occupied_co[not color]
    pawns, minors = board.pawns & own, (board.knights | board.bishops) & own
    score = (
        100 * pawns.bit_count()
        + 310 * minors.bit_count()
        + 15 * (board.bishops & own).bit_count()
        + 500 * (board.rooks & own).bit_count()
        + 950 * (board.queens & own).bit_count()
        + 12 * (pawns & CENTRE).bit_count()
        + 8 * (minors & MIDDLE).bit_count()
        - 14 * (minors & BACK[color]).bit_count()
    )
    for rank, bonus in ADVANCED[color]:
        score += bonus * (pawns & rank).bit_count()
    king = board.kings & own
    if board.queens & other:
        return score + 30 * (king & SHELTER[color]).bit_count()
    square = king.bit_length() - 1
    score -= 6 * RIM[square]
    if other & ~board.kings == 0:
        prey = other.bit_length() - 1
        score += 20 * RIM[prey] - 10 * chess.square_distance(square, prey)
    return score


class _NodesSpent(Exception):
    """The search has to stop."""


class Search:
    """Alpha-beta (Knuth and Moore 1975) with iterative deepening, from one position."""

    def __init__(self, board: chess.Board, seen: dict[Any, int]) -> None:
        self._board = board.copy(stack=False)
        self._seen = seen
        self._nodes_left = 0
        self._may_stop = False

    def ranked(self, strength: Strength) -> Ranking:
        """Rank the moves; those out of reach of the choice by `strength` have a bound for a score.

        The first depth is always finished. A deeper one is begun if the nodes left are BRANCHING times those of
        the last, and counts if they suffice for all of it.
        """
        self._nodes_left = strength.nodes
        margin = (WEIGHT_BITS + 1) * strength.halving
        ranking = self._rank_by_looks(margin)
        self._may_stop, spent = True, strength.nodes - self._nodes_left
        for depth in range(2, 30):
            decided = len(ranking) == 1 or abs(ranking[0][0]) > MATE - 1000
            if decided or self._nodes_left < BRANCHING * spent:
                break
            spent = self._nodes_left
            try:
                ranking = self._rank(depth, [move for _, move in ranking], margin)
            except _NodesSpent:
                break
            spent -= self._nodes_left
        return ranking

    def _rank_by_looks(self, margin: int) -> Ranking:
        """Rank to depth 1. What gives no check and looks out of reach is not searched: replies only lower it."""
        board = self._board
        looks, ranking, best = [], [], -2 * MATE
        for move in board.generate_legal_moves():
            board.push(move)
            looks.append((-evaluate(board), board.is_check(), move))
            board.pop()
        for look, gives_check, move in sorted(looks, key=lambda looked: -looked[0]):
            score, floor = look, best - margin - 1
            if look > floor or gives_check:
                board.push(move)
                score = -self._after(1, floor)
                board.pop()
                best = max(best, score)
            ranking.append((score, move))
        return sorted(ranking, key=lambda scored: -scored[0])

    def _rank(self, depth: int, moves: list[chess.Move], margin: int) -> Ranking:
        ranking, best = [], -2 * MATE
        for move in moves:
            self._board.push(move)
            score = -self._after(depth, best - margin - 1)
            self._board.pop()
            best = max(best, score)
            ranking.append((score, move))
        return sorted(ranking, key=lambda scored: -scored[0])

    def _after(self, depth: int, floor: int) -> int:
        board = self._board
        if not any(board.generate_legal_moves()):
            return 1 - MATE if board.is_check() else 0
        if _key(board) in self._seen or board.is_insufficient_material() or board.halfmove_clock >= 100:
            return 0
        return self._value(depth - 1, -2 * MATE, -floor, 1)

    def _value(self, depth: int, alpha: int, beta: int, ply: int) -> int:
        if depth == 0:
            return self._quiet_value(alpha, beta, ply)
        self._spend()
        board = self._board
        if board.is_insufficient_material():
            return 0
        best = -2 * MATE
        for move in self._ordered():
            board.push(move)
            score = -self._value(depth - 1, -beta, -alpha, ply + 1)
            board.pop()
            if score > best:
                best = score
                if score > alpha:
                    alpha = score
                    if alpha >= beta:
                        break
        if best == -2 * MATE:
            return ply - MATE if board.is_check() else 0
        return best

    def _quiet_value(self, alpha: int, beta: int, ply: int, square: chess.Square | None = None) -> int:
        """Follow every capture, then what is taken back on its `square`, until one side leaves it there."""
        self._spend()
        board = self._board
        best = evaluate(board)
        if square is None and board.is_check():
            return self._value_in_check(alpha, beta, ply)
        if best >= beta:
            return best
        alpha = max(alpha, best)
        targets = board.occupied_co[not board.turn] if square is None else chess.BB_SQUARES[square]
        for move in self._promising_captures(targets):
            board.push(move)
            score = -self._quiet_value(-beta, -alpha, ply + 1, move.to_square)
            board.pop()
            if score > best:
                best = score
                alpha = max(alpha, score)
                if alpha >= beta:
                    break
        return best

    def _value_in_check(self, alpha: int, beta: int, ply: int) -> int:
        best = ply - MATE
        for move in self._ordered():
            self._board.push(move)
            best = max(best, -self._quiet_value(-beta, -alpha, ply + 1, move.to_square))
            self._board.pop()
            alpha = max(alpha, best)
            if alpha >= beta:
                break
        return best

    def _promising_captures(self, targets: chess.Bitboard) -> list[chess.Move]:
        """Return the captures but those that give more for less on a guarded square."""
        board, kind = self._board, self._board.piece_type_at
        return [
            move
            for move in self._ordered(targets)
            if VALUES[kind(move.from_square) or 1] <= VALUES[kind(move.to_square) or 1]
            or not board.is_attacked_by(not board.turn, move.to_square)
        ]

    def _spend(self) -> None:
        self._nodes_left -= 1
        if self._may_stop and self._nodes_left < 0:
            raise _NodesSpent

    def _ordered(self, targets: chess.Bitboard = chess.BB_ALL) -> list[chess.Move]:
        """Return legal moves to `targets`: the most valuable captures by the least valuable pieces first."""
        board = self._board
        others = board.occupied_co[not board.turn]
        kind = board.piece_type_at
        gains: list[tuple[int, chess.Move]] = []
        for move in board.generate_legal_moves(chess.BB_ALL, targets):
            gain = 0
            if others >> move.to_square & 1:
                gain = 10 * VALUES[kind(move.to_square) or 1] - VALUES[kind(move.from_square) or 1] // 10 + 100
            elif move.promotion == chess.QUEEN:
                gain = 9000
            gains.append((gain, move))
        gains.sort(key=lambda gained: -gained[0])
        return [move for _, move in gains]


# ---- Stockfish --------------------------------------------------------------------------------------------


def find_stockfish() -> str | None:
    """Return the path of Stockfish: LMGYM_STOCKFISH, else on PATH, else in /usr/games, where Debian has it."""
    named = os.environ.get("LMGYM_STOCKFISH")
    if named:
        if shutil.which(named) is None:
            raise UsageError(f"LMGYM_STOCKFISH names {named!r}, which is no program that can be run")
        return named
    return shutil.which("stockfish") or shutil.which("stockfish", path="/usr/games")


class EngineProcess:
    """One Stockfish process, talked to from a thread of its own that does not keep Python from ending."""

    TIMEOUT_S = 60.0

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stockfish", daemon=True)
        self._thread.start()
        try:
            self.transport, self._protocol = self._wait(chess.engine.popen_uci(self._path))
            self._wait(self._protocol.configure({"Threads": 1, "Hash": 1}))
        except (OSError, TimeoutError, chess.engine.EngineError) as error:
            self._stop_loop()
            raise RuntimeError(f"Stockfish at {self._path} does not start: {error}") from error
        self.name = self._protocol.id.get("name", "Stockfish")

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(self.TIMEOUT_S)

    def ranked(self, board: chess.Board, nodes: int, num_lines: int) -> Ranking:
        """Return the best moves. A dead engine is started again once and asked again."""
        # Positions before the last irreversible move cannot come again: the engine need not read about them.
        board = board.copy(stack=board.halfmove_clock)
        with self._lock:
            try:
                return self._wait(self._search(board, nodes, num_lines))
            except (chess.engine.EngineError, OSError, TimeoutError):
                self._close()
                self._start()
            try:
                return self._wait(self._search(board, nodes, num_lines))
            except (chess.engine.EngineError, OSError, TimeoutError) as error:
                raise RuntimeError(f"Stockfish at {self._path} died twice at {board.fen()}: {error}") from error

    async def _search(self, board: chess.Board, nodes: int, num_lines: int) -> Ranking:
        wanted = chess.engine.INFO_SCORE | chess.engine.INFO_PV
        limit = chess.engine.Limit(nodes=nodes)
        lines = await self._protocol.analyse(board, limit, multipv=num_lines, info=wanted)
        # The games of a process take turns, so nothing may be left of the search before. Cleared afterwards,
        # because then it happens while Python goes on.
        self._protocol.send_line("ucinewgame")
        found = [(line["score"].relative.score(mate_score=MATE), line["pv"][0]) for line in lines if line.get("pv")]
        return sorted(found, key=lambda scored: -scored[0])

    def _close(self) -> None:
        try:
            self._wait(asyncio.wait_for(self._protocol.quit(), 5))
        except (chess.engine.EngineError, OSError, TimeoutError):
            self._loop.call_soon_threadsafe(self.transport.kill)
        self._loop.call_soon_threadsafe(self.transport.close)
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._close()


_engines: dict[tuple[int, str], EngineProcess] = {}


def shared_engine(path: str) -> EngineProcess:
    """Return the engine of this process; a forked child gets one of its own and leaves its parent's alone."""
    key = (os.getpid(), path)
    if key not in _engines:
        _engines[key] = EngineProcess(path)
    return _engines[key]


@atexit.register
def close_engines() -> None:
    """End the engines of this process."""
    for process, path in list(_engines):
        if process == os.getpid():
            _engines.pop((process, path)).close()


# ---- Exact endgame tables ---------------------------------------------------------------------------------

TABLE_VERSION = 1
NEVER = 255
TRIANGLE = [0, 1, 2, 3, 9, 10, 11, 18, 19, 27]  # squares that stand for all 64 under the board's symmetries
ROOK_RAYS, BISHOP_RAYS = ((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
RAYS = {"R": ROOK_RAYS, "Q": ROOK_RAYS + BISHOP_RAYS}
Squares = np.ndarray  # of square numbers, one for each of N positions


@dataclass(frozen=True)
class EndgameTable:
    """Moves to mate of White's king and one or two pieces against a king, in the best play of both.

    `white` and `black` [10, 64, 64(, 64)] uint8 by the side to move: White's king (in the triangle), Black's
    king, White's pieces in the order of the name; NEVER where there is no forced mate.
    """

    white: np.ndarray
    black: np.ndarray


class _Geometry:
    """What the squares of a board have to do with each other, as arrays for many positions at a time."""

    def __init__(self) -> None:
        squares = np.arange(64)
        rank, file = squares // 8, squares % 8
        self.steps = {ray: self._stepped(rank + ray[0], file + ray[1]) for ray in ROOK_RAYS + BISHOP_RAYS}
        distance = np.maximum(abs(rank[:, None] - rank), abs(file[:, None] - file))
        self.near = distance <= 1
        self.between = np.array([[chess.between(a, b) for b in range(64)] for a in range(64)], dtype=np.uint64)
        straight = (rank[:, None] == rank) | (file[:, None] == file)
        slanted = abs(rank[:, None] - rank) == abs(file[:, None] - file)
        distinct = squares[:, None] != squares
        self.reach = {"R": straight & distinct, "Q": (straight | slanted) & distinct}
        symmetries = []
        for flip in range(8):
            r, f = (7 - rank if flip & 1 else rank), (7 - file if flip & 2 else file)
            symmetries.append(f * 8 + r if flip & 4 else r * 8 + f)
        # For a king anywhere: where it stands in the triangle, and what that does to every other square.
        self.corner, self.turned = np.zeros(64, dtype=np.int64), np.zeros((64, 64), dtype=np.int64)
        for square in squares:
            symmetry = next(s for s in symmetries if s[square] in TRIANGLE)
            self.corner[square], self.turned[square] = TRIANGLE.index(symmetry[square]), symmetry

    @staticmethod
    def _stepped(rank: np.ndarray, file: np.ndarray) -> np.ndarray:
        on_board = (rank >= 0) & (rank < 8) & (file >= 0) & (file < 8)
        return np.where(on_board, rank * 8 + file, -1)

    def attacked(self, name: str, piece: Squares, target: Squares, occupied: np.ndarray) -> np.ndarray:
        """Return where a piece of kind `name` attacks `target` past what is in its way."""
        return self.reach[name][piece, target] & ((self.between[piece, target] & occupied) == 0)


@cache
def _geometry() -> _Geometry:
    return _Geometry()


def _bit(squares: Squares) -> np.ndarray:
    return np.left_shift(np.uint64(1), squares.astype(np.uint64))


class _Builder:
    """Retrograde analysis: mates first, then the positions that force them in one move, in two, and so on."""

    def __init__(self, name: str) -> None:
        self.kinds = name[1:-1]
        self.smaller = [endgame_table(f"K{other}K") for other in self.kinds[::-1]] if len(self.kinds) == 2 else []
        shape = (10,) + (64,) * (1 + len(self.kinds))
        self.white, self.black = np.full(shape, NEVER, np.uint8), np.full(shape, NEVER, np.uint8)
        self.geometry = _geometry()
        squares = np.indices(shape[1:]).reshape(len(shape) - 1, -1)
        self.prey, self.pieces = squares[0], list(squares[1:])
        self.open_white = [self._legal_for_white(king) for king in range(10)]
        self.open_black = [self._legal_for_black(king) for king in range(10)]

    def _legal_for_black(self, king: int) -> np.ndarray:
        """Return the indices of the positions that may arise with Black to move."""
        place = TRIANGLE[king]
        legal = ~self.geometry.near[place, self.prey]
        for index, piece in enumerate(self.pieces):
            legal &= (piece != place) & (piece != self.prey)
            for other in self.pieces[:index]:
                legal &= piece != other
        return np.flatnonzero(legal)

    def _legal_for_white(self, king: int) -> np.ndarray:
        """Return those in which Black is not in check."""
        legal = self._legal_for_black(king)
        prey, pieces = self.prey[legal], [piece[legal] for piece in self.pieces]
        return legal[~self._checked(king, prey, pieces)]

    def _checked(self, king: int, target: Squares, pieces: list[Squares]) -> np.ndarray:
        """Return where a piece attacks `target`; one that stands on it is taken and attacks nothing."""
        place = np.uint64(1 << TRIANGLE[king])
        checked = np.zeros(len(target), dtype=bool)
        for index, (kind, piece) in enumerate(zip(self.kinds, pieces, strict=True)):
            occupied = np.full(len(target), place)
            for other in pieces[:index] + pieces[index + 1 :]:
                occupied |= _bit(other)
            checked |= self.geometry.attacked(kind, piece, target, occupied)
        return checked

    def build(self) -> EndgameTable:
        deepest_capture = max((int(table.white[table.white < NEVER].max()) for table in self.smaller), default=0)
        for moves in range(NEVER):
            news = [self._solve_white(king, moves) for king in range(10)] if moves else []
            news += [self._solve_black(king, moves) for king in range(10)]
            if not any(news) and moves > deepest_capture:
                return EndgameTable(self.white, self.black)
        raise AssertionError("no endgame of four pieces takes so long")

    def _flat(self, prey: Squares, pieces: list[Squares]) -> np.ndarray:
        flat = prey
        for piece in pieces:
            flat = flat * 64 + piece
        return flat

    def _solve_black(self, king: int, moves: int) -> bool:
        """Enter the open positions where every move of Black loses in at most `moves`."""
        still = self.open_black[king]
        prey, pieces = self.prey[still], [piece[still] for piece in self.pieces]
        worst, moved = np.zeros(len(still), np.uint8), np.zeros(len(still), dtype=bool)
        for steps in self.geometry.steps.values():
            target = steps[prey]
            legal = (target >= 0) & ~self.geometry.near[TRIANGLE[king], target]
            legal &= ~self._checked(king, target, pieces)
            moved |= legal
            value = self._value_after_black(king, target, pieces)
            worst = np.maximum(worst, np.where(legal, value, 0))
        stalemate = ~moved & ~self._checked(king, prey, pieces)
        lost = (worst <= moves) & ~stalemate
        self.black[king].reshape(-1)[still[lost]] = worst[lost]
        self.open_black[king] = still[~lost]
        return bool(lost.any())

    def _value_after_black(self, king: int, target: Squares, pieces: list[Squares]) -> np.ndarray:
        value = self.white[king].reshape(-1)[self._flat(target, pieces)]
        for index, piece in enumerate(pieces):
            taken = piece == target
            if self.smaller:
                smaller = self.smaller[index].white[king, target, pieces[1 - index]]
                value = np.where(taken, smaller, value)
            else:
                value = np.where(taken, NEVER, value)
        return value

    def _solve_white(self, king: int, moves: int) -> bool:
        """Enter the open positions with a move to one that is lost for Black in `moves` - 1."""
        still = self.open_white[king]
        prey, pieces = self.prey[still], [piece[still] for piece in self.pieces]
        won = self._king_wins(king, prey, pieces, moves - 1)
        for index, kind in enumerate(self.kinds):
            for ray in RAYS[kind]:
                won |= self._ray_wins(king, prey, pieces, (index, ray), moves - 1)
        self.white[king].reshape(-1)[still[won]] = moves
        self.open_white[king] = still[~won]
        return bool(won.any())

    def _king_wins(self, king: int, prey: Squares, pieces: list[Squares], moves: int) -> np.ndarray:
        won = np.zeros(len(prey), dtype=bool)
        for steps in self.geometry.steps.values():
            place = int(steps[TRIANGLE[king]])
            if place < 0:
                continue
            turn = self.geometry.turned[place]
            flat = self._flat(turn[prey], [turn[piece] for piece in pieces])
            won |= self.black[self.geometry.corner[place]].reshape(-1)[flat] == moves
        return won

    def _ray_wins(
        self, king: int, prey: Squares, pieces: list[Squares], mover: tuple[int, tuple[int, int]], moves: int
    ) -> np.ndarray:
        index, ray = mover
        won = np.zeros(len(prey), dtype=bool)
        going, place = np.arange(len(prey)), pieces[index]
        others = pieces[:index] + pieces[index + 1 :]
        for _ in range(7):
            place = self.geometry.steps[ray][place]
            free = (place >= 0) & (place != TRIANGLE[king]) & (place != prey[going])
            for other in others:
                free &= place != other[going]
            going, place = going[free], place[free]
            moved = [place if i == index else piece[going] for i, piece in enumerate(pieces)]
            won[going] |= self.black[king].reshape(-1)[self._flat(prey[going], moved)] == moves
        return won


@cache
def endgame_table(name: str) -> EndgameTable:
    """Return the table of KQK, KRK, KQRK or KRRK: from the cache folder, else built (and kept there)."""
    path = cache_folder() / f"endgame-{name}-v{TABLE_VERSION}.npz"
    try:
        with np.load(path, allow_pickle=False) as saved:
            return EndgameTable(saved["white"], saved["black"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    table = _Builder(name).build()
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, white=table.white, black=table.black)
    except OSError:
        pass  # A folder that cannot be written to costs time, nothing else.
    return table


def cache_folder() -> Path:
    """Return where this user's cached files live: LMGYM_CACHE, else the platform's convention."""
    named = os.environ.get("LMGYM_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lmgym" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lmgym"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmgym"


def _piece_set(position: chess.Board | str) -> str:
    """Return the name of the side to move's pieces against a lone king (`KQK`), else an empty string."""
    board = chess.Board(position) if isinstance(position, str) else position
    own, other = board.occupied_co[board.turn], board.occupied_co[not board.turn]
    if other & (other - 1) or own.bit_count() > 3 or (board.pawns | board.knights | board.bishops):
        return ""
    return f"K{'Q' * (board.queens & own).bit_count()}{'R' * (board.rooks & own).bit_count()}K"


def moves_to_mate(board: chess.Board) -> int | None:
    """Return White's moves to mate in an endgame of ENDGAMES, None where there is no forced one."""
    name = _piece_set(board if board.turn else _with_turn(board))
    if name not in ENDGAMES:
        return None
    geometry, table = _geometry(), endgame_table(name)
    king = board.king(chess.WHITE)
    turn = geometry.turned[king]
    places = [turn[board.king(chess.BLACK)]]
    for mask in (board.queens, board.rooks):
        places += [turn[square] for square in chess.scan_forward(mask)]
    value = int((table.white if board.turn else table.black)[(geometry.corner[king], *places)])
    return None if value == NEVER else value


def _with_turn(board: chess.Board) -> chess.Board:
    other = board.copy(stack=False)
    other.turn = not board.turn
    return other


def table_move(board: chess.Board) -> chess.Move | None:
    """Return the first of the quickest winning moves of the side to move in an endgame of ENDGAMES, if any."""
    view = board.copy(stack=False) if board.turn else board.mirror()
    quickest: tuple[int, chess.Move] | None = None
    for move in view.generate_legal_moves():
        view.push(move)
        left = moves_to_mate(view)
        view.pop()
        if left is not None and (quickest is None or left < quickest[0]):
            quickest = (left, move)
    if quickest is None:
        return None
    move = quickest[1]
    if board.turn:
        return move
    return chess.Move(chess.square_mirror(move.from_square), chess.square_mirror(move.to_square))


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

EXPERT = {"stockfish": Strength(2000, 0.0, 0), "embedded": Strength(3000, 0.0, 0)}
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
