"""Chat models against servers that work, servers that do not, and a local model; never beyond loopback."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmgym import chat, generate
from lmgym.chat import (
    OPENAI_URL,
    CachedChat,
    ChatError,
    ChatSettings,
    Completion,
    DiskCache,
    OpenAIChat,
    Sampling,
    TransformersChat,
    load_chat,
    retry_after,
    split_address,
)
from lmgym.errors import UsageError
from tests.chats import (
    STRICT_TEMPLATE,
    Behaviour,
    Misbehaving,
    build_chat_model,
    hangs,
    hangs_up,
    replies,
    said,
    sends,
    serving,
    stops_halfway,
    transformers_serve,
)

HELLO = [{"role": "system", "content": "The answer is yes."}, {"role": "user", "content": "Is it red?"}]
KEY = "sk-secret-of-the-tests"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("LMGYM_CHAT_", "OPENAI_")):
            monkeypatch.delenv(name)
    # Whoever does not go around it reaches nothing.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, noted instead of waited for."""
    noted: list[float] = []
    monkeypatch.setattr(chat, "time", SimpleNamespace(sleep=noted.append))
    return noted


def client(server: Misbehaving, **settings: Any) -> OpenAIChat:
    return OpenAIChat("small", server.url, ChatSettings(**{"timeout": 5.0, "retries": 2, **settings}))


