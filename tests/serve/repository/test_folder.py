"""Loading and unloading through the protocol's repository API, and a repository that is watched."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from deepseek.cli.support.opening import open_checked
from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.errors import CheckError, DeepseekError, InputError, MissingError
from deepseek.serve import App, create_app
from deepseek.serve.grpc import start_grpc
from deepseek.serve.models.routing import TrafficSplit
from deepseek.serve.repository.folder import FolderSnapshot, Repository, folder_state, latest_version
from deepseek.serve.repository.loader import RepositoryLoader
from support.rows.versions import damaged, other_version
from support.servers.serving import Server, serving, started

INDEX = "/v2/repository/index"
MODELS = "/v2/repository/models"


class Events:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        self.all.append(event)

    def refused(self) -> list[str]:
        return [event.fields["error"] for event in self.all if event.fields.get("state") == "a model was refused"]


@pytest.fixture
def folder(loans: Path, tmp_path: Path) -> Path:
    """A repository with two versions of "loans"."""
    for version in ("9", "10"):
        other_version(loans, tmp_path / "models" / "loans" / version, version)
    return tmp_path / "models"


def repository(folder: Path, watch_s: float | None = None) -> Repository:
    return Repository(folder, lambda path: open_checked(path, None, lazy=False), watch_s)


def loaded(app: App) -> dict[str, list[str]]:
    return {name: list(slot.versions) for name, slot in app.models.slots.items() if slot.versions}


@pytest.fixture(scope="module")
def running(loans: Path, prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a repository, which has a model of its own too."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(loans, folder / "loans")
    damaged(prices, folder / "broken")
    (folder / "no-model").mkdir()
    with started(prices, "--repository", folder, "--workers", "1", "--grpc-port", "0") as server:
        yield server, folder


@pytest.fixture
def client(running: tuple[Server, Path]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[0].url, timeout=30) as opened:
        opened.post(f"{MODELS}/loans/load")
        yield opened


def test_what_the_repository_holds_is_loaded_at_the_start(running: tuple[Server, Path], client: httpx.Client) -> None:
    assert running[0].models == ["prices", "loans"]
    listed = {entry["name"]: entry for entry in client.post(INDEX).json()}
    assert list(listed) == ["prices", "loans", "broken"]
    assert (listed["loans"]["state"], listed["loans"]["version"]) == ("READY", "1")
    assert listed["broken"]["state"] == "UNAVAILABLE"
    assert "model.onnx" in listed["broken"]["reason"]
    assert [entry["name"] for entry in client.post(INDEX, json={"ready": True}).json()] == ["prices", "loans"]


def test_an_unloaded_model_is_gone_from_every_route_until_it_is_loaded(client: httpx.Client) -> None:
    assert client.post(f"{MODELS}/loans/unload").json() == {"name": "loans", "state": "UNAVAILABLE"}
    for path in ("/v1/models/loans", "/v2/models/loans", "/v2/models/loans/versions/1"):
        assert client.get(path).status_code == 404
    assert client.post("/v1/models/loans:predict", json={}).json()["error"]["expected"] == "prices"
    assert client.post(f"{MODELS}/loans/unload").status_code == 404
    (entry,) = [entry for entry in client.post(INDEX).json() if entry["name"] == "loans"]
    assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "not loaded")
    assert client.post(f"{MODELS}/loans/load").json() == {"name": "loans", "versions": ["1"], "state": "READY"}
    assert client.get("/v2/models/loans/versions/1/ready").json()["ready"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("loans/load", {"parameters": {"config": "{}"}}, 422, "as they lie in the repository"),
        ("loans/load", {"parameters": {"version": 1}}, 422, "in quotes"),
        ("loans/load", {"parameters": {"version": "../1"}}, 404, "no version '../1'"),
        ("loans/load", {"parameters": []}, 422, "no object"),
        ("loans/load", [], 400, "an array"),
        ("loan/load", {}, 404, "loans"),
        ("..%2Floans/load", {}, 404, "no model '..%2Floans'"),
        ("%2Fetc/load", {}, 404, "no model '%2Fetc'"),
        ("no-model/load", {}, 404, "no model 'no-model'"),
        ("broken/load", {}, 409, "model.onnx"),
        ("prices/load", {}, 404, "no model 'prices'"),
        ("prices/unload", {}, 422, "when it was started"),
        ("nobody/unload", {}, 404, "nobody"),
        ("loans/reload", {}, 404, "no route"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_words(
    client: httpx.Client, path: str, body: Any, status: int, words: str
) -> None:
    answer = client.post(f"{MODELS}/{path}", json=body)
    assert answer.status_code == status
    assert words in " ".join(answer.json()["error"].values())


def test_tritons_client_loads_and_unloads_over_http(running: tuple[Server, Path], client: httpx.Client) -> None:
    official = triton.InferenceServerClient(running[0].url.removeprefix("http://"))
    official.unload_model("loans")
    assert not official.is_model_ready("loans")
    official.load_model("loans")
    assert official.is_model_ready("loans")
    with pytest.raises(InferenceServerException, match=r"model\.onnx"):
        official.load_model("broken")


@pytest.mark.slow
def test_tritons_client_loads_and_unloads_over_grpc(folder: Path) -> None:
    async def check() -> None:
        app = create_app({}, repository=repository(folder))
        async with serving(app):
            server = await start_grpc(app, "127.0.0.1", 0)
            await asyncio.to_thread(ask, f"127.0.0.1:{server.port}")
            await server.stop(1)
        await app.close()

    def ask(url: str) -> None:
        with triton_grpc.InferenceServerClient(url) as official:
            official.unload_model("loans")
            assert not official.is_model_ready("loans")
            index = official.get_model_repository_index(as_json=True)["models"]
            assert [(entry["version"], entry["state"]) for entry in index] == [
                ("10", "UNAVAILABLE"), ("9", "UNAVAILABLE"),
            ]  # fmt: skip
            official.load_model("loans")
            assert official.is_model_ready("loans", "10")
            with pytest.raises(InferenceServerException, match="has no model 'nobody'"):
                official.load_model("nobody")

    asyncio.run(check())


def test_a_server_without_a_repository_says_so() -> None:
    async def ask(app: App) -> httpx.Response:
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
            return await client.post(f"{MODELS}/loans/load")

    answer = asyncio.run(ask(create_app({})))
    assert (answer.status_code, "--repository" in answer.text) == (404, True)


@pytest.mark.slow
def test_a_watched_folder_is_followed_and_a_refusal_is_said_once(folder: Path, loans: Path) -> None:
    events = Events()

    async def check() -> None:
        app = create_app({}, sinks=[events], repository=repository(folder))
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        assert loaded(app) == {"loans": ["10"]}
        first = app.models["loans"]
        await app.loader.refresh()
        assert app.models["loans"] is first  # nothing has changed

        other_version(loans, folder / "loans" / "10", "10", threshold=0.9)  # replaced by rename
        damaged(loans, folder / "half")
        for _ in range(2):
            await app.loader.refresh()
        assert app.models["loans"].digest != first.digest
        assert loaded(app) == {"loans": ["10"]}
        assert len(events.refused()) == 1

        other_version(loans, folder / "loans" / "11", "11")
        shutil.rmtree(folder / "half")
        shutil.copytree(loans, folder / "half")
        await app.loader.refresh()
        assert loaded(app) == {"loans": ["11"], "half": ["1"]}

        shutil.rmtree(folder / "half")
        await app.loader.refresh()
        assert "half" in app.models  # it may be on its way
        await app.loader.refresh()
        assert loaded(app) == {"loans": ["11"]}
        await app.close()

    asyncio.run(check())


@pytest.mark.slow
def test_a_model_that_was_unloaded_stays_so_while_its_folder_does_not_change(folder: Path, loans: Path) -> None:
    async def check() -> None:
        app = create_app({}, repository=repository(folder))
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        await app.loader.unload("loans")
        await app.loader.refresh()
        assert loaded(app) == {}
        assert await app.loader.load("loans", "9") == ["9"]
        await app.loader.refresh()
        assert loaded(app) == {"loans": ["9"]}  # as it was asked for
        other_version(loans, folder / "loans" / "11", "11")
        await app.loader.refresh()
        assert loaded(app) == {"loans": ["11"]}
        await app.close()

    asyncio.run(check())


def test_the_watch_looks_by_itself(folder: Path, loans: Path) -> None:
    async def check() -> None:
        app = create_app({}, repository=repository(folder, watch_s=0.02))
        await app.start()
        other_version(loans, folder / "loans" / "11", "11")
        for _ in range(6_000):
            if loaded(app) == {"loans": ["11"]}:
                break
            await asyncio.sleep(0.01)
        assert loaded(app) == {"loans": ["11"]}
        await app.close()

    asyncio.run(check())


def test_a_folder_that_cannot_be_read_unloads_nothing(folder: Path) -> None:
    async def check() -> None:
        app = create_app({}, repository=repository(folder))
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        folder.rename(folder.with_name("elsewhere"))
        for _ in range(3):
            with pytest.raises(CheckError, match="cannot be read"):
                await app.loader.refresh()
        assert loaded(app) == {"loans": ["10"]}
        await app.close()

    asyncio.run(check())


@pytest.mark.slow
def test_versions_of_a_route_are_all_loaded_and_no_others(folder: Path) -> None:
    async def check() -> None:
        app = create_app({}, repository=repository(folder), splits={"loans": TrafficSplit({"9": 0.5, "10": 0.5})})
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        assert loaded(app) == {"loans": ["9", "10"]}
        await app.loader.unload("loans")
        assert await app.loader.load("loans") == ["9", "10"]
        shutil.copytree(folder / "loans" / "9", folder / "loans" / "8")
        with pytest.raises(InputError, match="not dealt to '8'"):
            await app.loader.load("loans", "8")
        await app.close()

    asyncio.run(check())


@pytest.mark.slow
def test_a_version_of_another_task_joins_no_route_unless_all_change_together(folder: Path, prices: Path) -> None:
    events = Events()
    split = {"loans": TrafficSplit({"9": 0.5, "10": 0.5})}

    async def check() -> None:
        app = create_app({}, sinks=[events], repository=repository(folder), splits=split)
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        other_version(prices, folder / "loans" / "9", "9")
        with pytest.raises(InputError, match="the task of '10' is binary, of '9' is regression"):
            await app.loader.load("loans", "9")
        assert [model.task for model in app.models.all()] == ["binary"] * 2
        assert "cannot share" in dict(await listed(app.loader))["loans", "9"]
        with pytest.raises(InputError, match="cannot share"):
            await app.loader.load("loans")
        other_version(prices, folder / "loans" / "10", "10")
        assert await app.loader.load("loans") == ["9", "10"]
        assert [model.task for model in app.models.all()] == ["regression"] * 2
        await app.close()

    async def listed(loader: RepositoryLoader) -> list[tuple[tuple[str, str], str]]:
        return [((name, version), reason) for name, version, reason, _ in await loader.list_unloaded()]

    asyncio.run(check())
    assert len(events.refused()) == 3


def test_a_model_of_the_command_line_is_not_replaced(folder: Path, runtimes: dict[str, Runtime]) -> None:
    events = Events()

    async def check() -> None:
        app = create_app(runtimes, sinks=[events], repository=repository(folder))
        await app.start()
        assert loaded(app) == {"loans": ["1"], "prices": ["1"]}
        assert isinstance(app.loader, RepositoryLoader)
        with pytest.raises(InputError, match="when it was started"):
            await app.loader.load("loans")

    asyncio.run(check())
    assert len(events.refused()) == 2


def test_an_engine_that_raises_something_of_its_own_refuses_the_model(folder: Path) -> None:
    def broken(_: Path) -> Any:
        raise RuntimeError("the inside of the engine")

    async def check() -> None:
        app = create_app({}, repository=Repository(folder, broken))
        await app.start()
        assert isinstance(app.loader, RepositoryLoader)
        with pytest.raises(DeepseekError, match="RuntimeError: the inside of the engine"):
            await app.loader.load("loans")
        await app.close()

    asyncio.run(check())


def test_a_held_folder_outlives_what_it_was_made_of(loans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "loans"
    shutil.copytree(loans, folder)
    held = FolderSnapshot(folder)
    shutil.rmtree(folder)
    with Runtime.open(held.path) as runtime:
        assert runtime.name == "loans"
    held.close()
    assert not held.path.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [("--route other=v1", "no version of 'other'"), ("> /dev/full", "the ready line cannot be written")],
    ids=["while models are opened", "after that"],
)
def test_a_server_that_does_not_start_leaves_no_copies_behind(
    folder: Path, tmp_path: Path, more: str, said: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    command = f"exec {sys.executable} -m deepseek serve --repository {folder} --workers 0 --port 0 {more}"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=30, check=False,
        env=os.environ | {"TMPDIR": str(place)},
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert list(place.glob("deepseek-*")) == []


@pytest.mark.slow
def test_what_a_killed_server_held_goes_with_the_next_start_and_what_another_holds_stays(
    folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()

    def copies() -> set[Path]:
        return set(place.glob("deepseek-*"))

    options = ("--repository", folder, "--workers", "0")
    environ = {"TMPDIR": str(place)}
    with started(*options, environ=environ) as killed, started(*options, environ=environ) as other:
        killed.process.kill()
        killed.process.wait()
        left = copies()
        assert len(left) == 2
        (place / "deepseek-held-link").symlink_to(tmp_path)  # of somebody who would have us remove what it shows
        with started(*options, environ=environ) as third:
            assert len(left & copies()) == 1
            assert len(copies()) == 3
            assert third.stop() == 0
        assert other.stop() == 0
    assert [path.name for path in copies()] == ["deepseek-held-link"]
    assert tmp_path.exists()


def test_a_folder_is_told_from_what_it_was_by_its_files(loans: Path, tmp_path: Path) -> None:
    shutil.copytree(loans, tmp_path / "loans")
    before = folder_state(tmp_path / "loans")
    assert folder_state(tmp_path / "loans") == before
    (tmp_path / "loans" / "model.onnx").touch()
    assert folder_state(tmp_path / "loans") != before


def test_the_latest_version_is_that_of_the_largest_number() -> None:
    names = ["1", "2", "10", "v1.9", "v1.10", "candidate"]
    assert latest_version(dict.fromkeys(names[:3], Path())) == "10"
    assert latest_version(dict.fromkeys(names[3:5], Path())) == "v1.10"
    assert latest_version(dict.fromkeys(names, Path())) == "v1.10"
    # Digits of another script, which are a folder's name as well as any.
    assert latest_version(dict.fromkeys(["1", "\u0968", "v2", "\u00b2"], Path())) == "\u0968"


@pytest.mark.parametrize("watch_s", [0, -1, float("nan"), 1e9])
def test_a_watch_that_is_no_time_is_refused(folder: Path, watch_s: float) -> None:
    with pytest.raises(InputError, match="--watch"):
        repository(folder, watch_s)


def test_a_repository_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no folder"):
        repository(tmp_path / "nobody")
