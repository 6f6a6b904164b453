"""The features of events as they come: a store in this process, safe on disk.

    with FeatureStore.open(Path("state"), definition) as store:   # None instead of a folder: in memory alone
        scores = store.score(events)       # reads and updates, one event after the other
        store.label(ids, fraud)            # verdicts, days later
        store.flush()                      # now all of it is on the disk: acknowledge it
        store.snapshot()                   # from time to time: opens faster, and the log begins anew

Of every event that is accepted the answer is what `compute_offline` gives to the bit, where events come in the order of
time. What comes late, but within the stated bound, is answered as of its own time, and counts for all that follow.

What `score` and `label` get is in the log before it counts. A kill of the process loses nothing of it; a loss of power
loses what is behind `synced_sequence`. So an answer is acknowledged when its `sequence` is synced: after `flush`, or
when `sync_rows` or `sync_ms` have passed.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from deepseek.errors import InputError, StorageError, TooLargeError
from deepseek.features.apply import apply_events, apply_verdicts, forget_keys
from deepseek.features.core import layout
from deepseek.features.core.run import locate_ids
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns, Longs
from deepseek.features.folder import SnapshotWork, lock_folder, newest_snapshot
from deepseek.features.log import EVENTS, VERDICTS, EventLog, encode_events, encode_verdicts, sync_folder
from deepseek.features.logged_state import LoggedState
from deepseek.features.plan import make_plan
from deepseek.features.recovery import DEFINITION, Verification, read_definition, recover, verify_folder
from deepseek.features.state import count_bytes, count_key_bytes, digest_state, empty_state, used_arrays
from deepseek.features.status import Bytes, Scores, Status

MAX_BATCH_ROWS = 2**20
VERDICT_STATUSES = (Status.ACCEPTED, Status.UNKNOWN_ID, Status.LABEL_LATE)


class FeatureStore(LoggedState):
    """The state of all keys, and what it answers. One thread at a time, but for flush(); one process a folder."""

    def __init__(self, folder: Path | None, definition: FeatureDefinition, sync_rows: int, sync_ms: float) -> None:
        super().__init__(folder)
        self.definition, self.names = definition, definition.names
        self._plan = make_plan(definition)
        self._sync_rows, self._sync_s = sync_rows, sync_ms / 1_000
        self._unsynced_rows, self._unsynced_since = 0, 0.0
        if folder is None:
            self._state = empty_state(self._plan)
            return
        self._lock = lock_folder(folder)
        try:
            _check_definition(folder, definition)
            recovered = recover(folder, definition, self._plan)
            self._state, self._sequence, file = recovered.state, recovered.sequence, recovered.last_file
            self._log = EventLog.resume(folder, file, recovered.sequence)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls, folder: Path | None, definition: FeatureDefinition, *, sync_rows: int = 256, sync_ms: float = 5.0
    ) -> FeatureStore:
        """The store of a folder, which is made where it is not there; None: in memory. What was written before counts.

        `sync_rows`, `sync_ms`: the log is brought to the disk when so many rows were written since, or so long ago, as
        the next call sees it. InputError: the folder is of another definition. StorageError: another process has it.
        IntegrityError: it is damaged.
        """
        if sync_rows < 1 or sync_ms < 0:
            raise InputError(
                f"sync_rows is {sync_rows}, sync_ms {sync_ms}", expected="1 or more, 0 or more", fix="256, 5"
            )
        return cls(folder, definition, sync_rows, sync_ms)

    @staticmethod
    def verify(folder: Path) -> Verification:
        """Whether a folder is whole, and the digest of its state. Reads it and changes nothing."""
        return verify_folder(folder)

    def score(self, events: EventColumns) -> Scores:
        """Answers at most 1,048,576 events one after the other, and keeps each: the second sees the first."""
        if len(events.keys) != len(self.definition.keys):
            raise InputError(
                f"the events have {len(events.keys)} keys", expected=f"{len(self.definition.keys)}",
                fix="make them by EventColumns.from_columns with the store's definition",
            )  # fmt: skip
        self._check_rows(len(events))
        if len(events):
            self._append(EVENTS, *encode_events(events))
        self._state, features, status = apply_events(self._plan, self._state, events)
        self._sync_when_due(len(events))
        return Scores(self.names, features, status, self._sequence)

    def label(self, ids: Longs, fraud: Longs, time: int | None = None) -> Bytes:
        """Verdicts (N,) on events by the codes of their ids: 1 is fraud, 0 takes an earlier 1 back. `time`: when they
        came, in ticks; None: with the latest event. They count from `label_delay` after their event. Gives the Status
        of each (N,)."""
        ids, fraud = np.ascontiguousarray(ids, np.int64), np.ascontiguousarray(fraud, np.int64)
        if len(ids) != len(fraud) or not np.isin(fraud, (0, 1)).all():
            raise InputError("the verdicts do not fit the ids", expected="0 or 1 for each id", fix="check their source")
        self._check_rows(len(ids))
        when = layout.NEVER if time is None else time
        if len(ids):
            self._append(VERDICTS, *encode_verdicts(ids, fraud, when))
        status = apply_verdicts(self._plan, self._state, ids, fraud, when)
        self._sync_when_due(len(ids))
        return status

    def flush(self) -> int:
        """As LoggedState.flush(): nothing is due then."""
        synced = super().flush()
        self._unsynced_rows = 0
        return synced

    def snapshot(self) -> Path | None:
        """Writes the whole state, drops the log before it, and forgets keys that no window holds any more. StorageError
        when there is no room: the log then goes on. None for a store in memory."""
        work = self._begin_snapshot(is_copy=False)
        return None if work is None else work.write()

    def start_snapshot(self) -> SnapshotWork | None:
        """The same, but what takes long is left to who calls write() of the result, in any thread, while the store goes
        on: the state is copied first, so that its memory is needed twice until then. One at a time. None for a store in
        memory."""
        return self._begin_snapshot(is_copy=True)

    def _begin_snapshot(self, *, is_copy: bool) -> SnapshotWork | None:
        forget_keys(self._plan, self._state)
        if self.folder is None:
            return None
        self._begin_log(self.folder)
        arrays = used_arrays(self._state)
        if is_copy:
            arrays = {name: array.copy() for name, array in arrays.items()}
        return SnapshotWork(self.folder, arrays, self.definition.digest, self._sequence)

    @property
    def known_numbers(self) -> range:
        """Accepted events are numbered from 0 in the order in which they came: those whose ids are still known."""
        counters = self._state.counters
        return range(int(counters[layout.TAIL]), int(counters[layout.HEAD]))

    @property
    def max_numbers(self) -> int:
        """Events whose ids there is room for now, a power of 2; it grows."""
        return len(self._state.ids)

    def times_of(self, numbers: Longs) -> Longs:
        """The times (N,) in ticks of events by their numbers, which are known."""
        times: Longs = self._state.times[numbers & (len(self._state.ids) - 1)]
        return times

    def locate(self, ids: Longs) -> Longs:
        """The number of each event (N,) by the code of its id; -1 where it is not known."""
        rows, tail = np.empty(len(ids), np.int64), self._state.counters[layout.TAIL]
        locate_ids(self._state, np.require(ids, np.int64, ["C", "W"]), rows)
        return np.where(rows < 0, -1, tail + ((rows - tail) & (len(self._state.ids) - 1)))

    @property
    def id_retention(self) -> int:
        """Ticks for which an id is known, behind the latest event."""
        return self._plan.id_retention

    @property
    def label_delay(self) -> int:
        """Ticks from an event until its verdict is out."""
        return self._plan.delay

    @property
    def watermark(self) -> int | None:
        """The time of the latest event in ticks; None before the first."""
        latest = int(self._state.counters[layout.WATERMARK])
        return None if latest == layout.NEVER else latest

    @property
    def num_keys(self) -> int:
        """Keys that something is kept of, of all kinds."""
        counters = self._state.counters
        return int(counters[layout.NUM_SLOTS] - counters[layout.NUM_FREE]) - len(self.definition.keys)

    @property
    def latest_event_s(self) -> float | None:
        """The time of the latest event, in seconds since 1970; None before the first."""
        ticks = int(self._state.counters[layout.WATERMARK])
        if ticks == layout.NEVER:
            return None
        return ticks * float(np.timedelta64(1, self.definition.time_unit) / np.timedelta64(1, "s"))

    @property
    def size_bytes(self) -> Mapping[str, int]:
        """The memory of the state: of `keys` with their events, of known `ids`, of kept `answers`, `total`."""
        return count_bytes(self._state)

    def count_key_bytes(self) -> Mapping[str, int]:
        """The memory of each kind of key, by its name: records, places in the table, events in its windows."""
        return dict(zip(self.definition.keys, count_key_bytes(self._plan, self._state), strict=True))

    @property
    def digest(self) -> str:
        """SHA-256 of the state, as `verify` gives it."""
        return digest_state(self._plan, self._state)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events had which Status, by its name in small letters; of verdicts as "label_" and the name."""
        counters = self._state.counters[layout.NUM_COUNTERS :].tolist()
        events = {status.name.lower(): counters[status] for status in list(Status)[: Status.UNKNOWN_ID]}
        labels = {f"label_{one.name.lower()}": counters[layout.NUM_STATUSES + one] for one in VERDICT_STATUSES}
        return MappingProxyType({**events, **labels})

    def _sync_when_due(self, num_rows: int) -> None:
        if self._log is None or not num_rows:
            return
        now = clock.monotonic()
        if not self._unsynced_rows:
            self._unsynced_since = now
        self._unsynced_rows += num_rows
        if self._unsynced_rows >= self._sync_rows or now - self._unsynced_since >= self._sync_s:
            self.flush()

    def _check_rows(self, num_rows: int) -> None:
        if num_rows > MAX_BATCH_ROWS:
            raise TooLargeError(f"{num_rows} rows at once", expected=f"at most {MAX_BATCH_ROWS}", fix="send parts")


def _check_definition(folder: Path, definition: FeatureDefinition) -> None:
    """Writes the definition into a new folder; InputError where the folder has another."""
    path = folder / DEFINITION
    if not path.exists():
        if newest_snapshot(folder) is not None or any(folder.glob("log-*.bin")):
            read_definition(folder)  # says that it is missing
        draft = folder / f".{DEFINITION}.part"
        try:
            draft.write_text(definition.to_toml(), "utf-8")
            draft.replace(path)
            sync_folder(folder)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror}", expected="room on the disk", fix="make room"
            ) from error
    known = read_definition(folder)
    if known.digest != definition.digest:
        raise InputError(
            f"{folder} is of another definition of features, {known.digest[:12]}", expected=definition.digest[:12],
            fix=f"open it with its own {DEFINITION}, or begin a new folder",
        )  # fmt: skip
