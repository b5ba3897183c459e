"""The rules of chess as a text game, its opponents, its exact tables and its data."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chess
import gymnasium
import numpy as np
import pytest

from lmgym.agents import load_agent
from lmgym.check import odd_actions
from lmgym.env import make_env
from lmgym.envs import _chess_players, chess_games
from lmgym.envs._chess_players import ENDGAMES, Embedded, Search, Strength, endgame_table, find_stockfish, moves_to_mate
from lmgym.envs.chess_games import (
    AMBIGUOUS,
    CHARSET,
    ILLEGAL,
    REFERENCES,
    UNREADABLE,
    ChessGame,
    evaluation_positions,
    fixed_positions,
    simple_endgame_positions,
    spaced_fen,
)
from lmgym.episode import Episode, statistics
from lmgym.errors import UsageError
from lmgym.evaluate import collect, evaluate
from lmgym.rollout import Start, rollout

CHESS, ENDGAME, MINI, ENDGAME_MINI = (
    "lmgym/Chess-v0",
    "lmgym/Endgames-v0",
    "lmgym/ChessMini-v0",
    "lmgym/EndgamesMini-v0",
)
needs_stockfish = pytest.mark.skipif(find_stockfish() is None, reason="Stockfish is not installed")


class Scripted:
    """An opponent that plays given moves."""

    def __init__(self, *moves: str) -> None:
        self.moves = [chess.Move.from_uci(move) for move in moves]

    def move(self, board: chess.Board, seen: dict[Any, int], chance: np.random.Generator) -> chess.Move:
        return self.moves.pop(0)

    def description(self) -> str:
        return "scripted"


def game_at(fen: str, *replies: str, **kwargs: Any) -> ChessGame:
    """A game from a position against scripted replies, or against a random mover where there are none."""
    game = ChessGame(engine="random", **kwargs)
    if replies:
        game._opponent = Scripted(*replies)
    game.reset(seed=0, options={"position": fen})
    return game


def played(env_id: str, agent: str, seeds: range, num_envs: int = 1, **env_kwargs: Any) -> list[Episode]:
    starts = [Start(seed, {}) for seed in seeds]
    player = load_agent(agent, env_id, env_kwargs)
    return list(rollout(player, env_id, starts, env_kwargs=env_kwargs, num_envs=num_envs))


# ---- Text ---------------------------------------------------------------------------------------------------


def test_the_first_observation_is_the_spaced_fen() -> None:
    observation, info = gymnasium.make(CHESS).reset(seed=0)
    assert observation == (
        "r n b q k b n r / p p p p p p p p / 8 / 8 / 8 / 8 / P P P P P P P P / R N B Q K B N R"
        "   w   K Q k q   -   0   1"
    )
    assert info["success"] is False
    assert info["engine"].startswith("embedded 1 (")


def test_spaced_fen_is_pythons_fen_spaced_and_in_the_space() -> None:
    chance, space, characters = np.random.default_rng(0), ChessGame().observation_space, set()
    for _ in range(15):
        board = chess.Board()
        while not board.is_game_over():
            text = spaced_fen(board)
            assert text == " ".join(board.fen())
            assert text in space
            characters |= set(text)
            board.push(_chess_players.random_move(board, chance))
    assert characters <= set(CHARSET)
    # Nothing more than the pieces, the files, the digits and the marks of FEN.
    assert set(CHARSET) == set("pnbrqkPNBRQK" + "abcdefgh" + "0123456789" + "w/- ")


KNIGHTS = "4k3/8/8/8/8/2N3N1/8/4K3 w - - 0 1"
CASTLES = "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1"
PROMOTES = "1n2k3/P7/8/8/8/8/8/4K3 w - - 0 1"
PAWN_OR_BISHOP = "4k3/8/8/8/2n5/1P6/8/3BKB2 w - - 0 1"
EN_PASSANT = "4k3/8/8/3pP3/8/8/8/4K3 w - d6 0 2"


@pytest.mark.parametrize(
    ("fen", "text", "meaning"),
    [
        (chess.STARTING_FEN, "N f 3", "g1f3"),
        (chess.STARTING_FEN, "  Nf3\n", "g1f3"),
        (chess.STARTING_FEN, "nf3", "g1f3"),
        (chess.STARTING_FEN, "g1f3", "g1f3"),
        (chess.STARTING_FEN, "G1F3", "g1f3"),
        (chess.STARTING_FEN, "Ng1-f3", "g1f3"),
        (chess.STARTING_FEN, "e 4", "e2e4"),
        (chess.STARTING_FEN, "e2-e4", "e2e4"),
        (chess.STARTING_FEN, "e 5", ILLEGAL),
        (chess.STARTING_FEN, "N f 4", ILLEGAL),
        (chess.STARTING_FEN, "O - O", ILLEGAL),
        (chess.STARTING_FEN, "a 9", UNREADABLE),
        (chess.STARTING_FEN, "e 4 e 5", ILLEGAL),  # UCI notation of a pawn's move from e4
        (chess.STARTING_FEN, "e 4 N f 3", UNREADABLE),
        (chess.STARTING_FEN, "e4.", UNREADABLE),
        (chess.STARTING_FEN, "", UNREADABLE),
        (chess.STARTING_FEN, "--", UNREADABLE),
        (chess.STARTING_FEN, "0000", UNREADABLE),
        (chess.STARTING_FEN, "Z0", UNREADABLE),
        (chess.STARTING_FEN, "@@@@", UNREADABLE),
        (chess.STARTING_FEN, "e2e2", ILLEGAL),
        (KNIGHTS, "N e 4", AMBIGUOUS),
        (KNIGHTS, "ne4", AMBIGUOUS),
        (KNIGHTS, "N c e 4", "c3e4"),
        (KNIGHTS, "Ng3e4", "g3e4"),
        (CASTLES, "O - O", "e1g1"),
        (CASTLES, "O - O - O", "e1c1"),
        (CASTLES, "o-o", "e1g1"),
        (CASTLES, "0-0-0", "e1c1"),
        (CASTLES, "e1g1", "e1g1"),
        (PROMOTES, "a 8 = Q", "a7a8q"),
        (PROMOTES, "a8N", "a7a8n"),
        (PROMOTES, "a x b 8 = R", "a7b8r"),
        (PROMOTES, "axb8=R+", "a7b8r"),
        (PROMOTES, "a7b8b", "a7b8b"),
        (PROMOTES, "a 8", AMBIGUOUS),
        (PROMOTES, "a7a8", AMBIGUOUS),
        (PROMOTES, "a8=K", UNREADABLE),
        (PAWN_OR_BISHOP, "b x c 4", "b3c4"),
        (PAWN_OR_BISHOP, "B x c 4", "f1c4"),
        (PAWN_OR_BISHOP, "Bc4", "f1c4"),
        (PAWN_OR_BISHOP, "bc4", AMBIGUOUS),
        (EN_PASSANT, "e x d 6", "e5d6"),
        (EN_PASSANT, "e5d6", "e5d6"),
    ],
)
def test_reading_moves(fen: str, text: str, meaning: str) -> None:
    read = game_at(fen)._read(text)
    assert (read.uci() if isinstance(read, chess.Move) else read) == meaning


def test_every_choice_is_published_san_and_reads_back() -> None:
    game, chance = ChessGame(engine="random"), np.random.default_rng(1)
    game.reset(seed=1)
    for _ in range(60):
        choices = game.choices()
        assert choices == [" ".join(game._board.san(move)) for move in game._board.legal_moves]
        moves = {game._read(choice) for choice in choices}
        assert moves == set(game._board.legal_moves)
        if game.step(choices[int(chance.integers(len(choices)))])[2]:
            assert game.choices() == ()
            break


# ---- Rules --------------------------------------------------------------------------------------------------


def test_white_mates() -> None:
    game = game_at("6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1")
    observation, reward, terminated, truncated, info = game.step("R a 8 #")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["success"] is True
    assert info["outcome"] == "checkmate"
    assert "reply" not in info
    assert observation.startswith("R 5 k 1 /")
    assert " b " in observation


def test_white_is_mated() -> None:
    env = gymnasium.make(CHESS, blunder=0.0)
    env.reset(seed=0, options={"position": "rnbqkbnr/pppp1ppp/8/4p3/8/5P2/PPPPP1PP/RNBQKBNR w KQkq - 0 2"})
    _, reward, terminated, truncated, info = env.step("g 4")
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert (info["reply"], info["outcome"], info["success"]) == ("d8h4", "checkmate", False)


@pytest.mark.parametrize(
    ("fen", "move", "replies", "outcome"),
    [
        ("7k/8/5K2/8/8/8/8/6Q1 w - - 0 1", "Q g 6", (), "stalemate"),
        ("8/8/8/7k/8/8/1p6/K7 w - - 0 1", "K x b 2", (), "insufficient material"),
        ("4k3/8/8/8/8/8/8/R3K3 w - - 99 80", "R a 2", (), "fifty-move rule"),
        ("4k3/8/8/8/8/8/8/R3K3 w - - 98 80", "R a 2", ("e8d8",), "fifty-move rule"),
        ("4k3/8/8/8/8/8/8/R3K3 w - - 97 80", "R a 2", ("e8d8",), None),
    ],
)
def test_draws_end_the_game_with_nothing(fen: str, move: str, replies: tuple[str, ...], outcome: str | None) -> None:
    _, reward, terminated, truncated, info = game_at(fen, *replies).step(move)
    assert (reward, terminated, truncated) == (0.0, outcome is not None, False)
    assert info.get("outcome") == outcome
    assert info["success"] is False


def test_black_stalemates_white() -> None:
    _, reward, terminated, _, info = game_at("8/8/8/8/8/1q6/4k3/6K1 w - - 0 1", "b3g3").step("K h 1")
    assert (reward, terminated, info["outcome"]) == (0.0, True, "stalemate")


def test_the_third_occurrence_of_a_position_is_a_draw() -> None:
    shuffle = ("e8d8", "d8e8") * 3
    game = game_at("4k3/8/8/8/8/8/8/R3K3 w - - 0 1", *shuffle)
    endings = [game.step(move)[2:] for move in ("R a 2", "R a 1", "R a 2", "R a 1")]
    assert [ended for ended, _, _ in endings] == [False, False, False, True]
    assert endings[-1][2]["outcome"] == "threefold repetition"
    # A pawn move or capture between makes the positions new ones.
    game = game_at("4k3/8/8/8/8/8/P7/R3K3 w - - 0 1", "e8d8", "d8e8", "e8d8", "d8e8", "e8d8", "d8e8")
    moves = ("K e 2", "K e 1", "a 3", "K e 2", "K e 1", "K e 2")
    assert [game.step(move)[2] for move in moves] == [False] * 6


def test_mate_counts_before_the_fifty_move_rule() -> None:
    _, reward, _, _, info = game_at("6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 99 80").step("R a 8 #")
    assert (reward, info["outcome"]) == (1.0, "checkmate")


@pytest.mark.parametrize(
    ("fen", "move", "reply", "board"),
    [
        (CASTLES, "O - O", "e8d7", "r 6 r / 3 k 4 / 8 / 8 / 8 / 8 / 8 / R 4 R K 1"),
        (CASTLES, "O - O - O", "e8e7", "r 6 r / 4 k 3 / 8 / 8 / 8 / 8 / 8 / 2 K R 3 R"),
        (EN_PASSANT, "e x d 6", "e8f8", "5 k 2 / 8 / 3 P 4 / 8 / 8 / 8 / 8 / 4 K 3"),
        (PROMOTES, "a x b 8 = R +", "e8f7", "1 R 6 / 5 k 2 / 8 / 8 / 8 / 8 / 8 / 4 K 3"),
    ],
)
def test_special_moves(fen: str, move: str, reply: str, board: str) -> None:
    observation, reward, _, _, info = game_at(fen, reply).step(move)
    assert observation.startswith(board)
    assert reward == 0.0
    assert info["reply"] == reply


def test_an_invalid_reply_costs_one_and_a_step_and_changes_nothing() -> None:
    env = gymnasium.make(MINI)
    before, _ = env.reset(seed=3)
    total = 0.0
    for step in range(20):
        observation, reward, terminated, truncated, info = env.step(("", "K a 8", "0000", "hello")[step % 4])
        total += float(reward)
        assert (observation, terminated, truncated) == (before, False, step == 19)
        assert info["invalid"] in (UNREADABLE, ILLEGAL)
        assert info["success"] is False
    assert total == -20.0


def test_odd_actions_change_nothing() -> None:
    game = ChessGame()
    before, _ = game.reset(seed=0)
    for action in [*odd_actions(), "--", "0000", "e4\x00", "e" * 100_000 + "4", "\ud800e4", "ｅ４", "e４", "K e2"]:
        observation, reward, terminated, _, info = game.step(action)
        assert (observation, reward, terminated) == (before, -1.0, False), ascii(action)
        assert info["invalid"]


def test_a_game_that_is_over_stays_over() -> None:
    game = game_at("6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1")
    last = game.step("R a 8 #")
    assert game.step("K h 1")[:4] == (last[0], 0.0, True, False)


# ---- Arguments, options, pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"engine": "stokfish"}, "did you mean 'stockfish'"),
        ({"starts": "endgame"}, "did you mean 'endgames'"),
        ({"starts": ()}, "at least one position"),
        ({"starts": "endgames", "pieces": ("KQKR",)}, "did you mean"),
        ({"starts": "endgames", "pieces": "KQK"}, "a sequence of piece sets"),
        ({"pieces": ("KQK",)}, "goes with starts"),
        ({"engine": "random", "nodes": 5}, "no strength to set"),
        ({"nodes": 0}, "1 node or more"),
        ({"blunder": 1.5}, "blunder share"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ChessGame(**kwargs)


@pytest.mark.parametrize(
    "fen",
    [
        "nonsense",
        "8/8/8/8/8/8/8/8 w - - 0 1",  # no kings
        "4k3/8/8/8/8/8/8/4K3 b - - 0 1",  # Black to move
        "4k3/8/8/8/8/8/8/4K3 w - - 0 1",  # a draw already
        "4k3/8/8/8/8/8/8/R3K3 w - - 100 90",
        "4k3/8/8/8/4R3/8/8/4K3 w - - 0 1",  # Black in check
        "4k3/8/8/8/8/8/8/R3K3 w - - 0 99999",
    ],
)
def test_positions_without_a_game_are_refused(fen: str) -> None:
    with pytest.raises(ValueError, match=r"position|fen|expected"):
        ChessGame().reset(options={"position": fen})


def test_a_position_may_be_spaced_and_other_options_are_refused() -> None:
    game = ChessGame()
    observation, _ = game.reset(options={"position": CASTLES})
    assert game.reset(options={"position": observation})[0] == observation == " ".join(CASTLES)
    with pytest.raises(UsageError, match="did you mean 'position'"):
        game.reset(options={"positon": CASTLES})


def test_own_starts_are_drawn_and_evaluated_equally() -> None:
    game = ChessGame(starts=(CASTLES, KNIGHTS))
    assert {game.reset(seed=seed)[0] for seed in range(10)} == {" ".join(CASTLES), " ".join(KNIGHTS)}
    assert game.official_starts() == ({"position": CASTLES}, {"position": KNIGHTS})
    assert game.evaluation_episodes == 40
    assert game.reference is None


def test_reference_holds_for_the_default_settings_only() -> None:
    assert make_env(CHESS).unwrapped.reference is REFERENCES["initial"]  # type: ignore[attr-defined]
    for kwargs in ({"blunder": 0.0}, {"engine": "random"}):
        assert make_env(CHESS, kwargs).unwrapped.reference is None  # type: ignore[attr-defined]
    for kind, limit in (("initial", 400), ("endgames", 50), ("simple", 20), ("simple_endgames", 20)):
        reference = REFERENCES[kind]
        assert reference is not None
        assert reference.min.value == -limit


def test_pictures() -> None:
    for mode, mark in (("ansi", "R . . . K . . R"), ("svg", "<svg")):
        env = gymnasium.make(CHESS, render_mode=mode)
        env.reset(seed=0, options={"position": CASTLES})
        assert mark in str(env.render())
        env.step("O - O")
        assert "<svg" in str(env.render()) or mode == "ansi"


# ---- Repetition ------------------------------------------------------------------------------------------------

SETTINGS = [
    pytest.param({}, id="embedded"),
    pytest.param({"engine": "random"}, id="random"),
    pytest.param({"engine": "stockfish"}, id="stockfish", marks=needs_stockfish),
]


@pytest.mark.parametrize("kwargs", SETTINGS)
def test_games_do_not_depend_on_the_games_beside_them(kwargs: dict[str, Any]) -> None:
    """One after the other in one environment, or in turns that share an engine: the same texts."""
    alone = played(CHESS, "random", range(4), num_envs=1, **kwargs)
    beside = played(CHESS, "random", range(4), num_envs=4, **kwargs)
    assert [episode.turns for episode in alone] == [episode.turns for episode in beside]
    assert len({episode.turns for episode in alone}) == 4
    (fresh,) = played(CHESS, "random", range(3, 4), **kwargs)
    assert fresh.turns == alone[3].turns


def test_nothing_of_a_game_stays() -> None:
    game = game_at("4k3/8/8/8/8/8/8/R3K3 w - - 0 1", *("e8d8", "d8e8") * 5)
    for _ in range(3):  # each time, the positions of the games before would make a threefold repetition
        game.reset(seed=0, options={"position": "4k3/8/8/8/8/8/8/R3K3 w - - 0 1"})
        assert not any(game.step(move)[2] for move in ("R a 2", "R a 1"))


def test_random_moves_are_uniform_over_the_legal_ones() -> None:
    board, chance, size = chess.Board("r3k2r/8/8/3pP3/8/5b2/P6P/R3K2R w KQkq d6 0 2"), np.random.default_rng(0), 20_000
    counts = dict.fromkeys(board.legal_moves, 0)
    for _ in range(size):
        counts[_chess_players.random_move(board, chance)] += 1
    expected = size / len(counts)
    # Pearson's statistic: mean k - 1, standard deviation sqrt(2 (k - 1)); five deviations above the mean.
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert statistic < len(counts) - 1 + 5 * (2 * (len(counts) - 1)) ** 0.5


# ---- The embedded engine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fen", "best"),
    [
        ("6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1", "a1a8"),  # mate
        ("6rk/6pp/8/6N1/8/8/8/K4Q2 w - - 0 1", "g5f7"),  # mate by a knight
        ("4k3/8/8/3q4/4P3/8/8/4K3 w - - 0 1", "e4d5"),  # takes a queen
        ("4k3/2p5/3p4/4Q3/8/8/8/4K3 w - - 0 1", None),  # saves its own
    ],
)
def test_the_embedded_engine_sees_what_is_near(fen: str, best: str | None) -> None:
    board = chess.Board(fen)
    move = Search(board, {}).ranked(Strength(200, 0.0, 0))[0][1]
    if best is not None:
        assert move.uci() == best
    else:
        board.push(move)
        assert not board.is_attacked_by(chess.BLACK, move.to_square)
    assert board.fen() == fen or best is None


def test_the_embedded_engine_finds_a_mate_in_two_and_uses_its_nodes() -> None:
    fen = "3r2k1/5ppp/8/8/8/8/4Q3/K3R3 w - - 0 1"
    score, move = Search(chess.Board(fen), {}).ranked(Strength(3000, 0.0, 0))[0]
    assert (move.uci(), score) == ("e2e8", _chess_players.MATE - 3)


def test_evaluation_is_the_same_from_both_sides() -> None:
    chance = np.random.default_rng(2)
    board = chess.Board()
    for _ in range(60):
        assert _chess_players.evaluate(board) == _chess_players.evaluate(board.mirror())
        board.push(_chess_players.random_move(board, chance))


def test_alpha_beta_gives_the_value_of_plain_minimax() -> None:
    """The slow obvious search is the oracle: no bounds, no order."""

    def minimax(board: chess.Board, depth: int) -> int:
        if depth == 0:
            return Search(board, {})._quiet_value(-2 * _chess_players.MATE, 2 * _chess_players.MATE, 2)
        values = []
        for move in board.legal_moves:
            board.push(move)
            values.append(-minimax(board, depth - 1))
            board.pop()
        return max(values)

    for fen in ("4k3/p2r4/8/3N4/8/8/3R3P/4K3 w - - 0 1", "3qk3/5p2/8/8/2B5/8/5P2/3QK3 b - - 0 1"):
        board = chess.Board(fen)
        search = Search(board, {})
        ranking = search._rank(2, search._ordered(), 0)
        assert ranking[0][0] == minimax(board, 2)


# ---- Stockfish -------------------------------------------------------------------------------------------------


def test_a_missing_stockfish_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chess_players.shutil, "which", lambda *_, **__: None)
    monkeypatch.delenv("LMGYM_STOCKFISH", raising=False)
    with pytest.raises(UsageError, match="apt-get install stockfish"):
        make_env(CHESS, {"engine": "stockfish"})
    monkeypatch.setenv("LMGYM_STOCKFISH", "/nowhere/stockfish")
    with pytest.raises(UsageError, match="LMGYM_STOCKFISH names '/nowhere/stockfish'"):
        make_env(CHESS, {"engine": "stockfish"})


@needs_stockfish
def test_info_names_engine_version_and_limits() -> None:
    env = gymnasium.make(CHESS, engine="stockfish", nodes=77)
    _, info = env.reset(seed=0)
    assert info["engine"].startswith("Stockfish ")
    assert "77 nodes" in info["engine"]


@needs_stockfish
def test_games_share_one_process_and_survive_its_death() -> None:
    env, path = gymnasium.make(CHESS, engine="stockfish", blunder=0.0), find_stockfish()
    assert path is not None

    def play(kill_at: int | None) -> list[Any]:
        env.reset(seed=5)
        seen = []
        for step, move in enumerate(("e 4", "N f 3", "B c 4", "d 3", "a 3")):
            if step == kill_at:
                os.kill(_chess_players.shared_engine(path).transport.get_pid(), signal.SIGKILL)
                time.sleep(0.05 * (step % 2))  # noticed before the next move, or by it
            seen.append(env.step(move)[0])
        return seen

    undisturbed = play(None)
    engine = _chess_players.shared_engine(path)
    assert play(2) == undisturbed
    assert play(3) == undisturbed
    assert _chess_players.shared_engine(path) is engine


def test_an_engine_that_does_not_live_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = tmp_path / "dead"
    dead.write_text("#!/bin/sh\nexit 3\n")
    dead.chmod(0o755)
    monkeypatch.setenv("LMGYM_STOCKFISH", str(dead))
    env = gymnasium.make(CHESS, engine="stockfish")
    with pytest.raises(RuntimeError, match="does not start"):
        env.reset(seed=0)


def test_an_engine_that_dies_again_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that speaks the protocol and ends at the first search."""
    mortal = tmp_path / "mortal"
    mortal.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "for line in sys.stdin:\n"
        "    word = line.split()[0]\n"
        "    if word == 'uci': print('id name Mortal 1\\noption name MultiPV type spin default 1 min 1 max 9\\n'\n"
        "        'option name Threads type spin default 1 min 1 max 9\\n'\n"
        "        'option name Hash type spin default 1 min 1 max 9\\nuciok', flush=True)\n"
        "    if word == 'isready': print('readyok', flush=True)\n"
        "    if word == 'go': sys.exit(1)\n"
    )
    mortal.chmod(0o755)
    monkeypatch.setenv("LMGYM_STOCKFISH", str(mortal))
    env = gymnasium.make(CHESS, engine="stockfish", blunder=0.0)
    _, info = env.reset(seed=0)
    assert info["engine"].startswith("Mortal 1")
    with pytest.raises(RuntimeError, match="died twice"):
        env.step("e 4")
    _chess_players.close_engines()


