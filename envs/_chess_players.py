"""Who plays chess: opponents and experts of `lmgym.envs.chess_games`. No game of its own, hence the underscore.

A uniform mover, an alpha-beta engine written here, Stockfish over UCI, and exact tables of four endgames.
"""

import asyncio
import atexit
import os
import shutil
import threading
import zipfile
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import chess
import chess.engine
import numpy as np

from lmgym.errors import UsageError, unknown
from lmgym.files import cache_folder, replacing

ENDGAMES = ("KQK", "KQRK", "KRK", "KRRK")
ENGINES = ("embedded", "stockfish", "random")


@dataclass(frozen=True)
class Strength:
    """How well an engine plays: it searches `nodes` nodes a move.

    With probability `blunder` it plays any legal move instead. Otherwise every `halving` centipawns that a move
    is behind the best halve its chance to be chosen, to nothing after 16; 0: only the best is played.
    """

    nodes: int
    blunder: float
    halving: int


EXPERT = {"stockfish": Strength(2000, 0.0, 0), "embedded": Strength(3000, 0.0, 0)}


def position_key(board: chess.Board) -> tuple[Any, ...]:
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
        return random_move(board, chance)

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
            return random_move(board, chance)
        known = table_move(board) if piece_set(board) in ("KQK", "KRK") else None
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
            return random_move(board, chance)
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


def random_move(board: chess.Board, chance: np.random.Generator) -> chess.Move:
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


def make_opponent(
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


def strong_player(stockfish: str | None) -> Player:
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
        if position_key(board) in self._seen or board.is_insufficient_material() or board.halfmove_clock >= 100:
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


def piece_set(position: chess.Board | str) -> str:
    """Return the name of the side to move's pieces against a lone king (`KQK`), else an empty string."""
    board = chess.Board(position) if isinstance(position, str) else position
    own, other = board.occupied_co[board.turn], board.occupied_co[not board.turn]
    if other & (other - 1) or own.bit_count() > 3 or (board.pawns | board.knights | board.bishops):
        return ""
    return f"K{'Q' * (board.queens & own).bit_count()}{'R' * (board.rooks & own).bit_count()}K"


def moves_to_mate(board: chess.Board) -> int | None:
    """Return White's moves to mate in an endgame of ENDGAMES, None where there is no forced one."""
    name = piece_set(board if board.turn else _with_turn(board))
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
