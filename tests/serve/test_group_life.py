"""Models that come and go in a server of several front ends: all of them serve the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepseek.errors import CheckError, DeepseekError, DrainingError, IntegrityError
from deepseek.serve.http.group import GroupMember, Membership
from deepseek.serve.repository.channel import Channel, PeerGoneError
from deepseek.serve.repository.deployment import OpenedModel
from deepseek.serve.repository.group_sync import GroupDeployment
from deepseek.serve.repository.output_compatibility import OutputSignature
from support.rows.versions import damaged, other_version
from support.servers.serving import Server, children, started, until

MODELS = "/v2/repository/models"
PREDICT = "/v1/models/loans:predict"
NUM_ASKED = 24  # on connections of their own: some reach each of two front ends, but for one run in a million


@pytest.fixture
def folder(loans: Path, tmp_path: Path) -> Path:
    """A repository with two versions of "loans", and one that is damaged."""
    for version in ("9", "10"):
        other_version(loans, tmp_path / "models" / "loans" / version, version)
    damaged(loans, tmp_path / "models" / "loans" / "8")
    return tmp_path / "models"


@pytest.fixture
def group(folder: Path) -> Iterator[Server]:
    with started("--front-ends", "2", "--workers", "0", "--repository", folder) as running:
        yield running


def post(group: Server, path: str, **body: Any) -> httpx.Response:
    # Unverified, for there is no TLS: to read the system's certificates for each connection takes 5 ms.
    return httpx.post(f"{group.url}{path}", json=body, timeout=30, verify=False)


def answers(group: Server, loan: dict[str, Any]) -> set[tuple[int, str]]:
    """What the front ends answer: status and version."""
    responses = [post(group, PREDICT, instances=[loan]) for _ in range(NUM_ASKED)]
    return {(each.status_code, each.headers.get("x-model-version", "")) for each in responses}


def load(group: Server, version: str) -> httpx.Response:
    return post(group, f"{MODELS}/loans/load", parameters={"version": version})


def test_every_front_end_serves_what_one_was_asked_to_load_and_nothing_that_it_was_asked_to_unload(
    group: Server, loan: dict[str, Any]
) -> None:
    assert group.models == ["loans"]
    assert answers(group, loan) == {(200, "10")}
    assert load(group, "9").json() == {"name": "loans", "versions": ["9"], "state": "READY"}
    assert answers(group, loan) == {(200, "9")}
    refused = load(group, "8")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "integrity")
    assert load(group, "7").status_code == 404
    assert answers(group, loan) == {(200, "9")}
    listed = [post(group, "/v2/repository/index").json() for _ in range(NUM_ASKED)]
    assert all(each == listed[0] for each in listed)
    assert [(each["version"], each["state"]) for each in listed[0]] == [
        ("9", "READY"), ("10", "UNAVAILABLE"), ("8", "UNAVAILABLE"),
    ]  # fmt: skip
    assert post(group, f"{MODELS}/loans/unload").status_code == 200
    assert answers(group, loan) == {(404, "")}
    assert post(group, f"{MODELS}/loans/unload").status_code == 404
    assert load(group, "10").status_code == 200
    assert answers(group, loan) == {(200, "10")}
    assert group.stop() == 0


@pytest.mark.slow
def test_one_that_comes_later_serves_what_the_others_do_although_the_folder_has_changed(
    group: Server, loan: dict[str, Any], folder: Path
) -> None:
    load(group, "9")
    shutil.rmtree(folder / "loans" / "9")
    first, second = children(group.process.pid)
    kill(group, first)
    assert answers(group, loan) == {(200, "9")}
    post(group, f"{MODELS}/loans/unload")
    kill(group, second)
    assert answers(group, loan) == {(404, "")}
    until(lambda: not any(line.endswith(" 1.0") for line in loaded_lines(group)))
    assert load(group, "10").status_code == 200
    assert answers(group, loan) == {(200, "10")}
    assert group.stop() == 0


def loaded_lines(group: Server) -> list[str]:
    lines = httpx.get(f"{group.url}/metrics").text.splitlines()
    return [line for line in lines if line.startswith("deepseek_model_loaded{")]


def kill(group: Server, pid: int) -> None:
    """Kill a front end, and wait until the one in its place takes connections."""
    before = children(group.process.pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(children(group.process.pid) - before) == 1)
    until(lambda: num_listening(group) == 2)


def num_listening(group: Server) -> int:
    """How many sockets listen on the port of a group."""
    port = f":{int(group.url.rsplit(':', 1)[1]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(words[1].endswith(port) and words[3] == "0A" for words in lines)


def test_loads_at_the_same_time_end_in_one_state_and_lose_no_request(group: Server, loan: dict[str, Any]) -> None:
    async def ask() -> Counter[int]:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=group.url, timeout=60, limits=limits) as client:

            async def predict() -> list[int]:
                return [(await client.post(PREDICT, json={"instances": [loan]})).status_code for _ in range(40)]

            loading = [
                client.post(f"{MODELS}/loans/load", json={"parameters": {"version": version}})
                for version in ("9", "10", "9", "10", "9", "10")
            ]
            statuses, *loaded = await asyncio.gather(predict(), *loading)
            assert [each.status_code for each in loaded] == [200] * 6
            return Counter(statuses)

    assert asyncio.run(ask()) == {200: 40}
    (last_answer,) = answers(group, loan)
    assert last_answer in ((200, "9"), (200, "10"))


@pytest.fixture
def group_with_engines(folder: Path) -> Iterator[Server]:
    with started("--front-ends", "2", "--workers", "1", "--repository", folder) as running:
        yield running


@pytest.mark.slow
def test_a_front_end_that_is_killed_during_a_load_leaves_no_two_states(
    group_with_engines: Server, loan: dict[str, Any]
) -> None:
    group = group_with_engines
    members = children(group.process.pid)

    async def ask() -> int:
        async with httpx.AsyncClient(base_url=group.url, timeout=60) as client:
            loading = asyncio.create_task(client.post(f"{MODELS}/loans/load", json={"parameters": {"version": "9"}}))
            await asyncio.sleep(0.05)
            os.kill(max(members), signal.SIGKILL)
            try:
                return (await loading).status_code
            except httpx.TransportError:  # it was the one that was asked
                return 0

    status = asyncio.run(ask())
    assert status in (0, 200)
    until(lambda: len(children(group.process.pid) - members) == 1 and num_listening(group) == 2)
    until(lambda: len(answers(group, loan)) == 1)
    assert answers(group, loan) == {(200, "9")}
    assert load(group, "10").status_code == 200
    assert answers(group, loan) == {(200, "10")}


@pytest.mark.slow
def test_a_load_waits_some_seconds_for_a_front_end_that_was_stopped_and_not_more(
    folder: Path, loan: dict[str, Any]
) -> None:
    warn = {"DEEPSEEK_LOG_LEVEL": "warning"}
    with started("--front-ends", "2", "--workers", "0", "--repository", folder, environ=warn) as group:
        before = children(group.process.pid)
        stopped, client = stop_one(group)
        started_s = time.monotonic()
        try:
            with contextlib.closing(client):
                answer = client.post(f"{MODELS}/loans/load", json={"parameters": {"version": "9"}}, timeout=15)
        finally:  # it would keep the server's log open
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGKILL)
        assert answer.status_code == 200
        assert time.monotonic() - started_s < 10
        until(lambda: len(children(group.process.pid) - before) == 1 and num_listening(group) == 2)
        until(lambda: answers(group, loan) == {(200, "9")})
        assert group.stop() == 0
        assert group.process.stderr is not None
        assert f"process {stopped} was stopped" in group.process.stderr.read()


def stop_one(group: Server) -> tuple[int, httpx.Client]:
    """Stop a front end, and a client that is connected to another."""
    while True:
        for pid in children(group.process.pid):
            client = httpx.Client(base_url=group.url)
            client.get("/v2/health/live")
            os.kill(pid, signal.SIGSTOP)
            try:
                client.get("/v2/health/live", timeout=0.5)
                return pid, client
            except httpx.TimeoutException:
                os.kill(pid, signal.SIGCONT)
                client.close()


@pytest.mark.slow
def test_a_watched_folder_is_followed_by_all_at_once(folder: Path, loans: Path, loan: dict[str, Any]) -> None:
    with started("--front-ends", "2", "--workers", "0", "--repository", folder, "--watch", "0.1") as group:
        assert answers(group, loan) == {(200, "10")}
        other_version(loans, folder / "loans" / "11", "11")
        until(lambda: answers(group, loan) == {(200, "11")})
        assert group.stop() == 0


class Member:
    """The parent's end of a channel to a front end, which answers with `opens`, or not at all where that is None."""

    def __init__(self, opens: Callable[[], Any] | None) -> None:
        self.channel, self.theirs = Channel(), Channel()
        self._sockets = socket.socketpair()
        self._opens = opens
        self.asked: list[str] = []

    async def start(self) -> list[asyncio.Task[None]]:
        ours, theirs = self._sockets
        await self.channel.connect(ours)
        listening = [asyncio.create_task(self.channel.listen())]
        if self._opens is not None:
            await self.theirs.connect(theirs)
            for what in ("open", "close"):
                self.theirs.responders[what] = partial(self._answer, what)
            listening.append(asyncio.create_task(self.theirs.listen()))
        return listening

    async def _answer(self, what: str, _: Any) -> Any:
        self.asked.append(what)
        return self._opens() if what == "open" and self._opens else None

    def kill(self) -> None:
        raise AssertionError("nobody asked for that")

    def end(self) -> None:
        for channel in (self.channel, self.theirs):
            channel.close()
        self._sockets[1].close()