@needs_stockfish
def test_a_process_and_its_fork_end_without_a_warning() -> None:
    code = (
        "import os, sys, gymnasium, lmgym\n"
        "env = gymnasium.make('lmgym/Chess-v0', engine='stockfish', blunder=0.0)\n"
        "env.reset(seed=0); first = env.step('e 4')[0]\n"
        "child = os.fork()\n"
        "env.reset(seed=0); assert env.step('e 4')[0] == first\n"
        "if child == 0: sys.stdout.flush(); os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "env.reset(seed=0); assert env.step('e 4')[0] == first\n"
        "print('played')\n"
    )
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-X", "dev", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "played\n", "")


@needs_stockfish
@pytest.mark.slow
def test_full_stockfish_beats_both_weak_opponents() -> None:
    """Published in the docstring: 95 % or more."""
    for kwargs in ({}, {"engine": "stockfish"}):
        episodes = played(CHESS, "expert", range(20), num_envs=4, **kwargs)
        assert sum(bool(episode.outcome["success"]) for episode in episodes) >= 18


# ---- Exact tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "longest"), [("KQK", 10), ("KRK", 16)])
def test_the_longest_mates_are_the_known_ones(name: str, longest: int) -> None:
    table = endgame_table(name)
    assert table.white[table.white < 255].max() == longest
    assert table.black[table.black < 255].max() == longest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "longest"), [("KQRK", 6), ("KRRK", 7)])