def cached(server: Misbehaving, folder: Path, **settings: Any) -> CachedChat:
    return CachedChat(client(server, **settings), DiskCache(folder), offline=settings.get("offline", False))


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make calls in threads that start together; exceptions are results."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int) -> None:
        start.wait(10)
        try:
            results[place] = calls[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


BROKEN = sends({"error": {"message": "out of order"}}, 500)
BUSY = sends({"error": {"message": "slow down"}}, 429)


@pytest.mark.parametrize(
    ("behaviours", "text", "requests"),
    [
        ([replies("Yes.")], "Yes.", 1),
        ([BUSY, replies("Yes.")], "Yes.", 2),
        ([BROKEN, BUSY, replies("Yes.")], "Yes.", 3),
        ([sends(b"busy", 503, "text/html"), replies("Yes.")], "Yes.", 2),
        ([hangs_up, replies("Yes.")], "Yes.", 2),
        ([stops_halfway, replies("Yes.")], "Yes.", 2),
        ([sends(b"\x1f\x8bnonsense", Content_Encoding="gzip"), replies("Yes.")], "Yes.", 2),
        ([sends(said("Yes."), kind="text/plain")], "Yes.", 1),
        ([sends({"choices": [{"message": {"content": "Yes."}}]})], "Yes.", 1),
        ([sends(said("lone \ud800"))], "lone �", 1),
        ([sends(said(""))], "", 1),
    ],
)
def test_what_passes_is_tried_again(behaviours: list[Behaviour], text: str, requests: int, waits: list[float]) -> None:
    with serving(*behaviours) as server:
        assert client(server).complete(HELLO, Sampling()).text == text
        assert (len(server.requests), len(waits)) == (requests, requests - 1)


@pytest.mark.parametrize(
    ("behaviour", "reason", "requests"),
    [
        (BUSY, r"status 429: .*slow down.* \(3 attempts\)$", 3),
        (BROKEN, r"status 500: .*out of order.* \(3 attempts\)$", 3),
        (hangs_up, r"no connection: .* \(3 attempts\)$", 3),
        (stops_halfway, r"no connection: .* \(3 attempts\)$", 3),
        (sends({"error": "who are you?"}, 401), r"status 401: .*who are you\?", 1),
        (sends({"error": "what?"}, 400), "status 400", 1),
        (sends({"error": "no such model"}, 404), "status 404: .*no such model", 1),
        (sends({"error": "conflict"}, 409), "status 409", 1),
        (sends({}, 429, Retry_After="3600"), "3600 s of patience", 1),
        (sends(b"<html>\n<p>Welcome"), "the answer is no JSON: '<html> <p>Welcome'", 1),
        (sends(b"<html>", kind="text/html"), "the answer is no JSON", 1),
        (sends(b'{"choices": [{"mess'), "the answer is no JSON", 1),
        (sends(b""), "the answer is no JSON: ''", 1),
        (sends(b"[" * 100_000), "the answer is no JSON", 1),
        (sends(b"\xff\xfe\xfd"), "the answer is no JSON", 1),
        (sends([]), "the answer has no choices", 1),
        (sends({"choices": []}), "the answer has no choices", 1),
        (sends({"choices": None}), "the answer has no choices", 1),
        (sends({"choices": ["a"]}), "the answer has no choices", 1),
        (sends({"error": {"message": "model is loading"}}), "the answer has no choices: .*model is loading", 1),
        (sends(said(None)), "the answer has no text$", 1),
        (sends(said(None, refusal="I would rather not.")), "the answer has no text: I would rather not.", 1),
        (sends({"choices": [{}]}), "the answer has no text", 1),
        (sends({"choices": [{"message": {"content": ["a"]}}]}), "the answer has no text", 1),
        (
            sends({"choices": [{"finish_reason": "length", "message": {"content": ""}}]}),
            "used its 64 tokens before it said anything",
            1,
        ),
    ],
)  # fmt: skip
def test_what_stays_is_one_sentence(behaviour: Behaviour, reason: str, requests: int, waits: list[float]) -> None:
    with serving(behaviour) as server:
        with pytest.raises(ChatError, match=reason) as failed:
            client(server).complete(HELLO, Sampling())
        assert len(server.requests) == requests
    assert str(failed.value).startswith(f"openai:small@{server.url}: ")
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 400


def test_a_server_that_hangs_is_given_up(waits: list[float]) -> None:
    with serving(hangs(5), replies("Yes.")) as server:
        assert client(server, timeout=0.3).complete(HELLO, Sampling()).text == "Yes."
        assert len(server.requests) == 2
    with serving(hangs(5)) as server, pytest.raises(ChatError, match=r"no answer within 0.3 s \(2 attempts\)"):
        client(server, timeout=0.3, retries=1).complete(HELLO, Sampling())


def test_a_server_that_is_not_there(waits: list[float]) -> None:
    with serving(replies("Yes.")) as server:
        pass
    with pytest.raises(ChatError, match=r"no connection: .* \(3 attempts\)"):
        client(server).complete(HELLO, Sampling())
    with pytest.raises(ChatError, match=r"no connection: [^(]*refused[^(]*$"):
        client(server, retries=0).complete(HELLO, Sampling())


def test_pauses_double_with_chance_in_them(waits: list[float]) -> None:
    with serving(BROKEN) as server:
        for _ in range(2):
            with pytest.raises(ChatError, match="8 attempts"):
                client(server, retries=7).complete(HELLO, Sampling())
    first, second = waits[:7], waits[7:]
    for pauses in (first, second):
        for pause, longest in zip(pauses, (0.5, 1, 2, 4, 8, 16, 16), strict=True):
            assert longest / 2 <= pause <= longest
    assert first != second


def test_the_server_says_when_to_come_back(waits: list[float]) -> None:
    with serving(sends({}, 429, Retry_After="7"), sends({}, 503, Retry_After="2"), replies("Yes.")) as server:
        client(server).complete(HELLO, Sampling())
    assert 7.25 <= waits[0] <= 7.5
    assert 2.5 <= waits[1] <= 3.0


def test_dates_and_nonsense_in_retry_after() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after({"retry-after": soon}) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(days=1))
    for nonsense in (past, "-1", "nan", "inf", "9" * 400, "x" * 10_000, "Wed, 99 Foo", ""):
        assert retry_after({"retry-after": nonsense}) == 0
    assert retry_after({}) == 0


def test_no_pause_draws_from_the_global_generator(waits: list[float]) -> None:
    import random

    before = random.getstate()
    with serving(BROKEN, BROKEN, replies("Yes.")) as server:
        client(server).complete(HELLO, Sampling())
    assert random.getstate() == before


def test_what_is_sent() -> None:
    with serving(replies("Yes.")) as server:
        model = client(server)
        model.complete(HELLO, Sampling(max_tokens=5))
        model.complete(HELLO, Sampling(temperature=0.7, seed=1 << 62))
        model.complete(HELLO, Sampling(temperature=0.7, seed=3))
        model.complete(HELLO, Sampling(temperature=None))
        model.complete([{"role": "user", "content": "a\ud800\x00b"}], Sampling())
    greedy, warm, other, default, odd = server.requests
    path = "/v1/chat/completions"
    expected = {"path": path, "model": "small", "messages": HELLO, "max_tokens": 5, "temperature": 0}
    assert greedy == expected
    assert warm["temperature"] == 0.7
    assert 0 <= warm["seed"] < 1 << 31
    assert warm["seed"] != other["seed"]
    assert "temperature" not in default
    assert odd["messages"][0]["content"] == "a�\x00b"
    assert server.headers[0]["authorization"] == "Bearer none"
    body = OpenAIChat("m", OPENAI_URL, ChatSettings(offline=True)).request(HELLO, Sampling(9))["body"]
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)