def fails() -> Any:
    raise IntegrityError("a byte has changed", expected="those of its maker", fix="copy it again")


OPENED = OpenedModel("9", "sha256:1", OutputSignature("binary"))


def opened_by(*members: Member) -> Any:
    """What a group of such members says of a model that it was told to open."""

    async def run() -> Any:
        everyone = GroupDeployment()
        listening = []
        for member in members:
            listening += await member.start()
            everyone.enter(member)
        try:
            return await everyone.open(7, "loans", "9", Path("loans"))
        finally:
            for task in listening:
                task.cancel()
            for member in members:
                member.end()

    return asyncio.run(run())


def test_when_one_cannot_open_a_version_all_close_it_and_the_error_is_told_as_it_was() -> None:
    good, bad = Member(lambda: OPENED), Member(fails)
    with pytest.raises(IntegrityError, match="a byte has changed") as caught:
        opened_by(good, bad)
    assert caught.value.fix == "copy it again"
    assert good.asked == bad.asked == ["open", "close"]


def test_when_the_folder_changed_between_two_front_ends_nobody_serves_it() -> None:
    members = Member(lambda: OPENED), Member(lambda: OpenedModel("9", "sha256:2", OutputSignature("binary")))
    with pytest.raises(CheckError, match="the same version"):
        opened_by(*members)
    assert [member.asked for member in members] == [["open", "close"]] * 2


