"""What a free question of 20 Questions means: the set of objects for which the answer is yes.

A question is brought to plain words, apart from what is said around it; then it is, in this order, a guess, a known
phrasing, a comparison, a compound of these, or so like a known phrasing, and so much more than like any other, that it
must mean the same. Otherwise it is not understood. Sets of objects are integers, bit i for object i.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_LETTERS = 300
MAX_CACHED = 20_000
MAX_WORDS = 40
OPPOSITE = "opposite"  # what `non-` becomes

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
    r"i would (?:say|guess) (?:that )?|is it (?:true|correct|right|fair|safe) (?:to say )?(?:that )?|is it the case that|i am (?:guessing|thinking) "
    r"(?:that |maybe )?|i (?:guess|think|believe|suppose|bet) (?:that )?|my (?:final |next |last )?(?:guess|question) "
    r"(?:is )?(?:that )?|just (?:checking|asking|to be sure)|at least|out of curiosity|of course|for example|"
    r"to be (?:honest|sure)|let me (?:see|think|try|ask)|let us (?:see|try)|no idea|next (?:one|question|up)|"
    r"would you (?:categorize|categorise|classify|describe|consider|call) (?:it|this|that) (?:as|to be)? ?)\b"
)
INTERJECTIONS = frozenset(
    "ok okay so well hmm hm um umm uh oh ooh ah aha alright right cool nice great wow haha lol please maybe perhaps like "
    "hey honestly now then yes yeah yep interesting thanks just really actually basically literally also still "
    "guess question kind sort kinda sorta hi hello good very super quite pretty perfect sure anyway".split()
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

KEEP = frozenset(
    "building clothing ring wing string king spring during evening ceiling thing morning bring ping glass brass grass "
    "dress gas bus lens less this his yes is its across class gloss moss pass press bed red shed sled need speed seed "
    "feed weed reed".split()
)
VOWEL = re.compile(r"[aeiouy]")

# Verbs whose meaning turns with the side on which the object stands: it eats, or it is eaten.
TWO_SIDED = frozenset(
    "sleep eat drink carry wear throw ride drive hunt kill read climb hear smell touch paint draw feed".split()
)
DOER = re.compile(r"^(?:(?:does|do|can|could|will|would|did|may|might) )?it (?:can |usually |typically |to )?([a-z]+)")


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
        doer = DOER.match(text)
        acting = self.stem(doer.group(1)) if doer else ""
        found = [self.stem(word) for word in text.split() if word not in self.fillers]
        found = [word for word in found if word not in self.fillers]
        if acting in TWO_SIDED and acting in found:
            found[found.index(acting)] = f"it_{acting}"
        return found


def _without_ending(word: str) -> str:
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            shorter = word.removesuffix(ending) + rest
            if len(shorter) >= 3 and VOWEL.search(shorter):
                return shorter
    return word


def plain(text: str) -> str:
    """Return text in lower case, without contractions and odd characters."""
    text = text.lower().strip()
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


class Reading(NamedTuple):
    """The objects for which the answer is yes, and the object that is guessed; -1: the question is no guess."""

    yes: int
    guess: int = -1


SENTENCES = re.compile(r"[.!?;:\n]+")
TAG = re.compile(
    r"[ ,]+(?:right|correct|true|yes|no|or not|(?:is|does|do|can|are|was|has|would) (?:not )?(?:it|they|you|one))$"
)
ARTICLE = r"(?:(?:a|an|the|some|my|your|any|one|simply|called|named|maybe|(?:pair|piece|set) of)\b ?)*"
GUESS = re.compile(
    rf"^(?:(?:is|was|are|can|could|may|might|must|would|will) )?(?:it )?(?:be |is |has to be )?({ARTICLE})(.+)$"
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
DENIAL = re.compile(r"\b(?:not|never|nor|neither|no)\b")
JOINTS = re.compile(r",? (or|and) (?:is it |does it |do you |can you |can it )?|, ")
NARROWED = re.compile(
    r"^((?:is it|it is|it) (?:a |an |the )?[a-z]+(?: [a-z]+){0,2}) (that|which|with|having|used|worn|found|made|played|kept|eaten|built) (.+)$"
)
LINKS = {"that": "it", "which": "it", "with": "does it have", "having": "does it have"}
ADJECTIVE = re.compile(r"^((?:is it|it is|it) (?:a |an |the )?)([a-z]+) ([a-z]+(?: [a-z]+)?)$")
RELATIVE = frozenset("big large huge small little tiny heavy light long short tall fast slow old new".split())
START_LETTER = re.compile(
    r"\b(?:start|starts|begin|begins|beginning|starting) with (?:the |a |an )?(?:letter )?([a-z])$"
)
MORE = {
    "bigger": ("volume", 1), "larger": ("volume", 1), "greater": ("volume", 1), "smaller": ("volume", -1),
    "littler": ("volume", -1), "tinier": ("volume", -1), "heavier": ("weight", 1), "lighter": ("weight", -1),
    "longer": ("longest", 1), "taller": ("height", 1), "higher": ("height", 1), "shorter": ("longest", -1),
    "costlier": ("price", 1), "cheaper": ("price", -1), "older": ("invented", -1), "newer": ("invented", 1),
}  # fmt: skip
COMPARATIVE = {
    "big": "bigger", "large": "larger", "huge": "bigger", "small": "smaller", "little": "smaller", "tiny": "smaller",
    "heavy": "heavier", "light": "lighter", "long": "longer", "tall": "taller", "high": "higher", "short": "shorter",
    "expensive": "costlier", "costly": "costlier", "cheap": "cheaper", "old": "older", "new": "newer",
}  # fmt: skip
MORE_ADJECTIVE = re.compile(rf"\b(more|less) ({'|'.join(COMPARATIVE)})\b")
OTHER_SIDE = re.compile(r"^(?:is|are) (?!it\b)((?:a|an|the|my|your) [a-z ]+?) (" + "|".join(MORE) + r") than it$")
COMPARED = re.compile(
    rf"\b({'|'.join(MORE)})(?: in (?:size|weight|height|length|price))? than (?:that of |the (?:size|weight|mass) of )?(.+)$"
)
WEIGHS = re.compile(
    r"\b(?:weigh|weighs|weight|mass)\b.*?\b(more|less|over|under|above|below|greater)\b(?: than)? (?:that of )?(.+)$"
)
COSTS = re.compile(
    r"\b(?:cost|costs|price|priced|worth|buy|bought|purchase|purchased|sold|sell|sells|pay|expensive|valued?|dollars|\$).*?"
    r"\b(more|less|over|under|above|below|at least)\b(?: than)? \$? ?([a-z0-9, ]+?)(?: dollars| dollar| bucks| usd| euros)?$"
)
FITS = re.compile(
    r"\bfit(?:s|ted)?\b.*?\b(?:in|into|inside|within) (.+)$|"
    r"\b(?:put|carry|carried|hold|held)\b.*?\b(?:in|into|inside|within) "
    r"((?:a|an|the|my|your|one) (?:pocket|backpack|rucksack|bag|school bag|purse|handbag|suitcase|shoe ?box|hand|palm))$"
)
WHEN = re.compile(
    r"\b(?:invent|invented|exist|existed|around|made|created|discovered|developed|known|appear|appeared|introduced)\b.*?"
    r"\b(before|after|since|prior to|until|in|during|by)\b (.+)$"
)
AGO = re.compile(r"\b(?:exist|existed|invented|around|have|known|used)\b.*?([a-z0-9 ]+) years ago$")
CENTURY = re.compile(r"^(\d\d)(?:th|st|nd|rd) century$")
NUMBERS = {
    "a": 1, "one": 1, "two": 2, "five": 5, "ten": 10, "twenty": 20, "fifty": 50, "hundred": 100, "thousand": 1000, "million": 10**6,
    "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "first": 21,
}  # fmt: skip
THIS_YEAR = 2024
COMPARING = (
    "than then without lacking cost price worth weigh weight mass fit start begin letter year ago century dollar bucks "
    "more less over under above below least before after since prior until during exist invent discovered introduced "
    "inside within"
)


class Source(NamedTuple):
    """What a reader is made of: for each object its names; phrasings with the objects they are true of, and such
    that count word by word only; things that are no object of the game; English; and who compares: (measure, what
    with) -> the objects that have more, None if it cannot tell; names of what may be compared with."""

    names: Sequence[Sequence[str]]
    phrasings: Sequence[tuple[str, int]]
    fixed: Sequence[tuple[str, int]]
    foils: Sequence[str]
    words: Words
    compare: Callable[[str, str], int | None]
    things: Sequence[str]


class Reader:
    """Reads questions; keeps what it has read."""

    threshold = 0.72
    strict = 0.85
    margin = 0.06

    def __init__(self, source: Source) -> None:
        self._words = source.words
        self._compare = source.compare
        self._everything = (1 << len(source.names)) - 1
        self._initials = [names[0][0].lower() for names in source.names]
        self._guesses = dict(_names(source))
        self._exact: dict[str, int] = dict([*source.phrasings, *source.fixed])
        self._index(source.phrasings)
        vocabulary = Counter(word for phrasing in self._exact for word in plain(phrasing).split())
        others = [*self._guesses, *source.things, *source.words.known, *source.words.fillers, *INTERJECTIONS]
        others += [*MORE, *COMPARATIVE, *NUMBERS, *COMPARING.split()]
        vocabulary.update(word for name in others for word in name.split())
        self._spelling = Spelling(vocabulary)
        self._read: dict[str, Reading | None] = {}
        self._learned: dict[str, Reading] = {}

    def _index(self, phrasings: Sequence[tuple[str, int]]) -> None:
        """Weigh words by how many meanings they occur in, and note which phrasings they occur in."""
        self._sorted: dict[tuple[str, ...], int] = {}
        ambiguous = set()
        self._bags: list[tuple[frozenset[str], int]] = []
        meanings: dict[str, set[int]] = {}
        for phrasing, yes in phrasings:
            found = tuple(self._words.tokens(plain(phrasing)))
            if found and self._sorted.setdefault(found, yes) != yes:
                ambiguous.add(found)
            self._bags.append((frozenset(found), yes))
            for token in found:
                meanings.setdefault(token, set()).add(yes)
        for found in ambiguous:
            del self._sorted[found]
        total = len({yes for _, yes in phrasings})
        self._weights = {token: math.log(total / len(sets)) for token, sets in meanings.items()}
        self._unknown = 0.75 * math.log(total)
        self._norms = [math.sqrt(sum(self._weights[token] ** 2 for token in sorted(bag))) for bag, _ in self._bags]
        self._where: dict[str, list[int]] = {}
        for number, (bag, _) in enumerate(self._bags):
            for token in sorted(bag):
                self._where.setdefault(token, []).append(number)

    def learn(self, text: str, reading: Reading) -> None:
        """Note what a question means, to answer it without reading it."""
        self._learned[text] = reading

    def read(self, text: str) -> Reading | None:
        """Return what a question means, None where it is not understood."""
        if text in self._learned:
            return self._learned[text]
        if len(text) > MAX_LETTERS:
            return None
        if text in self._read:
            return self._read[text]
        if len(self._read) > MAX_CACHED:
            self._read.clear()
        reading = self._read[text] = self._understand(plain(text))
        return reading

    def _understand(self, text: str) -> Reading | None:
        if text.strip("?!. ") in self._exact:
            return Reading(self._exact[text.strip("?!. ")])
        question = self._question(text)
        if not question or question.count(" ") >= MAX_WORDS:
            return None
        positive, opposite = _positive(question)
        reading = self._any(positive) if positive else None
        if reading is None or not opposite:
            return reading
        return Reading(self._everything & ~reading.yes)

    def _question(self, text: str) -> str:
        """Return the one question in a text, without what is said around it; empty if there is none or several."""
        text = " ".join(re.sub(r"[a-z]+", lambda word: self._spelling.correct(word.group()), text).split())
        parts = [part.strip(" ,") for part in SENTENCES.split(text)]
        parts = [part for part in (_without_asides(part) for part in parts) if part]
        asked = [part for part in parts if OPENING.match(part)]
        if len(asked) > 1 or not parts:
            return ""
        return TAG.sub("", _one_clause(asked[0] if asked else parts[-1])).strip(" ,")

    def _any(self, question: str) -> Reading | None:
        found = self._plainly(question)
        if found is not None:
            return found
        if JOINTS.search(question):
            return self._compound(question) or self._alike(question, self.strict)
        return self._alike(question, self.threshold) or self._narrowed(question)

    def _narrowed(self, question: str) -> Reading | None:
        """Read `an animal that flies`, `a thing with wheels`, `a tool used for cutting`: both must be true."""
        match = NARROWED.match(question)
        if match:
            first, link, rest = match.groups()
            second = f"is it {link} {rest}" if link not in LINKS else f"{LINKS[link]} {rest}"
            return self._both(first, second.replace("it you ", "you ").replace("it it ", "it "))
        match = ADJECTIVE.match(question)
        if match and match.group(2) not in RELATIVE:
            head, adjective, noun = match.groups()
            if noun in self._guesses or self._guesses.get(adjective) is not None:
                return None
            return self._both(f"is it {adjective}", f"{head}{noun}")
        return None

    def _both(self, first: str, second: str) -> Reading | None:
        parts = [self._plainly(part) or self._alike(part, self.strict) for part in (first, second)]
        if parts[0] is None or parts[1] is None:
            return None
        return Reading(parts[0].yes & parts[1].yes)

    def _plainly(self, question: str) -> Reading | None:
        """Read a guess, a known phrasing or, in a question of one part, a comparison."""
        if question in self._exact:
            return Reading(self._exact[question])
        guess = self._guess(question)
        if guess is not None:
            return guess
        compared = None if JOINTS.search(question) else self._comparison(question)
        if compared is not None:
            return Reading(compared)
        found = tuple(self._words.tokens(question))
        return Reading(self._sorted[found]) if found in self._sorted else None

    def _guess(self, question: str) -> Reading | None:
        match = GUESS.match(question)
        if not match or match.group(2) not in self._guesses:
            return None
        name, index = match.group(2), self._guesses[match.group(2)]
        if not match.group(1) and f"is it {name}" in self._exact:
            return None  # `Is it orange?` asks for the colour; `Orange?` might be either.
        return Reading(1 << index, index) if index >= 0 else Reading(0)

    def _comparison(self, question: str) -> int | None:
        question = MORE_ADJECTIVE.sub(_one_word, question)
        question = OTHER_SIDE.sub(lambda match: f"is it {_turned(match.group(2))} than {match.group(1)}", question)
        for pattern, read in self._COMPARISONS:
            match = pattern.search(question)
            if match:
                return read(self, match)
        return None

    def _by_size(self, match: re.Match[str]) -> int | None:
        measure, sign = MORE[match.group(1)]
        return self._side(sign > 0, self._compare(measure, _bare(match.group(2))))

    def _by_weight(self, match: re.Match[str]) -> int | None:
        more = match.group(1) in ("more", "over", "above", "greater")
        return self._side(more, self._compare("weight", _bare(match.group(2))))

    def _by_price(self, match: re.Match[str]) -> int | None:
        more = match.group(1) in ("more", "over", "above", "at least")
        amount = _number(match.group(2).replace(",", ""))
        return None if amount is None else self._side(more, self._compare("price", str(amount)))

    def _by_room(self, match: re.Match[str]) -> int | None:
        return self._compare("fits", _bare(match.group(1) or match.group(2)))

    def _by_time(self, match: re.Match[str]) -> int | None:
        when, year = match.group(1), _year(_bare(match.group(2)))
        if year is None:
            return None
        begin, end = year
        if when in ("in", "during"):
            return self._during(begin, end)
        if when in ("after", "since"):
            return self._compare("invented", str(end if when == "after" else begin))
        return self._side(False, self._compare("invented", str(begin)))

    def _during(self, begin: int, end: int) -> int | None:
        since, later = self._compare("invented", str(begin)), self._compare("invented", str(end))
        return None if since is None or later is None or begin == end else since & ~later

    def _by_age(self, match: re.Match[str]) -> int | None:
        years = _number(_bare(match.group(1)).split(" ago")[0])
        if years is None:
            words = match.group(1).split()
            years = _number(words[-1]) if words else None
        return None if years is None else self._side(False, self._compare("invented", str(THIS_YEAR - int(years))))

    def _by_letter(self, match: re.Match[str]) -> int | None:
        return sum(1 << index for index, initial in enumerate(self._initials) if initial == match.group(1))

    def _side(self, more: bool, found: int | None) -> int | None:
        return found if more or found is None else self._everything & ~found

    _COMPARISONS = (
        (COMPARED, _by_size),
        (WEIGHS, _by_weight),
        (COSTS, _by_price),
        (AGO, _by_age),
        (WHEN, _by_time),
        (FITS, _by_room),
        (START_LETTER, _by_letter),
    )

    def _compound(self, question: str) -> Reading | None:
        """Read `A or B`, `A and B`: true of the objects for which any is, or all are. It is never a guess."""
        joints = {match.group(1) for match in JOINTS.finditer(question)} - {None}
        if len(joints) != 1:
            return None
        parts = [part.strip() for part in re.split(r",? (?:or|and) |, ", question)]
        if len(parts) > 5 or not all(parts):
            return None
        found = [self._part(part, parts[0]) for part in parts]
        result = 0 if joints == {"or"} else self._everything
        for reading in found:
            if reading is None:
                return None
            result = result | reading.yes if joints == {"or"} else result & reading.yes
        return Reading(result)

    def _part(self, part: str, first: str) -> Reading | None:
        """Read one part of a compound; what it lacks in front is taken from the first part."""
        if part == first or OPENING.match(part):
            return self._plainly(part) or self._alike(part, self.threshold)
        words = first.split()
        candidates = [" ".join([*words[:kept], part]) for kept in range(len(words) - 1, 0, -1)]
        for read in (self._plainly, lambda text: self._alike(text, self.threshold)):
            for candidate in candidates:
                found = read(candidate)
                if found is not None:
                    return found
        return None

    def _alike(self, question: str, threshold: float) -> Reading | None:
        """Return the meaning of the phrasing that is most like the question, if any is like enough and no
        phrasing with another meaning is nearly as like."""
        best = self._ranked(question)
        if not best or best[0][0] < threshold:
            return None
        if len(best) > 1 and best[0][0] - best[1][0] < self.margin:
            return None
        return Reading(best[0][1])

    def _ranked(self, question: str) -> list[tuple[float, int]]:
        """Return the likeness (cosine of weighted words) of the question to the two meanings it is most like."""
        asked = sorted(set(self._words.tokens(question)))
        norm = math.sqrt(sum(self._weights.get(token, self._unknown) ** 2 for token in asked))
        known = [(token, self._weights[token]) for token in asked if token in self._weights]
        total = sum(self._weights.get(token, self._unknown) for token in asked)
        products: dict[int, float] = {}
        for token in asked:
            weight = self._weights.get(token, 0.0) ** 2
            for number in self._where.get(token, ()):
                products[number] = products.get(number, 0.0) + weight
        meanings: dict[int, float] = {}
        for number, product in products.items():
            likeness = product / (norm * self._norms[number]) if product else 0.0
            # A word that means something elsewhere in the table and nothing here changes the question.
            elsewhere = sum(weight for token, weight in known if token not in self._bags[number][0])
            likeness *= 1 - min(1.0, elsewhere / total) / 2
            yes = self._bags[number][1]
            meanings[yes] = max(meanings.get(yes, 0.0), likeness)
        return sorted(((likeness, yes) for yes, likeness in meanings.items()), reverse=True)[:2]


def _names(source: Source) -> Iterator[tuple[str, int]]:
    """Yield all ways to name an object in a guess with its index, and things that are no object with -1."""
    for foil in source.foils:
        yield foil, -1
        yield _plural(foil), -1
    for index, names in enumerate(source.names):
        for name in names:
            name = plain(name).replace("  ", " ")
            yield _plural(name), index
            yield name, index


def _plural(name: str) -> str:
    """Return a plural, right for all names of the game that have one.

    >>> [_plural(name) for name in ("box", "cherry", "knife", "toy", "socks")]
    ['boxes', 'cherries', 'knives', 'toys', 'socks']
    """
    if name.endswith(("s", "sheep")) and not name.endswith(("ss", "us", "as")):
        return name
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    if name.endswith("fe"):
        return f"{name[:-2]}ves"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh", "o")) else f"{name}s"


def _positive(question: str) -> tuple[str, bool]:
    """Return the positive of a negative question and whether it asks for the opposite; an empty question where it
    is not plain what No would mean. `Isn't it alive?` asks whether it is alive; `Is it not alive?` may mean either.

    >>> _positive("is not it alive"), _positive("is it something you can not eat"), _positive("is it not alive")
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


