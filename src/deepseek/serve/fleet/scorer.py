"""Sensor rows to remaining lives and alarms, one answer a message.

    scorer = FleetScorer.open(Path("engines"), Path("state"))
    lines = scorer.answer(bodies)      # the state has changed
    scorer.sync()                      # from now on nothing of it can be lost
    scorer.close()

One thread at a time. Rows that a killed process had taken and not answered are answered when the folder is opened, so
that who sends them again gets what it would have got.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64, JsonObject
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines import Runtime
from deepseek.errors import InputError, StorageError
from deepseek.extras import is_installed
from deepseek.features.logged_state import SnapshotSchedule
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.fleet import FleetStore, TakenRows
from deepseek.features.machines.tables import read_windows
from deepseek.features.machines.warning import read_warning
from deepseek.features.machines.windows import Moments, feature_names, summarize
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.fleet.ahead import AheadRows
from deepseek.serve.fleet.reading import FleetReader, Readings, Reset
from deepseek.serve.scoring.reading import RawRows

MAX_MACHINES = 1 << 16  # of one state, about 25 KB each
MAX_TAKEN = 4_096  # rows that are taken together
SNAPSHOT_ROWS = 1_000_000  # after which a snapshot is begun
ACCEPTED, DUPLICATE = b'{"status":"accepted"', b'{"status":"duplicate"'


class FleetScorer:
    """A bundle of machines, and the state of a fleet."""

    def __init__(self, runtime: Runtime, store: FleetStore, snapshot_rows: int = SNAPSHOT_ROWS) -> None:
        self.runtime, self.store, self.definition = runtime, store, store.definition
        self.reader = FleetReader(self.definition)
        self._ahead = AheadRows(self.definition)
        self.counts: dict[str, int] = {}
        self.tell: Callable[[str], None] = lambda _: None  # sentences on machines that fall silent
        self.after_sync: Callable[[], None] = lambda: None
        self._names = feature_names(self.definition)
        self._summarize = _summary_function(self.definition)
        self._inputs = _input_function(runtime, self._names)
        self.snapshots = SnapshotSchedule(store.start_snapshot, snapshot_rows)
        self._finish_pending()

    @classmethod
    def open(cls, bundle: Path, state: Path | None, *, key: Path | None = None) -> FleetScorer:
        """The bundle at a path with the state in a folder (None: in memory), which is made where it is not there.
        InputError for a bundle that has no windows of machines."""
        runtime = Runtime.open(bundle, key=key)
        try:
            definition = read_windows(runtime.bundle)
            if definition is None:
                raise InputError(
                    f"{bundle} knows no machines", expected="a bundle of deepseek recipe maintenance",
                    fix="serve it without --state",
                )  # fmt: skip
            return cls(runtime, FleetStore.open(state, definition, read_warning(runtime.bundle)))
        except BaseException:
            runtime.close()
            raise

    @property
    def name(self) -> str:
        return self.runtime.name

    def answer(self, bodies: Sequence[bytes]) -> list[bytes]:
        """One line for each message, in order; the state has changed, and is not yet synced."""
        return self._answer(self.reader.read(bodies))

    def answer_rows(self, raw: RawRows) -> list[bytes]:
        """One line for each row of a request."""
        return self._answer(self.reader.read_rows(raw))

    def sync(self) -> None:
        """Returns once all that was answered is on the disk."""
        self.store.flush()
        self.save()
        self.after_sync()

    def save(self) -> None:
        """Begins a snapshot when one is due."""
        self.snapshots.begin_when_due()

    def warm_up(self) -> None:
        """Loads what the first row would wait for, without touching the state."""
        other = FleetStore.open(None, self.definition, self.store.rule)
        values = np.array([[sensor.centre for sensor in self.definition.sensors]])
        self._score(other.take(["warm-up"], np.zeros(1), values).update.moments)
        self.reader.rows.read_records([encode_json({self.definition.unit: "warm-up"})])

    def score(self, moments: Moments) -> Float64:
        """(N, 3) remaining life and the ends of its interval."""
        return self._score(moments)

    def figures(self) -> JsonObject:
        """Of the fleet: machines, those with an alarm, those that are silent, sensors that cannot be believed."""
        state = self.store.state
        slots = range(len(state))
        return {
            "num_machines": len(state),
            "num_alarms": sum(state.tracker.alarm_of(state.arrays, slot) is not None for slot in slots),
            "num_silent": int(state.arrays["is_silent"][: len(state)].sum()),
            "num_faulty_sensors": sum(len(state.sensor_states(slot)) for slot in slots),
        }

    def close(self) -> None:
        """Writes a snapshot where something came, and lets bundle and folder go. Without room for it the log stays."""
        try:
            if self.snapshots.close():
                with contextlib.suppress(StorageError):
                    work = self.store.start_snapshot()
                    if work is not None:
                        work.write()
        finally:
            self.reader.close()
            self.store.close()
            self.runtime.close()

    def _finish_pending(self) -> None:
        """Answers rows that were taken before the process was killed, or before the disk took no more."""
        pending = self.store.pending
        if pending is not None:
            self._finish(pending, list(map(self.reader.show_time, pending.times.tolist())))

    def _answer(self, readings: Readings) -> list[bytes]:
        self._finish_pending()
        lines = [b""] * len(readings)
        waiting: list[int] = []
        for place in range(len(readings)):
            if place in readings.resets and place not in readings.errors:
                self._answer_rows(readings, waiting, lines)
                waiting = []
                lines[place] = self._reset(readings.units[place], readings.resets[place])
            else:
                waiting.append(place)
        self._answer_rows(readings, waiting, lines)
        return lines

    def _answer_rows(self, readings: Readings, places: Sequence[int], lines: list[bytes]) -> None:
        """Fills the lines of rows, MAX_TAKEN at a time."""
        for start in range(0, len(places), MAX_TAKEN):
            self._answer_part(readings, places[start : start + MAX_TAKEN], lines)

    def _answer_part(self, readings: Readings, places: Sequence[int], lines: list[bytes]) -> None:
        accepted: list[int] = []
        first_place: dict[tuple[str, float], int] = {}  # of rows that are taken now
        repeats: list[tuple[int, int]] = []
        latest: dict[str, float] = {}
        times = readings.times.tolist()
        for place in places:
            unit, time = readings.units[place], times[place]
            error = readings.errors.get(place) or self._refusal(unit, latest)
            if error is not None:
                lines[place] = self._refuse(error.code, str(error))
            elif time > (last := latest[unit] if unit in latest else self.store.last_time(unit)):
                if self._ahead.refuses(unit, time, self._known_time(last)):
                    lines[place] = self._refuse_ahead(unit, readings.shown_times[place])
                    continue
                accepted.append(place)
                latest[unit] = time
                first_place[unit, time] = place
            elif (unit, time) in first_place:
                repeats.append((place, first_place[unit, time]))
            else:
                lines[place] = self._repeat(unit, readings.shown_times[place], self.store.answer_of(unit, time))
        if accepted:
            taken = self.store.take(
                [readings.units[place] for place in accepted], readings.times[accepted], readings.values[accepted]
            )
            for place, line in zip(
                accepted, self._finish(taken, [readings.shown_times[place] for place in accepted]), strict=True
            ):
                lines[place] = line
            self._count("accepted", len(accepted))
        for place, first in repeats:
            lines[place] = self._repeat(readings.units[place], readings.shown_times[place], lines[first])

    def _refusal(self, unit: str, latest: dict[str, float]) -> InputError | None:
        state = self.store.state
        if len(state) + len(latest) < MAX_MACHINES or unit in state.slot_of or unit in latest:
            return None
        return InputError(
            f"there are {len(state):,} machines", expected=f"at most {MAX_MACHINES:,} in one state",
            fix="keep the others in a state of their own",
        )  # fmt: skip

    def _finish(self, taken: TakenRows, shown_times: Sequence[Any]) -> list[bytes]:
        """Answers rows that were taken, and keeps what was answered."""
        lives = self._score(taken.update.moments)
        lines = self._lines(taken, lives, shown_times)
        self.store.answer(lives, lines)
        self.snapshots.count(len(lines))
        for slot in taken.update.newly_silent.tolist():
            self.tell(f"machine {self.store.state.names[slot]!r} is silent")
        return lines

    def _score(self, moments: Moments) -> Float64:
        inputs = self._inputs(self._summarize(moments))
        prediction = self.runtime.decide(self.runtime.score(inputs))
        ends = prediction.intervals if prediction.intervals is not None else np.full((len(inputs), 2), np.nan)
        return np.column_stack([np.asarray(prediction.values), np.asarray(ends)]).astype(np.float64)

    def _lines(self, taken: TakenRows, lives: Float64, shown_times: Sequence[Any]) -> list[bytes]:
        update, names = taken.update, self.store.state.names
        told = [[None if value != value else round(value, 4) for value in row] for row in lives.tolist()]  # noqa: PLR0124 - NaN
        lines = []
        for row, slot in enumerate(taken.slots.tolist()):
            life, low, high = told[row]
            answer: JsonObject = {
                "status": "accepted", "unit": names[slot], "time": shown_times[row], "rul": life, "low": low,
                "high": high, "alarm": self.alarm_of(slot) if update.has_alarm[row] else None,
            }  # fmt: skip
            if update.is_faulty[row]:
                answer["sensors"] = self.store.state.name_states(update.silent[row], update.stuck[row], update.far[row])
            if update.was_silent[row]:
                answer["was_silent"] = True
            lines.append(answer)
        if len(update.newly_silent):
            lines[-1]["silent_units"] = [names[slot] for slot in update.newly_silent.tolist()]
        return [encode_json(line) for line in lines]

    def alarm_of(self, slot: int) -> JsonObject | None:
        """A machine's latched alarm as rows say it."""
        state = self.store.state
        alarm = state.tracker.alarm_of(state.arrays, slot)
        if alarm is None:
            return None
        return alarm.to_dict() | {"time": self.reader.show_time(alarm.time)}

    def _known_time(self, last: float) -> float:
        """What a row's time is compared with: the machine's last row; before its first, the fleet's where times are
        dates, while a count of cycles begins anywhere."""
        return self.store.state.latest_time if last == -np.inf and self.definition.is_dated else last

    def _refuse_ahead(self, unit: str, time: Any) -> bytes:
        self._count("ahead", 1)
        return encode_json({"status": "ahead", "unit": unit, "time": time})

    def _reset(self, unit: str, what: Reset) -> bytes:
        reset = self.store.reset if what == "alarm" else self.store.restart
        status = "reset" if reset(unit) else "unknown_unit"
        self._count(status, 1)
        return encode_json({"status": status, "unit": unit})

    def _repeat(self, unit: str, time: Any, line: bytes | None) -> bytes:
        """The answer of then; none where the row is older than what answers are kept of."""
        if line is None:
            self._count("late", 1)
            return encode_json({"status": "late", "unit": unit, "time": time})
        self._count("duplicate", 1)
        return DUPLICATE + line[len(ACCEPTED) :]

    def _refuse(self, code: str, message: str) -> bytes:
        self._count("bad_input", 1)
        return encode_json({"status": "bad_input", "error": {"code": code, "message": message}})

    def _count(self, status: str, number: int) -> None:
        self.counts[status] = self.counts.get(status, 0) + number


def _summary_function(definition: WindowDefinition) -> Callable[[Moments], Float64]:
    """Moments to features (N, F): compiled where numba is there, to the same bits."""
    if not is_installed("numba") or list(definition.lengths) != sorted(definition.lengths):
        return lambda moments: summarize(definition, moments)
    from deepseek.features.machines.compiled import CompiledSummary

    return CompiledSummary.of(definition).features


def _input_function(runtime: Runtime, names: tuple[str, ...]) -> Callable[[Float64], Float32]:
    """Features (N, F) of these names to the model's inputs: compiled where numba is there, to the same bits."""
    if is_installed("numba"):
        from deepseek.serve.scoring.preparing import CompiledPreparer

        preparer = CompiledPreparer.of(runtime.preprocessor, names)
        if preparer is not None:
            return preparer.inputs
    return lambda features: runtime.prepare_features(ColumnarRows(names, features))
