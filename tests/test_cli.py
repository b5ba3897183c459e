"""The command line as a stranger uses it: every command once, and every mistake in one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lmgym.__main__ import SUMMARY, main
from lmgym.commands import COMMANDS
from lmgym.leaderboard.commands import COMMANDS as LEADERBOARD
from lmgym.store import read_metadata
from tests.games import ECHO

FO = "lmgym/FOMaze-v0"


def lmgym(*words: str, text: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lmgym", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("evl", "unknown command 'evl'; did you mean 'eval'?"),
        ("data inf", "unknown command 'data inf'; did you mean 'data info'?"),
        ("check lmgym/FOMze-v0", "unknown environment 'lmgym/FOMze-v0'; did you mean 'lmgym/FOMaze-v0'?"),
        ("check nowhere:Game-v0", "cannot import 'nowhere', named in 'nowhere:Game-v0': No module named 'nowhere'"),
        (f"eval randm --env {FO}", "unknown agent 'randm'; did you mean 'random'?"),
        (f"eval runs/none --env {FO}", "there is no run folder 'runs/none'"),
        (f"eval tests.games:RihgtAgent --env {FO}", "did you mean 'RightAgent'?"),
        (f"eval tests.games:Echo --env {FO}", "tests.games:Echo is no agent: it has no method act(conversation)"),
        ("eval behaviour --env tests.games:test/Foreign-v0", "has no behaviour() of its own"),
        ("eval random", "--env is missing: which game is the agent to play?"),
        (f"eval random --env {FO} --episodez 25", "option of lmgym eval '--episodez'; did you mean '--episodes'?"),
        (f"eval random --env {FO} --episodes many", "--episodes takes INT, not 'many'"),
        (f"eval random --env {FO} --episodes 0", "the number of episodes is 1 or more, not 0"),
        (f"eval random --env {FO} --seed -1", "a seed lies between 0 and 268435455, not -1"),
        (f"eval random --env {FO} --env-args maze=umze", "unknown maze 'umze'; did you mean 'umaze'?"),
        (f"eval random --env {FO} --env-args maz=umaze", "argument of lmgym/FOMaze-v0 'maz'; did you mean 'maze'?"),
        (f"eval random --env {FO} --env-args umaze", "--env-args takes words like maze=umaze, not 'umaze'"),
        (f"eval random --env {FO} --env-args observation=3", "unknown observation 3; valid: position, walls"),
        (f"eval tests.games:NeverAgent --env {FO} --episodes 25", "all 25 games failed, the first with agent: OSError"),
        (f"collect {FO} --agent tests.games:NeverAgent --out z.parquet --episodes 3", "all 3 games failed"),
        (f"train bc --env {FO} --learning-rate -1", "learning_rate is more than 0, not -1.0"),
        (f"train bc --env {FO} --seed -1", "a seed lies between 0 and 268435455, not -1"),
        ("train bc --env tests.games:test/Foreign-v0", "has no behaviour() that generates data: name a file by --data"),
        (f"eval :X --env {FO}", "cannot import '', named in ':X'"),
        (f"eval random --env {FO} --batch 0", "the number of games at a time is 1 or more, not 0"),
        (f"collect {FO} --out /proc/none/x.parquet --episodes 1", "/proc/none: No such file or directory"),
        (f"collect {FO}", "Missing from lmgym collect: --out"),
        (f"collect {FO} --out x.parquet --episodes 0", "--episodes is 1 or more, not 0"),
        ("data info none.parquet", "none.parquet does not exist"),
        (f"data import-lmrl none --env {FO} --out y.parquet", "none cannot be read as text"),
        ("train bcc --env x", "unknown method 'bcc'; did you mean 'bc'?"),
        ("train --env x", "which method? lmgym train METHOD --env"),
        ("train bc", "Missing from lmgym train bc: --env"),
        (f"train bc --env {FO} --stepz 3", "unknown option of lmgym train bc '--stepz'; did you mean '--steps'?"),
        (f"train bc --env {FO} --steps 0", "steps is 1 or more, not 0"),
        (f"train bc --env {FO} --model 2M --out a", "unknown model '2M'; did you mean '20M'?"),
        (f"train bc --env {FO} --tokenizer words --out b", "unknown kind of tokenizer 'words'; did you mean 'word'?"),
        (f"train bc --env {FO} --data none.parquet --out c", "none.parquet does not exist"),
        ("train no_such.method --env x", "cannot import 'no_such.method', named in 'no_such.method'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_and_status_2(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1]
    assert said[-1].startswith("lmgym: ")
    assert not any("Traceback" in line for line in said)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert set(SUMMARY) == {*COMMANDS, *LEADERBOARD, "train"}
    assert all(name in listed for name in SUMMARY)
    assert main(["train"]) == 0
    assert "bc" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*COMMANDS, *LEADERBOARD])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    assert "usage: lmgym" in capsys.readouterr().out


def test_a_session_from_data_to_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["collect", ECHO, "--out", "d.parquet", "--episodes", "50"]) == 0
    assert "episodes   50" in capsys.readouterr().out
    assert main(["collect", ECHO, "--out", "d.parquet"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["data", "info", "d.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["env_id"] == ECHO
    train = ["train", "bc", "--env", ECHO, "--data", "d.parquet", "--out", "runs/x", "--steps", "20"]
    assert main([*train, "--checkpoint-every", "20"]) == 0
    assert capsys.readouterr().out.strip() == "lmgym eval runs/x"
    assert main(["eval", "runs/x", "--episodes", "20", "--json", "--save", "e.parquet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["episodes"] == 20
    assert result["mean_return"]["low"] <= result["mean_return"]["mean"] <= result["mean_return"]["high"]
    assert read_metadata("e.parquet").statistics.mean_return == pytest.approx(result["mean_return"]["mean"])
    assert main(["eval", "runs/x", "--episodes", "20", "--batch", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert main(["play", ECHO, "--agent", "runs/x"]) == 0
    assert "return" in capsys.readouterr().out


def test_the_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert FO in listed
    assert "shortest paths" in listed
    assert main(["eval", "expert", "--env", FO, "--episodes", "25"]) == 0
    assert "-6.84" in capsys.readouterr().out
    assert main(["check", FO]) == 0
    assert "all rules kept" in capsys.readouterr().out
    assert main(["check", "tests.games:test/Fragile-v0"]) == 1
    assert "FAIL  1,000 odd actions do no harm" in capsys.readouterr().out


def test_a_person_plays() -> None:
    done = lmgym("play", FO, "--env-args", "maze=umaze", text="move up\nfly\nmove up\n")
    assert done.returncode == 130  # the keyboard ended before the game
    assert "for example: move right, move left, move up, move down" in done.stdout
    assert done.stdout.count("Your current position") == 4
    assert done.stdout.count("[-1]\n") == 2
    assert done.stdout.count("[-1] invalid\n") == 1
    assert "Traceback" not in done.stderr
    drawn = lmgym("play", FO, "--render", "--agent", "expert", "--env-args", "maze=umaze")
    assert drawn.stdout.count("#.#G#") > 0
    won = lmgym("play", FO, "--env-args", 'maze=["####","#.G#","####"]', text="move right\n")
    assert won.returncode == 0
    assert "Success" in won.stdout
    assert "solved: return 0 in 1 turns" in won.stdout


def test_games_and_agents_are_found_from_where_the_user_stands(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text("class Up:\n    def act(self, conversation):\n        return 'move up'\n")
    done = lmgym("eval", "my_agent:Up", "--env", FO, "--episodes", "25", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mean_return"]["mean"] == -100.0


def test_published_files_are_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = {"state": "s\n", "action": "move up\n", "reward": -1.0, "done": True}
    (tmp_path / "f.jsonl").write_text(json.dumps([step]) + "\n")
    assert (
        main(["data", "import-lmrl", str(tmp_path / "f.jsonl"), "--env", FO, "--out", str(tmp_path / "o.parquet")]) == 0
    )
    assert "agent      lmrl-gym" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m lmgym tasks | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Games" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lmgym", "train", "bc", "--env", ECHO, "--out", str(tmp_path / "x")]
    with subprocess.Popen(
        [*command, "--steps", "100000", "--checkpoint-every", "10"],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        # A shell starts what it runs in the background with interrupts ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no thread runs here)
    ) as process:
        try:
            while process.poll() is None and not list(tmp_path.glob("x/checkpoints/step-*")):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said
