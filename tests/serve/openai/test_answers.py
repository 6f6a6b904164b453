"""OpenAI's routes as its official client sees them, over a few lines of HTTP, and what their readers refuse."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.run.engine import LlmEngine
from deepseek.errors import BusyError, DeepseekError
from deepseek.serve.core.errors import openai_error_body
from deepseek.serve.core.json_body import decode_object
from deepseek.serve.openai.answers import start_completions
from deepseek.serve.openai.embeddings import encode_embeddings, parse_embeddings
from deepseek.serve.openai.params import ParamError, Params
from deepseek.serve.openai.requests import parse_chat, parse_completion
from support.nets.tinylm import trained

VECTORS = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
CHAT = [{"role": "user", "content": "To be, or"}]


class Http:
    """Just enough of a server: one request a connection, whole answers and streams."""

    def __init__(self, engine: LlmEngine) -> None:
        self.engine = engine
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        start = asyncio.start_server(self.connection, "127.0.0.1", 0)
        self.server = asyncio.run_coroutine_threadsafe(start, self.loop).result(60)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        body = await reader.readexactly(length)
        status, media, chunks = await self.answer(head.split()[1], body)
        writer.write(f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: {media}\r\n\r\n".encode())
        gone = asyncio.create_task(reader.read())  # ends when the client goes away
        async for chunk in chunks:
            writer.write(chunk)
            if gone.done():
                await chunks.aclose()  # type: ignore[attr-defined]
                break
        gone.cancel()
        writer.close()

    async def answer(self, path: str, body: bytes) -> tuple[int, str, AsyncIterator[bytes]]:
        async def one(content: bytes) -> AsyncIterator[bytes]:
            yield content

        try:
            parsed = decode_object(body)
            if path.endswith("/embeddings"):
                wanted = parse_embeddings(Params(parsed), size=6, vocab_size=300)
                return 200, "application/json", one(encode_embeddings(wanted, VECTORS[: len(wanted)], 7))
            read = parse_chat if "chat" in path else parse_completion
            answers = start_completions(read(Params(parsed), self.engine), self.engine)
            if answers.request.stream:
                return 200, "text/event-stream", answers.chunks()
            return 200, "application/json", one(await answers.to_bytes())
        except DeepseekError as error:
            return error.status, "application/json", one(openai_error_body(error))

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlmEngine]:
    base: Path = tmp_path_factory.mktemp("openai")
    convert(ModelFolder.read(trained(base / "source")), base / "target")
    llm_engine = LlmEngine(base / "target", EngineLimits(exact=True, cache_bytes=1 << 24))
    yield llm_engine
    llm_engine.close()


@pytest.fixture(scope="module")
def client(engine: LlmEngine) -> Iterator[openai.OpenAI]:
    http = Http(engine)
    yield openai.OpenAI(base_url=http.url, api_key="none", max_retries=0)
    http.close()


def test_a_completion_is_written_and_counted(client: openai.OpenAI, engine: LlmEngine) -> None:
    completion = client.completions.create(model="m", prompt="To be, or", max_tokens=12, temperature=0)
    assert completion.object == "text_completion"
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    num_prompt = len(engine.words.encode("To be, or", max_tokens=99))
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (num_prompt, 12)
    assert completion.usage.total_tokens == num_prompt + 12


def test_a_stream_says_what_the_whole_says(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "m", "prompt": "To be, or", "max_tokens": 20, "temperature": 0}
    whole = client.completions.create(**request)
    events = list(client.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert "".join(event.choices[0].text for event in events[:-1]) == whole.choices[0].text
    assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (events[-1].choices, events[-1].usage) == ([], whole.usage)
    assert len(events) > 10  # it came bit by bit


def test_several_prompts_have_several_answers(client: openai.OpenAI, engine: LlmEngine) -> None:
    request: dict[str, Any] = {
        "model": "m",
        "prompt": ["To be", "that is"],
        "n": 2,
        "max_tokens": 8,
        "seed": 3,
        "echo": True,
    }
    first, again = (client.completions.create(**request) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in again.choices]
    assert [text.startswith("To be") for text in texts] == [True, True, False, False]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]
    assert texts[0] != texts[1]
    tokens = engine.words.encode("To be", max_tokens=99)
    by_tokens = client.completions.create(model="m", prompt=tokens, n=2, max_tokens=8, seed=3, echo=True)
    assert [choice.text for choice in by_tokens.choices] == texts[:2]


def test_a_chat_is_answered_whole_and_as_a_stream(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "m", "messages": CHAT, "max_completion_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**request, user="me")
    assert whole.choices[0].message.role == "assistant"
    assert whole.model_extra == {"ignored": ["user"]}
    events = list(client.chat.completions.create(**request, stream=True))
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(event.choices[0].delta.content or "" for event in events) == whole.choices[0].message.content
    parts = [{"role": "user", "content": [{"type": "text", "text": "To be,"}, {"type": "text", "text": " or"}]}]
    assert (
        client.chat.completions.create(**{**request, "messages": parts}).choices[0].message == whole.choices[0].message
    )


def test_log_probabilities_are_told(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="m", messages=CHAT, max_tokens=6, temperature=0, logprobs=True, top_logprobs=1  # type: ignore[arg-type]
    )  # fmt: skip
    assert chat.choices[0].logprobs is not None
    content = chat.choices[0].logprobs.content
    assert content is not None
    joined = b"".join(bytes(entry.bytes or []) for entry in content)
    assert joined.decode("utf-8", "replace") == chat.choices[0].message.content
    assert all(entry.logprob <= 0 and entry.top_logprobs[0].logprob == entry.logprob for entry in content)
    text = client.completions.create(model="m", prompt="To be", max_tokens=6, seed=1, logprobs=0)
    log_probabilities = text.choices[0].logprobs
    assert log_probabilities is not None
    assert log_probabilities.tokens is not None
    assert log_probabilities.token_logprobs is not None
    assert log_probabilities.text_offset is not None
    assert log_probabilities.text_offset[0] == 0
    assert len(log_probabilities.tokens) == len(log_probabilities.token_logprobs) == len(log_probabilities.text_offset)
    with pytest.raises(openai.UnprocessableEntityError, match="at temperature 0"):
        client.completions.create(model="m", prompt="To be", logprobs=5)


def test_the_client_parses_an_answer_of_its_schema(client: openai.OpenAI) -> None:
    class Person(BaseModel):
        known: bool
        mood: Literal["glad", "sad"]

    completion = client.chat.completions.parse(
        model="m", messages=CHAT, response_format=Person, seed=0, max_tokens=200,  # type: ignore[arg-type]
        # JSON may hold spaces without end, and a model of one second's training likes them
        frequency_penalty=2, presence_penalty=2,
    )  # fmt: skip
    assert isinstance(completion.choices[0].message.parsed, Person)


def test_a_client_that_goes_away_stops_the_writing(client: openai.OpenAI, engine: LlmEngine) -> None:
    stream = client.completions.create(
        model="m", prompt="To be", max_tokens=200, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    assert client.completions.create(model="m", prompt="To be", max_tokens=4).usage is not None
    for _ in range(1000):
        if engine.load() == (0, 0):
            break
        threading.Event().wait(0.01)
    assert engine.load() == (0, 0)


def test_errors_have_both_shapes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(model="m", prompt="To be", temperature=7)
    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "temperature", "bad_input")
    assert "Expected: 0 to 2. To mend it: correct temperature" in error.message
    assert isinstance(error.body, dict)
    assert set(error.body) == {"code", "message", "expected", "fix", "type", "param"}
    assert json.loads(openai_error_body(BusyError("full")))["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [300]}, "prompt"),
        ({"prompt": [[1], [-1]]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": "a" * 100_000}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1 << 70}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": "x"}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"best_of": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options"),
        ({"temprature": 1}, "temprature"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}}, "response_format"),
        ({"echo": True, "logprobs": 0}, "echo"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(engine: LlmEngine, change: dict[str, Any], param: str) -> None:
    body = {"model": "m", "prompt": "To be", **change}
    with pytest.raises(ParamError) as caught:
        parse_completion(Params(body), engine)
    assert caught.value.param == param
    assert caught.value.expected
    assert caught.value.fix


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        (["hi"], "messages[0].role"),
        ([{"role": "robot", "content": ""}], "messages[0].role"),
        ([{"role": ["user"], "content": ""}], "messages[0].role"),
        ([*CHAT, {"role": "user"}], "messages[1].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages[0].content"),
        ([{"role": "assistant", "content": "x", "tool_calls": [{}]}], "messages[0].tool_calls"),
        ([{"role": "user", "content": "long " * 1000}], "messages"),
    ],
)
def test_a_message_that_cannot_be_read_is_named(engine: LlmEngine, messages: Any, param: str) -> None:
    with pytest.raises(ParamError) as caught:
        parse_chat(Params({"model": "m", "messages": messages}), engine)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = "prompt messages n max_tokens stop seed temperature logprobs top_logprobs stream_options response_format echo"


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES.split()), JSON, max_size=4), st.booleans())
def test_no_body_does_more_than_be_refused(engine: LlmEngine, body: dict[str, Any], chat: bool) -> None:
    base: dict[str, Any] = {"model": "m", "messages": CHAT} if chat else {"model": "m"}
    with suppress(ParamError):
        (parse_chat if chat else parse_completion)(Params({**base, **body}), engine)


def test_vectors_come_as_numbers_and_as_base64(client: openai.OpenAI) -> None:
    embeddings = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert np.allclose([item.embedding for item in embeddings.data], VECTORS[:2])
    assert embeddings.usage.prompt_tokens == 7
    default = client.embeddings.create(model="m", input="a")  # the client asks for base64 and decodes it
    assert np.allclose(default.data[0].embedding, VECTORS[0])
    cut = client.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=3, encoding_format="float")
    assert math.isclose(np.linalg.norm(cut.data[1].embedding), 1, rel_tol=1e-6)
    assert np.allclose(cut.data[1].embedding, VECTORS[1, :3] / np.linalg.norm(VECTORS[1, :3]))


def test_base64_holds_little_endian_float32() -> None:
    request = parse_embeddings(Params({"model": "m", "input": [7], "encoding_format": "base64"}), size=6, vocab_size=9)
    embedding = json.loads(encode_embeddings(request, VECTORS[:1], 1))["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(embedding), "<f4").tolist() == VECTORS[0].tolist()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"), ({"input": []}, "input"), ({"input": ["a", 1]}, "input"), ({"input": [9]}, "input"),
        ({"input": [[]]}, "input"), ({"input": [[1], ["a"]]}, "input"), ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"), ({"encoding_format": []}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"), ({"dimensions": 7}, "dimensions"), ({"inputs": "a"}, "inputs"),
    ],
)  # fmt: skip
def test_embeddings_that_cannot_be_made_are_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ParamError) as caught:
        parse_embeddings(Params({"model": "m", "input": "a", **change}), size=6, vocab_size=9)
    assert caught.value.param == param
