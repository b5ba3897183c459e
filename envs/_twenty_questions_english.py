"""The English of 20 Questions: finds the one question in a text, corrects its spelling, brings it to the words that
carry meaning, and turns a negative question into its positive."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OPPOSITE = "opposite"  # what `non-` becomes


def word_set(*lines: str) -> frozenset[str]:
    """Return the words of some lines."""
    return frozenset(" ".join(lines).split())


CONTRACTIONS = (
    (re.compile(r"[\u2018\u2019`]"), "'"),
    (re.compile(r"\b(?:don't know|dunno)\b"), " "),
    (re.compile(r"\b(can)(?:'t|not)\b"), r"\1 not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(is|does|do|are|could|would|was|did|has|have|should)nt\b"), r"\1 not"),
    (re.compile(r"\bit'd\b"), "it would"),
    (re.compile(r"\b(you|i|we|they)'d\b"), r"\1 would"),
    (re.compile(r"\b(it|that|this|what|he|she|there)'s\b"), r"\1 is"),
    (re.compile(r"\bits (a|an|the)\b"), r"it is \1"),
    (re.compile(r"\b(you|they|we)'re\b"), r"\1 are"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"'s\b"), " s"),
    (re.compile(r"\bu\b"), "you"),
    (re.compile(r"(?<=er) then\b"), " than"),
    (re.compile(r"\b(more|less) then\b"), r"\1 than"),
    (re.compile(r"\bnon[ -]?(?=(?:living|edible|electr|metal|food|animal|human|natural))"), f"{OPPOSITE} "),
    (re.compile(r"\bman[ -]made\b"), "manmade"),
    (re.compile(r"\bhuman[ -]made\b"), "manmade"),
    (re.compile(r"[^a-z0-9$.,;:!?\n ]"), " "),
)

# Said before or after a question without changing it. Longer ones first where one begins like another.
ASIDES = re.compile(
    r"\b(?:by any chance|you know|or something like that|or anything like that|or something|or anything|or what|"
    r"or no|i was wondering (?:if|whether)|i wonder (?:if|whether)|(?:can|could|would) you (?:please )?tell me "
    r"(?:if|whether)|tell me (?:if|whether)|(?:do|would|did) you (?:think|say|agree) (?:that )?|you think|"
    r"i would (?:say|guess) (?:that )?|is it (?:true|correct|right|fair|safe) (?:to say )?(?:that )?|is it the case "
    r"that|i am (?:guessing|thinking) (?:that |maybe )?|"
    r"i (?:guess|think|believe|suppose|bet) (?:that )?|"
    r"my (?:final |next |last )?(?:guess|question) (?:is )?(?:that )?|just (?:checking|asking|to be sure)|"
    r"at least|out of curiosity|of course|for example|"
    r"to be (?:honest|sure)|let me (?:see|think|try|ask)|let us (?:see|try)|no idea|next (?:one|question|up)|"
    r"would you (?:categorize|categorise|classify|describe|consider|call) (?:it|this|that) (?:as|to be)? ?)\b"
)
INTERJECTIONS = word_set(
    "ok okay so well hmm hm um umm uh oh ooh ah aha alright right cool nice great wow haha lol please maybe",
    "perhaps like hey honestly now then yes yeah yep interesting thanks just really actually basically literally",
    "also still guess question kind sort kinda sorta hi hello good very super quite pretty perfect sure anyway",
)
LEADS = INTERJECTIONS - {"like", "very", "super", "pretty", "kind", "sort", "good"}

# A clause that begins so is a question of its own.
OPENING = re.compile(
    r"^(?:(?:is|are|was|were|does|do|did|has|have|can|could|may|might|must|would|will|should) "
    r"(?:not )?(?:it|this|that|these|those|they|you|people|one|i|we|he|she|the|there|someone|somebody|most|my|"
    r"humans|kids|children|a|an)\b|it is|it has|(?:it|this|that) (?:does|can|would|could)\b)"
)
SUBJECT = re.compile(
    r"\b(?:the|this|that|your|these|those) (?:hidden |secret |mystery )?(?:object|item|thing|animal|creature|fruit|"
    r"vegetable|vehicle|instrument|article|answer|word|product|device|things|one)(?: s\b)?"
    r"(?: in question| (?:that )?you (?:are|were) (?:thinking (?:of|about)|imagining)| (?:that )?you have in mind|"
    r" (?:that )?i am (?:looking for|trying to guess))?(?= |$)"
)
THINKING_OF = re.compile(
    r"\b(?:are you thinking (?:of|about)|you are thinking (?:of|about|in)|is it that you are thinking of|"
    r"do you have in mind|are you imagining)\b"
)
PRONOUNS = re.compile(r"\b(?:they|them|these|those|this|that(?= (?:is|was|be|has|have|can|does|would)\b))\b")

KEEP = word_set(
    "cute building clothing ring wing string king spring during evening ceiling thing morning bring ping glass brass",
    "grass dress gas bus lens less this his yes is its across class gloss moss pass press bed red shed sled need",
    "speed seed feed weed reed",
)
VOWEL = re.compile(r"[aeiouy]")

# Verbs whose meaning turns with the side on which the object stands: it eats, or it is eaten.
TWO_SIDED = word_set(
    "sleep eat drink carry wear throw ride drive hunt kill read climb hear smell touch paint draw feed swim",
)
DOER = re.compile(r"^(?:(?:does|do|can|could|will|would|did|may|might) )?it (?:can |usually |typically |to )?([a-z]+)")
# `Used by artists` and `do artists use it` are the same; `played by blowing` says how.
AGENT = re.compile(
    r" by (?:(?:most|many|some|other) )?(?:people|humans|persons|a person|you)\b|(?<=\w(?:ed|en|rn)) by (?!\w+ing\b)"
)
# Verbs of which it matters whether the object does it, undergoes it, or serves for it: `Do you erase it?`
SERVING = word_set("hit erase cut write paint draw open dig cook clean climb")
UNDERGONE = re.compile(r"^(?:do|can|could|would|will|may) (?:you|people|i|we|one|they|kids|children) ([a-z]+) it$")

WORD = re.compile(r"[a-z]+")
SENTENCES = re.compile(r"[.!?;:\n]+")
TAG = re.compile(
    r"[ ,]+(?:right|correct|true|yes|no|or not|(?:is|does|do|can|are|was|has|would) (?:not )?(?:it|they|you|one))$"
)
NOT_IT = re.compile(
    r"^(is|are|does|do|has|have|can|could|would|was|did|will|should) not (?=(?:it|you|people|one|we)\b)"
)
OPPOSITES = (
    (
        re.compile(
            r"\b(?:(?:something|thing|one|object|item)(?: that| which)?|that|which)(?: you| people| we| one)? "
            r"(?:is|are|does|do|has|have|can|could|would|was|did) not "
        ),
        "",
    ),
    (re.compile(r"\b(?:without|lacking|free of)(?: any| a| an)? "), "have "),
    (re.compile(r"\b(?:has|have|having) no "), "have "),
    (re.compile(r"\black(?:s)?(?: any| a| an)? "), "have "),
    (re.compile(rf"\b{OPPOSITE} "), ""),
    (re.compile(r"\binanimate\b"), "alive"),
    (re.compile(r"\binedible\b"), "edible"),
)
DENIAL = re.compile(r"\b(?:not|never|nor|neither|no|except|excluding|unless)\b")


@dataclass(frozen=True)
class Words:
    """What words are worth: `same` maps words to the one that stands for them, `fillers` say nothing about an
    object, `known` are spelled right."""

    same: Mapping[str, str]
    fillers: frozenset[str]
    known: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Words":
        """Read lines `= stands for: words`, `- fillers`, `+ known words`."""
        same: dict[str, str] = {}
        fillers: list[str] = []
        known: list[str] = []
        for line in text.splitlines():
            mark, _, rest = line.partition(" ")
            if mark == "=":
                meaning, _, others = rest.partition(":")
                same |= dict.fromkeys(others.split(), meaning)
            elif mark in ("-", "+"):
                (fillers if mark == "-" else known).extend(rest.split())
        return cls(same, frozenset(fillers), frozenset(known) | frozenset(same) | frozenset(same.values()))

    def stem(self, word: str) -> str:
        """Return what stands for all forms of a word; nothing more than a key.

        >>> words = Words({"larger": "bigger"}, frozenset(), frozenset())
        >>> [words.stem(word) for word in ("wheels", "batteries", "shelled", "chopped", "glass", "ring", "larger")]
        ['wheel', 'battery', 'shell', 'chop', 'glass', 'ring', 'bigger']
        """
        if word in self.same:
            return self.same[word]
        if word in KEEP or len(word) < 4:
            return word
        word = _without_ending(word)
        if word in self.same:
            return self.same[word]
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
            word = word[:-1]
        return word[:-1] if len(word) > 3 and word[-1] == "e" else word

    def tokens(self, text: str) -> list[str]:
        """Return the words of a plain text that carry meaning, as stems, in order."""
        text = AGENT.sub(" ", text)
        doer, undergone = DOER.match(text), UNDERGONE.match(text)
        acting = self.stem(doer.group(1)) if doer else ""
        found = [self.stem(word) for word in text.split() if word not in self.fillers]
        found = [word for word in found if word not in self.fillers]
        if acting in TWO_SIDED and acting in found:
            found[found.index(acting)] = f"it_{acting}"
        if undergone and undergone.group(1) in SERVING and len(found) == 1:
            found = [f"{found[0]}_it"]
        return found


def _without_ending(word: str) -> str:
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            shorter = word.removesuffix(ending) + rest
            if len(shorter) >= 3 and VOWEL.search(shorter):
                return shorter
    return word


def plain(text: str) -> str:
    """Return text in lower case, without contractions and odd characters.

    >>> plain("Isn\u2019t it a caf\u00e9?"), plain("\u0130s it a \uff43at?")
    ('is not it a cafe?', 'is it a cat?')
    """
    text = text.lower().strip()
    if not text.isascii():
        text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    for pattern, replacement in CONTRACTIONS:
        text = pattern.sub(replacement, text)
    return text


class Spelling:
    """Corrects words that are one slip away from a single known one."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        """`weights` are the known words; among several near ones the heavier is taken."""
        self._weights = dict(weights)
        self._near: dict[str, list[str]] = {}
        for word in self._weights:
            for shorter in _shortened(word):
                self._near.setdefault(shorter, []).append(word)

    def __contains__(self, word: str) -> bool:
        return word in self._weights or _without_ending(word) in self._weights

    def correct(self, word: str) -> str:
        """Return the known word that is meant, or the word itself where none or no single one is near."""
        if word in self or len(word) < 3 or len(word) > 20:
            return word
        found = {near for shorter in _shortened(word) for near in self._near.get(shorter, ())}
        if len(word) == 3:
            found = {near for near in found if near[:2] == word[:2] and len(near) in (3, 4)}
        best = sorted(sorted(found), key=lambda near: self._likeness(word, near), reverse=True)
        if not best or (len(best) > 1 and self._likeness(word, best[0]) == self._likeness(word, best[1])):
            return word
        return best[0]

    def _likeness(self, word: str, near: str) -> tuple[bool, bool, bool, int]:
        """Order candidates: the same letters, the same first letter, the same last letter, how common."""
        same_letters = sorted(set(word)) == sorted(set(near))
        return word[0] == near[0], same_letters, word[-1] == near[-1], self._weights[near]


def _shortened(word: str) -> Iterable[str]:
    """Yield the word and the word without each of its letters."""
    yield word
    if len(word) >= 3:
        for index in range(len(word)):
            yield word[:index] + word[index + 1 :]


class English:
    """What a reader has to know of the language."""

    def __init__(self, words: Words, weights: Mapping[str, int]) -> None:
        """`weights` are the words that are spelled right, the commoner the heavier."""
        self._words = words
        self.spelling = Spelling(weights)

    def plain(self, text: str) -> str:
        """Return text in lower case, without contractions and odd characters."""
        return plain(text)

    def tokens(self, text: str) -> list[str]:
        """Return the words of a plain text that carry meaning, as stems, in order."""
        return self._words.tokens(text)

    def opens(self, part: str) -> bool:
        """Return whether words begin like a question of their own."""
        return OPENING.match(part) is not None

    def question(self, text: str) -> str:
        """Return the one question in a plain text, spelled right and without what is said around it; empty if there
        is none or several."""
        text = " ".join(WORD.sub(lambda word: self.spelling.correct(word.group()), text).split())
        parts = [_without_asides(part.strip(" ,")) for part in SENTENCES.split(text)]
        parts = [part for part in parts if part]
        asked = [part for part in parts if OPENING.match(part)]
        if len(asked) > 1 or not parts:
            return ""
        return TAG.sub("", _one_clause(asked[0] if asked else parts[-1])).strip(" ,")

    def positive(self, question: str) -> tuple[str, bool]:
        """Return the positive of a question and whether the question asks for its opposite, see `positive`."""
        return positive(question)


def positive(question: str) -> tuple[str, bool]:
    """Return the positive of a negative question and whether it asks for the opposite; an empty question where it
    is not plain what No would mean. `Isn't it alive?` asks whether it is alive; `Is it not alive?` may mean either.

    >>> positive("is not it alive"), positive("is it something you can not eat"), positive("is it not alive")
    (('is it alive', False), ('is it eat', True), ('', False))
    """
    question = NOT_IT.sub(r"\1 ", question)
    opposite = False
    for pattern, replacement in OPPOSITES:
        turned = pattern.sub(replacement, question, count=1)
        if turned != question:
            if opposite:
                return "", False
            question, opposite = turned, True
    if DENIAL.search(question):
        return "", False
    return " ".join(question.split()), opposite


def _without_asides(part: str) -> str:
    """Return a sentence without what is said before and after the question in it, its subject as `it`."""
    part = ASIDES.sub(" ", part)
    part = THINKING_OF.sub("is it", part)
    part = SUBJECT.sub("it", part)
    part = PRONOUNS.sub("it", part)
    part = " ".join(part.split()).strip(" ,")
    words = part.split()
    while words and words[0].strip(",") in LEADS:
        del words[0]
    while words and words[-1].strip(",") in LEADS - {"yes"}:
        del words[-1]
    if words[:1] == ["like"] or words[:1] == ["guess"]:
        del words[0]
    return " ".join(words)


def _one_clause(sentence: str) -> str:
    """Return the clause of a sentence that is the question, or the sentence without commas around asides."""
    clauses = [_without_asides(clause.strip()) for clause in sentence.split(",")]
    clauses = [clause for clause in clauses if clause]
    opening = [index for index, clause in enumerate(clauses) if OPENING.match(clause)]
    if len(opening) == 1 and opening[0] > 0:
        clauses = clauses[opening[0] :]
    if len(clauses) > 1 and clauses[0].count(" ") < 2:
        clauses[:2] = [" ".join(clauses[:2])]
    return ", ".join(clauses)


def plural(name: str) -> str:
    """Return a plural, right for all names of the game that have one.

    >>> [plural(name) for name in ("box", "cherry", "knife", "toy", "socks")]
    ['boxes', 'cherries', 'knives', 'toys', 'socks']
    """
    if name.endswith(("s", "sheep")) and not name.endswith(("ss", "us", "as")):
        return name
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    if name.endswith("fe"):
        return f"{name[:-2]}ves"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh", "o")) else f"{name}s"
