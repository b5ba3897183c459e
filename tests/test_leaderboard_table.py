"""The tables of the leaderboard: every figure where it belongs, nothing stale, nothing that breaks the format."""

import csv
import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmgym.errors import UsageError
from lmgym.leaderboard.board import boards
from lmgym.leaderboard.entries import EPISODES, find_entries
from lmgym.leaderboard.latex import escaped as escaped_latex
from lmgym.leaderboard.page import check as check_page
from lmgym.leaderboard.page import page
from lmgym.leaderboard.readme import escaped, markdown_table
from lmgym.leaderboard.suites import GREEDY, METHODS, SCRIPTED
from lmgym.leaderboard.table import FIELDS, check, table
from tests.entries import line, written

MAZE, HOUSE = "FOMaze-v0", "FOTextNav-v0"
ODD = "GPT_4|x & <b>50%</b> $\\{}~^#"


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """A folder with entries of two games: all methods on one, few on the other, and an agent with an odd name."""
    folder = tmp_path / "entries"
    for place, agent in enumerate(METHODS):
        for seed in range(3):
            games = [line(-80.0 + 10 * place + seed + noise, success=noise > 0, invalid=1) for noise in (-2, 0, 2, 4)]
            written(folder, MAZE, agent, seed, games)
    for agent, total in zip(SCRIPTED, (-90.0, -82.0, -6.84), strict=True):
        written(folder, MAZE, agent, 0, [total] * 4)
    written(folder, MAZE, "odd", 0, [-9.0, -12.0], kind="submitted", title=ODD)
    written(folder, HOUSE, "bc", 0, [1.0, 0.0, 0.0, 0.0])
    written(folder, HOUSE, "ilql", 0, [line(1.0), line(0.0, error="agent: broken"), line(0.0), line(1.0)])
    return folder


def test_the_tables_are_made_again_to_the_letter(
    entries: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert {Path(name).name for name in check(entries, out)} == {"README.md", "table.csv", "table.tex"}
    assert table(entries, out) == 0
    printed = capsys.readouterr().out
    assert "full suite, 8 of 10 games without entries" in printed
    assert "(58.2+)" in printed
    assert check(entries, out) == []
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "table.csv", "table.tex"]
    (out / "table.csv").write_text((out / "table.csv").read_text().replace("-9", "-8"))
    assert check(entries, out) == [str(out / "table.csv")]
    table(entries, out)
    written(entries, HOUSE, "bc", 1, [1.0, 1.0, 0.0, 0.0])
    assert len(check(entries, out)) == 3


