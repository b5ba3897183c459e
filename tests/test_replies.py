"""What is read in a chat model's reply; expected values are from hand."""

import pytest

from lmgym.replies import read_action

CASES = {
    # As it is.
    "move up": "move up",
    "  move up \n": "move up",
    "Is it a cat?": "Is it a cat?",
    "N f 3": "N f 3",
    "Q h 7 #": "Q h 7 #",
    "O - O": "O - O",
    "The Ford truck is $36,500.": "The Ford truck is $36,500.",
    'Do you have the "luxury" kind?': 'Do you have the "luxury" kind?',
    "": "",
    " \n ": "",
    # The last line.
    "I have to go up.\n\nmove up": "move up",
    "The goal is below.\nmove down\n\n": "move down",
    # Labels.
    "Action: move up": "move up",
    "action : `move up`": "move up",
    "**Action:** move up": "move up",
    "**Action**: **move up**": "move up",
    "> Action: move up": "move up",
    "- action: 'move up'": "move up",
    "Thought: left is a wall.\nAction: move right": "move right",
    "Action:": "Action:",
    "Reaction: none": "Reaction: none",
    # Quotes.
    '"move up"': "move up",
    '"move up".': "move up",
    "'move up'": "move up",
    "“move up”": "move up",
    "‘move up’": "move up",
    "**move up**": "move up",
    '"Is it a cat?"': "Is it a cat?",
    '"red" or "blue"': '"red" or "blue"',
    "'Is it the dog's?'": "'Is it the dog's?'",
    '""': '""',
    # Back-ticks.
    "`move up`": "move up",
    "``move up``": "move up",
    "```move up```": "move up",
    "I will say `move up`.": "move up",
    "Is it a `cat`?": "Is it a `cat`?",
    "`move up` or `move down`": "`move up` or `move down`",
    # Fences.
    "```\nmove up\n```": "move up",
    "```text\nmove up\n```\n": "move up",
    "Up, then.\n```\nmove up\n```\nLet us see what happens.": "move up",
    "```\nmove up\n```\nor rather\n```\nmove down\n```": "move down",
    "```\nlook\nmove up\n```": "move up",
    "```\nmove up```": "move up",
    "```\n`move up`\n```": "move up",
    "```\n\n```\nmove up": "move up",
    "```\nmove up": "move up",
    # JSON.
    '{"action": "move up"}': "move up",
    '{"thought": "The {goal} is up.", "action": " move up "}': "move up",
    '{\n  "thought": "up",\n  "action": "move up"\n}': "move up",
    'I go up. {"action": "move up"}': "move up",
    'So {this} is it:\n{"action": "move up"}': "move up",
    '```json\n{"thought": {"wall": "left"}, "action": "move up"}\n```': "move up",
    '```json\n{"action": "move up"}\n```\nGood luck!': "move up",
    '{"action": "`s h i r e`"}': "`s h i r e`",
    '{"action": 7}': "7",
    '{"action": "Is it {odd}?"}': "Is it {odd}?",
    # Nothing to be read: the game says that it is invalid.
    '{"action": null}': '{"action": null}',
    '{"action": true}': '{"action": true}',
    '{"action": ["move up"]}': '{"action": ["move up"]}',
    '{"action": ""}': '{"action": ""}',
    '{"move": "up"}': '{"move": "up"}',
    '{\n "move": "up"\n}': '{\n "move": "up"\n}',
    '{"action": "move up"': '{"action": "move up"',
    "{" * 5000 + "}": "{" * 5000 + "}",
}


@pytest.mark.parametrize("reply", CASES)
def test_replies(reply: str) -> None:
    assert read_action(reply) == CASES[reply]


def test_nothing_hangs_or_breaks() -> None:
    for odd in (
        "`" * 20_000,
        "```\n" * 5000,
        '{"a":' * 3000 + "}",
        "\ud800",
        "\x00",
        "*" * 20_000,
        "'" * 20_000,
        "[" * 20_000 + "}",
    ):
        assert isinstance(read_action(odd), str)
