"""Text models from plain folders behind every route: embeddings, classes, entities."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.client import Client
from deepseek.engines.text import TextEngine, TextModel
from deepseek.explain.media.texts import TextExplainer
from deepseek.explain.shapley.partition import SERVING_BUDGET
from deepseek.serve import Settings, create_app
from deepseek.serve.models.text import TextAdapter
from support.nets.textfolders import make_text_folder
from support.servers.serving import Server, serving, started

TEXTS = ["the cat sat on a mat", "berlin is big", "", "not " * 60]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("texts")
    tasks = ("embedding", "sequence-classification", "token-classification")
    return {task: make_text_folder(base / task, "bert", task) for task in tasks}


@pytest.fixture(scope="module")
def server(folders: dict[str, Path]) -> Iterator[Server]:
    """All three in one server, computed by an engine process."""
    with started(*folders.values(), "--workers", "1", "--batch-size", "3") as running:
        yield running


@pytest.fixture(scope="module")
def direct(folders: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """The answers without a server, each text alone."""
    outputs = {}
    for task, folder in folders.items():
        model, engine = TextModel.open(folder), TextEngine.open(folder)
        outputs[task] = []
        for text in TEXTS:
            tokens = model.prepare([text])
            outputs[task] += model.answers(engine.run(model.join(tokens)), tokens)
    return outputs


def ask(server: Server, task: str, body: Any, path: str = ":predict") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/{task}{path}", json=body, timeout=60)


@pytest.mark.parametrize("size", [1, len(TEXTS)])
def test_embeddings_are_the_engines_own_whatever_they_are_computed_with(
    server: Server, direct: dict[str, list[dict[str, Any]]], size: int
) -> None:
    rows = [{"text": text} for text in TEXTS]
    predictions: list[dict[str, Any]] = []
    for start in range(0, len(rows), size):
        predictions += ask(server, "embedding", {"instances": rows[start : start + size]}).json()["predictions"]
    expected = direct["embedding"]
    assert np.array([row["embedding"] for row in predictions]) == pytest.approx(
        np.array([row["embedding"] for row in expected]), abs=1e-5
    )
    assert [bool(row.get("flags")) for row in predictions] == [False, False, False, True]
    assert predictions[-1]["flags"] == [{"column": "text", "what": "truncated"}]


def test_classes_have_a_label_and_a_probability_for_each(
    server: Server, direct: dict[str, list[dict[str, Any]]]
) -> None:
    answer = ask(server, "sequence-classification", {"rows": [[text] for text in TEXTS]}).json()
    expected = direct["sequence-classification"]
    assert answer["labels"] == [row["label"] for row in expected]
    shares = [[row["probabilities"][label] for label in answer["labels_known"]] for row in expected]
    assert np.array(answer["probabilities"]) == pytest.approx(np.array(shares), abs=1e-5)


def test_entities_stand_where_they_are_in_the_text(server: Server, direct: dict[str, list[dict[str, Any]]]) -> None:
    rows = [{"text": text} for text in TEXTS]
    entities_of_rows = ask(server, "token-classification", {"instances": rows}).json()["predictions"]
    assert [[entity["label"] for entity in row["entities"]] for row in entities_of_rows] == [
        [entity["label"] for entity in row["entities"]] for row in direct["token-classification"]
    ]
    entities = [(text, entity) for text, row in zip(TEXTS, entities_of_rows, strict=True) for entity in row["entities"]]
    assert entities
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for text, entity in entities)


def test_tensors_and_the_client_take_texts_as_well(server: Server, direct: dict[str, list[dict[str, Any]]]) -> None:
    inputs = [{"name": "text", "datatype": "BYTES", "shape": [2], "data": TEXTS[:2]}]
    answer = httpx.post(f"{server.url}/v2/models/embedding/infer", json={"inputs": inputs}).json()
    (output,) = answer["outputs"]
    expected = np.array([row["embedding"] for row in direct["embedding"][:2]])
    assert np.array(output["data"]).reshape(output["shape"]) == pytest.approx(expected, abs=1e-5)
    with Client(server.url) as client:
        answers = client.predict([{"text": TEXTS[1]}], model="sequence-classification")
    assert answers.labels is not None
    assert answers.labels.tolist() == [direct["sequence-classification"][1]["label"]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [{"txt": "a"}]}, "Did you mean 'text'?"),
        ({"instances": [{}]}, 'row 0 has no "text"'),
        ({"instances": [{"text": "a"}, {"text": 7}]}, "text 1 is no text"),
        ({"instances": [{"text": None}]}, "text 0 is no text"),
        ({"rows": [["a", "b"]]}, "rows[0] has 2 values"),
    ],
)
def test_what_is_no_text_is_refused_by_its_number(server: Server, body: Any, said: str) -> None:
    answer = ask(server, "embedding", body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


@pytest.mark.slow
def test_texts_are_explained_by_token_and_sentence(
    server: Server, direct: dict[str, list[dict[str, Any]]], folders: dict[str, Path]
) -> None:
    texts = ["The cat sat. Berlin is unhappy!", *TEXTS[2:]]
    for task in ("sequence-classification", "embedding"):
        rows = ask(server, task, {"instances": [{"text": text} for text in texts]}, ":explain").json()["explanations"]
        for text, row in zip(texts, rows, strict=True):
            ((column, total),), (part,) = row["values"].items(), row["parts"]
            assert (column, part["column"], part["kind"]) == ("text", "text", "text")
            assert row["base_value"] + total == pytest.approx(row["output"], abs=1e-9)
            for name in ("tokens", "sentences"):
                assert sum(each["value"] for each in part[name]) == pytest.approx(total, abs=1e-9)
                assert [text[each["start"] : each["end"]] for each in part[name]] == [
                    each["text"] for each in part[name]
                ]
            assert row["is_partial"] == part["is_partial"]
        assert [part["text"] for part in rows[0]["parts"][0]["sentences"]] == ["The cat sat.", "Berlin is unhappy!"]
        assert rows[1]["parts"][0]["tokens"] == []
        cut = rows[2]["parts"][0]
        assert cut["is_cut"]
        assert 0 < cut["end_read"] < len(TEXTS[3])
        assert "was cut" in cut["notes"][0]
        assert [row["target"] for row in rows[1:]] == [row.get("label") for row in direct[task][2:]]
    first = TextExplainer.open(folders["embedding"], SERVING_BUDGET).explain(texts[:1]).parts[0][0]
    for mine, other in zip(rows[0]["parts"][0]["tokens"], first["tokens"], strict=True):
        # On a busy machine the limit of time may come first for one of them: then its error says so.
        assert abs(mine["value"] - other["value"]) <= 1e-5 + 4 * (mine["error"] + other["error"])
    body = ask(server, "sequence-classification", {"instances": [{"text": texts[0]}], "reasons": 1}).json()
    assert "the log-odds of" in body["predictions"][0]["reasons"][0]["text"]
    answer = ask(server, "token-classification", {"instances": [{"text": "a"}]}, ":explain")
    assert answer.status_code == 501
    assert "single tokens" in answer.json()["error"]["message"]


def test_the_pages_know_text_models(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    schema = document["paths"]["/v1/models/embedding:predict"]["post"]["responses"]["200"]
    assert "embedding" in json.dumps(schema)
    listed = httpx.get(f"{server.url}/v1/models/token-classification").json()
    assert listed["task"] == "token-classification"
    assert ask(server, "token-classification", listed["example"]).status_code == 200


def test_a_text_model_is_served_in_this_process_too(folders: dict[str, Path]) -> None:
    """As in a notebook: many small requests at once, cut into batches of two."""

    async def work() -> list[int]:
        face = TextAdapter(TextModel.open(folders["embedding"]), {})
        async with (
            serving(create_app({"m": face}, settings=Settings(batch_size=2))) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            response = [client.post("/v1/models/m:predict", json={"instances": [{"text": text}]}) for text in TEXTS * 5]
            return [answer.status_code for answer in await asyncio.gather(*response)]

    assert asyncio.run(work()) == [200] * 20


@pytest.mark.slow
def test_a_folder_of_8_bit_floats_is_served_by_its_path(folders: dict[str, Path], tmp_path: Path) -> None:
    from deepseek.compress.quantize import pack

    small = tmp_path / "small"
    pack(folders["sequence-classification"], small)
    model, engine = TextModel.open(small), TextEngine.open(small)
    tokens = model.prepare(TEXTS)
    expected = model.answers(engine.run(model.join(tokens)), tokens)
    with started(small) as running:
        predictions = ask(running, "small", {"instances": [{"text": text} for text in TEXTS]}).json()["predictions"]
    assert [row["label"] for row in predictions] == [row["label"] for row in expected]
    for row, other in zip(predictions, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