def test_one_that_died_meanwhile_does_not_count_unless_nobody_is_left() -> None:
    dead = Member(None)
    dead.end()
    assert opened_by(Member(lambda: OPENED), dead) == OPENED
    dead = Member(None)
    dead.end()
    with pytest.raises(DrainingError, match="no front end lives"):
        opened_by(dead)


def test_an_error_that_is_none_of_ours_is_told_and_whoever_asks_one_that_is_gone_hears_it() -> None:
    async def run() -> None:
        member = Member(lambda: 1 // 0)
        listening = await member.start()
        with pytest.raises(DeepseekError, match="ZeroDivisionError"):
            await member.channel.request("open")
        member.end()
        await asyncio.gather(*listening)
        with pytest.raises(PeerGoneError):
            await member.channel.request("open")

    asyncio.run(run())


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError(), RuntimeError("a bug"), None])
def test_a_front_end_stops_however_its_parent_goes(error: Exception | None) -> None:
    """A parent that is killed while it is written to leaves a broken pipe, and no end, to its reader."""
    asyncio.run(lose_parent(error))


async def lose_parent(error: Exception | None) -> None:
    """Fails unless a member notices that its parent is gone, by this error of its connection or by its end."""
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    member = GroupMember(Membership(ours.detach(), 0, 0))
    with theirs:
        await member.join(gone.set)
        if error is not None:
            member.channel._reader.set_exception(error)
        else:
            theirs.shutdown(socket.SHUT_RDWR)
        await asyncio.wait_for(gone.wait(), 20)
        assert member.channel.is_closed
        member.leave()
