"""The prediction log: what a row holds, and what becomes of it when the process dies, the disk fills or files are
many."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.contracts import AnsweredRows, Event, Flag, Prediction
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.observe.predictions.config import PredictionLogConfig
from deepseek.observe.predictions.log import PredictionLog
from deepseek.observe.predictions.segments import LARGE_PIECE_ROWS, SegmentStore, live_segments
from deepseek.serve import create_app
from support.servers.serving import serving

PREDICTION = Prediction(
    ("no", "yes"), np.array(["yes", "no"]), np.array([[0.2, 0.8], [0.9, 0.1]], np.float32),
    flags=(Flag(1, "city", "unseen"),),
)  # fmt: skip


def request(request_id: str = "order-17") -> tuple[Event, AnsweredRows]:
    fields = {"route": "/v1/models/M:predict", "method": "POST", "request_id": request_id, "digest": "abc"}
    event = Event("request", "loans", "3", 200, num_rows=2, duration_s=0.0015, queue_s=0.0005, fields=fields)
    records = [{"age": 61, "city": "Paris"}, {"age": None, "city": "Atlantis"}]
    return event, AnsweredRows(records, PREDICTION, worker_pid=7, compute_s=0.001)


def logged(folder: Path, options: str = "", num_requests: int = 1) -> list[dict[str, Any]]:
    log = PredictionLog(PredictionLogConfig.parse(f"{folder}{options}"))
    for number in range(num_requests):
        log.emit_rows(*request(f"order-{number}"))
    log.close()
    assert log.num_lost == 0
    return read(folder)


def read(folder: Path) -> list[dict[str, Any]]:
    paths = live_segments(folder.glob("*/*.parquet"))
    return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]


def wait_until(is_so: Callable[[], bool]) -> None:
    until_s = monotonic() + 60
    while not is_so():
        assert monotonic() < until_s
        sleep(0.02)


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)


def test_a_row_has_its_inputs_its_answer_and_who_computed_it(tmp_path: Path) -> None:
    first, second = logged(tmp_path)
    assert (first["request_id"], first["row"], first["model"], first["version"]) == ("order-0", 0, "loans", "3")
    assert (first["input.age"], first["input.city"], first["prediction"]) == (61.0, "Paris", "yes")
    assert first["confidence"] == pytest.approx(0.8)
    assert first["probability.no"] == pytest.approx(0.2)
    assert (first["worker"], first["status"], first["queue_s"]) == ("7", 200, 0.0005)
    assert (second["input.age"], second["flags"], second["row"]) == (None, "unseen:city", 1)


def test_hashed_inputs_stay_equal_and_are_not_told(tmp_path: Path) -> None:
    rows = logged(tmp_path, ",inputs=hashed", num_requests=2)
    cities = [row["input.city"] for row in rows]
    assert cities[0] == cities[2] != cities[1]
    assert "Paris" not in str(rows)
    assert (tmp_path / ".key").stat().st_mode & 0o077 == 0
    assert "input.city" not in logged(tmp_path / "none", ",inputs=none")[0]


def test_a_sample_is_chosen_by_the_request(tmp_path: Path) -> None:
    some = {row["request_id"] for row in logged(tmp_path / "a", ",sample=0.3", num_requests=100)}
    assert 10 < len(some) < 50
    assert some == {row["request_id"] for row in logged(tmp_path / "b", ",sample=0.3", num_requests=100)}


def test_merging_loses_no_row_and_reads_none_twice(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, "host", days=1, max_bytes=1 << 30)
    rows = logged(tmp_path / "source", num_requests=3)
    (path,) = (tmp_path / "source").glob("*/*.parquet")
    table = pq.read_table(path, partitioning=None)
    for _ in range(3):
        store.write("loans", table)
    pieces = {path: path.read_bytes() for path in (tmp_path / "loans").iterdir()}
    store.merge()
    assert len(list((tmp_path / "loans").iterdir())) == 1
    for path, data in pieces.items():  # as after a process that was killed before it removed them
        path.write_bytes(data)
    merged = [row for path in live_segments((tmp_path / "loans").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert len(merged) == 3 * len(rows)


def test_a_large_piece_between_small_ones_stays_a_file_of_its_own(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, "host", days=1, max_bytes=1 << 30)
    small, large = pa.table({"row": [0]}), pa.table({"row": np.arange(LARGE_PIECE_ROWS)})
    for table in (small, small, large, small, small):
        store.write("loans", table)
    store.merge()
    rows = [row for path in live_segments((tmp_path / "loans").iterdir()) for row in pq.read_table(path)["row"]]
    assert len(rows) == LARGE_PIECE_ROWS + 4


def test_requests_of_all_kinds_keep_their_order_and_their_own_values(tmp_path: Path) -> None:
    log = PredictionLog(PredictionLogConfig.parse(str(tmp_path)))
    event, rows = request("first")
    by_column = AnsweredRows(ColumnarRows(("age", "city"), [[5.0, 2**70], ["a\ud800", "x" * 300]]), PREDICTION)
    numbers = AnsweredRows(ColumnarRows(("age",), np.array([[1.5], [np.nan]])), PREDICTION)
    others = AnsweredRows([{"city": True, "age": 1}, {"age": [1, 2]}], PREDICTION)
    refused = Event("request", "loans", "3", 422, num_rows=2, fields={"request_id": "refused", "error": "bad_input"})
    log.emit_rows(event, rows)
    log.emit_rows(refused, AnsweredRows([{"nothing": 1}]))
    log.emit_rows(Event("request", "loans", "3", 429, fields={"request_id": "early"}), None)
    for name, each in (("columns", by_column), ("numbers", numbers), ("others", others)):
        log.emit_rows(request(name)[0], each)
    log.emit_rows(*request("last"))
    log.close()
    kept = read(tmp_path)
    names = ("first", "refused", "early", "columns", "numbers", "others", "last")
    assert [row["request_id"] for row in kept] == [name for name in names for _ in range(1 if name == "early" else 2)]
    by_id = {row["request_id"]: row for row in reversed(kept)}  # the first row of each
    assert (by_id["early"]["row"], by_id["early"]["status"]) == (None, 429)
    assert (by_id["refused"]["row"], by_id["refused"]["prediction"], by_id["refused"]["input.age"]) == (0, None, None)
    assert (by_id["columns"]["input.age"], by_id["columns"]["input.city"]) == ("5", "a?")
    assert (by_id["numbers"]["input.age"], by_id["numbers"]["prediction"]) == ("1.5", "yes")
    assert (by_id["others"]["input.city"], by_id["others"]["input.age"]) == ("true", "1")
    assert by_id["last"]["input.city"] == "Paris"


def test_requests_of_one_batch_have_their_own_part_of_its_answers(tmp_path: Path) -> None:
    shares = np.linspace(0.1, 0.4, 4, dtype=np.float32)
    batch = Prediction(("no", "yes"), np.array(["yes", "no", "no", "no"]), np.stack([1 - shares, shares], axis=1))
    log = PredictionLog(PredictionLogConfig.parse(str(tmp_path)))
    for start in (2, 0, 3, 1):
        event, _ = request(f"row-{start}")
        event.num_rows = 1
        record = {"age": 20.0 + start, "city": "Paris"} if start % 2 else {"age": 20.0 + start}
        log.emit_rows(event, AnsweredRows([record], batch, start, [Flag(0, "age", "outside")] if start == 3 else []))
    log.close()
    rows = {row["request_id"]: row for row in read(tmp_path)}
    for start, share in enumerate(shares.tolist()):
        row = rows[f"row-{start}"]
        assert row["probability.yes"] == share
        assert row["prediction"] == ("no" if start else "yes")
        assert row["flags"] == ("outside:age" if start == 3 else "")
        assert (row["input.age"], row["input.city"]) == (20.0 + start, "Paris" if start % 2 else None)


def test_files_beyond_the_bounds_are_removed_the_oldest_first(tmp_path: Path) -> None:
    logged(tmp_path / "source")
    (path,) = (tmp_path / "source").glob("*/*.parquet")
    table, size = pq.read_table(path, partitioning=None), path.stat().st_size
    store = SegmentStore(tmp_path / "log", "host", days=1, max_bytes=int(2.5 * size))
    for age_s in (300, 200, 100):
        store.write("loans", table)
        newest = max((tmp_path / "log" / "loans").iterdir(), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
        os.utime(newest, (newest.stat().st_mtime - age_s,) * 2)
    store.enforce_bounds()
    assert [path.stem.rsplit("-", 1)[1] for path in sorted((tmp_path / "log" / "loans").iterdir())] == ["1", "2"]
    ancient = next((tmp_path / "log" / "loans").iterdir())
    os.utime(ancient, (0, 0))
    store.enforce_bounds()
    assert not ancient.exists()


def test_a_full_disk_loses_rows_that_are_counted_and_says_so_once(tmp_path: Path) -> None:
    events: list[Event] = []
    log = PredictionLog(PredictionLogConfig.parse(f"{tmp_path},flush_s=0.05"), tell=events.append)
    with full_disk(100):
        for number in range(2):
            log.emit_rows(*request())
            wait_until(lambda wanted=2 * number + 2: log.num_lost == wanted)  # type: ignore[misc]
    log.emit_rows(*request("after"))
    wait_until(lambda: bool(read(tmp_path)))
    log.close()
    assert {row["request_id"] for row in read(tmp_path)} == {"after"}
    assert [event.fields["state"] for event in events] == ["rows are lost", "rows are written again"]
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


KILLED = """
import os, signal, sys, time
from pathlib import Path
from deepseek.contracts import Event
from deepseek.observe.predictions.config import PredictionLogConfig
from deepseek.observe.predictions.log import PredictionLog
folder = Path(sys.argv[1])
log = PredictionLog(PredictionLogConfig(folder, flush_s=0.1))
log.emit_rows(Event("request", "loans", "3", 500, fields={"request_id": "written"}), None)
while not list(folder.glob("*/*.parquet")):
    time.sleep(0.02)
