"""Which seed each game of each purpose is played with."""

from enum import IntEnum

from lmgym.errors import UsageError


class Stream(IntEnum):
    """What a game is played for. Games of different streams never share a seed."""

    COLLECT = 0
    TRAIN = 1
    VALIDATE = 2
    EVALUATE = 3


def game_seed(stream: Stream, seed: int, index: int) -> int:
    """Return the seed of game `index` in the series `seed` of a stream: three bit fields of one integer, so that
    no two games of any streams or series meet. Raises UsageError where a field would overflow.

    >>> game_seed(Stream.COLLECT, 0, 7), game_seed(Stream.TRAIN, 0, 7) == (1 << 60) + 7
    (7, True)
    """
    if not (0 <= seed < 1 << 28 and 0 <= index < 1 << 32):
        raise UsageError(f"a seed lies between 0 and {(1 << 28) - 1}, not {seed}")
    return stream << 60 | seed << 32 | index
