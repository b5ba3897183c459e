"""The site of the leaderboard: what is in its files, and how it behaves in a browser."""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from lmgym.errors import UsageError
from lmgym.leaderboard import figures
from lmgym.leaderboard.entries import EpisodeLine, Replay, ReplayTurn, write_entry
from lmgym.leaderboard.page import ASSETS, check, page
from lmgym.leaderboard.references import stored
from tests.entries import official

HOSTILE = "</script><script>document.title='hacked'</script><!-- <img src=x onerror=alert(1)> &amp; \"'"
ODD = "tab\there, bell\x07, half \ud800, \u202eright to left\u202c, \U0001f600 and ünïcödé"
SEEDS = (0, 1, 2)
OWN = "my_pkg-Shop-v0/bc/seed-0"


def recipe(task: str, agent: str, kind: str, seed: int, episodes: int, **other: Any) -> dict[str, Any]:
    known = stored().get(task)
    return {
        "task": task,
        "game": {
            "env_id": known.env_id if known else "my_pkg:Shop-v0",
            "env_kwargs": {},
            "fingerprint": known.fingerprint if known else "of somebody's own game",
        },
        "agent": agent,
        "kind": kind,
        "title": agent,
        "seed": seed,
        "preset": "standard",
        "settings": {"method": {"optim": {"steps": 600, "learning_rate": 0.002}, "init": None}, "data": 1240},
        "decoding": None,
        "trials": [],
        "evaluation": {"episodes": episodes, "seed": 0},
        "parameters": None,
        "policy": None,
        "tokens": 0,
        "games": 0,
        "command": f"lmgym leaderboard run --tasks {task} --methods {agent}",
        "made": {"lmgym": "0.1.0", "packages": {"torch": "2.13.0"}, "seconds": {"train": 60.0, "tune": 4.0}},
        **other,
    }


def line(total: float, place: int, success: bool | None = True) -> EpisodeLine:
    return EpisodeLine(place, {}, total, 3, 1, success, "terminated", f"{place:016x}")


def replay(
    rank: str, rewards: Sequence[float], tokens: Sequence[list[Any]] = (), text: str = "You see a wall."
) -> Replay:
    turns = [
        ReplayTurn(f"{text} {place}", f"move {place}", reward, False, [list(token) for token in tokens])
        for place, reward in enumerate(rewards)
    ]
    return Replay(rank, 0, sum(rewards), True, "terminated", turns, "You are there.")


