"""The site builds without a warning and asks nobody for anything, and its pages say what is so: every block of commands
and code in them is run."""

import dataclasses
import html
import importlib.util
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import lmgym
from lmgym.__main__ import _options, command_of
from lmgym.commands import train_command
from lmgym.env import make_env
from lmgym.methods import methods
from lmgym.prompts import prompt_of
from lmgym.tasks import game_ids
from tests.newcomer import Block, blocks, run

# What is run: shell, and Python, or what is written to a file that the first line names. What is not: `console` is
# what needs a network, a key or hours, and its commands of lmgym are parsed; `bibtex` is text.
RUN, NOT_RUN = {"sh", "python", "toml"}, {"console", "bibtex"}
NAMED = re.compile(r"# ([\w-]+\.(?:py|toml))\n")


def pages(root: Path) -> list[Path]:
    """The written pages in the order in which the site shows them."""
    nav = yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return [root / "docs" / page for entry in nav for page in entry.values() if page]


def test_every_block_is_of_a_kind_that_is_looked_after(root: Path) -> None:
    shown = pages(root)
    assert sorted(shown) == sorted((root / "docs").glob("**/*.md"))
    found = [block for page in shown for block in blocks(page)]
    assert {block.kind for block in found} <= RUN | NOT_RUN
    assert sum(block.kind in RUN for block in found) > 3 * sum(block.kind == "console" for block in found)
    assert all(NAMED.match(block.text) for block in found if block.kind == "toml")
    text = "".join(page.read_text(encoding="utf-8") for page in shown)
    assert 2 * len(found) == len(re.findall(r"^\s*(```|~~~)", text, flags=re.MULTILINE))  # none was overlooked


def typed(text: str) -> Iterator[list[str]]:
    """Yield the words of the commands of lmgym in a block, without what the shell does with them."""
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["lmgym"]:
            yield [word for word in words[1:] if word != "&"]


def test_commands_that_are_not_run_are_commands(root: Path) -> None:
    texts = [block.text for page in pages(root) for block in blocks(page) if block.kind == "console"]
    texts += [block.text for block in blocks(root / "README.md") if block.kind == "sh"]
    commands = [words for text in texts for words in typed(text)]
    assert len(commands) > 20
    for words in commands:
        assert dataclasses.is_dataclass(command_of(words)), words


@pytest.mark.slow
def test_every_block_runs(newcomer: Path, root: Path) -> None:
    """In one folder, page after page, as they stand; the port alone is another, because machines have but one 8000."""
    said = {}
    for page in pages(root):
        for number, block in enumerate(blocks(page)):
            if block.kind in RUN:
                said[page.stem, number] = run_block(block, newcomer)
    everything = "".join(said.values())
    assert everything.count("all rules kept") == 3
    assert "broken" not in everything
    assert everything.count(" verified: ") == 1
    for made in (
        "game.html",
        "maze-trl.jsonl",
        "runs/tiny/README.md",
        "mine/entries/FOMaze-v0/Walker/seed-0/recipe.json",
        "walker.json",
    ):
        assert (newcomer / made).stat().st_size > 0


def run_block(block: Block, home: Path) -> str:
    """Run a block of a page, and end what it left running."""
    if named := NAMED.match(block.text):
        (home / named[1]).write_text(block.text, encoding="utf-8")
        return ""
    if block.kind == "python":
        (home / "block.py").write_text(block.text, encoding="utf-8")
        return run("python block.py", home)
    ending = "trap 'set +e; kill $(jobs -p) 2>/dev/null; wait' EXIT"
    return run(f"set -euo pipefail\n{ending}\n{with_free_port(block.text)}", home)


def with_free_port(text: str) -> str:
    """Return commands with another port in place of 8000."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return re.sub(r"\b8000\b", str(free.getsockname()[1]), text)


class Loaded(HTMLParser):
    """Collects what a page loads by itself, which links do not."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            return
        self.addresses += [value for name in ("src", "href", "srcset", "action") if (value := values.get(name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI builds it: every warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_every_game_and_method_has_its_page(site: Path) -> None:
    text = {page.parent.name: html.unescape(page.read_text(encoding="utf-8")) for page in site.glob("*/*/index.html")}
    index = (site / "games" / "index.html").read_text(encoding="utf-8")
    for env_id in game_ids():
        env = make_env(env_id)
        env.reset(seed=0)
        module = type(env.unwrapped).__module__.rpartition(".")[2]
        assert env_id in index
        assert prompt_of(env) in text[module]
        assert f"$ lmgym play {env_id} --agent behaviour" in text[module]
        docstring = type(env.unwrapped).__doc__ or ""
        for heading in re.findall(r"^    ([A-Z][^\n]*):$", docstring, flags=re.MULTILINE):
            assert re.search(rf"<h2[^>]*>{re.escape(heading)}<", text[module])
        assert "What an invalid reply does" in text[module]
    for method in methods():
        options = re.findall(r"<td><code>(--[\w-]+)</code></td>", text[method])
        assert len(options) > 10
        assert set(options) < set(_options(train_command(method)))
        assert re.search(r"<h2[^>]*>What is left out<", text[method])


@pytest.mark.slow
def test_the_site_asks_nobody_for_anything(site: Path) -> None:
    found = list(site.glob("**/*.html"))
    assert len(found) > 20
    for page in found:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        assert [address for address in loaded.addresses if re.match(r"(\w+:)?//", address)] == []
    for style in site.glob("**/*.css"):
        assert not re.search(r"""(url\(|@import)\s*["']?(\w+:)?//""", style.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """docs/pages.py."""
    spec = importlib.util.spec_from_file_location("pages", Path(__file__).parent.parent / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docstrings_become_pages(hook: ModuleType) -> None:
    docstring = (
        "Walk.\n\nDescription:\n    A grid\n    - or not.\n\n    x = 1\nArguments:\n    a, b: the first,\n"
        "        continued.\n    c: last."
    )
    assert hook.sections(docstring) == (
        "Walk.\n\n## Description\n\nA grid - or not.\n\nx = 1\n\n## Arguments\n\n"
        "- `a`, `b`: the first, continued.\n- `c`: last."
    )
    assert hook.paragraphs("One\ntwo:\n\n    a = b\n    c\n\nthree") == "One two:\n\n    a = b\n    c\n\nthree"


def test_sentences_below_fields_are_found(hook: ModuleType) -> None:
    from lmgym.critic import CriticConfig
    from lmgym.train import OptimConfig

    for config in (CriticConfig, OptimConfig):
        said = hook.field_sentences(config)
        assert {field.name for field in dataclasses.fields(config)} <= set(said)
    assert hook.field_sentences(OptimConfig)["max_grad_norm"] == "Gradients are scaled down to this global norm."


def test_the_citation_is_of_this_version(root: Path) -> None:
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    page = (root / "docs" / "cite.md").read_text(encoding="utf-8")
    assert cited["version"] == lmgym.__version__
    assert f"version = {{{lmgym.__version__}}}" in page
    assert cited["title"] in page
    (paper,) = cited["references"]
    people = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    assert f"author = {{{people}}}" in page
    assert f"pages = {{{paper['start']}--{paper['end']}}}" in page
