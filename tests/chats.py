"""What tests talk to: a server that misbehaves as it is told, and a chat model small enough to build on the spot."""

import importlib.util
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Behaviour = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


def said(text: str | None, **message: Any) -> dict[str, Any]:
    """The answer of a server that works."""
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34},
    }


def sends(content: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Behaviour:
    """Send this, as JSON unless it is bytes."""

    def behave(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return behave


def replies(text: str) -> Behaviour:
    """Answer properly."""
    return sends(said(text))


def hangs(seconds: float) -> Behaviour:
    """Say nothing for a while, then hang up."""
    return lambda handler, body: time.sleep(seconds)


def hangs_up(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Break the connection without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stops_halfway(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Announce more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


class Misbehaving:
    """A server on loopback; each request meets the next behaviour, the last one stays."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    behave = server.behaviours[min(len(server.requests), len(server.behaviours) - 1)]
                    server.requests.append({"path": self.path, **body})
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.close_connection = True
                behave(self, body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Clients that have given up are no news."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def stop(self) -> None:
        """Go down; afterwards nobody listens."""
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serving(*behaviours: Behaviour) -> Iterator[Misbehaving]:
    """A server that behaves like this for as long as the block lasts."""
    server = Misbehaving(*behaviours)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
STRICT_TEMPLATE = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
LETTERS = [chr(code) for code in range(32, 127)]


def build_chat_model(
    folder: Path,
    template: str | None = TEMPLATE,
    spare: int = 0,
    absolute_positions: bool = False,
    max_positions: int = 256,
    newline: bool = False,
) -> Path:
    """Save a chat model with random weights, whose tokens are characters; some embeddings may have no token, and
    a newline is a token only where it is asked for."""
    import torch

    tokens = ["<pad>", "</s>", "<unk>", *LETTERS, *(["\n"] if newline else [])]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )
    config = LlamaConfig(
        vocab_size=len(tokens) + spare,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=max_positions,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lm = GPT2LMHeadModel(_gpt2(config)) if absolute_positions else LlamaForCausalLM(config)
    lm.generation_config.do_sample = True  # else servers ignore the temperature
    lm.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _gpt2(config: LlamaConfig) -> GPT2Config:
    return GPT2Config(
        vocab_size=config.vocab_size,
        n_embd=config.hidden_size,
        n_layer=config.num_hidden_layers,
        n_head=config.num_attention_heads,
        n_positions=config.max_position_embeddings,
        initializer_range=config.initializer_range,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """`transformers serve` with the model in a folder; skips the test where a package is missing."""
    missing = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"`transformers serve` needs {', '.join(missing)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder / "serve.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env=environment, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not come up: {log.read_text()}")
