"""A hook of mkdocs: the pages of games and methods, made from their docstrings whenever the site is built."""

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import gymnasium
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lmgym.agents import load_agent
from lmgym.env import make_env
from lmgym.evaluate import play_one
from lmgym.methods import method_module, methods
from lmgym.prompts import prompt_of
from lmgym.tasks import game_ids, list_tasks, print_game

SEEDS_TRIED = 10
LONGEST_GAME = 40  # lines of a recorded game that are shown


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, below the headings that mkdocs.yml leaves empty for them."""
    made = {
        "Games": ["games/index.md", *(f"games/{name}.md" for name in classes_of_games())],
        "Methods": ["methods/index.md", *(f"methods/{name}.md" for name in methods())],
    }
    assert config.nav is not None
    config.nav = [{name: made.get(name, there)} for entry in config.nav for name, there in entry.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in {**game_pages(), **method_pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def classes_of_games() -> dict[str, tuple[type, list[str]]]:
    """Return for each page of games the class and the ids that are played by it."""
    ids = defaultdict(list)
    for env_id in game_ids():
        ids[str(gymnasium.spec(env_id).entry_point)].append(env_id)
    found = {}
    for entry_point, names in ids.items():
        module, _, name = entry_point.partition(":")
        found[module.rpartition(".")[2]] = (getattr(import_module(module), name), names)
    return dict(sorted(found.items()))


def game_pages() -> dict[str, str]:
    """Return the pages of the games by path."""
    tasks = {task["id"]: task for task in list_tasks()}
    pages = {"games/index.md": _index_of_games(tasks)}
    for name, (game, ids) in classes_of_games().items():
        module = inspect.getmodule(game)
        assert module is not None
        parts = [
            f"# {_words(game.__name__)}",
            paragraphs(inspect.getdoc(module) or "").partition("\n\n")[0],
            sections(inspect.getdoc(game) or ""),
            "## Reference returns",
            "0, 50 and 100 of the normalised score are these returns.",
            _references(tasks, ids),
            "## What chat models are told",
            *_prompts(ids),
            "## Games as the players of the data play them",
            "What each action earned stands behind it in brackets; `...` stands for lines left out here.",
            *(_played(env_id) for env_id in ids),
        ]
        pages[f"games/{name}.md"] = "\n\n".join(parts) + "\n"
    return pages


def method_pages() -> dict[str, str]:
    """Return the pages of the methods by path."""
    pages, rows = {}, []
    for name in methods():
        module = method_module(name)
        text = paragraphs(inspect.getdoc(module) or "")
        summary, _, rest = text.partition("\n\n")
        rest = re.sub(r"^(Left out of the released version: )(\w)", _left_out, rest, flags=re.MULTILINE)
        parts = [f"# {name}", summary, rest, "## Options", *_options(name, module)]
        pages[f"methods/{name}.md"] = "\n\n".join(parts) + "\n"
        rows.append(f"| [`{name}`]({name}.md) | {summary} |")
    head = (
        "# Methods\n\nOne file each in `algorithms/`; these pages are made from their first docstrings and from the "
        "sentences below the fields of their configs, which are also what `lmgym train METHOD --help` prints. "
        "A method of your own: [Bring a game, or a method](../bring.md#a-method-of-your-own).\n\n"
    )
    pages["methods/index.md"] = head + "\n".join(["| method | what it does |", "|---|---|", *rows]) + "\n"
    return pages


def _left_out(match: re.Match[str]) -> str:
    return f"## What is left out\n\nOf the version that LMRL-Gym released: {match[2]}"


def sections(docstring: str) -> str:
    """Return a class docstring as Markdown: each `Heading:` with an indented block below becomes a section."""
    pieces = re.split(r"^([A-Z][^\n]*):\n(?=    )", docstring, flags=re.MULTILINE)
    parts = [paragraphs(pieces[0])]
    for heading, block in zip(pieces[1::2], pieces[2::2], strict=True):
        body = textwrap.dedent(block).strip()
        parts += [f"## {heading}", items(body) if heading in ("Arguments", "Version history") else paragraphs(body)]
    return "\n\n".join(part for part in parts if part)


def paragraphs(text: str) -> str:
    """Return text with each paragraph on one line, so that no line begins with what Markdown takes for a mark;
    indented blocks stay as they are."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n\n".join(block if block.startswith("    ") else " ".join(block.split("\n")) for block in blocks)