def _one_word(match: re.Match[str]) -> str:
    word = COMPARATIVE[match.group(2)]
    return word if match.group(1) == "more" else _turned(word)


def _turned(comparative: str) -> str:
    """Return the comparative of the same measure with the other sign."""
    measure, sign = MORE[comparative]
    return next(word for word, meaning in MORE.items() if meaning == (measure, -sign) or meaning == ("longest", -sign))


def _bare(thing: str) -> str:
    """Return the name of a thing without articles and adjectives that change nothing."""
    words = thing.strip(" ,").split()
    while words and words[0] in (
        "a",
        "an",
        "the",
        "my",
        "your",
        "one",
        "typical",
        "normal",
        "standard",
        "regular",
        "average",
        "year",
        "someone",
        "early",
        "late",
    ):
        del words[0]
    while words and words[-1] in ("is", "s", "do", "does", "size", "easily", "comfortably"):
        del words[-1]
    return " ".join(words)


def _number(text: str) -> float | None:
    """Return the number that is written in figures or words, None where it is none.

    >>> [_number(text) for text in ("250", "two hundred", "a thousand", "ten", "many")]
    [250.0, 200.0, 1000.0, 10.0, None]
    """
    value = 1.0
    words = text.split()
    for word in words:
        if word.isascii() and word.isdigit() and len(word) < 16:
            value *= int(word)
        elif word in NUMBERS:
            value *= NUMBERS[word]
        else:
            return None
    return value if words else None


def _year(text: str) -> tuple[int, int] | None:
    """Return the first and last year of a time: a year, the 1900s, the 20th or the twentieth century."""
    text = re.sub(r"^the ", "", text)
    if re.fullmatch(r"\d{4}", text):
        return int(text), int(text)
    if re.fullmatch(r"\d{4}s", text):
        begin = int(text[:4])
        return begin, begin + (99 if begin % 100 == 0 else 9)
    words = text.split()
    if len(words) >= 2 and words[-1] == "century":
        match = CENTURY.match(text)
        number = int(match.group(1)) if match else NUMBERS.get(words[0] if words[0] != "twenty" else "first", 0)
        if 10 < number < 22:
            return 100 * (number - 1), 100 * number - 1
    return None
