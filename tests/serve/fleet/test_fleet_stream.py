"""`deepseek stream` and `deepseek serve` of machines: lines, frames, Redis, HTTP; killed, and gone on with."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.cli import main
from deepseek.features.machines.blocks import Block, encode_block
from deepseek.features.machines.fleet import FleetStore
from support.machines.engines import sensor_rows
from support.machines.streams import fill, free_port, read_answers, running, server_words

SCORE = "/v1/models/engines:score"


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "deepseek", "stream", *map(str, words)]


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return sensor_rows(3, seed=5)


def test_lines_are_answered_by_lines_and_the_page_has_each_machine(
    engines: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    page = tmp_path / "fleet.html"
    words = command(engines, "--state", tmp_path / "state", "--html", page)
    run = subprocess.run(words, input=lines(rows), capture_output=True, timeout=120, check=True)
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(each["unit"], each["time"]) for each in told] == [(row["machine"], row["hour"]) for row in rows]
    assert all(each["low"] <= each["rul"] <= each["high"] for each in told)
    last = {each["unit"]: each["rul"] for each in told}
    text = page.read_text("utf-8")
    places = [text.index(f">{name}<") for name in sorted(last, key=last.__getitem__)]
    assert places == sorted(places)
    assert len(page.read_bytes()) < 2_000_000
    assert main(["stream", "--verify", str(tmp_path / "state"), "--json"]) == 0


@pytest.mark.slow
def test_frames_carry_blocks_of_vibration_beside_rows(
    engines: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The model reads no feature of these axes: the block is refused in words, the rows are answered."""
    block = encode_block(Block("M01", 1.0, ("h",), 25_600.0, np.zeros((1, 2_560), np.int16)))
    messages = [json.dumps(rows[0]).encode(), block, json.dumps(rows[1]).encode()]
    data = b"".join(struct.pack("<I", len(message)) + message for message in messages)
    words = command(engines, "--state", tmp_path / "state", "--from", "frames:-")
    run = subprocess.run(words, input=data, capture_output=True, timeout=120, check=True)
    assert [json.loads(line)["status"] for line in run.stdout.splitlines()] == ["accepted", "bad_input", "accepted"]
    broken = subprocess.run(words, input=b"\xff\xff\xff\xff", capture_output=True, timeout=120, check=False)
    assert broken.returncode == 2
    assert b"4,294,967,295 bytes" in broken.stderr


def test_what_does_not_go_with_machines_is_bad_usage(engines: Path, tmp_path: Path) -> None:
    assert main(["stream", str(engines), "--replay", "rows.csv"]) == 2
    assert main(["stream", str(engines), "--state", str(tmp_path / "s"), "--speed", "3"]) == 2
    assert main(["stream", "--verify", str(tmp_path)]) == 3


@pytest.mark.slow
def test_a_server_takes_raw_rows_in_each_form(
    engines: Path, rows: list[dict[str, Any]], start: Any, tmp_path: Path
) -> None:
    with start(engines, "--state", tmp_path / "state", "--workers", "0") as server:
        single = httpx.post(server.url + SCORE, json=rows[0]).json()
        array = httpx.post(server.url + SCORE, json=rows[1:3]).json()
        instances = httpx.post(server.url + SCORE, json={"instances": rows[3:5]}).json()["predictions"]
        head = {"content-type": "application/x-ndjson"}
        told = httpx.post(server.url + SCORE, content=lines(rows[5:8]), headers=head).text.splitlines()
        streamed = httpx.post(server.url + SCORE, content=iter([lines(rows[8:10])]), headers=head).text.splitlines()
        answers = [single, *array, *instances, *map(json.loads, told), *map(json.loads, streamed)]
        assert [(each["unit"], each["status"]) for each in answers] == [
            (row["machine"], "accepted") for row in rows[:10]
        ]
        again = httpx.post(server.url + SCORE, json=rows[0]).json()
        assert again == {**single, "status": "duplicate"}
        block = httpx.post(server.url + SCORE, content=b"dsWB", headers={"content-type": "application/octet-stream"})
        assert block.json()["status"] == "bad_input"
        assert httpx.post(server.url + SCORE, json={"hour": 1}).status_code in (400, 422)
        paths = httpx.get(server.url + "/openapi.json").json()["paths"]
        assert SCORE in paths
        assert server.stop() == 0
    assert FleetStore.verify(tmp_path / "state").num_events == 10


@pytest.mark.slow
def test_what_a_server_has_answered_outlives_its_kill(
    engines: Path, rows: list[dict[str, Any]], start: Any, tmp_path: Path
) -> None:
    told = []
    with start(engines, "--state", tmp_path / "state", "--workers", "0") as server:
        for row in rows[:40]:
            told.append(httpx.post(server.url + SCORE, json=row).json())
        server.process.kill()
        server.process.wait()
    with start(engines, "--state", tmp_path / "state", "--workers", "0") as server:
        again = httpx.post(server.url + SCORE, json=rows[:60]).json()
        assert again[:40] == [{**each, "status": "duplicate"} for each in told]
        assert {each["status"] for each in again[40:]} == {"accepted"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_stream_that_is_killed_again_and_again_answers_each_row_once_and_as_if_it_had_not_been(
    engines: Path, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip(kind)
    if shutil.which(f"{kind}-server") is None:
        pytest.skip(f"{kind}-server is not installed")
    rows = sensor_rows(12, seed=6)
    quiet = subprocess.run(
        command(engines, "--state", tmp_path / "quiet"), input=lines(rows), capture_output=True, timeout=300, check=True
    )
    port = free_port()
    url = f"{kind}://127.0.0.1:{port}"
    stream = command(
        engines, "--state", tmp_path / "state", "--from", f"{url}/payments", "--to", f"{url}/answers",
        "--stop-when-idle", "3", "--json",
    )  # fmt: skip
    with running(server_words(kind, port, tmp_path), port):
        asyncio.run(fill(kind, url, rows[:900]))
        for number in (1, 300, 600):
            process = subprocess.Popen(stream, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            end_s = time.monotonic() + 120
            while len(asyncio.run(read_answers(kind, url))) < number:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end_s
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        asyncio.run(fill(kind, url, rows[900:]))
        last = subprocess.run(stream, capture_output=True, timeout=300, check=True)
        assert json.loads(last.stdout)["fleet"]["num_machines"] == 12
        answers = asyncio.run(read_answers(kind, url))
    expected = [json.loads(line) for line in quiet.stdout.splitlines()]
    assert {each["status"] for each in answers} <= {"accepted", "duplicate"}
    watched = ("unit", "time", "rul", "low", "high", "alarm")
    assert [[each[name] for name in watched] for each in answers] == [
        [each[name] for name in watched] for each in expected
    ]
    assert FleetStore.verify(tmp_path / "state").num_events == len(rows)
