"""Write the three word lists of Wordle from the word frequencies of the package `wordfreq`.

    pip install wordfreq==3.1.1
    python envs/data/make_wordle_words.py

`wordle_accepted.txt`: five-letter words that English uses far more than its neighbours do, which leaves out
most names and foreign words, with RESCUED put back (English words that other languages borrowed) and EXCLUDED
taken out. `wordle_431.txt`: the 431 most frequent of these that are no plural or verb form in -s.
`wordle_20.txt`: MINI, chosen by hand from these. What the rules let through was read word by word; EXCLUDED,
RESCUED, RUDE and NOT_HIDDEN are the outcome of that reading.

Frequencies: Robyn Speer, wordfreq 3.1 (2022), doi:10.5281/zenodo.7199437; its data are CC BY-SA 4.0.
"""

import codecs
import math
import re
import statistics
from pathlib import Path

from wordfreq import get_frequency_dict

HERE = Path(__file__).parent
NUM_BENCHMARK_WORDS = 431
NEIGHBOURS = ("ca", "cs", "de", "es", "fi", "fr", "it", "nb", "nl", "pl", "pt", "sv")
MIN_ZIPF = 2.5  # Zipf scale: the logarithm of occurrences per 10^9 words, to base 10
MIN_LEAD = 1.0  # how much more frequent a word is in English than in the median neighbour, same scale
STEM_MIN_ZIPF = 2.8

# Proper nouns, abbreviations, spellings of speech, misspellings.
EXCLUDED = """
aadmi ababa advil aesop aetna aight ailes allyn altho anzac april arabs arent arjun arsed aryan asian askin asian
awwww aztec bajaj bantu beaut bests bhatt bible birla bitty bloor bogut borer borno brees brits brony burgh cairo
calif celts china cking comey comin conwy corfu crete cryin csiro cuban cuomo cymru czech dalit davao demar devel
dewan dhoni didnt divya djing doesn doggo dunno dutch eatin egypt elses enugu ethno fafsa famer fauci ffxiv flyin
foles gcses geeta geico ghent gimme gitmo givin glebe gonna gotta gough govan gowdy greek greig gronk gunna gwent
hague hasnt hausa havin hayne heres herts hindu hipaa hosea hough howes hoyer hyung ibaka ibrox idgaf illus india
innes innit inthe iraqi irish italy jalen jammu japan jesus jewry judea judeo kadri kaine kawhi keogh kilda kinda
kmart knopf kohli koran kreme kurds lakhs legos leong lewes libya lieut lmfao locum logie lolol lough madhu makin
malay marys meath mecca milne mitts movin msnbc naacp nagar naidu naira nairn nawab nawaz nazis nhtsa noida noone
noooo ofcom ofthe osage otago outta patil patna peake petco pinoy pooja powys probs puget pusha quran rahul rajya
realy ridin rizal rohit rspca rusev saban sabha saheb saith sajid sakho sanfl sangh saudi sayin seein selig seoul
serbs shhhh sikhs sindh sinha slavs smurf smyth socal sodom soooo soyuz spain srsly surah surry syria tajik takin
tebow telus tesco texan thats thicc thurs torah toure tryin tryna tulsi turin uconn uhhhh umass urals uzbek varun
vedas vedic vidya vikas vinod virat vivek vlogs wagga waifu wales wanna wasnt waugh wayyy welsh wests whats whigs
wierd wifes wigan wynne xanax yadav yarra yatra yemen yesss youre youve
"""

