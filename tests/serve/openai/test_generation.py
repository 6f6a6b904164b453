"""OpenAI's routes of a real server, asked by the official client: writing whole and in pieces, chats, embeddings."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from deepseek.engines.openvino import openvino_core
from support.nets.textfolders import make_text_folder
from support.nets.tinylm import random_model, trained
from support.servers.serving import Server, started


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("writers") / "tiny")


@pytest.fixture(scope="module")
def server(tiny: Path) -> Iterator[Server]:
    environ = {"XDG_CACHE_HOME": str(tiny.parent / "cache")}
    models = tiny, make_text_folder(tiny.parent / "embedder")
    with started(*models, "--workers", "1", environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def written(client: openai.OpenAI, **more: Any) -> Any:
    return client.completions.create(model="tiny", prompt="To be, or", max_tokens=12, temperature=0, **more)


def test_what_is_streamed_is_what_is_written_whole(client: openai.OpenAI) -> None:
    whole = written(client)
    pieces = [chunk.choices[0].text for chunk in written(client, stream=True) if chunk.choices]
    assert "".join(pieces) == whole.choices[0].text
    assert len(pieces) > 3
    assert whole.usage.completion_tokens == 12
    assert whole.choices[0].finish_reason == "length"


def test_a_chat_is_answered_whole_and_in_pieces(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {
        "model": "tiny", "messages": [{"role": "user", "content": "To be?"}], "max_tokens": 8, "temperature": 0,
    }  # fmt: skip
    whole = client.chat.completions.create(**request)
    stream = client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_embeddings_of_texts_and_of_tokens(client: openai.OpenAI) -> None:
    texts = client.embeddings.create(model="embedder", input=["the cat", "berlin is big"])
    vectors = np.array([entry.embedding for entry in texts.data])
    assert vectors.shape == (2, 32)
    alone = client.embeddings.create(model="embedder", input="berlin is big", dimensions=8).data[0].embedding
    cut = vectors[1, :8] / np.linalg.norm(vectors[1, :8])
    assert np.array(alone) == pytest.approx(cut, abs=1e-5)
    tokens = client.embeddings.create(model="embedder", input=[[2, 5, 6, 3], [2, 5, 3]])
    assert len(tokens.data) == 2
    assert tokens.usage.prompt_tokens == 7


def schema_format(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("completions", {"model": "tyni", "prompt": "a"}, 404, "Did you mean 'tiny'?"),
        ("completions", {"model": "embedder", "prompt": "a"}, 404, "that writes text"),
        ("embeddings", {"model": "tiny", "input": "a"}, 404, "that embeds texts"),
        ("completions", {"model": "tiny", "prompt": "a", "temperature": 9}, 422, "temperature"),
        ("chat/completions", {"model": "tiny", "messages": []}, 422, "messages"),
        ("completions", {"model": "tiny", "response_format": schema_format({"pattern": "(a*)*"})}, 400, "pattern"),
        ("completions", {"model": "tiny", "response_format": schema_format({"type": "x"})}, 400, "JSON schema"),
        ("embeddings", {"model": "embedder", "input": []}, 422, "input"),
    ],
)
def test_refusals_have_the_form_that_the_client_shows(
    server: Server, path: str, body: Any, status: int, said: str
) -> None:
    answer = httpx.post(f"{server.url}/v1/{path}", json=body)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert said in error["message"]
    assert set(error) >= {"message", "type", "param", "code", "expected", "fix"}


def test_the_front_end_neither_computes_nor_loads_what_does(server: Server, client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "To be?"}], temperature=0, max_tokens=20,
        response_format=schema_format({"type": "boolean"}),
    )  # fmt: skip
    assert (completion.choices[0].message.content or "").strip() in ("true", "false")
    assert "openvino" not in Path(f"/proc/{server.process.pid}/maps").read_text().lower()


def test_the_list_of_models_says_what_each_is_for(client: openai.OpenAI) -> None:
    assert {model.id: model.task for model in client.models.list()} == {  # type: ignore[attr-defined]
        "embedder": "embedding",
        "tiny": "causal-lm",
    }


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_precision_that_loses_something_says_what(tiny: Path, tmp_path: Path, precision: str) -> None:
    if precision == "bfloat16" and "BF16" not in openvino_core(extra="llm").get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        pytest.skip("this CPU does not compute in bfloat16")
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    with started(tiny, "--llm-precision", precision, environ=environ) as other:
        (card,) = httpx.get(f"{other.url}/v1/models").json()["data"]
        answer = httpx.post(f"{other.url}/v1/completions", json={"model": "tiny", "prompt": "To", "temperature": 0})
    assert (card["precision"], card["engine"]) == (precision, "openvino-genai")
    assert answer.json()["usage"]["completion_tokens"] == 16
    if precision == "float32":
        assert card["parity"] is None
    else:
        assert abs(card["parity"]["loss"] - card["parity"]["exact_loss"]) < 0.1
        assert 0.8 < card["parity"]["agreement"] <= 1


@pytest.mark.slow
def test_a_model_that_is_not_converted_is_written_by_transformers(tmp_path: Path) -> None:
    random_model("gpt_neox", tmp_path / "neox")
    request: Any = {
        "model": "neox",
        "prompt": "To be",
        "temperature": 0,
        "max_tokens": 6,
        "extra_body": {"ignore_eos": True},
    }
    with started(tmp_path / "neox", environ={"XDG_CACHE_HOME": str(tmp_path)}) as other:
        client = openai.OpenAI(base_url=f"{other.url}/v1", api_key="none", max_retries=0)
        (card,) = client.models.list()
        whole = client.completions.create(**request, logprobs=1)
        pieces = [chunk.choices[0].text for chunk in client.completions.create(**request, stream=True)]
        with pytest.raises(openai.UnprocessableEntityError, match="holds no answer to a JSON schema"):
            client.completions.create(**request | {"extra_body": {"response_format": {"type": "json_object"}}})
    assert (card.engine, card.precision) == ("transformers", "float32")  # type: ignore[attr-defined]
    assert whole.usage is not None
    assert (whole.usage.completion_tokens, whole.choices[0].text) == (6, "".join(pieces))
    assert whole.choices[0].logprobs is not None


def test_a_client_that_goes_away_ends_its_answer(server: Server, client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model="tiny", prompt="To be", max_tokens=200, temperature=1, stream=True, extra_body={"seed": 1}
    )
    next(iter(stream))
    stream.close()
    assert written(client).choices[0].text
    lines = httpx.get(f"{server.url}/metrics").text
    assert 'deepseek_requests_total{model_name="tiny",model_version="1",status="499"} 1.0' in lines


@pytest.mark.slow
def test_a_writer_that_was_killed_is_started_again(server: Server, client: openai.OpenAI) -> None:
    before = written(client).choices[0].text
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    cmdlines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    (writer,) = [child for child, cmdline in cmdlines.items() if b"llm.process.worker" in cmdline]
    os.kill(writer, signal.SIGKILL)
    end_s = time.monotonic() + 30
    statuses = set()
    while time.monotonic() < end_s:
        try:
            assert written(client).choices[0].text == before
            break
        except openai.APIStatusError as error:
            statuses.add(error.status_code)
            time.sleep(0.1)
    else:
        pytest.fail("it was not started again")
    assert statuses <= {500, 503}
