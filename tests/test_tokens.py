"""Text becomes tokens once: rows against a slow reference, windows, sampled tokens, batches."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lmgym.agents import load_agent
from lmgym.env import contract, make_env
from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.tokens import ROW_FACTOR, Codec, TokenDataset, View, Window, distinct_rows, encode_episode, repeated
from lmgym.vocabulary import BOUNDARIES, build_tokenizer

TEXTS = ["the goal is at 8, 6.", "walls to your left", "move up", "move down", "", "ok"]


def codec(kind: str = "word") -> Codec:
    return Codec(build_tokenizer(kind, [text + "\n" for text in TEXTS] * 3))


def conversation(lengths: Sequence[tuple[int, int]], *, terminated: bool = True) -> Episode:
    """An episode whose pieces have given numbers of characters; rewards 1, 2, 3, ..."""
    turns: list[Turn] = []
    for number, (seen, said) in enumerate(lengths, start=1):
        turns += [Turn("a" * seen, by_agent=False), Turn("b" * said, by_agent=True, reward=float(number))]
    turns.append(Turn("c", by_agent=False))
    return Episode(tuple(turns), terminated=terminated, truncated=not terminated, env_id="x", seed=0, agent="a")


@pytest.fixture
def letters() -> Codec:
    """One token a character."""
    return Codec(build_tokenizer("char", ["abc\n"]))


@pytest.mark.parametrize("kind", BOUNDARIES)
def test_every_kind_of_tokenizer_gives_the_text_back(kind: str) -> None:
    encoder = codec(kind)
    for text in TEXTS:
        ids = encoder.encode(text)
        assert ids[-1] == encoder.terminator
        assert encoder.terminator not in ids[:-1]
        assert encoder.decode_action(ids) == text
    assert encoder.tokenizer.unk_token_id in encoder.encode("ß")
    assert encoder.stops == {encoder.terminator}
    assert encoder.banned == {encoder.tokenizer.pad_token_id, encoder.tokenizer.unk_token_id}


def test_kinds_differ_in_what_they_merge() -> None:
    lengths = {kind: len(codec(kind).encode("the goal is at 8, 6.")) for kind in BOUNDARIES}
    assert lengths["char"] == 21
    assert lengths["phrase"] < lengths["word"] < lengths["char"]


def pieces(kind: str, texts: list[str], text: str) -> list[str]:
    """What a text is cut into by a tokenizer made of `texts`."""
    tokenizer = build_tokenizer(kind, texts)
    return [tokenizer.decode([index]) for index in tokenizer.encode(text)]


def test_a_number_is_the_same_tokens_wherever_it_stands() -> None:
    said = ["The BMW truck is ${}.", "${}? That is robbery.", "list ${}, cost $7,200"]
    texts = [text.format(f"{number},{number % 10}00") + "\n" for number in range(10, 100) for text in said]

    prices = [pieces("template:400", texts, text.format("33,300")) for text in said]
    assert prices[0] == ["The BMW truck is $", "33", ",300", "."]
    assert all(found[found.index("33") + 1] == ",300" for found in prices)
    assert prices[2][-2:] == ["7", ",200"]
    assert any("33" not in pieces("phrase:400", texts, text.format("33,300")) for text in said)


def test_a_row_of_a_board_is_one_token_in_its_place() -> None:
    boards = [" / ".join(["8"] * rank + ["3 k 4", "5 R 2"] + ["8"] * (6 - rank)) for rank in range(7)]
    texts = [f"{board}   w   -   -   {count}   1 0\n" for board in boards for count in range(9)] + ["R h 7 #\n"] * 3

    for rank, board in enumerate(boards):
        found = pieces("rows", texts, board + "   w   -   -   3   1 0")
        assert [piece.rstrip(" /") for piece in found[:8]] == board.split(" / ")
        assert found[rank : rank + 2] == ["3 k 4 / ", "5 R 2 / " if rank < 6 else "5 R 2"]
        assert found[8:] == ["   w   -   -   ", "3 ", "  ", "1 ", "0"]
    assert pieces("rows", texts, "R h 7 #") == ["R ", "h ", "7 ", "#"]
    assert len(pieces("phrase", texts, boards[3])) < 8


def test_a_kind_may_say_how_many_tokens() -> None:
    texts = [f"the goal is at {number}.\n" for number in range(1000)]
    sizes = {kind: len(build_tokenizer(kind, texts)) for kind in ("phrase", "phrase:512", "phrase:700", "word:40")}
    assert sizes == {"phrase": 512, "phrase:512": 512, "phrase:700": 700, "word:40": 40}


def test_an_unknown_kind_names_the_nearest() -> None:
    for kind in ("phrases", "phrases:600"):
        with pytest.raises(UsageError, match="did you mean 'phrase'"):
            build_tokenizer(kind, [])
    for kind in ("char:600", "phrase:", "phrase:many", "word:-1"):
        with pytest.raises(UsageError, match=f"as in phrase:4096, not '{kind}'"):
            build_tokenizer(kind, [])


def test_a_tokenizer_is_the_same_each_time_and_tells_itself_apart() -> None:
    assert codec("phrase").fingerprint == codec("phrase").fingerprint != codec("word").fingerprint


def slow_rows(episode: Episode, encoder: Codec, view: View) -> list[tuple[list[int], list[int], list[int]]]:
    """The definition, action by action: (context tokens, action tokens, the turns in view)."""
    found = []
    seen, said = episode.observations, episode.actions
    start = 0
    for index in range(len(said)):
        kept = [encoder.encode(turn.text)[-view.max_observation_tokens :] for turn in seen]
        done = [encoder.encode(turn.text)[: view.max_reply_tokens] for turn in said]

        def tokens(first: int, last: int = index, kept: list = kept, done: list = done) -> list[int]:
            pieces = [piece for turn in range(first, last) for piece in (kept[turn], done[turn])]
            return [token for piece in [*pieces, kept[last]] for token in piece]

        def fits(first: int, turns: int | None, room: int, last: int = index, tokens: object = tokens) -> bool:
            few = turns is None or last - first + 1 <= turns
            return few and len(tokens(first)) + view.max_reply_tokens <= room  # type: ignore[operator]

        if not fits(start, view.max_turns, view.max_tokens):
            half = None if view.max_turns is None else (view.max_turns + 1) // 2
            start = next((s for s in range(start, index) if fits(s, half, view.max_tokens // 2)), index)
        found.append((tokens(start), list(done[index]), list(range(start, index + 1))))
    return found


@pytest.mark.parametrize("max_turns", [None, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("max_tokens", [24, 40, 1000])
@pytest.mark.parametrize("terminated", [True, False])
def test_rows_hold_every_action_once_with_its_context(
    letters: Codec, max_turns: int | None, max_tokens: int, terminated: bool
) -> None:
    generator = np.random.default_rng(7)
    lengths = [(int(generator.integers(0, 30)), int(generator.integers(0, 12))) for _ in range(15)]
    episode = conversation(lengths, terminated=terminated)
    view = View(max_turns=max_turns, max_tokens=max_tokens, max_reply_tokens=6)
    rows = encode_episode(episode, letters, view)
    learned = []
    for row in rows:
        assert len(row.ids) <= view.max_tokens
        assert len({len(values) for values in row[:5]}) == 1
        place = 0
        while place < len(row.ids):
            if row.action_mask[place]:
                end = place
                while end < len(row.ids) and row.action_mask[end]:
                    end += 1
                learned.append((row.ids[:place], row.ids[place:end]))
                place = end
            place += 1
    assert learned == [(context, action) for context, action, _ in slow_rows(episode, letters, view)]
    rewards = [reward for row in rows for reward in row.rewards if reward]
    assert rewards == [float(number) for number in range(1, 16)]
    ends = [flag for row in rows for flag in row.not_done if not flag]
    assert len(ends) == (1 if terminated else 0)
    assert [row.continues for row in rows] == [True] * (len(rows) - 1) + [False]


def test_the_reward_and_the_end_stand_at_the_terminator(letters: Codec) -> None:
    (row,) = encode_episode(conversation([(1, 2)]), letters, View(None, 100, 10))
    assert row.action_mask == [False, False, True, True, True]
    assert row.ids[-1] == letters.terminator
    assert row.rewards == [0, 0, 0, 0, 1.0]
    assert row.not_done == [True, True, True, True, False]


def test_the_state_after_a_truncated_episode_is_kept(letters: Codec) -> None:
    whole = encode_episode(conversation([(1, 1)], terminated=False), letters, View(None, 100, 10))
    assert len(whole) == 1
    assert letters.tokenizer.decode(whole[0].ids) == "a\nb\nc\n"
    steps = encode_episode(conversation([(1, 1)], terminated=False), letters, View(1, 100, 10))
    assert [letters.tokenizer.decode(row.ids) for row in steps] == ["a\nb\n", "c\n"]
    assert not any(steps[1].action_mask)
    assert steps[0].continues


def test_play_and_training_ask_the_same_window() -> None:
    view = View(max_turns=4, max_tokens=100, max_reply_tokens=5)
    window, starts = Window(view), []
    for _ in range(12):
        starts.append(window.observe(4))
        window.act(2)
    assert starts == [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9]


@pytest.mark.parametrize(("history", "turns"), [(None, None), (1, 1), (2, 1), (3, 2), (40, 20), (41, 21)])
def test_a_history_of_pieces_is_whole_turns(history: int | None, turns: int | None) -> None:
    assert View.of(history, 10, 1000).max_turns == turns


def test_sampled_tokens_survive_untouched() -> None:
    """A spelling that encoding would never choose stays as it was sampled, with its log-probabilities."""
    encoder = codec("phrase")
    spelled = [encoder.tokenizer.encode(letter)[0] for letter in "ok"]
    assert tuple(spelled) != encoder.encode("ok")[:-1]
    turn = Turn("ok", by_agent=True, reward=1.0, token_ids=(*spelled, encoder.terminator), logprobs=(-1.0, -2.0, -3.0))
    base = Episode((Turn("move up", by_agent=False), turn), True, False, "x", 0, "a", tokenizer=encoder.fingerprint)
    (row,) = encode_episode(base, encoder, View(None, 100, 10))
    assert row.ids[-3:] == [*spelled, encoder.terminator]
    assert row.logprobs[-3:] == [-1.0, -2.0, -3.0]
    foreign = Episode(base.turns, True, False, "x", 0, "a", tokenizer="another")
    (row,) = encode_episode(foreign, encoder, View(None, 100, 10))
    assert row.ids[-2:] == list(encoder.encode("ok"))


@pytest.mark.parametrize("env_id", ["lmgym/FOMaze-v0", "lmgym/POMaze-v0"])
def test_a_batch_is_its_rows_filled_on_the_right(env_id: str) -> None:
    episodes = list(collect(load_agent("behaviour", env_id), env_id, episodes=4))
    encoder = Codec(build_tokenizer("phrase", [turn.text + "\n" for e in episodes for turn in e.turns]))
    rules = contract(make_env(env_id))
    view = View.of(rules.history, rules.max_reply_chars, 1024)
    rows = [row for episode in episodes for row in encode_episode(episode, encoder, view)]
    data = TokenDataset(episodes, encoder, view)
    assert len(data) == len(rows)
    chosen = [0, len(rows) - 1, 1, 2]
    batch = data.batch(chosen)
    for place, index in enumerate(chosen):
        length = len(rows[index].ids)
        assert batch.attention_mask[place].sum() == length
        for name in ("ids", "action_mask", "rewards", "not_done", "logprobs"):
            assert getattr(batch, name)[place, :length].tolist() == pytest.approx(getattr(rows[index], name))
            filling = getattr(batch, name)[place, length:]
            assert name in ("ids", "not_done") or not filling.any()
            assert name != "not_done" or filling.all()
    assert batch.num_actions == sum(sum(rows[index].action_mask) for index in chosen)
    for place, index in enumerate(chosen):
        following = rows[index + 1] if rows[index].continues else None
        length = 0 if following is None else [*following.action_mask, True].index(True)
        assert batch.next_lengths[place] == length
        assert batch.next_ids[place, :length].tolist() == (following.ids[:length] if following else [])
    assert torch.equal(batch.part(slice(1, 3)).ids, batch.ids[1:3])
    assert batch.part(slice(1, 3)).num_actions == batch.num_actions
    with_actions = [index for index, row in enumerate(rows) if any(row.action_mask)]
    assert data.rows_with_actions().tolist() == with_actions


def test_rows_that_differ_and_which_of_them_each_row_is() -> None:
    rows = torch.randint(3, (200, 4), generator=torch.Generator().manual_seed(0))
    first, where = distinct_rows(rows)
    texts = [tuple(row) for row in rows.tolist()]
    assert sorted(first.tolist()) == sorted({text: texts.index(text) for text in texts}.values())
    assert len(first) < 81 + 1
    assert [texts[first[place]] for place in where] == texts
    apart, places = distinct_rows(rows[first])
    assert apart.tolist() == places.tolist() == list(range(len(first)))
    assert [len(found) for found in distinct_rows(rows[:0])] == [0, 0]


def test_rows_that_share_a_number_by_chance_are_still_told_apart() -> None:
    """The number of both kinds of rows is the square of the factor."""
    rows = torch.tensor([[ROW_FACTOR, 0], [0, 1], [0, 1]])
    for found in distinct_rows(rows):
        assert found.tolist() == [0, 1, 2]


def test_what_differs_in_a_batch_says_all_of_it() -> None:
    encoder = codec("char")
    episodes = [conversation([(1, 2), (2, 1), (1, 2)], terminated=bool(index % 2)) for index in range(6)]
    episodes += [conversation([(2, 2), (1, 2)])]
    data = TokenDataset(episodes, encoder, View(max_turns=1, max_tokens=100, max_reply_tokens=10))
    batch = data.batch(np.arange(len(data)))
    seen = batch.distinct()
    texts = {
        (tuple(ids), tuple(mask)) for ids, mask in zip(batch.ids.tolist(), batch.action_mask.tolist(), strict=True)
    }
    assert len(seen.batch.ids) == len(texts) < len(batch.ids)
    assert torch.equal(seen.batch.ids[seen.rows], batch.ids)
    assert torch.equal(seen.batch.action_mask[seen.rows], batch.action_mask)
    # Which action token of the distinct rows each one is: by row and place.
    numbers = {tuple(place): number for number, place in enumerate(seen.batch.action_mask.nonzero().tolist())}
    expected = [numbers[int(seen.rows[row]), place] for row, place in batch.action_mask.nonzero().tolist()]
    assert seen.actions.tolist() == expected
    assert seen.batch.num_actions == batch.num_actions


def test_rows_of_which_other_tokens_are_learned_differ() -> None:
    data = TokenDataset([conversation([(1, 1)])] * 2, codec("char"), View(1, 100, 10))
    batch = data.batch([0, 1])
    assert len(batch.distinct().batch.ids) == 1
    batch.action_mask[1, -1] = False
    assert len(batch.distinct().batch.ids) == 2


@pytest.mark.parametrize("shape", [(), (3,), (2, 64)])
def test_gradients_of_repeated_values_are_summed_in_one_order(shape: tuple[int, ...]) -> None:
    """With several threads and sizes at which an index would use them."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, *shape, generator=generator, requires_grad=True)
    where = torch.randint(5, (4000,), generator=generator)
    weights = torch.randn(4000, *shape, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    found = []
    for _ in range(5):
        values.grad = None
        taken = repeated(values, where)
        (taken * weights).sum().backward()
        assert values.grad is not None
        found.append(values.grad.clone())
    torch.set_num_threads(threads)
    assert torch.equal(taken, values[where])
    assert all(torch.equal(found[0], other) for other in found)
    expected = torch.stack([weights[where == place].sum(dim=0) for place in range(5)])
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-3)


def test_parts_hold_every_row_once_and_are_no_wider_than_they_must(letters: Codec) -> None:
    shapes = [[(4, 2)] * count for count in (1, 6, 3, 2, 5, 4, 1)]
    data = TokenDataset(map(conversation, shapes), letters, View(None, 200, 20))
    data.columns["place"] = np.arange(len(data.ids), dtype=np.float32)
    whole = data.batch(range(len(data)))
    assert whole.parts(1) == [whole]
    parts = whole.parts(3)
    assert len({part.ids.shape[1] for part in parts}) == 3
    for part in parts:
        assert part.num_actions == whole.num_actions
        assert part.attention_mask.any(dim=0).all()
        for name in ("ids", "action_mask", "rewards", "not_done", "logprobs"):
            assert getattr(part, name).shape == part.attention_mask.shape
    assert sum(len(part.ids) for part in parts) == len(data)
    places = torch.cat([part.columns["place"][part.attention_mask] for part in parts])
    assert places.sort().values.tolist() == list(range(len(data.ids)))
    tokens = torch.cat([part.ids[part.attention_mask] for part in parts])
    assert tokens.tolist() == data.ids[places.long().numpy()].tolist()