def test_two_pieces_mate_sooner(name: str, longest: int) -> None:
    table = endgame_table(name)
    assert table.white[table.white < 255].max() == longest


def test_tables_agree_with_a_search_of_all_moves() -> None:
    def mates_in(board: chess.Board, moves: int) -> bool:
        """Whether White forces mate within `moves`, by trying everything."""
        for move in board.legal_moves:
            board.push(move)
            replies = list(board.legal_moves)
            wins = board.is_checkmate() or (
                bool(replies) and moves > 1 and all(survives(board, reply) for reply in replies)
            )
            board.pop()
            if wins:
                return True
        return False

    def survives(board: chess.Board, reply: chess.Move, moves: int = 1) -> bool:
        board.push(reply)
        wins = mates_in(board, moves)
        board.pop()
        return wins

    chance = np.random.default_rng(0)
    for name in ("KQK", "KRK"):
        wanted = {1: 10, 2: 10, 3: 10}
        while any(wanted.values()):
            board = chess_games._placed(name, chance)
            exact = min(moves_to_mate(board) or 99, 3)
            if wanted[exact]:
                wanted[exact] -= 1
                within = 1 if mates_in(board, 1) else 2 if mates_in(board, 2) else 3
                assert exact == within, board.fen()


def test_a_table_has_the_symmetries_of_the_board() -> None:
    chance = np.random.default_rng(1)
    for _ in range(100):
        board = chess_games._placed("KRK", chance)
        exact = moves_to_mate(board)
        for turned in (chess.flip_vertical, chess.flip_horizontal, chess.flip_diagonal):
            other = board.transform(turned)
            assert moves_to_mate(other) == exact