def add(folder: Path, task: str, agent: str, kind: str, seed: int, returns: Sequence[float], **more: Any) -> None:
    lines = [line(total, place, more.get("success", True)) for place, total in enumerate(returns)]
    lines = official(lines, f"lmgym/{task}", {})
    games = more.get("games", [replay("best", [-1.0, -1.0, 0.0])])
    facts = recipe(task, agent, kind, seed, len(lines), **more.get("recipe", {}))
    write_entry(folder / task / agent / f"seed-{seed}", facts, lines, games, more.get("curve"))


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some cells of two mazes: three methods, a player, and an agent that was sent in by somebody hostile."""
    folder = tmp_path_factory.mktemp("entries")
    valued = [["move", 0.91234, -5.4321, -6.0], [" 0", 0.5, -7.5, -6.5], ["\n", 1.0, -6.0, -6.0]]
    weighed = [["move", 0.25, None, None], [HOSTILE, 1.0, None, None]]
    decoding = {"temperature": 1.0, "beta": 4.0}
    trials = [
        {"decoding": {**decoding, "beta": beta}, "mean_return": [mean, mean - 2, mean + 2], "success_rate": 0.5}
        for beta, mean in ((1.0, -30.0), (4.0, -12.0))
    ]
    offline = [{"step": step, "loss": 2.0 / step, "tokens": 1000} for step in range(1, 101)]
    for seed in SEEDS:
        add(folder, "FOMaze-v0", "bc", "method", seed, [-80.0 - seed, -60.0], curve=offline)
        games = [replay(rank, [-1.0] * turns, valued) for rank, turns in (("best", 3), ("middle", 5), ("worst", 9))]
        trained = {"decoding": decoding, "trials": trials, "parameters": 256297, "tokens": 2_457_600}
        returns = [-8.0, -10.0, -12.0]
        add(folder, "FOMaze-v0", "ilql", "method", seed, returns, curve=offline, games=games, recipe=trained)
        online = [
            {"games": 64.0 * (step + 1), "return": -90.0 + step, "tokens": 10}
            | ({"validation_return": -85.0 + step} if step % 5 == 4 else {})
            for step in range(20)
        ]
        add(folder, "FOMaze-v0", "ppo", "method", seed, [-20.0, -21.0], curve=online)
        add(folder, "POMaze-v0", "bc", "method", seed, [-70.0, -71.0], curve=offline)
    add(folder, "FOMaze-v0", "random", "scripted", 0, [-90.0, -100.0], success=None)
    add(
        folder, "FOMaze-v0", "hostile", "submitted", 0, [-30.0, -40.0],
        games=[replay("best", [-1.0, -2.0], weighed, text=HOSTILE), replay("worst", [-3.0], (), text=ODD)],
        recipe={"title": HOSTILE, "command": HOSTILE, "settings": {HOSTILE: {ODD: HOSTILE}}, "made": {"note": ODD}},
    )  # fmt: skip
    failed = dataclasses.replace(line(0.0, 1), error="ValueError: sold out")
    write_entry(folder / OWN, recipe("my_pkg-Shop-v0", "bc", "method", 0, 2), [line(3.0, 0), failed], [], None)
    return folder


@pytest.fixture(scope="module")
def site(entries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    page(entries, folder)
    return folder


class Structure(HTMLParser):
    """What a page is made of. Fails at tags that are not closed in order."""

    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[int] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(len(self.tags) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.tags[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] += data

    def found(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for text, (name, _) in zip(self.texts, self.tags, strict=True) if name == tag]


def pages(site: Path) -> dict[str, Structure]:
    return {str(path.relative_to(site)): Structure(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_same_entries_give_the_same_bytes_and_check_names_what_is_stale(entries: Path, tmp_path: Path) -> None:
    mine, out = tmp_path / "entries", tmp_path / "site"
    for cell in ("FOMaze-v0/bc", "POMaze-v0/bc"):
        shutil.copytree(entries / cell, mine / cell)

    def stale() -> list[str]:
        return [str(Path(name).relative_to(out)) for name in check(mine, out)]

    assert "index.html" in stale()
    written = page(mine, out)
    assert stale() == []
    before = {path: path.read_bytes() for path in written}
    page(mine, out)
    assert before == {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    (out / "results/FOMaze-v0/bc/seed-1.html").write_text("edited")
    (out / "assets/style.css").unlink()
    assert stale() == ["assets/style.css", "results/FOMaze-v0/bc/seed-1.html"]
    page(mine, out)
    shutil.rmtree(mine / "POMaze-v0/bc/seed-2")
    assert set(stale()) > {"index.html", "results/POMaze-v0/bc/seed-2.html"}
    page(mine, out)
    assert not (out / "results/POMaze-v0/bc/seed-2.html").exists()
    assert stale() == []


def test_what_cannot_be_a_site_is_said_and_leaves_nothing(entries: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leaderboard run"):
        page(tmp_path / "nothing", tmp_path / "site")
    shutil.copytree(entries / "POMaze-v0/bc", tmp_path / "entries/POMaze-v0/bc")
    damaged = tmp_path / "entries/POMaze-v0/bc/seed-1/recipe.json"
    damaged.write_text(damaged.read_text().replace("600", "601"))
    with pytest.raises(UsageError, match="edited"):
        page(tmp_path / "entries", tmp_path / "site")
    assert not (tmp_path / "site").exists()
    shutil.rmtree(damaged.parent)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        page(tmp_path / "entries", tmp_path / "file")


def test_a_site_without_entries_says_so(tmp_path: Path) -> None:
    (tmp_path / "entries").mkdir()
    page(tmp_path / "entries", tmp_path / "site")
    text = (tmp_path / "site/index.html").read_text()
    assert text.count("There are no entries of this suite yet") == 2
    Structure(text)


def test_pages_are_well_formed_and_link_to_what_is_there(site: Path) -> None:
    found = pages(site)
    assert len(found) == 1 + 4 * len(SEEDS) + 2 + 1
    assert (site / "index.html").stat().st_size < 1_000_000
    for name, its in found.items():
        assert its.found("html") == [{"lang": "en"}]
        assert [len(its.found(tag)) for tag in ("h1", "main", "header", "footer")] == [1, 1, 1, 1]
        ids = [attributes["id"] for _, attributes in its.tags if "id" in attributes]
        assert len(set(ids)) == len(ids)
        for attributes in its.found("th"):
            assert attributes["scope"] in ("row", "col", "rowgroup")
        for attributes in its.found("svg"):
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        for _, attributes in its.tags:
            for reference in (attributes.get(key) for key in ("aria-labelledby", "aria-describedby", "for")):
                assert reference is None or reference in ids
        for target in [attributes["href"] for attributes in its.found("a")]:
            file, _, anchor = target.partition("#")
            there = ((site / name).parent / unquote(file)).resolve() if file else site / name
            assert there.is_file(), target
            if anchor and anchor != "main":
                assert f'id="{unquote(anchor)}"' in there.read_text()


def test_nothing_is_fetched_and_nothing_of_a_game_is_run(site: Path) -> None:
    for name, its in pages(site).items():
        policy = its.found("meta")[1]["content"]
        assert policy.startswith("default-src 'none'")
        sources = [attributes.get("src") or attributes.get("href") for _, attributes in its.tags]
        assert not any("//" in source for source in sources if source)
        assert not [key for _, attributes in its.tags for key in attributes if key.startswith("on")]
        kinds = [(attributes.get("src", ""), attributes.get("type", "")) for attributes in its.found("script")]
        if name == "index.html":
            assert kinds == [("", "")] * 2
            assert "unsafe" not in policy.partition("script-src")[2]
            scripts = its.text_of("script")
            assert scripts == [(ASSETS / asset).read_text() for asset in ("theme.js", "index.js")]
        else:
            data = [] if OWN in name else [("", "application/json")]
            assert kinds == [(f"../../../assets/{asset}", "") for asset in ("theme.js", "entry.js")] + data
        assert "img" not in {tag for tag, _ in its.tags}


def test_texts_of_games_arrive_as_they_were(site: Path) -> None:
    text = (site / "results/FOMaze-v0/hostile/seed-0.html").read_text()
    its = Structure(text)
    best, worst = json.loads(its.text_of("script")[-1])
    assert [turn[0] for turn in best["turns"]] == [f"{HOSTILE} 0", f"{HOSTILE} 1"]
    assert best["turns"][0][4] == [["move", 0.25], [HOSTILE, 1]]
    assert worst["turns"][0][0] == ODD.replace("\ud800", "\ufffd") + " 0"
    assert its.text_of("pre") == [""]
    assert HOSTILE in its.text_of("code")  # the command
    assert HOSTILE in its.text_of("title")[0]
    games = json.loads(Structure((site / "results/FOMaze-v0/ilql/seed-0.html").read_text()).text_of("script")[-1])
    assert games[0]["turns"][0] == ["You see a wall. 0", "move 0", -1.0, 0, [["move", 0.9123, -5.432, -6], [" 0", 0.5, -7.5, -6.5], ["\n", 1, -6, -6]]]  # fmt: skip  # noqa: E501


def test_an_entry_of_somebodys_own_game_has_a_page(site: Path) -> None:
    assert f'href="results/{OWN}.html"' in (site / "index.html").read_text()
    text = (site / f"results/{OWN}.html").read_text()
    assert "1 failed" in text
    assert "normalised score" not in text
    assert "No game was recorded" in text


def test_numbers_of_the_index(site: Path) -> None:
    its = pages(site)["index.html"]
    cells = [attributes for attributes in its.found("td") if "data-score" in attributes]
    mini = cells[: len(cells) // 2]  # each maze is in both suites, with the same cells
    returns = {float(cell["data-return"]) for cell in mini}
    assert {-70.5, -10.0, -20.5, -35.0, -95.0} <= returns
    assert any(abs(value - np.mean([-70.0, -70.5, -71.0])) < 1e-6 for value in returns)
    # ILQL is 50 points and 71.99 of 75.15 parts of the way to 100.
    (ilql,) = {float(cell["data-score"]) for cell in mini if float(cell["data-return"]) == -10.0}
    assert ilql == pytest.approx(97.8975, abs=1e-3)
    text = (site / "index.html").read_text()
    # 11 columns of 10 tasks less 6 cells, in each suite
    assert text.count("no entry") == 2 * (110 - 6)
    assert text.count("1 seed<") == 2  # of the agent that was sent in, not of the script
    assert re.search(r"<strong>97\.9</strong>", text)


def test_colours_can_be_read() -> None:
    """Contrast of at least 4.5, as WCAG 2 asks for, in both themes; tokens at their strongest colour, too."""
    css = (ASSETS / "style.css").read_text()
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)
    shares = {
        name: int(share) / 100 for name, share in re.findall(r"var\(--(\w+)\) calc\(var\(--much\) \* (\d+)%\)", css)
    }
    assert set(shares) == {"good", "bad", "accent"}
    for theme in (1, 2):
        colours = {pair[0]: np.array([int(pair[theme][i : i + 2], 16) for i in (1, 3, 5)]) / 255 for pair in pairs}
        for ground in ("paper", "raised", "sunken"):
            for ink in ("ink", "quiet", "accent"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (theme, ink, ground)
            for name, share in shares.items():
                chip = share * colours[name] + (1 - share) * colours[ground]
                assert contrast(colours["ink"], chip) >= 4.5, (theme, name, ground)
        assert contrast(colours["paper"], colours["accent"]) >= 4.5


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """The ratio of relative luminances of two sRGB colours [3]."""

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_learning_curves_show_what_was_noted() -> None:
    offline = [{"loss": float(place), "tokens": 10} for place in range(130)]
    curve = figures.learning([offline])
    assert curve is not None
    assert (curve.across, curve.measure, len(curve.lines[0])) == ("tokens read", "training loss", figures.MAX_POINTS)
    # Ten parts of 4 lines and then thirty of 3: the means of the first and of the last.
    assert curve.lines[0][0] == ((10 + 20 + 30 + 40) / 4, 1.5)
    assert curve.lines[0][-1] == ((1280 + 1290 + 1300) / 3, 128.0)
    online: list[dict[str, Any]] = [
        {"games": 8, "return": 1.0},
        {"games": 16, "return": 2.0, "validation_return": 3.0},
        {"games": 24},
    ]
    curve = figures.learning([online, online[:1]])
    assert curve is not None
    assert (curve.across, curve.measure) == ("games played", "validation return")
    assert curve.lines == [[(16.0, 3.0)]]
    assert curve.faint == [[(8.0, 1.0), (16.0, 2.0)], [(8.0, 1.0)]]
    assert figures.learning([[{"loss": float("nan"), "tokens": 10}]]) is None


def test_figures_stand_where_their_numbers_are() -> None:
    bars = [
        figures.Bar("a", figures.Interval(50, 40, 60), [45.0, 55.0, 50.0], 20.0, True),
        figures.Bar("<b>", figures.Interval(0, 0, 0), [0.0], None, False),
    ]
    its = Structure(str(figures.scores(bars, unit="score", marks=[(0, "worst"), (100, "best")], label="plot")))
    dots = [float(dot["cx"]) for dot in its.found("circle")]
    (left, right) = [float(one["x1"]) for one in its.found("line") if one["class"] == "mark"]
    expected = [left + (right - left) * value / 100 for value in (45, 55, 50, 0)]
    assert dots == pytest.approx(expected, abs=0.1)
    assert len(its.found("path")) == 1
    assert "<b>" in its.text_of("text")[-1]
    returns = np.array([-3.0] * 4 + [-1.0] * 2)
    columns = Structure(str(figures.histogram(returns, label="returns"))).found("rect")
    heights = [float(column["height"]) for column in columns]
    assert len(heights) == 2
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    many = np.arange(100.0)
    columns = Structure(str(figures.histogram(many, label="returns"))).found("rect")
    assert len(columns) == 20  # five returns to each
    assert len({column["height"] for column in columns}) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 100), (-101, -6.84), (0.2, 0.9), (-5, -5), (1e6, 3e7)])
def test_axes_have_a_few_round_numbers(low: float, high: float) -> None:
    scale = figures.axis([low, high], 0, 100)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 9
    assert all(0 <= scale.at(tick) <= 100 for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0]:e}"[0] in "125"


# In a browser


def chromium() -> Iterator[Any]:
    """Yield a driver of headless Chromium, or skip and say why."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    if os.getuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()


