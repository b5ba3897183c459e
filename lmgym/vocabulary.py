"""Tokenizers built from a game's own text, for models that are trained from scratch."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lmgym.errors import UsageError, unknown

UNKNOWN, PAD = "<unk>", "<pad>"

# What merges may never cross. A newline is a token of its own in every kind.
BOUNDARIES = {
    "char": r"[\s\S]",
    "word": r"\n| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]|\s",
    "phrase": r"\n|[^\n]+",
    "template": r"\n|,?\d+|(?:(?!,?\d)[^\n])+",
    "rows": r"\n|[^/\n]+/ ?|(?<=/ )[^/\n]+?(?=  |\n|$)|(?:  +[^\d\s])+  +|\S ?| +",
}
DEFAULT_SIZE = 512


def build_tokenizer(kind: str, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer of one of five kinds on a game's pieces of text.

    `char`: every character is a token; `word`: merges stay within a word; `phrase`: merges may join a whole
    line, so that a templated sentence becomes one token; `template`: likewise, but numbers stand apart and are cut at
    their commas (`33` and `,600`), so that a price is the same tokens in every sentence; `rows`: merges stay within
    what slashes with a space behind them part, as the ranks of a board in spaced FEN, so that a row is one token
    in the same place whatever the others hold; a run of widely spaced marks is one piece, and all else is single
    characters. There are 512 tokens at most, or as many as stand behind a colon:
    `phrase:4096`. The alphabet is that of the texts; other characters become one unknown token. Raises UsageError for
    another kind.
    """
    name, size = _kind_and_size(kind)
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(BOUNDARIES[name]), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, UNKNOWN],
        initial_alphabet=["\n"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN)


def _kind_and_size(kind: str) -> tuple[str, int]:
    """Return the kind of a tokenizer and the greatest number of its tokens; 0 for characters, which have no merges."""
    name, colon, size = kind.partition(":")
    if name not in BOUNDARIES:
        raise unknown("kind of tokenizer", name, BOUNDARIES)
    if not colon:
        return name, 0 if name == "char" else DEFAULT_SIZE
    if name == "char" or not size.isdecimal():
        merging = "word, phrase, template and rows"
        raise UsageError(f"a number of tokens may stand behind {merging}, as in phrase:4096, not {kind!r}")
    return name, int(size)
