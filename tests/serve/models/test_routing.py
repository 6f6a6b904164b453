"""Shares of requests, versions by name, and versions that answer in the shadow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.observe.metrics import Metrics
from deepseek.serve import App, create_app
from deepseek.serve.grpc import start_grpc
from deepseek.serve.models.routing import TrafficSplit, parse_split
from deepseek.serve.models.shadows import bodies_agree
from deepseek.serve.repository.output_compatibility import OutputSignature, check_compatible
from support.rows.versions import other_version
from support.servers.serving import serving

NUM_REQUESTS = 400
PREDICT = "/v1/models/loans:predict"
INFER = "/v2/models/loans/infer"


@pytest.fixture(scope="module")
def models(loans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runtime]:
    """Two versions that agree, and one whose labels differ."""
    folder = tmp_path_factory.mktemp("versions")
    thresholds = {"v1": 0.5, "v2": 0.5, "strict": 1e-9}
    return {
        name: Runtime.open(other_version(loans, folder / name, name, threshold=threshold))
        for name, threshold in thresholds.items()
    }


class Shadowed:
    """A sink that counts what shadows answered."""

    def __init__(self) -> None:
        self.same: Counter[str] = Counter()

    def emit(self, event: Event) -> None:
        if event.kind == "shadow":
            self.same[event.fields["same"]] += 1

    async def of(self, num_requests: int) -> Mapping[str, int]:
        while self.same.total() < num_requests:
            await asyncio.sleep(0.01)
        return self.same


@asynccontextmanager
async def asking(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_requests_are_dealt_by_share_and_a_retry_goes_the_same_way(
    models: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    async def check() -> None:
        app = create_app(models, splits={"loans": TrafficSplit({"v1": 0.9, "v2": 0.1})})
        assert list(app.models) == ["loans", "strict"]
        async with asking(app) as client:
            body = {"instances": [loan]}
            version_by_request: dict[str, str] = {}
            for number in range(NUM_REQUESTS):
                answer = await client.post(PREDICT, json=body, headers={"x-request-id": f"order-{number}"})
                assert answer.status_code == 200
                version_by_request[f"order-{number}"] = answer.headers["x-model-version"]
            assert (
                15 < Counter(version_by_request.values())["v2"] < 75
            )  # 40, by chance no more than 6 deviations from it
            for name in list(version_by_request)[:20]:
                again = await client.post(PREDICT, json=body, headers={"x-request-id": name})
                assert again.headers["x-model-version"] == version_by_request[name]

    run(check())


def test_a_version_is_asked_by_its_name_and_v2_answers_say_which_it_was(
    models: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    async def check() -> None:
        app = create_app(models, splits={"loans": TrafficSplit({"v1": 0.9, "strict": 0.1})})
        async with asking(app) as client:
            for version, label in (("v1", "no"), ("strict", "yes")):
                path = f"/v1/models/loans/versions/{version}"
                answer = await client.post(
                    f"{path}:predict", json={"instances": [{"age": 60.5, "income": 1.0, "purpose": "house"}]}
                )
                assert answer.headers["x-model-version"] == version
                assert answer.json()["predictions"][0]["label"] == label
                assert (await client.get(path)).json()["version"] == version
            assert (await client.post("/v1/models/loans/versions/v9:predict", json={})).status_code == 404
            assert (await client.get("/v2/models/loans")).json()["versions"] == ["v1", "strict"]
            inputs = [
                {"name": name, "datatype": "BYTES" if name == "purpose" else "FP64", "shape": [1], "data": [value]}
                for name, value in loan.items()
            ]
            answer = await client.post("/v2/models/loans/versions/strict/infer", json={"inputs": inputs})
            assert (answer.json()["model_name"], answer.json()["model_version"]) == ("loans", "strict")

    run(check())


def test_grpc_deals_by_share_too(models: dict[str, Runtime], loan: dict[str, Any]) -> None:
    def ask(url: str) -> None:
        with triton_grpc.InferenceServerClient(url) as client:
            inputs = []
            for name, value in loan.items():
                array = np.array([value], object if name == "purpose" else np.float64)
                inputs.append(triton_grpc.InferInput(name, [1], "BYTES" if name == "purpose" else "FP64"))
                inputs[-1].set_data_from_numpy(array)
            counts = Counter(
                client.infer("loans", inputs, headers={"x-request-id": f"order-{number}"}).get_response().model_version
                for number in range(60)
            )
            assert counts.keys() == {"v1", "v2"}
            answer = client.infer("loans", inputs, model_version="v2").get_response()
            assert (answer.model_name, answer.model_version) == ("loans", "v2")

    async def check() -> None:
        app = create_app(models, splits={"loans": TrafficSplit({"v1": 0.5, "v2": 0.5})})
        async with asking(app):
            server = await start_grpc(app, "127.0.0.1", 0)
            await asyncio.to_thread(ask, f"127.0.0.1:{server.port}")
            await server.stop(1)

    run(check())


@pytest.mark.parametrize(("shadow", "same"), [("v2", "yes"), ("strict", "no")])
def test_a_shadow_answers_after_the_client_has_its_answer_and_differences_are_counted(
    models: dict[str, Runtime], loan: dict[str, Any], shadow: str, same: str
) -> None:
    row = loan | {"age": 60.5, "purpose": "house"}
    inputs = [
        {"name": name, "datatype": "BYTES" if name == "purpose" else "FP64", "shape": [1], "data": [value]}
        for name, value in row.items()
    ]
    events, metrics = Shadowed(), Metrics()

    async def check() -> None:
        app = create_app(models, sinks=[events, metrics], splits={"loans": TrafficSplit({"v1": 1.0}, (shadow,))})
        async with asking(app) as client:
            for path, body in ((PREDICT, {"instances": [row]}), (INFER, {"inputs": inputs})):
                answer = await client.post(path, json=body)
                assert (answer.status_code, answer.headers["x-model-version"]) == (200, "v1")
            assert (await client.post(PREDICT, json={"instances": [{}]})).status_code == 422
            assert await events.of(2) == {same: 2}

    run(check())
    line = f'deepseek_shadow_requests_total{{model_name="loans",model_version="{shadow}",same="{same}"}} 2.0'
    assert line in metrics.exposition().decode()
    assert f'deepseek_requests_total{{model_name="loans",model_version="{shadow}"' not in metrics.exposition().decode()


def test_a_shadow_that_fails_fails_no_request(models: dict[str, Runtime], loan: dict[str, Any]) -> None:
    class Failing:
        def __init__(self) -> None:
            self.armed = False

        def __getattr__(self, name: str) -> Any:
            return getattr(models["v2"], name)

        def score(self, features: Any) -> Any:
            if self.armed:
                raise RuntimeError("the inside of the engine")
            return models["v2"].score(features)

    failing, events = Failing(), Shadowed()

    async def check() -> None:
        versions: Any = {"v1": models["v1"], "v2": failing}
        app = create_app(versions, sinks=[events], splits={"loans": TrafficSplit({"v1": 1.0}, ("v2",))})
        async with asking(app) as client:
            failing.armed = True
            assert (await client.post(PREDICT, json={"instances": [loan]})).status_code == 200
            assert await events.of(1) == {"failed": 1}

    run(check())


def test_a_route_none_of_whose_versions_is_loaded_is_refused(models: dict[str, Runtime]) -> None:
    async def check() -> None:
        await create_app(models, splits={"cards": TrafficSplit({"v7": 1.0})}).start()

    with pytest.raises(InputError, match="no version of 'cards'"):
        asyncio.run(check())


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("loans", TrafficSplit({"v1": 0.5, "v9": 0.5}), "names 'v9', which is not there"),
        ("loans", TrafficSplit({"v1": 1.0}, ("v9",)), "names 'v9', which is not there"),
        ("v2", TrafficSplit({"v1": 1.0}), "'v2' is the name of a model and of a route"),
    ],
)
def test_a_route_that_would_not_do_what_it_says_is_refused(
    models: dict[str, Runtime], name: str, split: TrafficSplit, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        asyncio.run(create_app(models, splits={name: split}).start())


@pytest.mark.parametrize("split", [TrafficSplit({"v1": 0.5, "prices": 0.5}), TrafficSplit({"prices": 1.0}, ("v1",))])
def test_versions_of_different_tasks_share_no_requests(
    models: dict[str, Runtime], runtimes: dict[str, Runtime], split: TrafficSplit
) -> None:
    versions = {"v1": models["v1"], "prices": runtimes["prices"]}
    with pytest.raises(InputError, match=r"the task of .* (is binary|is regression), of .* is ") as caught:
        create_app(versions, splits={"loans": split})
    assert caught.value.expected
    assert caught.value.fix


def test_labels_in_another_order_and_other_outputs_are_refused() -> None:
    outputs = ["label BYTES [-1]", "probabilities FP32 [-1, 2]"]
    form = OutputSignature("binary", ["no", "yes"], outputs)
    check_compatible("loans", {"v1": form, "v2": OutputSignature("binary", ["no", "yes"], outputs)})
    check_compatible("loans", {})
    with pytest.raises(InputError, match="the labels of 'v1' are no, yes, of 'v3' are yes, no"):
        check_compatible("loans", {"v1": form, "v2": form, "v3": OutputSignature("binary", ["yes", "no"], outputs)})
    with pytest.raises(InputError, match=r"the outputs of 'v1' are .*, of 'v2' are none"):
        check_compatible("loans", {"v1": form, "v2": OutputSignature("binary", ["no", "yes"])})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loans", "no name"), ("=v1", "no name"), ("loans=", "no name"), ("loans=v1,v2", "add up to 2"),
        ("loans=v1:0.9,v2:0.2", "add up to 1.1"), ("loans=v1:0.5,v1:0.5", "twice"), ("loans=v1:-1,v2:2", "no share"),
        ("loans=v1:nan", "no share"), ("loans=v1:much", "no share"), ("loans=v1:shadow", "add up to 0"),
        ("loans=../x:1", "no name"), ("loans=v1:0:1", "no share"),
    ],
)  # fmt: skip
def test_a_route_that_is_none_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_split(text)


def test_labels_have_to_be_equal_and_values_nearly() -> None:
    assert bodies_agree(b'{"predictions":[{"value":1.0}]}', b'{"predictions":[{"value":1.0000001}]}')
    assert not bodies_agree(b'{"predictions":[{"label":"a"}]}', b'{"predictions":[{"label":"b"}]}')
    assert not bodies_agree(b'{"predictions":[{"label":"a"}]}', b'{"predictions":[]}')
    assert not bodies_agree(b"\x00\x01", b"\x00\x02")
    assert bodies_agree(
        b'{"outputs":[{"name":"label","data":["a"]},{"name":"p","data":[1.0]}]}',
        b'{"outputs":[{"name":"label","data":["a"]},{"name":"p","data":[0.5]}]}',
    )
