"""The state of a fleet in a folder: what came is in the log before it counts, so that a killed process loses nothing.

    with FleetStore.open(folder, definition, rule) as store:
        store.pending                              # rows that a killed process had taken, and not answered
        rows = store.take(units, times, values)    # logged, then counted
        store.answer(lives, lines)                 # logged as well: who sends the same row again gets this line
        store.flush()                              # on the disk: acknowledge them
        store.start_snapshot().write()             # from time to time: the log begins anew

Rows and what was answered to them are two records, one behind the other. Where the second is missing, the process was
killed between them: the rows count, nobody was answered, and whoever opens the folder answers `pending` first.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import DeepseekError, InputError, IntegrityError, MissingError, StorageError
from deepseek.features.folder import SnapshotWork, lock_folder, newest_snapshot, read_arrays
from deepseek.features.log import EventLog, Frame, LogFile, read_logs, sync_folder
from deepseek.features.logged_state import LoggedState
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.history import HOUR_MS
from deepseek.features.machines.state import FleetState, FleetUpdate, Places
from deepseek.features.machines.warning import WARNING_FILE, WarningRule

UNITS_FILE = "windows.json"  # in the folder of a state: the definition that it is of
ROWS, ANSWERS, RESETS, RESTARTS = 3, 4, 5, 6  # kinds of records; 1 and 2 are those of events
KEPT_ANSWERS = 8_192  # of the fleet, the latest: more than one batch of messages comes again after a break
COUNTS = struct.Struct("<II")


@dataclass(frozen=True, slots=True, eq=False)
class TakenRows:
    """N rows that count, and wait for their answer."""

    slots: Places  # (N,)
    times: Float64  # (N,)
    update: FleetUpdate


@dataclass(frozen=True, slots=True)
class FleetVerification:
    """What `FleetStore.verify` says. `ok` where `problems` is empty."""

    ok: bool
    problems: tuple[str, ...]
    definition: str = ""  # digest
    sequence: int = 0  # the last whole record
    num_events: int = 0  # rows that were taken, ever
    num_machines: int = 0
    digest: str = ""  # of the state
    cut_bytes: int = 0  # of a last record that was not whole, never acknowledged


class FleetStore(LoggedState):
    """One thread at a time, but for flush(); one process a folder."""

    def __init__(self, folder: Path | None, definition: WindowDefinition, rule: WarningRule | None) -> None:
        super().__init__(folder)
        self.definition, self.rule = definition, rule
        self.digest = digest_of(definition, rule)
        self.state = FleetState(definition, rule)
        self.pending: TakenRows | None = None
        self._answers: OrderedDict[tuple[int, float], bytes] = OrderedDict()
        if folder is None:
            return
        self._lock = lock_folder(folder)
        try:
            _keep_definition(folder, definition, rule)
            last_file = self._recover(folder)
            self._log = EventLog.resume(folder, last_file, self._sequence)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, folder: Path | None, definition: WindowDefinition, rule: WarningRule | None) -> FleetStore:
        """The state in a folder, which is made where it is not there; None: in memory alone. InputError: the folder is
        of other windows or another rule. StorageError: another process has it. IntegrityError: it is damaged."""
        return cls(folder, definition, rule)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows that were taken, ever."""
        return {"accepted": self.state.num_rows}

    @property
    def num_keys(self) -> int:
        """Machines."""
        return len(self.state)

    @property
    def size_bytes(self) -> Mapping[str, int]:
        """The memory of the state."""
        return {"total": sum(array.nbytes for array in self.state.arrays.values())}

    @property
    def latest_event_s(self) -> float | None:
        """The time of the latest row, in seconds since 1970; None where times are no dates."""
        is_known = self.definition.is_dated and np.isfinite(self.state.latest_time)
        return self.state.latest_time * HOUR_MS / 1e3 if is_known else None

    def take(self, units: Sequence[str], times: Float64, values: Float64) -> TakenRows:
        """Takes N rows: each later than what its machine has sent before. values (N, S), NaN where missing. They must
        be answered before the next are taken."""
        if self.pending is not None:
            raise StorageError(
                "rows were taken and not answered", expected="an answer to each", fix="call answer() first"
            )
        new = [name for name in dict.fromkeys(units) if name not in self.state.slot_of]
        slot_of = {name: len(self.state) + place for place, name in enumerate(new)}
        slots = np.array([slot_of[name] if name in slot_of else self.state.slot_of[name] for name in units], np.int64)
        self._append(ROWS, *_encode_rows(new, slots, times, values))
        return self._take(new, slots, times, values)

    def answer(self, lives: Float64, lines: Sequence[bytes]) -> None:
        """What the rows that were taken are told: remaining life, low and high (N, 3), and the line that is sent, which
        holds no line feed."""
        rows = self._pending()
        self._append(ANSWERS, *_encode_answers(lives, lines))
        self._keep(rows, lives, lines)

    def answer_of(self, unit: str, time: float) -> bytes | None:
        """The line that was sent for a row; None where it was not, or longer ago than answers are kept."""
        slot = self.state.slot_of.get(unit)
        return None if slot is None else self._answers.get((slot, time))

    def last_time(self, unit: str) -> float:
        """Of a machine's latest row; -inf before the first."""
        slot = self.state.slot_of.get(unit)
        is_new = slot is None or not self.state.arrays["age"][slot]
        return -np.inf if is_new else float(self.state.arrays["last_time"][slot])

    def reset(self, unit: str) -> bool:
        """Ends the latched alarm of a machine, as a person asks for who has looked at it. False for one that is not
        known."""
        slot = self.state.slot_of.get(unit)
        if slot is None:
            return False
        self._append(RESETS, np.array([slot], np.int64).tobytes())
        self.state.tracker.reset(self.state.arrays, np.array([slot]))
        return True

    def restart(self, unit: str) -> bool:
        """Forgets all that a machine has sent, as a person asks for who has repaired it or set its clock: its next row
        is its first. False for one that is not known."""
        slot = self.state.slot_of.get(unit)
        if slot is None:
            return False
        self._append(RESTARTS, np.array([slot], np.int64).tobytes())
        self._restart(np.array([slot]))
        return True

    def start_snapshot(self) -> SnapshotWork | None:
        """A copy of the state, to be written by any thread while the store goes on; the log begins anew. None for a
        store in memory, and while rows wait for their answer: it is the log that holds them."""
        if self.folder is None or self.pending is not None:
            return None
        self._begin_log(self.folder)
        return SnapshotWork(self.folder, self._export(), self.digest, self._sequence)

    @staticmethod
    def verify(folder: Path) -> FleetVerification:
        """Reads all that a folder holds, as open() would, and changes nothing."""
        store = None
        try:
            store = FleetStore(None, *_read_definition(folder))
            last_file = store._recover(folder)
        except DeepseekError as error:
            return FleetVerification(ok=False, problems=(str(error),))
        hashed = hashlib.sha256()
        for name, array in sorted(store._export().items()):
            hashed.update(name.encode() + np.ascontiguousarray(array).tobytes())
        number = len(store.state)
        return FleetVerification(
            ok=True, problems=(), definition=store.digest, sequence=store.sequence, num_machines=number,
            num_events=store.state.num_rows, digest=hashed.hexdigest(),
            cut_bytes=0 if last_file is None else last_file.size_bytes - last_file.whole_bytes,
        )  # fmt: skip

    def _recover(self, folder: Path) -> LogFile | None:
        """Reads snapshot and log; the file that the log goes on in."""
        if (snapshot := newest_snapshot(folder)) is not None:
            stored = read_arrays(snapshot, self.digest)
            self._sequence = stored.sequence
            self.state.restore(stored.arrays)
            self._restore_answers(stored.arrays)
        last_file = None
        for last_file in read_logs(folder, self._sequence + 1):
            for frame in last_file.frames:
                if frame.sequence > self._sequence:
                    self._replay(frame)
                    self._sequence = frame.sequence
        return last_file

    def _replay(self, frame: Frame) -> None:
        if frame.kind == ROWS:
            self._take(*_decode_rows(frame.payload, len(self.definition.sensors)))
        elif frame.kind == ANSWERS:
            self._keep(self._pending(), *_decode_answers(frame.payload))
        elif frame.kind == RESETS:
            self.state.tracker.reset(self.state.arrays, np.frombuffer(frame.payload, np.int64))
        elif frame.kind == RESTARTS:
            self._restart(np.frombuffer(frame.payload, np.int64))
        else:
            raise IntegrityError(
                f"record {frame.sequence} of the log has the kind {frame.kind}",
                expected="rows, answers, resets or restarts", fix="use the version of this package that wrote it",
            )  # fmt: skip

    def _take(self, new: Sequence[str], slots: Places, times: Float64, values: Float64) -> TakenRows:
        self.state.add(new)
        self.pending = TakenRows(slots, times, self.state.advance(slots, times, values))
        return self.pending

    def _restart(self, slots: Places) -> None:
        self.state.restart(slots)
        for key in [key for key in self._answers if key[0] in slots]:
            del self._answers[key]

    def _keep(self, rows: TakenRows, lives: Float64, lines: Sequence[bytes]) -> None:
        self.state.keep_answers(rows.slots, rows.times, lives)
        self._answers.update(zip(zip(rows.slots.tolist(), rows.times.tolist(), strict=True), lines, strict=True))
        while len(self._answers) > KEPT_ANSWERS:
            self._answers.popitem(last=False)
        self.pending = None

    def _pending(self) -> TakenRows:
        if self.pending is None:
            raise IntegrityError("an answer has no rows", expected="rows before it", fix="bring the log's file back")
        return self.pending

    def _export(self) -> dict[str, NDArray[Any]]:
        keys = list(self._answers)
        lines = b"\n".join(self._answers.values())
        return self.state.export() | {
            "answers.slots": np.array([slot for slot, _ in keys], np.int64),
            "answers.times": np.array([time for _, time in keys], np.float64),
            "answers.lines": np.frombuffer(lines, np.uint8).copy(),
        }

    def _restore_answers(self, arrays: Any) -> None:
        keys = zip(arrays["answers.slots"].tolist(), arrays["answers.times"].tolist(), strict=True)
        lines = arrays["answers.lines"].tobytes()
        self._answers.update(zip(keys, lines.split(b"\n") if lines else [], strict=True))