def test_rook_against_king_is_the_published_database() -> None:
    """Black to move, reflections counted once: the class counts of Bain's database (UCI krkopt, 28,056 positions)."""
    published = [27, 78, 246, 81, 198, 471, 592, 683, 1433, 1712, 1985, 2854, 3597, 4194, 4553, 2166, 390]
    table, counts, near = endgame_table("KRK"), dict.fromkeys([*range(17), 255], 0), _chess_players._geometry().near
    for row, king in enumerate(_chess_players.TRIANGLE):
        on_diagonal = king % 8 == king // 8
        for prey in range(64):
            reflected = on_diagonal and prey // 8 > prey % 8
            if near[king, prey] or reflected:
                continue
            twice = on_diagonal and prey // 8 == prey % 8
            for rook in set(range(64)) - {king, prey}:
                if not (twice and rook // 8 > rook % 8):
                    counts[int(table.black[row, prey, rook])] += 1
    assert [counts[moves] for moves in range(17)] == published
    assert counts[255] == 2796


def test_black_draws_by_capture_and_white_wins_with_the_move() -> None:
    assert moves_to_mate(chess.Board("8/8/8/8/5K2/8/1k6/R7 b - - 0 1")) is None
    assert moves_to_mate(chess.Board("8/8/8/8/5K2/8/1k6/R7 w - - 0 1")) is not None
    assert moves_to_mate(chess.Board("8/8/8/8/8/1K6/8/k6R b - - 0 1")) == 0


def test_expert_plays_the_table_to_the_end() -> None:
    """Against a king that defends as well as it can, every move shortens the way by one."""
    game = game_at("8/8/8/4k3/8/8/8/R3K3 w - - 0 1")
    left = moves_to_mate(game._board)
    assert left is not None
    while game._outcome is None:
        replies = []
        expected = _chess_players.table_move(game._board)
        assert expected is not None
        game._board.push(expected)
        for reply in game._board.legal_moves:
            game._board.push(reply)
            replies.append((moves_to_mate(game._board) or 0, reply.uci()))
            game._board.pop()
        game._board.pop()
        longest = max(replies, default=(0, "0000"))
        assert longest[0] == left - 1
        game._opponent = Scripted(longest[1])
        game.step(game.expert())
        left -= 1
    assert game._outcome == "checkmate"
    assert left == 0


def test_tables_are_kept_and_a_broken_file_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path / "cache"))
    build = endgame_table.__wrapped__
    first = build("KQK")
    (file,) = (tmp_path / "cache").iterdir()
    written = file.stat().st_mtime_ns
    assert np.array_equal(build("KQK").white, first.white)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(b"PK nonsense")
    assert np.array_equal(build("KQK").black, first.black)
    assert file.stat().st_size > 1000
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LMGYM_CACHE", str(blocked / "below"))
    assert np.array_equal(build("KQK").white, first.white)