def test_tokens_and_cost() -> None:
    with serving(replies("Yes.")) as server:
        answer = client(server, prices=(2.0, 10.0)).complete(HELLO, Sampling())
    assert answer[:3] == ("Yes.", 30, 4)
    assert answer.cost == pytest.approx(100e-6)  # 30 tokens at 2 and 4 at 10, a million
    assert not answer.cached


def test_the_key_is_sent_and_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    def echo(handler: Any, body: dict[str, Any]) -> None:
        sends({"error": f"bad key {handler.headers['authorization']}"}, 401)(handler, body)

    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path))
    with serving(replies("Yes."), echo) as server:
        model = load_chat(f"openai:small@{server.url}")
        model.complete(HELLO, Sampling())
        with pytest.raises(ChatError, match=r"bad key Bearer \[key\]") as failed:
            model.complete(HELLO, Sampling(max_tokens=9))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert not any(KEY in path.read_text() for path in files)
    assert KEY not in str(failed.value)
    assert KEY not in repr(ChatSettings.from_environment())


def test_calls_at_a_time_are_limited() -> None:
    pair = threading.Barrier(2)
    running, peak, lock = 0, 0, threading.Lock()

    def count(handler: Any, body: dict[str, Any]) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        pair.wait(10)  # nobody is served alone
        with lock:
            running -= 1
        replies("Yes.")(handler, body)

    with serving(count) as server:
        model = client(server, concurrency=2)
        answers = at_once([partial(model.complete, HELLO, Sampling(size)) for size in range(1, 13)])
        assert [answer.text for answer in answers] == ["Yes."] * 12
        assert len(server.requests) == 12
    assert peak == 2


def test_a_repeated_run_asks_nobody(tmp_path: Path, waits: list[float]) -> None:
    with serving(replies("Yes."), replies("No.")) as server:
        first = cached(server, tmp_path, prices=(1.0, 1.0)).complete(HELLO, Sampling())
        assert (first.text, first.cached) == ("Yes.", False)
        assert first.cost == pytest.approx(34e-6)
        again = cached(server, tmp_path, prices=(1.0, 1.0)).complete(HELLO, Sampling())
        assert again == first._replace(cached=True)
        assert len(server.requests) == 1
    assert cached(server, tmp_path).complete(HELLO, Sampling()).text == "Yes."  # the server is down
    with pytest.raises(ChatError, match="no connection"):
        cached(server, tmp_path).complete(HELLO, Sampling(9))
    offline = cached(server, tmp_path, offline=True)
    assert offline.complete(HELLO, Sampling()).text == "Yes."
    waits.clear()
    with pytest.raises(ChatError, match="the cache has no answer, and LMGYM_CHAT_OFFLINE is set"):
        offline.complete(HELLO, Sampling(9))
    assert not waits


def test_what_tells_answers_apart(tmp_path: Path) -> None:
    numbers = iter(range(100))

    def count(handler: Any, body: dict[str, Any]) -> None:
        replies(f"answer {next(numbers)}")(handler, body)

    def ask(server: Misbehaving, name: str = "small", messages: Any = HELLO, **sampling: Any) -> str:
        model = OpenAIChat(name, server.url, ChatSettings())
        return CachedChat(model, DiskCache(tmp_path)).complete(messages, Sampling(**sampling)).text

    with serving(count) as one, serving(count) as other:
        kinds: list[dict[str, Any]] = [
            {},
            {"name": "large"},
            {"messages": HELLO[1:]},
            {"messages": HELLO[::-1]},
            {"max_tokens": 9},
            {"temperature": None},
            {"temperature": 1.0},
            {"temperature": 1.0, "seed": 1},
        ]
        texts = [ask(one, **kind) for kind in kinds] + [ask(other)]
        assert len(set(texts)) == len(texts)
        assert [ask(one, **kind) for kind in kinds] + [ask(other)] == texts
        assert ask(one, seed=7) == texts[0]  # a seed decides nothing at temperature 0
        assert ask(one, messages=[dict(reversed(message.items())) for message in HELLO]) == texts[0]