def digest_of(definition: WindowDefinition, rule: WarningRule | None) -> str:
    """Of what a state is of: the windows, and where alarms begin and end."""
    written = WindowDefinition.from_json(definition.to_json(), UNITS_FILE)  # as it is read again: 9 is 9.0
    known = None if rule is None else WarningRule.from_json(rule.to_json(), WARNING_FILE)
    return hashlib.sha256(written.to_json() + (b"" if known is None else known.to_json())).hexdigest()


def is_fleet(folder: Path) -> bool:
    """Whether a folder holds the state of a fleet."""
    return (folder / UNITS_FILE).is_file()


def _encode_rows(new: Sequence[str], slots: Places, times: Float64, values: Float64) -> tuple[bytes, ...]:
    names = "\0".join(new).encode()
    return (
        COUNTS.pack(len(slots), len(names)), names, slots.astype(np.int32).tobytes(), times.tobytes(),
        np.ascontiguousarray(values).tobytes(),
    )  # fmt: skip


def _decode_rows(payload: bytes, num_sensors: int) -> tuple[list[str], Places, Float64, Float64]:
    number, num_bytes = COUNTS.unpack_from(payload)
    place = COUNTS.size + num_bytes
    if len(payload) != place + number * (12 + 8 * num_sensors):
        raise IntegrityError(
            "rows of the log have other sensors", expected=f"{num_sensors} sensors", fix="check the folder"
        )
    names = payload[COUNTS.size : place].decode()
    slots = np.frombuffer(payload, np.int32, number, place).astype(np.int64)
    times = np.frombuffer(payload, np.float64, number, place + 4 * number)
    values = np.frombuffer(payload, np.float64, number * num_sensors, place + 12 * number)
    return names.split("\0") if names else [], slots, times, values.reshape(number, num_sensors)