def items(text: str) -> str:
    """Return `name: what it is` blocks, continued on indented lines, as a list."""
    blocks = re.split(r"\n(?=\S)", text)
    lines = (" ".join(line.strip() for line in block.split("\n")) for block in blocks)
    return "\n".join(re.sub(r"^([\w, ]+): ", _named, line) for line in lines)


def _named(match: re.Match[str]) -> str:
    return f"- {', '.join(f'`{name}`' for name in match[1].split(', '))}: "


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _index_of_games(tasks: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, (_, ids) in classes_of_games().items():
        for env_id in ids:
            task = tasks[env_id]
            history = "all" if task["history"] is None else task["history"]
            data = f"{task['data']['value']:.2f} ({task['data_success']:.2f})"
            best, count = f"{task['best']['value']:.2f}", f"{task['evaluation_episodes']:,}"
            rows.append(f"| [`{env_id}`]({name}.md) | {task['max_turns']} | {history} | {data} | {best} | {count} |")
    head = (
        "# Games\n\nThe pages are made from the docstrings of the classes, and the games in them are played when the "
        "site is built. *Sees*: how many of the latest pieces of text the agent is shown. *Data*: mean return and "
        "success of the default offline data. `lmgym tasks` prints where each figure comes from.\n\n"
        "| game | turns at most | sees | data | best known | evaluation games |\n|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _references(tasks: dict[str, dict[str, Any]], ids: list[str]) -> str:
    rows = ["| game | | return | how it was found |", "|---|---|---|---|"]
    for env_id in ids:
        for name, title in (("min", "worst possible"), ("data", "mean of the data"), ("best", "best known")):
            value = tasks[env_id][name]
            rows.append(f"| `{env_id}` | {title} | {value['value']:.2f} | {value['how']} |")
    return "\n".join(rows)


def _prompts(ids: list[str]) -> Iterator[str]:
    """Yield the prompts, those that several games share once."""
    told = defaultdict(list)
    for env_id in ids:
        env = make_env(env_id)
        env.reset(seed=0)
        told[prompt_of(env)].append(env_id)
        env.close()
    for text, names in told.items():
        yield ", ".join(f"`{name}`" for name in names) + ":"
        yield fenced(text)


def _played(env_id: str) -> str:
    """Return a game that ended well and one that did not, of the first few, as `lmgym play` prints them."""
    found: dict[bool, str] = {}
    for seed in range(SEEDS_TRIED):
        episode = play_one(load_agent("behaviour", env_id), env_id, seed=seed)
        if bool(episode.success) not in found:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                print_game(episode, whole=True)
            lines = said.getvalue().rstrip("\n").split("\n")
            if len(lines) > LONGEST_GAME:
                lines = [*lines[: LONGEST_GAME // 2], "...", *lines[-LONGEST_GAME // 2 :]]
            command = f"$ lmgym play {env_id} --agent behaviour --seed {seed}"
            found[bool(episode.success)] = fenced("\n".join([command, *lines]))
        if len(found) == 2:
            break
    return "\n\n".join(found[success] for success in sorted(found, reverse=True))


def fenced(text: str) -> str:
    """Return text as a block that Markdown leaves alone, whatever stands in it."""
    assert "~~~" not in text
    return f"~~~text\n{text}\n~~~"


def _options(name: str, module: Any) -> list[str]:
    """Return the table of a config, and the line that says which options all methods share."""
    rows = ["| option | default | |", "|---|---|---|", *_rows(module.Config())]
    shared = f"Beside these, all methods take `--env`, `--data`, `--out`, `--seed` ...: `lmgym train {name} --help`."
    return ["\n".join(rows), shared]


def _rows(config: Any) -> Iterator[str]:
    """Yield a row for each field, those of nested configs after the others."""
    said = field_sentences(type(config))
    nested = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            nested.append(value)
            continue
        sentence = " ".join(said[field.name].split()).replace("|", "\\|")
        yield f"| `--{field.name.replace('_', '-')}` | {'' if value is None else f'`{value}`'} | {sentence} |"
    for value in nested:
        yield from _rows(value)


def field_sentences(config: type) -> dict[str, str]:
    """Return what stands below each field of a dataclass, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = ast.literal_eval(below.value)
    return found