@pytest.mark.parametrize(
    "damage", [b"", b'{"text": "Ye', b"\xff\xfe", b"[]", b"null", b'{"text": 3, "prompt_tokens": 1}', b"[" * 100_000,
               b'{"text": 3, "prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0}'],
)  # fmt: skip
def test_a_damaged_entry_is_fetched_again(damage: bytes, tmp_path: Path) -> None:
    with serving(replies("Yes."), replies("Yes again.")) as server:
        cached(server, tmp_path).complete(HELLO, Sampling())
        (entry,) = (path for path in tmp_path.rglob("*") if path.is_file())
        entry.write_bytes(damage)
        assert cached(server, tmp_path).complete(HELLO, Sampling()).text == "Yes again."
        assert cached(server, tmp_path).complete(HELLO, Sampling()).text == "Yes again."
        assert len(server.requests) == 2


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with serving(sends({"choices": []}), replies("Yes.")) as server:
        model = cached(server, tmp_path)
        with pytest.raises(ChatError):
            model.complete(HELLO, Sampling())
        assert model.complete(HELLO, Sampling()).text == "Yes."


def test_a_folder_that_cannot_be_written_to_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(replies("Yes.")) as server:
        model = cached(server, tmp_path / "file")
        with pytest.warns(UserWarning, match="answers are not kept"):
            assert model.complete(HELLO, Sampling()).text == "Yes."
        assert model.complete(HELLO, Sampling()).text == "Yes."  # and no second warning
        assert len(server.requests) == 2


@pytest.mark.parametrize("good", [True, False])
def test_the_same_question_at_the_same_time_is_asked_once(good: bool, tmp_path: Path) -> None:
    asked = threading.Event()

    def slow(handler: Any, body: dict[str, Any]) -> None:
        asked.wait(10)
        (replies("Yes.") if good else sends({"choices": []}))(handler, body)

    with serving(slow) as server:
        model = cached(server, tmp_path, prices=(1.0, 1.0))
        calls = [lambda: model.complete(HELLO, Sampling())] * 8
        threading.Timer(0.5, asked.set).start()
        results = at_once(calls)
        assert len(server.requests) == 1
    if good:
        assert [result.text for result in results] == ["Yes."] * 8
        assert sorted(result.cached for result in results) == [False] + [True] * 7
    else:
        assert all(isinstance(result, ChatError) for result in results)


def test_processes_share_a_cache(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lmgym.chat import Sampling, load_chat\n"
        f"print(load_chat(sys.argv[1]).complete({HELLO!r}, Sampling()))\n"
        "print([name for name in ('torch', 'transformers', 'openai') if name in sys.modules])"
    )
    with serving(replies("Yes.")) as server:
        spec = f"openai:small@{server.url}"

        def run(**environment: str) -> list[str]:
            env = {**os.environ, "LMGYM_CACHE": str(tmp_path), **environment}
            command = [sys.executable, "-c", code, spec]
            return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()

        assert "cached=False" in run()[0]
        assert "cached=True" in run()[0]
    # Offline, neither key nor package is needed.
    answer, modules = run(LMGYM_CHAT_OFFLINE="1")
    assert "text='Yes.'" in answer
    assert modules == "[]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMEOUT", "0"), ("TIMEOUT", "-1"), ("TIMEOUT", "soon"), ("TIMEOUT", "nan"), ("RETRIES", "-1"),
        ("RETRIES", "1.5"), ("CONCURRENCY", "0"), ("PRICES", "1"), ("PRICES", "1,x"), ("OFFLINE", "yes"),
    ],
)  # fmt: skip
def test_settings_out_of_place(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LMGYM_CHAT_{name}", value)
    with pytest.raises(UsageError, match=f"LMGYM_CHAT_{name} is .*, not '{value}'"):
        ChatSettings.from_environment()


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path))
    assert ChatSettings.from_environment() == ChatSettings(cache=tmp_path / "chat")
    given = {"TIMEOUT": "2.5", "RETRIES": "0", "CONCURRENCY": "3", "PRICES": "0.15,.6", "OFFLINE": "1", "DOWNLOAD": "1"}
    for name, value in given.items():
        monkeypatch.setenv(f"LMGYM_CHAT_{name}", value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    expected = ChatSettings(2.5, 0, 3, (0.15, 0.6), True, True, tmp_path / "chat", KEY)
    assert ChatSettings.from_environment() == expected


@pytest.mark.parametrize(
    ("name", "model", "url"),
    [
        ("gpt-4o", "gpt-4o", ""),
        ("my/model@http://127.0.0.1:8000/v1", "my/model", "http://127.0.0.1:8000/v1"),
        ("ft:a@b:c@https://api.example.org/v1/", "ft:a@b:c", "https://api.example.org/v1"),
        ("odd@http@https://x.org", "odd@http", "https://x.org"),
        ("a@http://b@http://[::1]:80/v1", None, "names no model"),
        ("llama3:8b", "llama3:8b", ""),
        ("me@home", "me@home", ""),
        ("@http://x.org/v1", None, "names no model"),
        ("m@ftp://x.org", None, "names no model"),
        ("m@http://", None, "is no address"),
        ("m@http://x:99999/v1", None, "is no address"),
        ("m@http://me:secret@x.org/v1", None, "neither name, password nor query"),
        ("m@http://x.org/v1?key=secret", None, "neither name, password nor query"),
    ],
)
def test_addresses(name: str, model: str | None, url: str) -> None:
    if model is None:
        with pytest.raises(UsageError, match=url) as failed:
            split_address(name)
        assert "secret" not in str(failed.value)
    else:
        assert split_address(name) == (model, url)


def test_mistakes_are_said_when_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("openai:", "hf:", "gpt-4o", ""):
        with pytest.raises(UsageError, match="unknown model"):
            load_chat(spec)
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        load_chat("openai:small")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1/")
    assert load_chat("openai:small").name == "openai:small@http://127.0.0.1:1/v1"
    assert load_chat("openai:small") is load_chat("openai:small")
    monkeypatch.setenv("OPENAI_API_KEY", "ключ")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds characters"):
        load_chat("openai:small")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UsageError, match=r"needs the package openai \(pip install lmgym\[openai\]\)"):
        load_chat("openai:another")