# ---- Starts and data -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_lists_of_positions_are_what_their_generators_write() -> None:
    positions = fixed_positions("endgames_evaluation")
    assert list(evaluation_positions()) == list(positions)
    assert len(positions) == len(set(positions)) == 645
    assert {_chess_players.piece_set(fen) for fen in positions} == set(ENDGAMES)
    assert min(moves_to_mate(chess.Board(fen)) or 0 for fen in positions) >= 5
    assert list(simple_endgame_positions()) == list(fixed_positions("chess_simple_endgames"))


def test_official_starts_of_endgames_are_the_list() -> None:
    starts = ChessGame(starts="endgames").official_starts()
    assert [start["position"] for start in starts] == list(fixed_positions("endgames_evaluation"))
    only = ChessGame(starts="endgames", pieces=("KQK",)).official_starts()
    assert 150 < len(only) < 170
    assert ChessGame().official_starts() == ()


def test_evaluation_positions_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved, other = fixed_positions("endgames_evaluation")[0], "8/8/8/4k3/8/8/8/Q3K3 w - - 0 1"
    placed = iter([chess.Board(reserved), chess.Board(other)])
    monkeypatch.setattr(chess_games, "_placed", lambda *_: next(placed))
    observation, _ = ChessGame(starts="endgames").reset(seed=0)
    assert observation == " ".join(other)


