"""No answer holds NaN or an infinite number: 500 in words, counted, and for the request whose rows they are alone."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

from support.nets.onnxgraphs import FLOAT, node, save
from support.rows.sampled import sampled_bundle
from support.servers.serving import Server, started

ZERO = [[0.0, 2.0]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ "visits" gives NaN for whatever is bright; "logs" has -inf for 0, and "shares" NaN."""
    base = tmp_path_factory.mktemp("finite")
    ends = [("x", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])]
    graphs = [
        save(base / "logs.onnx", [node("Abs", "x", "size"), node("Log", "size", "y")], *ends),
        save(base / "shares.onnx", [node("Div", "x x", "y")], *ends),
    ]
    weights = {"photo": np.full((1, 8, 8), 3e38, np.float32)}
    visits = sampled_bundle(base / "visits", ("photo", "note", "age"), labels=("a", "b", "c"), weights=weights)
    cache = {"XDG_CACHE_HOME": str(base / "cache")}
    with started(visits, *graphs, "--workers", "1", "--grpc-port", "0", environ=cache) as running:
        yield running


def visit(level: int) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, "PNG")
    return {"photo": {"b64": base64.b64encode(file.getvalue()).decode()}, "note": "coughs", "age": 40.0, "sex": "m"}


def post(server: Server, model: str, rows: list[Any], verb: str = "predict") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/{model}:{verb}", json={"instances": rows}, timeout=60)


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 500, answer.text
    assert answer.json()["error"]["code"] == "non_finite"
    return str(answer.json()["error"]["message"])


def test_a_row_without_a_finite_answer_is_refused_by_its_number_and_counted(server: Server) -> None:
    assert post(server, "visits", [visit(0)]).status_code == 200
    message = refused(post(server, "visits", [visit(0), visit(255), visit(254)]))
    assert message == "the model 'visits' gives NaN as probabilities for row 1, and so for 1 more"
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("deepseek_requests_total{") and 'status="500"' in line]
    assert any('model_name="visits"' in line for line in counted), counted


def test_explanations_and_reasons_are_refused_too(server: Server) -> None:
    assert post(server, "visits", [visit(0)], "explain").status_code == 200
    assert "for row 1" in refused(post(server, "visits", [visit(0), visit(255)], "explain"))
    body = {"instances": [visit(255)], "reasons": 1}
    refused(httpx.post(f"{server.url}/v1/models/visits:predict", json=body, timeout=60))


def test_requests_that_are_computed_with_it_get_their_answers(server: Server) -> None:
    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = [{"instances": [{"x": [k % 3, 1]}]} for k in range(60)]
            return await asyncio.gather(*(client.post("/v1/models/shares:predict", json=body) for body in bodies))

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [500 if k % 3 == 0 else 200 for k in range(60)]
    assert all(answer.json()["predictions"] == [{"y": [1.0, 1.0]}] for answer in answers if answer.status_code == 200)


@pytest.mark.parametrize("body", [{"rows": ZERO}, {"columns": ["x"], "rows": [ZERO]}])
def test_rows_by_place_are_refused_as_records_are(server: Server, body: dict[str, Any]) -> None:
    assert "an infinite number" in refused(httpx.post(f"{server.url}/v1/models/logs:predict", json=body, timeout=60))


def infer(server: Server, model: str, more: dict[str, Any]) -> httpx.Response:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": ZERO}
    body = {"inputs": [tensor], **more}
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json=body, headers={"accept": "*/*"}, timeout=60)


def test_a_tensor_may_be_infinite_where_its_client_says_so_and_takes_it_as_bytes(server: Server) -> None:
    """JSON has no sign for it."""
    assert "an infinite number as the output 'y'" in refused(infer(server, "logs", {}))
    allowed = {"allow_infinite": True}
    refused(infer(server, "logs", {"parameters": allowed}))
    answer = infer(server, "logs", {"parameters": {**allowed, "binary_data_output": True}})
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["shape"] == [1, 2]
    np.testing.assert_allclose(np.frombuffer(answer.content[length:], "<f4"), [-np.inf, np.log(2)], rtol=1e-6)
    assert "NaN" in refused(infer(server, "shares", {"parameters": {**allowed, "binary_data_output": True}}))
    assert infer(server, "logs", {"parameters": {"allow_infinite": "yes"}}).status_code == 422


def test_tritons_clients_are_told_in_words_and_may_allow_it(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    x = np.array(ZERO, np.float32)
    for module, where in (
        (tritonclient.http, f"127.0.0.1:{port}"),
        (tritonclient.grpc, f"127.0.0.1:{server.grpc_port}"),
    ):
        tensor = module.InferInput("x", list(x.shape), "FP32")
        tensor.set_data_from_numpy(x)
        with module.InferenceServerClient(where) as client:
            with pytest.raises(InferenceServerException, match="gives an infinite number as the output 'y' for row 0"):
                client.infer("logs", [tensor])
            values = client.infer("logs", [tensor], parameters={"allow_infinite": True}).as_numpy("y")
            assert values.tolist() == [[-np.inf, pytest.approx(np.log(2))]]
            with pytest.raises(InferenceServerException, match="NaN"):
                client.infer("shares", [tensor], parameters={"allow_infinite": True})
