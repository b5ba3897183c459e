"""Chat models: a hosted or a local language model that goes on with a conversation.

`openai:MODEL[@BASE_URL]` asks a server that speaks OpenAI's protocol, `hf:MODEL` computes with a local transformers
model. Both may be asked by many threads at once. Packages are imported when a model is loaded, not before.
"""

import hashlib
import json
import math
import os
import re
import threading
import time
import urllib.parse
import warnings
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lmgym.episode import storable
from lmgym.errors import UsageError, require_address, unknown
from lmgym.files import cache_folder, replacing

Message = Mapping[str, str]
"""One message of a chat: `role` (system, user, assistant) and `content`."""

OPENAI_URL = "https://api.openai.com/v1"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 16.0
LONGEST_RETRY_AFTER = 120.0
BATCH_WINDOW = 0.01
MAX_BATCH = 64


class ChatError(Exception):
    """A model gave no answer; the message says in one sentence why."""


class Sampling(NamedTuple):
    """How an answer is chosen. `temperature`: 0 takes the most likely token, None leaves it to the model's own
    default; `seed` is without effect at temperature 0."""

    max_tokens: int = 64
    temperature: float | None = 0.0
    seed: int = 0


class Completion(NamedTuple):
    """An answer and what it cost when it was computed, in the currency of the prices that were given.

    `cached`: it was computed before, so that nothing was paid this time. The other figures do not depend on that,
    which makes a game that is played again the same to the last entry of its info.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cached: bool = False


@dataclass
class Bill:
    """What a model has cost in one game; the cache makes no difference to it."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def add(self, answer: Completion) -> None:
        """Count one more answer."""
        self.calls += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.cost += answer.cost

    def info(self, who: str = "oracle") -> dict[str, Any]:
        """Return the entries `WHO_calls`, `WHO_prompt_tokens`, `WHO_completion_tokens`, `WHO_cost`."""
        return {f"{who}_{name}": value for name, value in vars(self).items()}


class ChatModel(Protocol):
    """Goes on with a conversation; may be asked by many threads at once."""

    name: str

    def request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return, as JSON, everything that the answer depends on."""

    def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the next message of the assistant. Raises ChatError where none is to be had."""


@dataclass(frozen=True)
class ChatSettings:
    """How servers and models are used. None of it changes an answer, except that there may be none."""

    timeout: float = 60.0
    """Seconds that a server may stay silent."""
    retries: int = 5
    """How often a call is repeated that failed for a reason that may pass."""
    concurrency: int = 8
    """Calls to a server at a time."""
    prices: tuple[float, float] = (0.0, 0.0)
    """Price of a million tokens of prompt and of answer."""
    offline: bool = False
    """Whether answers come from the cache alone."""
    download: bool = False
    """Whether a local model may be fetched from the network."""
    cache: Path = field(default_factory=lambda: cache_folder() / "chat")
    """Folder of the cache."""
    key: str = field(default="", repr=False)
    """Secret of the server. It is never written anywhere."""

    @classmethod
    def from_environment(cls) -> "ChatSettings":
        """Read LMGYM_CHAT_TIMEOUT, _RETRIES, _CONCURRENCY, _PRICES (two numbers, with a comma), _OFFLINE and
        _DOWNLOAD (1 or 0), LMGYM_CACHE and OPENAI_API_KEY. Raises UsageError for a value out of place."""
        prices = _from_environment("PRICES", r"[\d.]+,[\d.]+", "two numbers such as 0.15,0.6", "0,0").split(",")
        return cls(
            timeout=float(_from_environment("TIMEOUT", r"\d*[1-9]\d*(\.\d+)?|0?\.\d*[1-9]\d*", "seconds", "60")),
            retries=int(_from_environment("RETRIES", r"\d{1,3}", "a number from 0 up", "5")),
            concurrency=int(_from_environment("CONCURRENCY", r"[1-9]\d{0,3}", "a number from 1 up", "8")),
            prices=(float(prices[0]), float(prices[1])),
            offline=_from_environment("OFFLINE", "[01]", "1 or 0", "0") == "1",
            download=_from_environment("DOWNLOAD", "[01]", "1 or 0", "0") == "1",
            key=os.environ.get("OPENAI_API_KEY", "").strip(),
        )


def _from_environment(name: str, pattern: str, meaning: str, default: str) -> str:
    value = os.environ.get(f"LMGYM_CHAT_{name}", "").strip() or default
    if not re.fullmatch(pattern, value, re.ASCII):
        raise UsageError(f"LMGYM_CHAT_{name} is {meaning}, not {value!r}")
    return value


_loading = threading.Lock()