def test_drawn_endgames_are_sound() -> None:
    game, sets, starts = ChessGame(starts="endgames"), set(), set()
    for seed in range(300):
        game.reset(seed=seed)
        board = game._board
        assert board.is_valid()
        assert board.turn == chess.WHITE
        assert not board.is_check()
        sets.add(_chess_players.piece_set(board))
        starts.add(board.fen())
    assert sets == set(ENDGAMES)
    assert len(starts) > 290
    assert not starts & set(fixed_positions("endgames_evaluation"))


@pytest.mark.parametrize("env_id", [pytest.param(MINI, marks=pytest.mark.slow), ENDGAME_MINI])
def test_the_expert_wins_every_mini_game(env_id: str) -> None:
    env = make_env(env_id)
    found = evaluate(load_agent("expert", env_id), env_id, episodes=len(env.unwrapped.official_starts()))  # type: ignore[attr-defined]
    assert found.success_rate == 1.0
    assert found.mean_return.mean == 1.0
    assert found.errors == 0


@pytest.mark.slow
def test_the_expert_without_stockfish_wins_the_mini(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chess_games, "find_stockfish", lambda: None)
    found = evaluate(load_agent("expert", MINI), MINI, episodes=16)
    assert found.success_rate == 1.0


@pytest.mark.slow
def test_the_expert_wins_the_official_endgames() -> None:
    found = evaluate(load_agent("expert", ENDGAME), ENDGAME)
    assert found.episodes == 645
    assert found.mean_return.mean == 1.0