def test_the_readme_says_what_a_cell_is(entries: Path, tmp_path: Path) -> None:
    table(entries, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    main, _, rest = text.partition("## The mini suite")
    lines = [re.split(r" *(?<!\\)\| *", row) for row in main.splitlines() if row.startswith("| FO Maze")]
    found = boards(find_entries(entries))["full"].rows[0].cells
    for agent, shown in zip([*METHODS, "odd"], lines[0][2:], strict=False):
        score = found[agent].score
        assert score is not None
        mean = f"**{score.mean:.1f}**" if found[agent].best else f"{score.mean:.1f}"
        mark = "\u00a0≈" if found[agent].tied else ""
        assert shown == f"{mean}{mark} [{score.low:.1f},\u00a0{score.high:.1f}]"
    assert "**" in lines[0][8], "the submitted agent is the best"
    assert "| *published*   |" in main
    assert "58.2†" in main, "this published cell cannot be recomputed"
    assert re.search(r"\| +99\.9 \|", main), "this one can"
    assert "1 game failed" in main
    assert "89 of 100 cells are empty" in main  # 9 on the maze and 2 on the house are not
    assert "ppo" not in main
    assert "not made: all of PO Maze, PO Text-Nav, Wordle, Chess, " in main
    assert "; PPO on FO Text-Nav; " in main
    assert "Order, against the published one: FO Maze " in main
    assert "FO Text-Nav" not in main.partition("published one: ")[2].partition("\n")[0], "two methods have no order"
    assert "FO Maze, BC: the raw return -72.1 gives 57.2" in rest
    assert "`lmgym/FOMaze-v0`. Return: worst -100 (100 moves that never reach the goal)" in rest
    assert "| 3\u00a0x\u00a04 |" in rest
    assert "1\u00a0x\u00a04, 1 failed" in rest
    assert "]¹" in rest, "one training seed is marked"
    assert "lmgym leaderboard run --preset full" in rest


def test_why_cells_are_empty_stands_beside_the_entries(entries: Path, tmp_path: Path) -> None:
    gaps = entries.parent / "gaps.toml"
    written(entries, MAZE, GREEDY, 0, [-9.0])
    chess = '["Chess-v0"]\nwhy = """\nThe clone <knows>\nno rule."""\ntakes = "ten hours."\n'
    gaps.write_text(f'{chess}["{MAZE}"]\nwhy = "Of a row that is complete."\ntakes = "Nothing."\n')
    table(entries, tmp_path)
    full, _, mini = (tmp_path / "README.md").read_text(encoding="utf-8").partition("## The mini suite")
    assert "\n- **Chess.** The clone <knows> no rule. To fill it: ten hours.\n" in full
    assert "no rule" not in mini
    assert "Of a row that is complete" not in full + mini
    assert check(entries, tmp_path) == []
    page(entries, tmp_path / "site")
    assert check_page(entries, tmp_path / "site") == []
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="#full-Chess-v0">Chess</a>: The clone &lt;knows&gt; no rule. To fill it: ten hours.</li>' in index
    gaps.unlink()
    assert str(tmp_path / "README.md") in check(entries, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot be read"),
        ('["Ches-v0"]\nwhy = "a"\ntakes = "b"', "did you mean 'Chess-v0'"),
        ('["Chess-v0"]\nwhy = "a"', "says of Chess-v0 something else than why"),
        ('["Chess-v0"]\nwhy = "a"\ntakes = 3', "says of Chess-v0 something else than why"),
        ("Chess-v0 = 1", "says of Chess-v0 something else than why"),
    ],
)
def test_reasons_that_cannot_be_are_refused(text: str, message: str, entries: Path, tmp_path: Path) -> None:
    (entries.parent / "gaps.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        table(entries, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_markdown_survives_odd_names(entries: Path, tmp_path: Path) -> None:
    table(entries, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "<b>" not in text
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) >= 4
    for block in blocks:
        rows = block.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, "as many cells in every row"
        assert len({len(row) for row in rows}) == 1, "columns line up as text"
    assert escaped("a`b\nc*d_e") == "a\\`b c\\*d\\_e"
    assert markdown_table(["a", "b"], [["x", "1"]]).splitlines()[1] == "|:----|----:|"


def test_the_csv_holds_every_figure(entries: Path, tmp_path: Path) -> None:
    table(entries, tmp_path)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    made = boards(find_entries(entries))
    cells = [(board, row, row.cells[agent]) for board in made.values() for row in board.rows for agent in row.cells]
    assert len(lines) == len(cells) == 2 * (9 + 1 + 2)
    by_name = {(one["suite"], one["task"], one["agent"]): one for one in lines}
    for board, row, cell in cells:
        found = by_name[board.suite, row.task, cell.agent]
        assert set(found) == set(FIELDS)
        for name in ("score", "mean_return", "iqm", "success", "improvement"):
            interval = getattr(cell, name)
            values = [found[f"{name}{end}"] for end in ("", "_low", "_high")]
            if interval is None:
                assert values == ["", "", ""]
            else:
                assert [float(value) for value in values] == pytest.approx(list(interval), rel=1e-5, abs=1e-12)
        assert float(found["invalid_rate"]) == pytest.approx(cell.invalid_rate, rel=1e-5)
        assert (found["best"], found["tied"]) == (str(int(cell.best)), str(int(cell.tied)))
        assert found["title"] == cell.title
        assert float(found["reference_best"]) == row.scale.best.value
        assert found["fingerprint"] == cell.entries[0].recipe["game"]["fingerprint"]
    assert by_name["full", MAZE, "bc"]["published_score"] == "58.2"
    assert by_name["full", MAZE, "bc"]["published_recomputable"] == "0"
    assert by_name["full", MAZE, "ilql"]["published_recomputable"] == "1"
    assert by_name["full", MAZE, "bc"]["seeds"] == "0 1 2"
    assert by_name["full", HOUSE, "ilql"]["errors"] == "1"


def test_the_latex_is_escaped(entries: Path, tmp_path: Path) -> None:
    assert escaped_latex(ODD) == (
        r"GPT\_4|x \& \textless{}b\textgreater{}50\%\textless{}/b\textgreater{} "
        r"\$\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#"
    )
    table(entries, tmp_path)
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert escaped_latex(ODD) in text
    assert text.isascii()
    rows = [row for row in text.splitlines() if row.endswith(r"\\")]
    columns = re.findall(r"\\begin\{tabular\}\{(l+r+)\}", text)
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(spec) for spec in columns}
    bare = re.sub(r"\\[{}\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert r"58.2$^{\dagger}$" in text


def test_negative_scores_and_small_numbers(tmp_path: Path) -> None:
    written(tmp_path / "entries", "Wordle-v0", "bc", 0, [-9.0, -9.0])
    table(tmp_path / "entries", tmp_path)
    assert "-77.3 [-77.3,\u00a0-77.3]" in (tmp_path / "README.md").read_text(
        encoding="utf-8"
    )  # 50 (6 - 9) / (6 - 4.06)
    assert "$-$" in (tmp_path / "table.tex").read_text(encoding="utf-8")


def test_no_entries_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "entries").mkdir()
    table(tmp_path / "entries", tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.count("There are no entries of this suite yet.") == 2
    assert "\n|" not in text
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == ",".join(FIELDS) + "\n"
    assert "There are no entries yet." in (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert capsys.readouterr().out == f"There are no entries in {tmp_path / 'entries'}.\n{tmp_path / 'README.md'}\n"
    with pytest.raises(UsageError, match="there is no folder"):
        table(tmp_path / "entires", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_entries_of_other_games_are_named(tmp_path: Path) -> None:
    game = {"env_id": f"lmgym/{MAZE}", "env_kwargs": {"maze": "umaze"}, "fingerprint": "0" * 64}
    written(tmp_path / "entries", MAZE, "bc", 0, [-9.0], game=game)
    table(tmp_path / "entries", tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Entries of games that are in no suite: FOMaze-v0,maze=umaze (1)." in text
    assert text.count("There are no entries of this suite yet.") == 2


def test_an_edited_entry_is_refused(entries: Path, tmp_path: Path) -> None:
    file = entries / MAZE / "ilql" / "seed-1" / EPISODES
    better = gzip.decompress(file.read_bytes()).replace(b'"total": -49.0', b'"total": -7.0')
    file.write_bytes(gzip.compress(better))
    with pytest.raises(UsageError, match=r"ilql/seed-1/episodes.jsonl.gz is missing or was edited"):
        table(entries, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_entry_that_a_killed_process_left_unfinished_is_no_entry(entries: Path, tmp_path: Path) -> None:
    shutil.copytree(entries / MAZE / "ilql" / "seed-1", entries / MAZE / "ilql" / ".seed-3.4242-0.partial")
    assert len(list(find_entries(entries))) == 6 * 3 + 3 + 1 + 2


def test_tables_and_entries_of_agents_without_a_model_are_made_without_torch() -> None:
    modules = ("lmgym.leaderboard.table", "lmgym.leaderboard.submit", "lmgym.leaderboard.verify")
    code = f"import sys, {', '.join(modules)}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