class Browser:
    """Headless Chromium, driven as a reader would; `close` fails on complaints and requests of a page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1200, dark: bool = False) -> None:
        self.driver.get("about:blank")
        self.logs()
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[theme])
        self.driver.get(path.as_uri())

    def command(self, name: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(name, arguments)

    def logs(self) -> tuple[list[Mapping[str, Any]], set[str]]:
        """What the console said, and the addresses that were asked for, since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = {
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        }
        return self.driver.get_log("browser"), {url for url in asked if not url.startswith("data:")}

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Wait for what a page does in its own time. Raises after ten seconds."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 10).until(lambda _: true())

    def column(self, number: int) -> list[str]:
        """The numbers that a reader sees in a column of the table that is shown, from top to bottom."""
        cells = self.all(f"section[data-suite=mini] .board tbody tr:not(.counts) > :nth-child({number})")
        return [cell.text.split("\n")[0].strip("≈") for cell in cells]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    for driver in chromium():
        yield Browser(driver)


def test_the_index_asks_for_nothing_and_complains_of_nothing(browser: Browser, site: Path) -> None:
    index = site / "index.html"
    browser.open(index)
    assert browser.logs() == ([], {index.as_uri()})
    entry = site / "results/FOMaze-v0/hostile/seed-0.html"
    browser.open(entry)
    console, asked = browser.logs()
    assert console == []
    assert asked == {
        entry.as_uri(),
        *((site / "assets" / name).as_uri() for name in ("style.css", "theme.js", "entry.js")),
    }


