"""The command line: `lmgym COMMAND ...`."""

import contextlib
import dataclasses
import io
import os
import re
import sys
import typing
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lmgym.errors import UsageError, unknown

SUMMARY = {
    "tasks": "list every game with limits, data statistics and reference scores",
    "check": "test whether a game keeps the contract",
    "collect": "play games and write them to a Parquet file",
    "data info": "print what a file of episodes says of itself",
    "data import-lmrl": "import the published data files of LMRL-Gym",
    "data export": "write episodes for other people's tools: chats, TRL, Minari",
    "train": "train a policy: lmgym train METHOD --env ID",
    "tune": "find the settings that a run's policy plays best with, on validation games",
    "eval": "evaluate an agent on a game",
    "play": "play a game, or watch an agent play it",
    "inspect": "show what a policy thought of each token of a game",
    "leaderboard run": "train, tune and evaluate a matrix of games, methods and seeds",
    "leaderboard table": "make the tables from the entries",
    "leaderboard page": "make the site from the entries",
    "leaderboard verify": "play an entry's evaluation again and compare",
    "leaderboard submit": "make entries of an agent of your own",
    "leaderboard references": "measure again what scores are measured against",
    "serve": "serve a game over HTTP",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 a check failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # so that my_pkg:MyGame-v0 is found from where the user stands
    # Threads that spin while they wait make training ten times slower as soon as another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return _run(words)
    except UsageError as error:
        print(f"lmgym: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = {
            "train": "; the same command goes on from the last checkpoint",
            "eval": "; the same command goes on with the other games" if any(w[:6] == "--save" for w in words) else "",
            "leaderboard": "; the same command goes on where it was" if words[1:2] in (["run"], ["submit"]) else "",
        }.get(words[0] if words else "", "")
        print(f"\nlmgym: interrupted{again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"lmgym: {error.filename or 'the file system'}: {error.strerror or error}", file=sys.stderr)
        return 2


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        _print_help()
        return 0
    if words[0] == "--version":
        import lmgym

        print(f"lmgym {lmgym.__version__}")
        return 0
    if words[0] == "train" and (len(words) == 1 or words[1] in ("-h", "--help")):
        _print_train_help()
        return 0
    return command_of(words).run()


def command_of(words: list[str]) -> Any:
    """Return the command that words name, with its options, not run yet. Raises UsageError where they are wrong."""
    if words[0] == "train":
        return _train_command(words[1:])
    name = " ".join(words[:2]) if words[0] in ("data", "leaderboard") else words[0]
    if name not in SUMMARY:
        raise unknown("command", name, SUMMARY)
    module = import_module(f"lmgym.{words[0]}.commands" if words[0] == "leaderboard" else "lmgym.commands")
    return _parsed(name, module.COMMANDS[name], words[len(name.split()) :])


def _train_command(words: list[str]) -> Any:
    from lmgym.commands import train_command
    from lmgym.methods import methods

    if words[0].startswith("-"):
        raise UsageError(f"which method? lmgym train METHOD {words[0]} ...; methods: {', '.join(methods())}")
    return _parsed(f"train {words[0]}", train_command(words[0]), words[1:])


def _print_train_help() -> None:
    from lmgym.methods import methods

    print("usage: lmgym train METHOD --env ID [options]\n")
    print(f"methods: {', '.join(methods())}, or my_pkg.my_method\noptions: lmgym train METHOD --help")


def _print_help() -> None:
    print("usage: lmgym COMMAND [options]\n\nThe gym for multi-turn reinforcement learning with language models.\n")
    for name, summary in SUMMARY.items():
        print(f"  {name:<24}{summary}")
    print("\nOptions of a command: lmgym COMMAND --help")


def _parsed(name: str, command: type, words: list[str]) -> Any:
    """Let tyro make the command object; what it has to complain about becomes one sentence."""
    import tyro

    known = _options(command)
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option.replace("_", "-") not in known:
            raise unknown(f"option of lmgym {name}", option, known)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(command, prog=f"lmgym {name}", args=words, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as exit_:
        if exit_.code == 0:
            raise
        raise UsageError(f"{_condensed(complaint.getvalue())} (lmgym {name} --help)") from None


def _options(command: Any) -> list[str]:
    found = ["--help"]
    hints = typing.get_type_hints(command)
    for field in dataclasses.fields(command):
        if dataclasses.is_dataclass(hints[field.name]):
            found += _options(hints[field.name])
        else:
            flag = field.name.replace("_", "-")
            found += [f"--{flag}"] + ([f"--no-{flag}"] if hints[field.name] is bool else [])
    return found


def _condensed(box: str) -> str:
    """Return the first statement of one of tyro's boxes, drawn with lines or in plain ASCII, as a line.

    >>> _condensed("╭─ Value error ──╮\\n│ Error parsing --n: │\\n│ no number │\\n│ ───── │\\n│ help │\\n╰──╯")
    'Error parsing --n: no number'
    >>> _condensed("Required\\n-----\\nMissing:\\n  --env STR\\n-----\\nhelp")
    'Missing: --env STR'
    """
    lines = [line.strip(" │|╭╮╰╯+") for line in box.splitlines()]
    rules = [index for index, line in enumerate(lines) if re.fullmatch(r"[─-]+|[─-]{1,2} .* [─-]{2,}", line)]
    first = rules[0] + 1 if rules and rules[0] <= 1 else 0
    body = lines[first : next((index for index in rules if index >= first), len(lines))]
    sentence = " ".join(" ".join(body).split()) or "wrong usage"
    optional = re.match(r"Error parsing (--\S+): no type matching \{None\}\|(\w+) could .* from \['(.*?)'\]", sentence)
    return "{} takes {}, not {!r}".format(*optional.groups()) if optional else sentence


if __name__ == "__main__":
    sys.exit(main())
