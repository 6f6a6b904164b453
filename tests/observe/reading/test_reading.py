"""Logs as they are: broken lines, other names, no time, clocks apart, labels of unknown requests, more than memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.errors import InputError, MissingError
from deepseek.observe.reading.clocks import set_clocks_right
from deepseek.observe.reading.labels import join_labels
from deepseek.observe.reading.tables import Logs, ReadLimits, open_logs
from deepseek.observe.reading.words import reading_words

pytest.importorskip("duckdb")
START_S = 1_767_225_600  # 2026-01-01


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def ecs_line(second: int, **more: Any) -> dict[str, Any]:
    return {
        "@timestamp": f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000Z", "event.duration": 2_000_000,
        "http.request.id": f"r{second}", "http.response.status_code": 200, "user.name": "bank",
        "deepseek": {"model.name": "loans", "model.version": "3"},
    } | more  # fmt: skip


def rows_of(logs: Logs, columns: str) -> list[tuple[Any, ...]]:
    return list(logs.query(f"SELECT {columns} FROM rows ORDER BY time"))


def test_lines_of_the_server_get_common_names(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "access.ndjson", [ecs_line(1), ecs_line(2, upstream={"address": "a"})])
    with open_logs([path], ReadLimits()) as logs:
        assert rows_of(logs, "time, request_id, status, duration_s, client, model, version") == [
            (START_S + 1.0, "r1", 200.0, 0.002, "bank", "loans", "3"),
            (START_S + 2.0, "r2", 200.0, 0.002, "bank", "loans", "3"),
        ]
        assert rows_of(logs, '"upstream.address"') == [(None,), ("a",)]


def test_broken_lines_and_lines_without_a_time_are_passed_over_and_counted(tmp_path: Path) -> None:
    lines = [ecs_line(1), "broken {\n", "[1, 2]\n", '"text"\n', {"message": "no time"}, '{"@timestamp": "2026-01-0']
    with open_logs([write_lines(tmp_path / "a.log", lines)], ReadLimits()) as logs:
        assert (logs.notes.num_rows, logs.notes.num_broken, logs.notes.num_without_time) == (1, 4, 1)
        assert "4 broken lines" in reading_words(logs.notes)[0].en


def test_numbers_and_zones_of_times_are_understood(tmp_path: Path) -> None:
    for number, time in enumerate(
        ["2026-01-01T02:00:01+02:00", START_S + 1, (START_S + 1) * 1_000, "2026-01-01 00:00:01"]
    ):
        path = write_lines(tmp_path / f"{number}.ndjson", [{"ts": time, "status": 200}])
        with open_logs([path], ReadLimits()) as logs:
            assert rows_of(logs, "time") == [(START_S + 1.0,)]


def test_a_log_without_a_time_says_which_columns_it_has(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.ndjson", [{"when": "2026-01-01T00:00:01Z", "status": 200}])
    with pytest.raises(InputError, match=r"when, status.*--time-column"):
        open_logs([path], ReadLimits())
    with open_logs([path], ReadLimits(), time_column="when") as logs:
        assert logs.notes.num_rows == 1
    unreadable = write_lines(tmp_path / "b.ndjson", [{"time": "yesterday"}])
    with pytest.raises(InputError, match="1 have no time"):
        open_logs([unreadable], ReadLimits())


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        open_logs([tmp_path / "nothing"], ReadLimits())
    with pytest.raises(InputError, match="no log in"):
        open_logs([tmp_path], ReadLimits())
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"PAR1 and then it broke off")
    with pytest.raises(InputError, match="break off"):
        open_logs([broken], ReadLimits())
    with pytest.raises(InputError, match="none of its first lines"):
        open_logs([write_lines(tmp_path / "a.ndjson", ["no json\n"])], ReadLimits())


def test_files_of_another_version_and_files_that_break_off_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    old = {"time": [START_S], "request_id": ["a"], "status": [200]}
    pq.write_table(pa.table(old), tmp_path / "old.parquet")
    pq.write_table(pa.table(old | {"host": ["n1"], "input.age": ["x"]}), tmp_path / "new.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "new.parquet").read_bytes()[:-9])
    with open_logs([tmp_path], ReadLimits()) as logs:
        assert sorted(rows_of(logs, "COALESCE(host, ''), COALESCE(\"input.age\", '')")) == [("", ""), ("n1", "x")]
        assert logs.notes.broken_files == [str(tmp_path / "cut.parquet")]


def test_lines_bring_predictions_what_they_lack(tmp_path: Path) -> None:
    predictions = {"time": [START_S + 1] * 2, "request_id": ["r1"] * 2, "row": [0, 1], "status": [200] * 2}
    pq.write_table(pa.table(predictions), tmp_path / "a.parquet")
    write_lines(tmp_path / "a.ndjson", [ecs_line(1, upstream="b"), ecs_line(2, upstream="c")])
    with open_logs([tmp_path], ReadLimits()) as logs:
        rows = sorted(rows_of(logs, "request_id, row, upstream"))
        assert rows == [("r1", 0, "b"), ("r1", 1, "b"), ("r2", None, "c")]


@pytest.mark.parametrize("offset_s", [-1_500, 3_600])
def test_a_host_whose_clock_is_apart_is_moved_and_named(tmp_path: Path, offset_s: int) -> None:
    rows = [
        {"time": START_S + 10 * number + (offset_s if host == "n2" else 0), "host": host, "status": 200}
        for number in range(60)
        for host in ("n1", "n2", "n3", "n4")
    ]
    late = [{"time": START_S + 10 * number, "host": "began-late", "status": 200} for number in range(5, 60)]
    with open_logs([write_lines(tmp_path / "a.ndjson", rows + late)], ReadLimits()) as logs:
        set_clocks_right(logs)
        assert logs.notes.clock_offsets_s == {"n2": offset_s}
        assert rows_of(logs, "time") == sorted(rows_of(logs, "time"))
        ends = logs.query("SELECT DISTINCT min(time) OVER (PARTITION BY host) FROM rows WHERE host <> 'began-late'")
        assert ends == [(float(START_S),)]
        assert ("ahead of" if offset_s > 0 else "behind") in reading_words(logs.notes)[0].en


def test_labels_are_joined_by_request_and_row_and_unknown_ones_counted(tmp_path: Path) -> None:
    predictions = {"time": [START_S] * 3, "request_id": ["a", "a", "b"], "row": [0, 1, 0], "prediction": ["x"] * 3}
    pq.write_table(pa.table(predictions), tmp_path / "a.parquet")
    labels = tmp_path / "labels.csv"
    labels.write_text("request_id,row,label\na,1,y\na,0,x\na,0,y\nnobody,0,x\n")
    with open_logs([tmp_path / "a.parquet"], ReadLimits()) as logs:
        join_labels(logs, labels)
        assert sorted(rows_of(logs, "request_id, row, label"), key=str) == [
            ("a", 0, "y"),
            ("a", 1, "y"),
            ("b", 0, None),
        ]
        assert (logs.notes.num_labels, logs.notes.num_unknown_labels) == (3, 1)
        assert "1 of 3 labels" in reading_words(logs.notes)[0].en
        (tmp_path / "bad.csv").write_text("id,label\n1,2\n")
        with pytest.raises(InputError, match="request_id, label"):
            join_labels(logs, tmp_path / "bad.csv")
        with pytest.raises(MissingError):
            join_labels(logs, tmp_path / "none.csv")


def test_of_a_very_long_log_a_stated_share_is_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.ndjson", [ecs_line(number % 3_000) for number in range(4_000)])
    with open_logs([path], ReadLimits(memory_mib=64, line_bytes=path.stat().st_size // 4)) as logs:
        assert 500 < logs.notes.num_rows < 1_500
        assert "of its lines were read" in reading_words(logs.notes)[0].en


def test_a_log_that_does_not_fit_into_memory_says_what_to_allow(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.ndjson", [ecs_line(1)])
    with (
        open_logs([path], ReadLimits(memory_mib=64)) as logs,
        pytest.raises(InputError, match=r"cannot be read in 64 MiB.*--memory"),
    ):
        logs.query("SELECT string_agg(repeat('x', 1000000) || i, '') FROM range(10000) r(i)")


def test_nothing_is_printed_while_a_long_log_is_read(tmp_path: Path) -> None:
    with open_logs([write_lines(tmp_path / "a.ndjson", [ecs_line(1)])], ReadLimits()) as logs:
        assert logs.query("SELECT current_setting('enable_progress_bar')") == [(False,)]