def load_chat(spec: str, *, concurrency: int | None = None, plain: bool = False) -> ChatModel:
    """Return the model of `openai:MODEL[@BASE_URL]` or `hf:MODEL`, one object for all who ask in this process.

    `concurrency` is that of the environment if left out; `plain` lets a local model without a chat template read
    plain text, see `TransformersChat`. Raises UsageError for another spec, a missing package or key, or a model that
    cannot be loaded.
    """
    # Two threads must not load a model twice, and a forked process cannot use connections and threads of its parent.
    settings = ChatSettings.from_environment()
    if concurrency is not None:
        settings = replace(settings, concurrency=concurrency)
    with _loading:
        return _loaded(spec, os.environ.get("OPENAI_BASE_URL", ""), settings, os.getpid(), plain)


@lru_cache(4)
def _loaded(spec: str, default_url: str, settings: ChatSettings, process: int, plain: bool) -> ChatModel:  # noqa: ARG001
    kind, _, name = spec.partition(":")
    if kind == "openai" and name:
        model, base_url = split_address(name)
        client = OpenAIChat(model, base_url or default_url.rstrip("/") or OPENAI_URL, settings)
        return CachedChat(client, DiskCache(settings.cache), offline=settings.offline)
    if kind == "hf" and name:
        return TransformersChat(name, download=settings.download, plain=plain)
    raise unknown("model", spec, ("openai:MODEL", "openai:MODEL@BASE_URL", "hf:MODEL"))


def split_address(name: str) -> tuple[str, str]:
    """Split MODEL[@BASE_URL]. Names of models hold colons, slashes and `@`; the last `@http` begins the address.

    >>> split_address("ft:small@2:me/x@http://127.0.0.1:8000/v1")
    ('ft:small@2:me/x', 'http://127.0.0.1:8000/v1')
    >>> split_address("gpt-4o-mini")
    ('gpt-4o-mini', '')
    """
    found = re.fullmatch(r"(?P<model>.*)@(?P<url>https?://.*)", name, re.DOTALL)
    model, url = (found["model"], found["url"]) if found else (name, "")
    if not model or "://" in model:
        raise UsageError(f"openai:{name} names no model; the form is openai:MODEL or openai:MODEL@BASE_URL")
    if url:
        _require_plain(url)
    return model, url.rstrip("/")


def _require_plain(url: str) -> None:
    require_address(url, "http://127.0.0.1:8000/v1", "a key belongs in OPENAI_API_KEY")


def split_temperature(spec: str, default: float | None) -> tuple[str, float | None]:
    """Split ADDRESS[?temperature=T]; T is `default` (None: the model's own) or a number.

    >>> split_temperature("hf:m?temperature=0.7", 0.0), split_temperature("hf:m", 0.0)
    (('hf:m', 0.7), ('hf:m', 0.0))
    """
    address, mark, options = spec.partition("?")
    name, _, value = options.partition("=")
    if not mark:
        return address, default
    if name != "temperature":
        raise unknown("option of a model", name, ("temperature",))
    if value == "default":
        return address, None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(f"a temperature is 0 (the most likely answer) or more, or default, not {value!r} in {spec}")
    return address, number


def spoken(text: str, name: str) -> str:
    """Return an answer without outer space and without what the model thought aloud before it.

    Raises ChatError where it was still thinking.
    """
    words = text.rpartition("</think>")[2]
    if "<think>" in words:
        raise ChatError(f"{name}: the model was still thinking when its answer had to end")
    return words.strip()