def _encode_answers(lives: Float64, lines: Sequence[bytes]) -> tuple[bytes, ...]:
    return (COUNTS.pack(len(lines), 0), np.ascontiguousarray(lives, np.float64).tobytes(), b"\n".join(lines))


def _decode_answers(payload: bytes) -> tuple[Float64, list[bytes]]:
    number, _ = COUNTS.unpack_from(payload)
    lives = np.frombuffer(payload, np.float64, 3 * number, COUNTS.size).reshape(number, 3)
    return lives, payload[COUNTS.size + 24 * number :].split(b"\n")


def _keep_definition(folder: Path, definition: WindowDefinition, rule: WarningRule | None) -> None:
    """Writes definition and rule into a new folder; InputError where the folder is of others."""
    if not is_fleet(folder):
        if newest_snapshot(folder) is not None or any(folder.glob("log-*.bin")):
            _read_definition(folder)  # says that it is missing
        documents = {UNITS_FILE: definition.to_json(), **({} if rule is None else {WARNING_FILE: rule.to_json()})}
        try:
            for name, document in reversed(documents.items()):  # the one that says that it is a fleet comes last
                draft = folder / f".{name}.part"
                draft.write_bytes(document)
                draft.replace(folder / name)
            sync_folder(folder)
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be written: {error}", expected="room on the disk", fix="make room"
            ) from error
    known = digest_of(*_read_definition(folder))
    if known != (expected := digest_of(definition, rule)):
        raise InputError(
            f"{folder} is of other windows or another rule of alarms, {known[:12]}", expected=expected[:12],
            fix="open it with the bundle that it was made with, or begin a new folder",
        )  # fmt: skip


def _read_definition(folder: Path) -> tuple[WindowDefinition, WarningRule | None]:
    try:
        definition = WindowDefinition.from_json((folder / UNITS_FILE).read_bytes(), UNITS_FILE)
        rule_file = folder / WARNING_FILE
        return definition, WarningRule.from_json(rule_file.read_bytes(), WARNING_FILE) if rule_file.exists() else None
    except OSError as error:
        raise MissingError(
            f"{folder} is no state of a fleet: {UNITS_FILE} {error.strerror}", expected="the folder of a state",
            fix="check the path",
        ) from error  # fmt: skip
