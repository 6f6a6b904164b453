"""Bundles of several modalities behind every route: files as base64, as parts of a form, as tensors."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from PIL import Image

from deepseek.client import Client
from deepseek.engines import MultimodalRuntime
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.shapley.partition import SERVING_BUDGET
from deepseek.serve import create_app
from deepseek.serve.core.config import Settings
from deepseek.serve.models.multimodal import MultimodalAdapter
from support.rows.sampled import sampled_bundle
from support.servers.fuzzed import fuzz
from support.servers.serving import Server, serving, started


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def tone(level: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(np.full(900, level, "<i2").tobytes())
    return file.getvalue()


def coded(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def visit(level: int, **more: Any) -> dict[str, Any]:
    return {
        "photo": coded(picture(level)), "pulse": [[0.1 * level, 1], [None, 2]], "note": "coughs at night",
        "age": 20.0 + level, "sex": "m",
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("samples")
    columns = {"visits": ("photo", "pulse", "note", "age"), "media": ("film", "ct", "cough")}
    return {name: sampled_bundle(base / name, each) for name, each in columns.items()}


@pytest.fixture(scope="module")
def server(bundles: dict[str, Path]) -> Iterator[Server]:
    with started(*bundles.values(), "--workers", "1", "--grpc-port", "0", "--max-body", "1") as running:
        yield running


@pytest.fixture(scope="module")
def runtime(bundles: dict[str, Path]) -> MultimodalRuntime:
    return MultimodalRuntime.open(bundles["visits"])


def post(server: Server, body: Any, model: str = "visits", verb: str = "predict") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/{model}:{verb}", json=body, timeout=60)


def chances(answer: httpx.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    return [list(row["probabilities"].values()) for row in answer.json()["predictions"]]


def test_answers_are_those_of_the_runtime_as_records_as_rows_and_by_the_client(
    server: Server, runtime: MultimodalRuntime
) -> None:
    rows = [visit(9), visit(90, photo=None), visit(200, pulse=None, note=None, age=None)]
    predictions = runtime.predict(rows)
    assert predictions.probabilities is not None
    answer = post(server, {"instances": rows})
    assert np.array(chances(answer)) == pytest.approx(predictions.probabilities, abs=1e-6)
    assert answer.json()["predictions"][2]["flags"] == [{"column": "age", "what": "imputed"}]
    names = list(rows[0])
    by_position = post(server, {"columns": names, "rows": [[row[name] for name in names] for row in rows]}).json()
    assert np.array(by_position["probabilities"]) == pytest.approx(predictions.probabilities, abs=1e-6)
    with Client(server.url) as client:
        assert client.predict(rows, model="visits").labels.tolist() == predictions.labels.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["visits", "media"])
def test_the_example_can_be_posted_and_the_pages_know_the_model(server: Server, model: str) -> None:
    example = httpx.get(f"{server.url}/v1/models/{model}/example", timeout=60).json()
    assert all(example["instances"][0].values())
    assert post(server, example, model).status_code == 200
    assert post(server, example, model, "explain").status_code == 200
    inputs = httpx.get(f"{server.url}/v1/models/{model}", timeout=60).json()["inputs"]
    assert [each["name"] for each in inputs] == list(example["instances"][0])
    schema = httpx.get(f"{server.url}/openapi.json", timeout=60).json()["paths"][f"/v1/models/{model}:predict"]["post"]
    forms = schema["requestBody"]["content"]
    assert forms["application/json"]["example"] == example
    assert set(forms["multipart/form-data"]["schema"]["properties"]) == set(example["instances"][0])
    assert "multipart/form-data" in httpx.get(f"{server.url}/docs", timeout=60).text


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [
        (coded(b"hello"), 400, "row 1, column 'photo' is no picture"),
        (coded(picture(3)[:40]), 400, "row 1, column 'photo'"),
        (coded(b""), 400, "row 1, column 'photo' is empty"),
        ({"b64": "%%"}, 400, "row 1, column 'photo' is not base64"),
        (7, 422, "row 1, column 'photo'"),
    ],
)
def test_a_value_that_is_no_file_is_refused_with_row_and_column(
    server: Server, value: Any, status: int, said: str
) -> None:
    answer = post(server, {"instances": [visit(1), visit(2, photo=value)]})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert said in error["message"]
    assert error["fix"]


def test_a_picture_above_the_bundles_limit_is_refused_before_it_is_decoded(server: Server) -> None:
    file = io.BytesIO()
    Image.new("1", (2_000, 2_000)).save(file, "PNG")
    answer = post(server, {"instances": [visit(2, photo=coded(file.getvalue()))]})
    assert answer.status_code == 413
    assert "row 0, column 'photo'" in answer.json()["error"]["message"]


def test_no_path_and_no_address_of_a_request_is_opened(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        for value in (str(tmp_path / "a.png"), f"file://{tmp_path}/a.png", address, {"path": str(tmp_path / "a.png")}):
            answer = post(server, {"instances": [visit(2, photo=value)]})
            assert answer.status_code in (400, 422)
            assert "row 0, column 'photo'" in answer.json()["error"]["message"]
            form = httpx.post(f"{server.url}/v1/models/media:predict", files={"ct": (None, str(value))}, timeout=60)
            assert form.status_code in (400, 422)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_one_broken_row_costs_its_own_request_an_answer_and_no_other(
    server: Server, runtime: MultimodalRuntime
) -> None:
    """In one batch, and through the server at once."""
    face = MultimodalAdapter(runtime)
    parts = [face.prepare([row]).features for row in (visit(1), visit(2, photo=coded(b"hello")), visit(3))]
    outputs = face.run(face.join(parts))
    faults = [face.fault({name: array[at : at + 1] for name, array in outputs.items()}) for at in range(3)]
    assert [fault is None for fault in faults] == [True, False, True]
    wanted = runtime.predict([visit(1), visit(3)]).probabilities
    np.testing.assert_array_equal(outputs["output"][[0, 2]], wanted)

    large = face.prepare([visit(1, photo=coded(bytes((1 << 20) + 1)))]).features
    assert face.can_join(parts[0], parts[2])
    assert not face.can_join(parts[0], large)

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = [{"instances": [visit(k, **({"photo": coded(b"x")} if k % 3 == 0 else {}))]} for k in range(12)]
            return await asyncio.gather(*(client.post("/v1/models/visits:predict", json=body) for body in bodies))

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [400 if k % 3 == 0 else 200 for k in range(12)]
    expected = runtime.predict([visit(k) for k in range(12) if k % 3]).probabilities
    probabilities = [chances(answer)[0] for answer in answers if answer.status_code == 200]
    assert np.array(probabilities) == pytest.approx(expected, abs=1e-6)


def test_a_form_holds_files_as_they_are(server: Server, runtime: MultimodalRuntime) -> None:
    url = f"{server.url}/v1/models/visits:predict"
    parts: list[tuple[str, Any]] = []
    for level in (5, 70):
        parts += [
            ("photo", ("a.png", picture(level))), ("pulse", (None, f"[[{0.1 * level}, 1], [null, 2]]")),
            ("note", (None, "coughs at night")), ("age", (None, str(20.0 + level))), ("sex", (None, "m")),
        ]  # fmt: skip
    answer = httpx.post(url, files=parts, timeout=60)
    wanted = runtime.predict([visit(5), visit(70)]).probabilities
    assert np.array(chances(answer)) == pytest.approx(wanted, abs=1e-6)
    without = httpx.post(url, files=[("photo", (None, "")), *parts[1:5]], timeout=60)
    assert np.array(chances(without)) == pytest.approx(runtime.predict([visit(5, photo=None)]).probabilities, abs=1e-6)
    sound = httpx.post(
        f"{server.url}/v1/models/media:predict",
        files={"film": (None, ""), "ct": (None, ""), "cough": ("a.wav", tone(9_000))},
    )
    assert chances(sound)[0][1] > 0.4


@pytest.mark.parametrize(
    ("content", "kind", "status", "said"),
    [
        (b"", "multipart/form-data; boundary=x", 400, "the body is no form"),
        (
            b"--x\r\nContent-Disposition: form-data; name=age\r\n\r\n7",
            "multipart/form-data; boundary=x",
            400,
            "no form",
        ),
        (b"--x--", "multipart/form-data", 400, "the body is no form"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422, "no part"),
        (b"{}", "text/plain", 415, "content-type"),
    ],
)
def test_what_is_no_form_is_refused(server: Server, content: bytes, kind: str, status: int, said: str) -> None:
    url = f"{server.url}/v1/models/visits:predict"
    answer = httpx.post(url, content=content, headers={"content-type": kind}, timeout=60)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("photo", "1"), ("photo", "2"), ("age", "3")], "2 parts 'photo' and 1 'age'"),
        ([("phto", "1")], "'phto' that the model does not know. Did you mean 'photo'?"),
        ([("age", "old"), ("sex", "m"), ("note", "a"), ("photo", ""), ("pulse", "")], "'age'"),
        ([("age", "3")], "row 0 has no column 'photo'"),
    ],
)
def test_a_form_whose_parts_do_not_fit_is_refused(server: Server, parts: list[tuple[str, str]], said: str) -> None:
    files = [(name, (None, value)) for name, value in parts]
    answer = httpx.post(f"{server.url}/v1/models/visits:predict", files=files, timeout=60)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_a_body_over_the_limit_that_the_operator_set_is_refused(server: Server) -> None:
    answer = post(server, {"instances": [visit(4, note="a" * (1 << 20))]})
    assert answer.status_code == 413
    assert answer.json()["error"]["expected"] == "at most 1 MiB"
    assert "--max-body" in answer.json()["error"]["fix"]


def test_a_runtime_is_served_without_processes_and_equal_requests_once(bundles: dict[str, Path]) -> None:
    async def ask() -> tuple[list[httpx.Response], httpx.Response]:
        runtime = MultimodalRuntime.open(bundles["visits"], lazy=True)
        app = create_app({"visits": runtime}, settings=Settings(coalesce=True), explainer_for=ModalityExplainer)
        body = {"instances": [visit(4)]}
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            responses = await asyncio.gather(*(client.post("/v1/models/visits:predict", json=body) for _ in range(3)))
            return responses, await client.post("/v1/models/visits:explain", json=body)

    responses, explained = asyncio.run(ask())
    assert chances(responses[0]) == chances(responses[1]) == chances(responses[2])
    assert explained.json()["explanations"][0]["values"].keys() == {"photo", "pulse", "note", "table"}


def test_explanations_add_up_and_name_the_columns(server: Server, runtime: MultimodalRuntime) -> None:
    rows = [visit(9), visit(90, photo=None)]
    first, second = post(server, {"instances": rows}, verb="explain").json()["explanations"]
    assert list(first["values"]) == ["photo", "pulse", "note", "table"]
    for row in (first, second):
        assert row["base_value"] + sum(row["values"].values()) + row["residual"] == pytest.approx(row["output"])
        assert abs(row["residual"]) < 1e-9
        assert row["base_value"] == pytest.approx(np.log(0.25 / 0.75))
        assert row["scale"] == "log-odds"
        assert "class shares in training; exact" in row["method"]
    assert second["values"]["photo"] == 0
    margin = runtime.score(runtime.prepare(rows)).margin[:, 0]
    assert [first["output"], second["output"]] == pytest.approx(margin.tolist(), abs=1e-6)
    other = post(server, {"instances": rows[:1], "target": "no"}, verb="explain").json()["explanations"][0]
    assert other["output"] == pytest.approx(-first["output"])


def test_parts_of_files_and_texts_are_explained_where_they_are_asked_for(server: Server) -> None:
    rows = [visit(9), visit(90, photo=None), visit(40, note=None)]
    plain = post(server, {"instances": rows, "parts": False}, verb="explain").json()["explanations"]
    explanations = post(server, {"instances": rows, "parts": True}, verb="explain").json()["explanations"]
    assert [row["values"] for row in explanations] == [row["values"] for row in plain]
    assert not any("parts" in row for row in plain)
    kinds = [[part["kind"] for part in row["parts"]] for row in explanations]
    assert kinds == [["image", "series", "text"], ["series", "text"], ["image", "series"]]
    (note,) = [part for part in explanations[0]["parts"] if part["kind"] == "text"]
    assert [token["text"] for token in note["tokens"]] == visit(9)["note"].split()
    for row in explanations:
        for part in row["parts"]:
            elements = next(part[name] for name in ("tokens", "regions", "stretches") if name in part)
            assert sum(each["value"] for each in elements) == pytest.approx(row["values"][part["column"]], abs=1e-6)
            assert part["num_evaluations"] <= SERVING_BUDGET.num_evaluations


def test_requests_with_parts_and_without_are_answered_beside_each_other(server: Server) -> None:
    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = [{"instances": [visit(number)], "parts": bool(number % 2)} for number in range(12)]
            return await asyncio.gather(*(client.post("/v1/models/visits:explain", json=body) for body in bodies))

    for number, answer in enumerate(asyncio.run(ask())):
        assert answer.status_code == 200
        assert ("parts" in answer.json()["explanations"][0]) == bool(number % 2)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_parts_are_asked_for_by_true_or_false(server: Server, value: Any) -> None:
    answer = post(server, {"instances": [visit(4)], "parts": value}, verb="explain")
    assert answer.status_code == 422
    assert '"parts" is' in answer.json()["error"]["message"]


def test_reasons_speak_of_files_without_sending_them_back(server: Server) -> None:
    answer = post(server, {"instances": [visit(200)], "reasons": 4})
    reasons = answer.json()["predictions"][0]["reasons"]
    assert {each["column"] for each in reasons} == {"photo", "pulse", "note", "table"}
    (photo,) = [each for each in reasons if each["column"] == "photo"]
    assert photo["value"] == "(image)"
    assert "photo = (image) raises the log-odds of ill = yes" in photo["text"]
    assert "sex m" in next(each["text"] for each in reasons if each["column"] == "table")


def test_tensors_hold_files_as_elements(server: Server, runtime: MultimodalRuntime) -> None:
    """Raw, as Triton's clients send them, and as data URLs in JSON."""
    wanted = runtime.predict([visit(30, photo=None), visit(99)]).probabilities
    url = f"{server.url}/v2/models/visits/infer"
    series = ["[[3.0, 1], [null, 2]]", "[[9.9, 1], [null, 2]]"]
    text = {"pulse": series, "note": ["coughs at night"] * 2, "sex": ["m", "m"]}
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": "BYTES", "shape": [2], "data": data} for name, data in text.items()
    ]
    inputs.append({"name": "age", "datatype": "FP64", "shape": [2], "data": [50.0, 119.0]})
    raw = b"\0\0\0\0" + struct.pack("<I", len(picture(99))) + picture(99)
    photo: dict[str, Any] = {"name": "photo", "datatype": "BYTES", "shape": [2]}
    head = json.dumps({"inputs": [*inputs, {**photo, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    length = {"inference-header-content-length": str(len(head))}
    by_raw = httpx.post(url, content=head + raw, headers=length, timeout=60)
    coded_url = f"data:image/png;base64,{coded(picture(99))['b64']}"
    by_json = httpx.post(url, json={"inputs": [*inputs, {**photo, "data": [None, coded_url]}]})
    for answer in (by_raw, by_json):
        assert answer.status_code == 200, answer.text
        tensor = {each["name"]: each for each in answer.json()["outputs"]}["probabilities"]
        assert np.reshape(tensor["data"], tensor["shape"]) == pytest.approx(wanted, abs=1e-6)
    document = httpx.get(f"{server.url}/openapi.json", timeout=60).json()
    body = document["paths"]["/v2/models/visits/infer"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert httpx.post(url, json=body, timeout=60).status_code == 200


def test_tritons_client_sends_files_over_grpc(server: Server, runtime: MultimodalRuntime) -> None:
    values = {"photo": [picture(99)], "pulse": [b"[[9.9, 1], [null, 2]]"], "note": [b"coughs at night"], "sex": [b"m"]}
    inputs = []
    for name, data in values.items():
        inputs.append(triton.InferInput(name, [1], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array(data, object))
    inputs.append(triton.InferInput("age", [1], "FP64"))
    inputs[-1].set_data_from_numpy(np.array([119.0]))
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        probabilities = client.infer("visits", inputs).as_numpy("probabilities")
    assert probabilities == pytest.approx(runtime.predict([visit(99)]).probabilities, abs=1e-6)


@pytest.mark.slow
def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(server: Server, tmp_path: Path) -> None:
    fuzz(server, tmp_path, "--include-path-regex", "models/visits")