def cleaned(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return messages without what cannot be sent: lone surrogates, which players may well type."""
    return [{"role": message["role"], "content": storable(message["content"])} for message in messages]


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class OpenAIChat:
    """A model behind a server that speaks OpenAI's chat protocol.

    A call is repeated on 429, 5xx, timeouts and broken connections, after a pause that doubles each time, with
    chance in it so that many callers do not come back at once, and not before the server's own `Retry-After`.
    Other refusals and answers that make no sense are final. The policy is not left to the openai package because
    that draws its pauses from the generator that the whole process shares, and repeats other refusals, too.
    """

    def __init__(self, model: str, base_url: str, settings: ChatSettings) -> None:
        _require_plain(base_url)
        self.name = f"openai:{model}@{base_url}"
        self._model, self._base_url, self._settings = model, base_url, settings
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self._chance = np.random.default_rng()
        self._client = None
        if not settings.offline:
            self._client = _openai_client(base_url, settings)
            weakref.finalize(self, self._client.close)

    def request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the body of the call and the address it goes to."""
        # OpenAI's newer models refuse the old name, most other servers know no other.
        limit = "max_completion_tokens" if self._base_url == OPENAI_URL else "max_tokens"
        body: dict[str, Any] = {"model": self._model, "messages": cleaned(messages), limit: sampling.max_tokens}
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.temperature != 0:
            # Servers differ in how large a seed they accept.
            body["seed"] = int(digest(sampling.seed)[:8], 16) >> 1
        return {"base_url": self._base_url, "body": body}

    def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Ask the server. Raises ChatError."""
        body = self.request(messages, sampling)["body"]
        try:
            content = self._sent(body)
            completion = _read(content, sampling.max_tokens)
        except ChatError as error:
            raise ChatError(self._told(str(error))) from error
        prices = self._settings.prices
        cost = (completion.prompt_tokens * prices[0] + completion.completion_tokens * prices[1]) / 1e6
        return completion._replace(cost=cost)

    def _sent(self, body: Mapping[str, Any]) -> bytes:
        """Return the content of the server's answer, after as many attempts as it takes."""
        import openai

        if self._client is None:
            raise ChatError("nothing is asked because LMGYM_CHAT_OFFLINE is set")
        attempts = self._settings.retries + 1
        for attempt in range(attempts):
            try:
                with self._slots:
                    answer = self._client.chat.completions.with_raw_response.create(**body)
                return answer.http_response.content
            except openai.APIStatusError as error:
                status, wait = error.status_code, retry_after(error.response.headers)
                reason = f"status {status}: {_line(error.response.text)}"
                if status != 429 and status < 500:
                    raise ChatError(reason) from error
            except openai.APITimeoutError:
                reason, wait = f"no answer within {self._settings.timeout:g} s", 0.0
            except openai.APIConnectionError as error:
                reason, wait = f"no connection: {_line(str(error.__cause__ or error))}", 0.0
            if wait > LONGEST_RETRY_AFTER:
                raise ChatError(f"{reason} (the server asks for {wait:.0f} s of patience)")
            if attempt + 1 < attempts:
                time.sleep(wait + self._pause(attempt))
        raise ChatError(f"{reason} ({attempts} attempts)" if attempts > 1 else reason)

    def _pause(self, attempt: int) -> float:
        return min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * float(self._chance.uniform(0.5, 1.0))

    def _told(self, reason: str) -> str:
        # A server may repeat what it was sent; its words go into records of games.
        key = self._settings.key
        return f"{self.name}: {reason.replace(key, '[key]') if key else reason}"


def _openai_client(base_url: str, settings: ChatSettings) -> Any:
    try:
        import openai
    except ImportError as error:
        raise UsageError("openai: needs the package openai (pip install lmgym[openai])") from error
    host = urllib.parse.urlsplit(base_url).hostname or ""
    if not (settings.key.isascii() and settings.key.isprintable()):
        raise UsageError("OPENAI_API_KEY holds characters that no key has")
    if not settings.key and base_url == OPENAI_URL:
        raise UsageError("OPENAI_API_KEY is not set; a server of your own is named by openai:MODEL@BASE_URL")
    # The environment may send everything through a proxy, which cannot reach this machine's own servers.
    local = host in ("localhost", "::1") or host.startswith("127.")
    return openai.OpenAI(
        api_key=settings.key or "none",
        base_url=base_url,
        timeout=settings.timeout,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False) if local else None,
    )


def retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds a server asks not to be called again; 0 where it does not, or not sensibly.

    >>> retry_after({"retry-after": "2.5"}), retry_after({"retry-after-ms": "40"}), retry_after({"retry-after": "?"})
    (2.5, 0.04, 0.0)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d*)?", value, re.ASCII):
            return float(value) * unit
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _read(content: bytes, max_tokens: int) -> Completion:
    """Read what a server sent. Raises ChatError for whatever is no answer."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ChatError(f"the answer is no JSON: {_line(content.decode('utf-8', 'replace'), 80)!r}") from error
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        reason = "the answer has no choices"
        if isinstance(answer, dict) and answer.get("error"):
            reason += f": {_line(json.dumps(answer['error'], ensure_ascii=False))}"
        raise ChatError(reason)
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        refusal = message.get("refusal") if isinstance(message, dict) else None
        raise ChatError("the answer has no text" + (f": {_line(refusal)}" if isinstance(refusal, str) else ""))
    if not text and choices[0].get("finish_reason") == "length":
        raise ChatError(f"the model used its {max_tokens} tokens before it said anything")
    usage = answer.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, reply = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
    return Completion(storable(text), prompt, reply)


def _line(text: str, length: int = 200) -> str:
    return " ".join(storable(text[: 4 * length]).split())[:length]


KEPT = {"text": str, "prompt_tokens": int, "completion_tokens": int, "cost": float}


class DiskCache:
    """Answers by key, each in a file of its own that is whole or absent, so that processes can share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._warned = False

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Completion | None:
        """Return the answer kept under a key; None where there is none or its file is damaged."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            completion = Completion(**{name: kept[name] for name in KEPT}, cached=True)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        sound = all(isinstance(getattr(completion, name), kind) for name, kind in KEPT.items())
        return completion if sound else None

    def put(self, key: str, completion: Completion) -> None:
        """Keep an answer. A folder that cannot be written to costs calls, nothing else: it is said once."""
        kept = {name: getattr(completion, name) for name in KEPT}
        try:
            with replacing(self._path(key)) as partial:
                partial.write_text(json.dumps(kept), encoding="utf-8")
        except OSError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"answers are not kept, {self._folder} cannot be written to: {error}", stacklevel=2)


class CachedChat:
    """A chat model that answers from a cache what it has answered before.

    Threads that ask the same at the same time get one answer, so that a game that is played again meets the answers
    it met the first time.
    """

    def __init__(self, model: ChatModel, cache: DiskCache, *, offline: bool = False) -> None:
        self.name = model.name
        self._model, self._cache, self._offline = model, cache, offline
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Completion]] = {}

    def request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the request of the model behind."""
        return self._model.request(messages, sampling)

    def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Answer from the cache, else ask the model. Raises ChatError."""
        key = digest(self.request(messages, sampling))
        with self._lock:
            running = self._asked.get(key)
            if running is None:
                future = self._asked[key] = Future()
        if running is not None:
            return running.result()._replace(cached=True)
        try:
            future.set_result(self._found(key, messages, sampling))
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                del self._asked[key]
        return future.result()

    def _found(self, key: str, messages: Sequence[Message], sampling: Sampling) -> Completion:
        known = self._cache.get(key)
        if known is not None:
            return known
        if self._offline:
            raise ChatError(f"{self.name}: the cache has no answer, and LMGYM_CHAT_OFFLINE is set")
        completion = self._model.complete(messages, sampling)
        self._cache.put(key, completion)
        return completion


@dataclass
class _Ticket:
    """A request that waits for its batch."""

    ids: list[int]
    limit: int
    temperature: float
    chance: np.random.Generator
    outcome: Future[tuple[int, ...]] = field(default_factory=Future)


class TransformersChat:
    """A local transformers model with a chat template; or, with `plain`, one without, that reads plain text.

    Plain text is a line for each message, and the model's line ends its answer: nothing else, so that a policy of
    lmgym reads what it was trained on. After a message of the system the assistant's lines begin with `>`.

    What threads ask within a short time is computed as one batch, filled on the left. Each request draws from a
    generator made from itself, so that its answer does not depend on what else is asked. At temperature None the
    model's own generation settings say the temperature; top-k and top-p are not applied.
    """

    def __init__(
        self, model: str, *, download: bool = False, window: float = BATCH_WINDOW, plain: bool = False
    ) -> None:
        try:
            import torch

            from lmgym.policy import best_device, load_pretrained, max_positions
        except ImportError as error:
            raise UsageError(f"hf: needs torch and transformers: {error}") from error
        self.name = f"hf:{model}"
        device = best_device()
        dtype: Any = torch.float32 if device.type == "cpu" else "auto"
        permission = "LMGYM_CHAT_DOWNLOAD=1"
        self._lm, self._tokenizer = load_pretrained(model, download=download, dtype=dtype, permission=permission)
        self._is_plain = not self._tokenizer.chat_template
        if self._is_plain and not plain:
            raise UsageError(f"hf:{model} has no chat template, so it cannot be talked to; take an instruct model")
        self._lm.to(device).eval()
        self._max_positions = max_positions(self._lm)
        self._stops = _stops(self._lm, self._tokenizer) | (_line_ends(self._tokenizer) if self._is_plain else set())
        self._window = window
        self._reading, self._computing, self._queue = threading.Lock(), threading.Lock(), threading.Lock()
        self._waiting: list[_Ticket] = []

    def request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the model's name, the messages and the settings."""
        settings = sampling._asdict()
        if sampling.temperature == 0:
            del settings["seed"]
        return {"model": self.name, "messages": cleaned(messages), **settings}

    def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Compute the answer together with what other threads ask. Raises ChatError."""
        request = self.request(messages, sampling)
        ids = self._tokens(request["messages"])
        limit = sampling.max_tokens
        if self._max_positions is not None and len(ids) + limit > self._max_positions:
            raise ChatError(
                f"{self.name}: {len(ids)} tokens of conversation and {limit} of answer are more than the "
                f"{self._max_positions} that the model can take"
            )
        chance = np.random.default_rng(int(digest(request), 16))
        ticket = _Ticket(ids, limit, self._temperature(sampling), chance)
        with self._queue:
            self._waiting.append(ticket)
        time.sleep(self._window)
        while not ticket.outcome.done():
            with self._computing:
                if not ticket.outcome.done():
                    self._serve()
        reply = ticket.outcome.result()
        with self._reading:
            text = self._tokenizer.decode(reply, skip_special_tokens=True)
        return Completion(storable(text), len(ids), len(reply))

    def _temperature(self, sampling: Sampling) -> float:
        if sampling.temperature is not None:
            return sampling.temperature
        own = getattr(self._lm.generation_config, "temperature", None)
        return 1.0 if own is None else float(own)

    def _tokens(self, messages: list[dict[str, str]]) -> list[int]:
        # The tokenizers package does not bear being used by two threads.
        with self._reading:
            try:
                try:
                    text = self._templated(messages)
                except Exception:  # Templates are programs; many refuse a system message.
                    text = self._templated(_without_system(messages))
                ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            except Exception as error:
                raise ChatError(f"{self.name}: its chat template refuses this: {_line(str(error))}") from error
        if not ids:
            raise ChatError(f"{self.name}: its chat template makes nothing of this conversation")
        return list(ids)

    def _templated(self, messages: list[dict[str, str]]) -> str:
        if self._is_plain:
            return _lines(messages)
        # Models that think aloud first are asked not to; other templates do not look at it.
        return self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, enable_thinking=False
        )

    def _serve(self) -> None:
        """Compute the answers of the requests that have waited longest."""
        with self._queue:
            tickets = self._waiting[:MAX_BATCH]
            del self._waiting[: len(tickets)]
        try:
            for ticket, reply in zip(tickets, self._generated(tickets), strict=True):
                ticket.outcome.set_result(reply)
        except Exception as error:
            for ticket in tickets:
                ticket.outcome.set_exception(ChatError(f"{self.name}: {type(error).__name__}: {_line(str(error))}"))

    def _generated(self, tickets: Sequence[_Ticket]) -> list[tuple[int, ...]]:
        import torch

        from lmgym.decoding import Decoding, draw, log_probabilities
        from lmgym.generate import generate

        decodings = [Decoding(temperature=ticket.temperature) for ticket in tickets]

        def pick(outputs: Sequence[Any], running: set[int]) -> tuple[list[int], list[float]]:
            scores = outputs[0].logits[:, -1].float().cpu()
            scores[:, len(self._tokenizer) :] = -torch.inf  # embeddings without a token
            each = zip(scores.split(1), decodings, strict=True)
            logps = torch.cat([log_probabilities(row, decoding) for row, decoding in each])
            tokens = draw(logps, [t.chance.random() if row in running else 0.0 for row, t in enumerate(tickets)])
            return tokens.tolist(), logps.gather(1, tokens[:, None])[:, 0].tolist()

        contexts = [ticket.ids for ticket in tickets]
        limits = [ticket.limit for ticket in tickets]
        return [ids for ids, _ in generate([self._lm], contexts, pick, limits=limits, stops=self._stops, pad=0)]


def _stops(lm: Any, tokenizer: Any) -> frozenset[int]:
    named = getattr(lm.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return frozenset(token for token in ids if token is not None)


def _line_ends(tokenizer: Any) -> frozenset[int]:
    from lmgym.tokens import Codec

    return Codec(tokenizer).stops


def _lines(messages: Sequence[Message]) -> str:
    """Return a conversation as plain text, up to where the assistant goes on.

    >>> _lines([{"role": "system", "content": "Rules."}, {"role": "user", "content": "Go!"}])
    'Rules.\\n\\nGo!\\n>'
    """
    is_told = any(message["role"] == "system" for message in messages)
    marks = {"system": ("", "\n\n"), "user": ("", "\n"), "assistant": ("> " if is_told else "", "\n")}
    text = "".join(marks[m["role"]][0] + m["content"] + marks[m["role"]][1] for m in messages)
    return text + (">" if is_told else "")


def _without_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return messages with the system's words at the head of the first message of the user."""
    told = [message["content"] for message in messages if message["role"] == "system"]
    others = [dict(message) for message in messages if message["role"] != "system"]
    if not others or others[0]["role"] != "user":
        others.insert(0, {"role": "user", "content": ""})
    others[0]["content"] = "\n\n".join(part for part in (*told, others[0]["content"]) if part)
    return others