@pytest.mark.parametrize(
    ("env_id", "episodes"),
    [
        (ENDGAME_MINI, 300),
        pytest.param(MINI, 300, marks=pytest.mark.slow),
        pytest.param(ENDGAME, 400, marks=pytest.mark.slow),
        pytest.param(CHESS, 100, marks=pytest.mark.slow),
    ],
)
def test_the_data_has_the_statistics_of_the_reference(env_id: str, episodes: int) -> None:
    game = make_env(env_id).unwrapped
    reference = game.reference  # type: ignore[attr-defined]
    found = statistics(list(collect(load_agent("behaviour", env_id), env_id, episodes=episodes, seed=1)))
    # Four standard errors of a sample of this size; a return lies in [-1, 1], a success in [0, 1].
    assert abs(found.mean_return - reference.data.value) < 4 / episodes**0.5
    assert abs(found.success_rate - reference.data_success) < 2 / episodes**0.5
    assert abs(found.mean_turns / reference.data_turns - 1) < 0.3
    assert found.invalid_rate == 0
    assert found.errors == 0


@pytest.mark.parametrize("kwargs", SETTINGS[:1] + SETTINGS[2:])
def test_a_random_mover_does_not_win_at_chess(kwargs: dict[str, Any]) -> None:
    episodes = played(CHESS, "random", range(30), num_envs=4, **kwargs)
    assert sum(bool(episode.outcome["success"]) for episode in episodes) <= 1
    assert np.mean([episode.turns[-2].reward for episode in episodes]) < -0.8


