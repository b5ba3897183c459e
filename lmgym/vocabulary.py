"""Tokenizers built from a game's own text, for models that are trained from scratch."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lmgym.errors import unknown

UNKNOWN, PAD = "<unk>", "<pad>"

# What merges may never cross. A newline is a token of its own in every kind.
BOUNDARIES = {
    "char": r"[\s\S]",
    "word": r"\n| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]|\s",
    "phrase": r"\n|[^\n]+",
}
MAX_VOCABULARY = 512


def build_tokenizer(kind: str, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer of one of three kinds on a game's pieces of text.

    `char`: every character is a token; `word`: merges stay within a word; `phrase`: merges may join a whole
    line, so that a templated sentence becomes one token. The alphabet is that of the texts; other characters
    become one unknown token. Raises UsageError for another kind.
    """
    if kind not in BOUNDARIES:
        raise unknown("kind of tokenizer", kind, BOUNDARIES)
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(BOUNDARIES[kind]), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_VOCABULARY if kind != "char" else 0,
        special_tokens=[PAD, UNKNOWN],
        initial_alphabet=["\n"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN)
