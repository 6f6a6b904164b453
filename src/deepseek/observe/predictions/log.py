"""The prediction log as a RowSink: rows wait in memory for `flush_s`, then a file of them appears.

A request leaves its figures and the bytes of its values (requests.py): columns are made of a thousand rows at once, in
a thread of its own, which writes them too. What a killed process loses are the rows of the last `flush_s` seconds. A
disk that takes no more loses rows, which are counted; predictions go on. `close` writes what waits.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic, time
from typing import TYPE_CHECKING

from deepseek.contracts import AnsweredRows, Event
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.observe.lines import LineWriter
from deepseek.observe.predictions.config import PredictionLogConfig
from deepseek.observe.predictions.requests import LoggedRequest, keep_request
from deepseek.observe.predictions.rows import RowFormat, requests_to_table
from deepseek.observe.predictions.segments import SegmentStore, concat_tables, read_key
from deepseek.observe.predictions.selection import is_selected

if TYPE_CHECKING:
    import pyarrow as pa

MAX_WAITING_ROWS = 200_000  # beyond it rows are lost: the disk is slower than the answers
ROWS_PER_TABLE = 1_024
ROWS_PER_FILE = 50_000  # as many are written before their time
MAX_INTERVAL_S = 0.5  # between two looks for rows that wait
MAX_FILE_BYTES = 32 << 20  # of files that wait to be measured: of further ones the log keeps their size alone
GIB = 1 << 30


class PredictionLog:
    """Writes every request to a model, with its rows."""

    def __init__(self, config: PredictionLogConfig, *, tell: Callable[[Event], None] = lambda _: None) -> None:
        """`tell` is called when rows begin to be lost and when they are written again. InputError for a folder that
        cannot be written, ExtraError without pyarrow."""
        need("pyarrow", extra="tabular")
        self._config, self._tell = config, tell
        host = socket.gethostname()
        try:
            self._store = SegmentStore(config.folder, host, days=config.days, max_bytes=round(config.gib * GIB))
            key = read_key(config.folder) if config.inputs == "hashed" else b""
        except OSError as error:
            raise InputError(
                f"the prediction log {config.folder} cannot be written: {error.strerror}",
                expected="a folder that may be made and written", fix="name another folder, or mend its rights",
            ) from error  # fmt: skip
        self._form = RowFormat(host, config.inputs, config.sample, key)
        # Once before the first request: pyarrow's first array imports pandas where there is one, which takes a second.
        requests_to_table([keep_request(Event("request"), None, 0.0, keeps_inputs=False)], self._form)
        self._share, self._keeps_inputs = config.sample, config.inputs != "none"
        self._measures_files = config.inputs == "values"
        self._num_file_bytes = 0  # of files that wait to be measured
        self._lock = Lock()  # of that number
        self._requests: deque[LoggedRequest] = deque()  # without columns yet
        self._tables: dict[str, list[pa.Table]] = {}  # not written yet, by model
        self._oldest_s = 0.0  # when the first row that waits was seen
        self._num_tabled = 0  # rows of tables
        self._num_taken = self._num_handled = 0  # rows; each changed by one thread
        self._num_dropped = self._num_failed = 0  # rows that are lost, as above
        self._is_failing = False
        self._writer: LineWriter[LoggedRequest] = LineWriter(
            len, name="prediction-log", gather=self._tick, interval_s=min(MAX_INTERVAL_S, config.flush_s / 2)
        )

    @property
    def num_lost(self) -> int:
        """Rows that had no room, and rows that the disk did not take."""
        return self._num_dropped + self._num_failed

    def emit_rows(self, event: Event, rows: AnsweredRows | None) -> None:
        if self._share < 1 and not is_selected(event.fields.get("request_id", ""), self._share):
            return
        num_rows = event.num_rows or 1
        if self._num_taken - self._num_handled + num_rows > MAX_WAITING_ROWS:
            self._num_dropped += num_rows
            return
        self._num_taken += num_rows
        keeps_files = self._measures_files and self._num_file_bytes < MAX_FILE_BYTES
        kept = keep_request(event, rows, time(), keeps_inputs=self._keeps_inputs, keeps_files=keeps_files)
        if kept.files:
            with self._lock:
                self._num_file_bytes += kept.num_file_bytes
        self._requests.append(kept)

    def close(self) -> None:
        """Write what waits, and make one file of this process's last ones."""
        self._writer.close()
        self._flush()
        with contextlib.suppress(OSError):  # the pieces stand as they are
            self._store.merge()

    def _tick(self) -> None:
        """Make columns once there are many rows, and write them when it is time."""
        num_waiting = self._num_taken - self._num_handled
        if not num_waiting:
            return
        if not self._oldest_s:
            self._oldest_s = monotonic()
        while self._num_taken - self._num_handled - self._num_tabled >= ROWS_PER_TABLE:
            self._make_tables()
            if self._num_tabled >= ROWS_PER_FILE:
                self._flush()
        if monotonic() - self._oldest_s >= self._config.flush_s:
            self._flush()

    def _make_tables(self) -> None:
        """Make columns of some of the rows that came: not of all together, which would hold Python's lock for long."""
        by_model: dict[str, list[LoggedRequest]] = {}
        num_rows = 0
        while self._requests and num_rows < ROWS_PER_TABLE:
            request = self._requests.popleft()
            num_rows += request.num_rows
            if request.files:
                with self._lock:
                    self._num_file_bytes -= request.num_file_bytes
            by_model.setdefault(request.model, []).append(request)
        for model, requests in by_model.items():
            self._tables.setdefault(model, []).append(requests_to_table(requests, self._form))
        self._num_tabled += num_rows

    def _flush(self) -> None:
        """Write a file for each model. Rows that the disk does not take are lost, and counted."""
        while self._requests:
            self._make_tables()
        tables, self._tables = self._tables, {}
        write_error: OSError | None = None
        for model, pieces in tables.items():
            table = concat_tables(pieces)
            try:
                self._store.write(model, table)
            except OSError as error:
                write_error = error
                self._num_failed += table.num_rows
        self._num_handled += self._num_tabled
        self._num_tabled, self._oldest_s = 0, 0.0
        if tables:
            self._report(write_error)
            with contextlib.suppress(OSError):  # tried again after the next piece
                self._store.merge_many()
                self._store.enforce_bounds()

    def _report(self, write_error: OSError | None) -> None:
        """Tell once when rows begin to be lost, and once when they are written again."""
        fields: dict[str, object] = {"prediction_log": str(self._config.folder), "num_lost": self.num_lost}
        if write_error is not None and not self._is_failing:
            reason = write_error.strerror or str(write_error)
            self._tell(Event("server", fields=fields | {"state": "rows are lost", "error": reason}))
        elif write_error is None and self._is_failing:
            self._tell(Event("server", fields=fields | {"state": "rows are written again"}))
        self._is_failing = write_error is not None