def test_data_does_not_need_stockfish(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("Stockfish was asked for")

    monkeypatch.setattr(chess_games, "find_stockfish", refuse)
    for env_id in (CHESS, MINI, ENDGAME_MINI):
        assert played(env_id, "behaviour", range(2))[0].error is None


def test_the_choice_halves_with_distance_and_ends() -> None:
    ranking = [(score, chess.Move(0, target)) for target, score in enumerate((100, 90, 80, -1000), start=1)]
    chance, size = np.random.default_rng(0), 7000
    drawn = [_chess_players._weighted_choice(ranking, 10, chance).to_square for _ in range(size)]
    for square, share in ((1, 4 / 7), (2, 2 / 7), (3, 1 / 7)):
        assert abs(drawn.count(square) / size - share) < 5 * (share * (1 - share) / size) ** 0.5
    assert 4 not in drawn
    assert _chess_players._weighted_choice(ranking, 0, chance).to_square == 1


def test_strength_changes_play() -> None:
    """Each part of the strength is read: other values, other games."""
    boards = [chess.Board(), chess.Board("r1bqkb1r/pppp1ppp/2n2n2/4p3/2B1P3/5N2/PPPP1PPP/RNBQ1RK1 b kq - 5 4")]

    def moves(strength: Strength) -> list[str]:
        chance = np.random.default_rng(0)
        return [Embedded(strength).move(board, {}, chance).uci() for board in boards for _ in range(8)]

    best = moves(Strength(40, 0.0, 0))
    assert len(set(best)) == 2
    assert len(set(moves(Strength(40, 0.0, 20)))) > 2
    assert len(set(moves(Strength(40, 1.0, 0)))) > 6