log.emit_rows(Event("request", "loans", "3", 500, fields={"request_id": "waits"}), None)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_what_waited_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert {row["request_id"] for row in read(tmp_path)} == {"written"}


@pytest.mark.parametrize(
    "text", [",x", "log,inputs=plain", "log,sample=0", "log,days=many", "log,sampel=1", "log,gib=-1"]
)
def test_options_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"Expected: .*--prediction-log"):
        PredictionLogConfig.parse(text)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        PredictionLog(PredictionLogConfig.parse(f"{tmp_path / 'file'}"))


async def ask(url: str, example: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        body = {"instances": [example, example]}
        assert (await client.post("/v1/models/loans:predict", json=body)).status_code == 200
        refused = await client.post("/v1/models/loans:predict", json={"instances": [{"nothing": 1}]})
        assert refused.status_code == 422


def test_a_server_logs_what_it_answered_and_what_it_refused(
    runtimes: dict[str, Runtime], loan: dict[str, Any], tmp_path: Path
) -> None:
    import asyncio

    log = PredictionLog(PredictionLogConfig.parse(str(tmp_path)))

    async def run() -> None:
        async with serving(create_app(runtimes, row_sink=log)) as url:
            await ask(url, loan)

    asyncio.run(run())
    log.close()
    rows = read(tmp_path)
    assert [row["status"] for row in rows] == [200, 200, 422]
    assert rows[0]["prediction"] in ("no", "yes")
    assert {f"input.{name}" for name in loan} <= rows[0].keys()
    assert (rows[2]["prediction"], rows[2]["error"]) == (None, "bad_input")
