"""Print the table of 20 Questions by object, for reading it critically, and the pairs that nothing tells apart.

    python envs/data/make_twenty_questions.py [object ...]

After a `|` stands what is true but debatable, after a second one what is debatable and answered No.
"""

import sys

from lmgym.envs._twenty_questions_table import load_table


def main(chosen: list[str]) -> None:
    """Print the objects of these names, or all, and the unseparated pairs."""
    table = load_table()
    for index, item in enumerate(table.items):
        if chosen and item.name.lower() not in chosen:
            continue
        states = [
            (attribute, attribute.yes >> index & 1, attribute.debatable >> index & 1) for attribute in table.attributes
        ]
        lists = [
            "; ".join(attribute.name for attribute, yes, debatable in states if (yes, debatable) == wanted)
            for wanted in ((1, 0), (1, 1), (0, 1))
        ]
        print(f"{item.name}: {' | '.join(lists)}")
    pairs = ", ".join(f"{one} and {other}" for one, other in table.unseparated())
    print(f"{len(table.items)} objects, {len(table.attributes)} attributes,", end=" ")
    print(f"{sum(len(attribute.phrasings) for attribute in table.attributes)} phrasings;", end=" ")
    print(f"pairs of objects that no attribute separates: {pairs or 'none'}")


if __name__ == "__main__":
    main([name.lower() for name in sys.argv[1:]])