@pytest.mark.parametrize(
    "name", ["index.html", "results/FOMaze-v0/ilql/seed-0.html", "results/FOMaze-v0/hostile/seed-0.html"]
)
def test_narrow_screens_scroll_down_only(browser: Browser, site: Path, name: str) -> None:
    browser.open(site / name, width=360)
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    inside = browser.run("return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
    assert inside or name != "index.html"


def test_tables_sort_by_click_and_key(browser: Browser, site: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(site / "index.html")
    browser.one("label[for=suite-mini]").click()
    original = browser.column(1)
    heads = "section[data-suite=mini] .board thead th"

    def sorted_by() -> list[tuple[str, str]]:
        found = [(head.text.strip("\xa0↕↑↓"), head.get_attribute("aria-sort")) for head in browser.all(heads)]
        return [(name, way) for name, way in found if way]

    assert sorted_by() == []
    browser.one(f"{heads}:nth-child(2) button").click()
    assert sorted_by() == [("BC", "descending")]
    assert browser.column(2)[:2] == sorted(browser.column(2)[:2], key=float, reverse=True)
    assert set(browser.column(2)[2:]) == {"no entry"}
    first = browser.column(1)[:2]
    assert browser.one("#status").get_attribute("textContent") == "Sorted by BC, descending"
    browser.press(Keys.ENTER)  # the button that was pressed still has the focus
    assert sorted_by() == [("BC", "ascending")]
    assert browser.column(1)[:2] == first[::-1]
    assert set(browser.column(2)[2:]) == {"no entry"}
    browser.press(Keys.SHIFT, Keys.TAB)
    browser.press(Keys.SPACE)
    assert sorted_by() == [("Task", "ascending")]
    assert browser.column(1) == sorted(original, key=str.casefold)
    assert browser.all("section[data-suite=mini] .board tbody tr")[-1].text.startswith("Best or tied")


def test_switches_change_what_is_shown(browser: Browser, site: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(site / "index.html")
    browser.one("label[for=suite-mini]").click()
    ilql = browser.run("return [...document.querySelectorAll('[data-suite=mini] thead th')].findIndex(h => h.dataset.name == 'ILQL')") + 1  # fmt: skip  # noqa: E501
    assert browser.column(ilql)[0] == "97.9"
    browser.one("#show-score").send_keys(Keys.ARROW_RIGHT)
    assert browser.column(ilql)[0] == "−10.00"
    browser.press(Keys.ARROW_RIGHT)
    assert browser.column(ilql)[0] == "100.0"
    assert browser.one("[data-suite=mini] .board").is_displayed()
    assert not browser.one("[data-suite=full] .board").is_displayed()
    browser.one("#suite-mini").send_keys(Keys.ARROW_LEFT)
    assert browser.one("[data-suite=full] .board").is_displayed()
    assert not browser.one("[data-suite=mini] .board").is_displayed()
    # A link to a task of the other suite shows that suite.
    browser.run("location.hash = 'mini-FOMaze-v0'")
    browser.wait_for(browser.one("#mini-FOMaze-v0").is_displayed)

    browser.one("label[for=show-score]").click()
    browser.one("#turn").click()
    assert browser.one("#turn").get_attribute("aria-pressed") == "true"
    agents = browser.column(1)
    assert agents[:2] == ["BC", "filtered BC"]
    browser.one("[data-suite=mini] .board thead th:nth-child(2) button").click()
    scores = [float(text) for text in browser.column(2) if text != "no entry"]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert browser.column(1)[0] == "ILQL"
    browser.one("#turn").click()
    assert browser.column(1)[0] == "FO Maze"


def test_recorded_games_are_stepped_through(browser: Browser, site: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(site / "results/FOMaze-v0/ilql/seed-0.html")
    status = browser.one(".status")
    # The middle game is opened first: five turns, and an observation after them.
    assert status.text.startswith("Turn 1 of 5: reward −1.00, return so far −1.00, expected from here −6.00")
    assert browser.one(".back").get_attribute("aria-disabled") == "true"
    browser.one(".next").click()
    assert status.text.startswith("Turn 2 of 5: reward −1.00, return so far −2.00")
    assert browser.one(".seen").text == "You see a wall. 1"
    browser.press(Keys.ARROW_RIGHT)
    assert status.text.startswith("Turn 3 of 5")
    browser.press(Keys.ARROW_LEFT)
    assert status.text.startswith("Turn 2 of 5")
    browser.one(".place").send_keys(Keys.END)
    assert status.text == "After turn 5, terminated, solved: return so far −5.00"
    assert browser.one(".seen").text == "You are there."
    assert browser.one(".next").get_attribute("aria-disabled") == "true"
    assert browser.one(".place").get_attribute("aria-valuetext") == "After turn 5, terminated, solved"
    browser.all(".turns button")[3].click()
    assert status.text.startswith("Turn 4 of 5")
    assert [button.get_attribute("aria-current") for button in browser.all(".turns button")] == [None] * 3 + [
        "step",
        None,
    ]
    browser.all(".pick")[2].click()
    assert status.text.startswith("Turn 1 of 9")

    move, zero, end = browser.all(".chip")[-3:]
    assert [chip.text for chip in (move, zero, end)] == ["move", " 0", "⏎"]
    assert ["good" in move.get_attribute("class"), "bad" in zero.get_attribute("class")] == [True, True]
    shades = [float(chip.get_attribute("style").partition(":")[2].strip(" ;")) for chip in (move, zero)]
    assert shades == pytest.approx([0.568**0.5, 1.0], abs=1e-3)  # of the advantages 0.568 and -1
    ActionChains(browser.driver).move_to_element(zero).perform()
    assert browser.one(".told").text == "“ 0”: probability 0.5, Q −7.500, V −6.500, advantage −1.000"
    browser.run("document.querySelectorAll('.said .chip')[0].focus()")
    assert browser.one(".told").text.startswith("“move”: probability 0.9123, Q −5.432")
    assert move.get_attribute("aria-label") == browser.one(".told").text
    browser.press(Keys.ARROW_RIGHT)  # from token to token, not from turn to turn
    assert status.text.startswith("Turn 1 of 9")
    assert browser.one(".told").text.startswith("“ 0”")
    assert browser.logs()[0] == []


def test_hostile_texts_are_shown_as_they_are(browser: Browser, site: Path) -> None:
    browser.open(site / "results/FOMaze-v0/hostile/seed-0.html")
    assert browser.one(".seen").text == f"{HOSTILE} 0"
    chip = browser.all(".said .chip")[1]
    assert chip.text == HOSTILE
    assert "likely" in chip.get_attribute("class")
    browser.one(".copy").click()
    browser.wait_for(lambda: browser.one(".copy").text in ("Copied", "Selected"))
    assert browser.one(".command pre").text == HOSTILE
    assert browser.driver.title.startswith(HOSTILE)
    assert browser.logs()[0] == []


def test_dark_and_light(browser: Browser, site: Path) -> None:
    def ground() -> int:
        colour = browser.one("body").value_of_css_property("background-color")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    browser.open(site / "index.html")
    assert ground() > 3 * 200
    browser.open(site / "index.html", dark=True)
    assert ground() < 3 * 50
    assert browser.one(".theme").text == "Light theme"
    browser.one(".theme").click()
    assert ground() > 3 * 200
    browser.driver.refresh()
    assert ground() > 3 * 200  # kept
    browser.one(".theme").click()
    assert ground() < 3 * 50
    browser.run("localStorage.clear()")