# English words that are as frequent elsewhere, so that the comparison of languages takes them for names.
RESCUED = """
abbey adieu admin agent agile alarm album alias alibi alien aloha alpha alter amber angel anime apple arena aroma
arrow atlas audio axiom azure bacon bagel baker baron basal basil baton beach belle berry biker bingo birch bison
black blade blaze blink blitz blogs blond bloom blues bluff bonus booth boxer bravo brook brown buddy buggy bulls
bunny burns cache camel canal candy canon cargo carol cedar champ chaos chase chefs chips circa clash cliff clone
cloud clown codex combo coral coven crack crane creek curly curry cyber daddy dance delta diner disco diver dizzy
dodge dogma dolls donut drama drift droid drone dusty eagle ebony ebook elite email expat extra fauna ferry finch
firth flair flash flick flint flirt flyer folio forum frost fudge funky gamma gates genie ghost goose grace grand
grant grave green grill grove gusto haiku hardy haven hazel heath helix hills hippy hobby holly hotel humor hydro
hyper ideal index indie intro jazzy jeans jelly jewel joker jumbo kappa karma kayak kebab kings kitty koala lager
lance laser latex lemon liars lions lobby locks lodge login logos lotus lumen lupus macro mafia magma mails maker
manga mango mania maple marsh matte media melon memes mercy merry metal meter metro micro mills minus misty mixer
modem moody moose moral motel motor motto mount nanny natal nexus nylon oasis omega opera opium panda panel parry
pasta patio peach peaks pearl pedal penny piano pilot pinky piper pixel pixie pizza plaza poker polar poppy posse
pride prism promo proxy quake quark quasi queen quest rabbi racer radar radio rally ranch raven rebel regal relax
remix reset retro rhino rider ridge riffs rigor rival roach robot rocky rodeo rogue rolls roses rotor rover royal
saber saint salon salsa samba sands sandy satin sauna scout scrum sedan shell skate skins slang slash smart smash
smoky snuff solar sonic spade spawn speck spice spike spore sport spray stark start sting stoke stone stout suede
suite sunny super sushi swift swing tales tango tarot taxis teddy temps tempo tenor thorn tiger timer toast toner
tonic torso total totem tours tower trend troll tulip turbo tweed tweet twist ultra valet valor vegan venom video
vigor villa viper virus vista vodka vogue waltz wells woods woody yacht
"""

# Obscene words and slurs, in rot13 so that nobody has to read them: in neither list.
RUDE = """
nffrf obare obbol obbof obbgl ovgpu ohfgl puvax pbpxf pbbaf phagf qvpxf qlxrf shpxf ubeal cvffl cebhqobl cevpx chorf
encrf encrq encvfg frzra fuvgr fuvgf fxnax fyhgf fcnax fchax gvggl juber cvzcf fhpxf
"""

# Words that people may guess but that are no good to look for: harsh, or too close to a name.
NOT_HIDDEN = "abuse idiot naked saint slave trans toxic wives"

MINI = """
about again bread chair dance early first grand heart house light money never paint quiet river smile table water
young
"""


def words(text: str) -> set[str]:
    """Return the words of one of the lists above."""
    return set(text.split())


def zipf(frequencies: dict[str, float], word: str) -> float:
    """Return a word's frequency on the Zipf scale, 0 where it does not occur."""
    frequency = frequencies.get(word, 0.0)
    return math.log10(frequency) + 9 if frequency else 0.0


def accepted_words(english: dict[str, float]) -> list[str]:
    """Return the accepted words, the most frequent first."""
    neighbours = [get_frequency_dict(language, wordlist="large") for language in NEIGHBOURS]
    taken_out = words(EXCLUDED) | words(codecs.decode(RUDE, "rot13"))
    found = []
    for word in english:
        level = zipf(english, word)
        if not re.fullmatch("[a-z]{5}", word) or level < MIN_ZIPF or word in taken_out:
            continue
        lead = level - statistics.median_high(zipf(neighbour, word) for neighbour in neighbours)
        if lead >= MIN_LEAD or word in words(RESCUED):
            found.append(word)
    missing = words(RESCUED) - set(found)
    if missing:
        raise ValueError(f"not among the frequent English words: {sorted(missing)}")
    return sorted(found, key=lambda word: (-english[word], word))


def ends_in_s(english: dict[str, float], word: str) -> bool:
    """Return whether a word is the plural of a noun or the form of a verb in -s."""
    if not word.endswith("s") or word.endswith("ss"):
        return False
    stems = [word[:-1]]
    if word.endswith("es"):
        stems.append(word[:-2])
    if word.endswith("ies"):
        stems.append(word[:-3] + "y")
    return any(zipf(english, stem) >= STEM_MIN_ZIPF for stem in stems)


def main() -> None:
    """Write the lists, sorted, one word a line."""
    english = get_frequency_dict("en", wordlist="large")
    accepted = accepted_words(english)
    hidden = [word for word in accepted if not ends_in_s(english, word) and word not in words(NOT_HIDDEN)]
    benchmark = hidden[:NUM_BENCHMARK_WORDS]
    if not words(MINI) <= set(benchmark):
        raise ValueError(f"not in the benchmark list: {sorted(words(MINI) - set(benchmark))}")
    lists = {"wordle_431": benchmark, "wordle_20": words(MINI), "wordle_accepted": accepted}
    for name, chosen in lists.items():
        (HERE / f"{name}.txt").write_text("\n".join(sorted(chosen)) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