# A local model.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_chat_model(tmp_path_factory.mktemp("chat-model"))


QUESTIONS = ["Is it red?", "a", "Is it larger than a shoebox, or heavier?", "Hm", "xyz " * 12, "Who are you?"]


def asked(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "It is a cat."}, {"role": "user", "content": question}]


def test_a_local_model_says_what_transformers_generates(folder: Path) -> None:
    model = TransformersChat(str(folder), window=0.0)
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    lengths = set()
    for question in QUESTIONS:
        prompt = f"<system>It is a cat.</s><user>{question}</s><assistant>"
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            generated = lm.generate(ids, max_new_tokens=20, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
        answer = model.complete(asked(question), Sampling(20))
        expected = tokenizer.decode(generated, skip_special_tokens=True)
        assert answer == Completion(expected, ids.shape[1], len(generated))
        lengths.add(len(generated))
    assert len(lengths) > 1  # some stop by themselves


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_threads_are_answered_in_one_batch_as_if_alone(
    temperature: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    whole = generate.generate

    def noted(lm: Any, contexts: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(contexts))
        return whole(lm, contexts, *args, **kwargs)

    monkeypatch.setattr(generate, "generate", noted)
    settings = [Sampling(8, temperature, 1), Sampling(11, temperature, 2)]
    requests = [(asked(question), sampling) for question in QUESTIONS for sampling in settings]
    alone = [TransformersChat(str(folder), window=0.0).complete(*request) for request in requests]
    assert sizes == [1] * len(requests)
    sizes.clear()
    together = TransformersChat(str(folder), window=0.5)
    assert at_once([partial(together.complete, *request) for request in requests]) == alone
    assert sum(sizes) == len(requests)
    assert max(sizes) >= len(requests) // 2
    if temperature:
        assert len({answer.text for answer in alone}) > len(requests) // 2


def test_places_in_a_batch_are_counted_from_the_first_word(tmp_path: Path) -> None:
    """Where positions are learned one by one, filling on the left must not move them."""
    folder = str(build_chat_model(tmp_path, absolute_positions=True))
    alone = [TransformersChat(folder, window=0.0).complete(asked(question), Sampling(9)) for question in QUESTIONS]
    together = TransformersChat(folder, window=0.5)
    assert at_once([partial(together.complete, asked(question), Sampling(9)) for question in QUESTIONS]) == alone


def test_batches_have_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_BATCH", 2)
    model = TransformersChat(str(folder), window=0.2)
    answers = at_once([partial(model.complete, asked(question), Sampling(3)) for question in QUESTIONS])
    assert [answer.prompt_tokens for answer in answers] == [
        len(f"<system>It is a cat.<user>{question}<assistant>") + 2 for question in QUESTIONS
    ]


def test_seeds_matter_where_chance_does(folder: Path) -> None:
    model = TransformersChat(str(folder), window=0.0)

    def texts(temperature: float | None) -> list[str]:
        return [model.complete(asked("Hm"), Sampling(12, temperature, seed)).text for seed in range(6)]

    assert len(set(texts(0.0))) == 1
    assert len(set(texts(1.0))) > 3
    assert texts(1.0) == texts(1.0)
    assert len(set(texts(None))) > 3


def test_embeddings_without_a_token_are_never_said(tmp_path: Path) -> None:
    model = TransformersChat(str(build_chat_model(tmp_path, spare=300)), window=0.0)
    answers = [model.complete(asked("Hm"), Sampling(20, 1.0, seed)) for seed in range(20)]
    # Every token but the three special ones is a character; three embeddings in four have no token.
    tokens = sum(answer.completion_tokens for answer in answers)
    assert sum(len(answer.text) for answer in answers) > 0.8 * tokens


def test_a_local_model_fails_in_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransformersChat(str(folder), window=0.0)
    with pytest.raises(ChatError, match=r"\d+ tokens of conversation and 64 of answer are more than the 256"):
        model.complete(asked("x" * 250), Sampling())
    odd = model.complete([{"role": "user", "content": "a\ud800\x00 ☃"}], Sampling(2))
    assert odd.completion_tokens > 0

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setattr(generate, "generate", broken)
        results = at_once([lambda: model.complete(asked("Hm"), Sampling())] * 3)
        assert [str(result) for result in results] == [f"{model.name}: RuntimeError: out of memory"] * 3
    assert model.complete(asked("Hm"), Sampling(2)).completion_tokens > 0


def test_models_that_cannot_chat_are_refused(tmp_path: Path) -> None:
    bare = build_chat_model(tmp_path / "bare", template=None)
    with pytest.raises(UsageError, match="has no chat template"):
        TransformersChat(str(bare))
    with pytest.raises(UsageError, match=r"cannot load .*nothing is downloaded unless asked: LMGYM_CHAT_DOWNLOAD=1"):
        load_chat("hf:nobody/nothing")


def test_a_template_without_system_messages(folder: Path, tmp_path: Path) -> None:
    strict = TransformersChat(str(build_chat_model(tmp_path, STRICT_TEMPLATE)), window=0.0)
    plain = TransformersChat(str(folder), window=0.0)
    told = [{"role": "user", "content": "It is a cat.\n\nHm"}]
    assert strict.complete(asked("Hm"), Sampling(9)) == plain.complete(told, Sampling(9))
    opening = [{"role": "system", "content": "Begin."}, {"role": "assistant", "content": "Hello."}]
    told = [{"role": "user", "content": "Begin."}, opening[1]]
    assert strict.complete(opening, Sampling(9)) == plain.complete(told, Sampling(9))
    hopeless = TransformersChat(
        str(build_chat_model(tmp_path / "hopeless", "{{ raise_exception('not\ntoday') }}")), window=0.0
    )
    with pytest.raises(ChatError, match="its chat template refuses this: not today"):
        hopeless.complete(asked("Hm"), Sampling())


# A real server.


@pytest.fixture(scope="module")
def real_server(folder: Path) -> Iterator[str]:
    """`transformers serve` with the tiny model."""
    with transformers_serve(folder) as url:
        yield url


@pytest.mark.slow
def test_a_real_server(real_server: str, folder: Path, tmp_path: Path) -> None:
    """What it answers greedily is what the model says here; and all of it is met again without it."""
    model = OpenAIChat(str(folder), real_server, ChatSettings())
    here = TransformersChat(str(folder), window=0.0)
    remembering = CachedChat(model, DiskCache(tmp_path))
    answers = at_once([partial(remembering.complete, asked(question), Sampling(20)) for question in QUESTIONS])
    assert [answer.text for answer in answers] == [here.complete(asked(q), Sampling(20)).text for q in QUESTIONS]
    assert all(answer.prompt_tokens > 20 and answer.completion_tokens > 0 for answer in answers)
    warm = [model.complete(asked("Hm"), Sampling(12, 1.0, seed)).text for seed in (1, 1, 2, 3, 4)]
    assert warm[0] == warm[1]
    assert len(set(warm)) > 2
    with pytest.raises(ChatError, match=r"^openai:no-such-model@.*: status 4\d\d: "):
        OpenAIChat("no-such-model", real_server, ChatSettings()).complete(HELLO, Sampling())
    offline = CachedChat(OpenAIChat(str(folder), real_server, ChatSettings(offline=True)), DiskCache(tmp_path))
    again = [offline.complete(asked(question), Sampling(20)) for question in QUESTIONS]
    assert again == [answer._replace(cached=True) for answer in answers]
