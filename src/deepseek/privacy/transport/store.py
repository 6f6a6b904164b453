"""What a coordinator keeps, so that it can be killed at any moment and go on: every message before it is acknowledged,
every closed step, every finished task. Files appear whole or not at all.

    STUDY/coordinator/TASK/state.safetensors               before the task
    STUDY/coordinator/TASK/ATTEMPT/STEP/NAME.message       a JSON line (time, signature), then the body
    STUDY/coordinator/TASK/ATTEMPT/STEP/closed.json        whose messages of the step count
    STUDY/coordinator/TASK/record.json                     the task is done; the next state follows

A task is over when the state of the next one is there: a coordinator that dies before that combines the same messages
to the same state again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.bundle.manifest import canonical_json
from deepseek.errors import IntegrityError
from deepseek.files import atomic_file
from deepseek.privacy.bundles.transcript import RoundRecord, Transcript
from deepseek.privacy.rounds.state import StudyState, begin_study
from deepseek.privacy.study.definition import Study, StudyFolder
from deepseek.privacy.transport.messages import Place, SignedMessage

STATE, RECORD, CLOSED, MESSAGE_SUFFIX = "state.safetensors", "record.json", "closed.json", ".message"


@dataclass(frozen=True, slots=True)
class StudyStore:
    """The files of a coordinator."""

    path: Path
    study: Study

    @classmethod
    def open(cls, folder: StudyFolder) -> StudyStore:
        """Make the folder where it is not there. IntegrityError when it is of another study."""
        path = folder.path / "coordinator"
        path.mkdir(exist_ok=True, mode=0o700)
        mark = path / "study.sha256"
        if not mark.exists():
            _write(mark, folder.study.digest.encode())
        elif mark.read_bytes() != folder.study.digest.encode():
            raise IntegrityError(
                f"{path} holds the rounds of another study",
                expected=f"those of {folder.study.digest[:16]}...",
                fix="move the folder away, or serve the study that it belongs to",
            )
        store = cls(path, folder.study)
        if not store._state_path(0).exists() and not store._state_path(1).exists():
            store.save_state(begin_study(folder.study))
        return store

    def latest_state(self) -> StudyState:
        """Before the task that is not over."""
        tasks = [int(path.name) for path in self.path.iterdir() if path.name.isdecimal() and (path / STATE).is_file()]
        return StudyState.from_bytes(self._state_path(max(tasks)).read_bytes(), self.study)

    def save_state(self, state: StudyState) -> None:
        _write(self._state_path(state.task), state.to_bytes())

    def transcript(self, before: int) -> Transcript:
        """The records of the tasks that are over."""
        tasks = sorted(int(path.name) for path in self.path.iterdir() if path.name.isdecimal())
        transcript = Transcript(self.study.digest)
        for task in tasks:
            path = self.path / str(task) / RECORD
            if task < before and path.is_file():
                top = parse_json_object(path.read_bytes(), f"{task}/{RECORD}")
                record: RoundRecord = parse_value(RoundRecord, top, RECORD)
                transcript = transcript.append(record)
        return transcript

    def save_record(self, record: RoundRecord) -> None:
        _write(self.path / str(record.task) / RECORD, canonical_json(asdict(record)))

    def save_message(self, place: Place, message: SignedMessage) -> None:
        head = json.dumps({"time_ms": message.time_ms, "signature": message.signature}).encode()
        _write(self.path / place.path / f"{message.party}{MESSAGE_SUFFIX}", head + b"\n" + message.body)

    def messages(self, place: Place) -> dict[str, SignedMessage]:
        """The messages of a step, by party."""
        messages = {}
        for path in sorted((self.path / place.path).glob(f"*{MESSAGE_SUFFIX}")):
            head, _, body = path.read_bytes().partition(b"\n")
            top = parse_json_object(head, path.name)
            name = path.name.removesuffix(MESSAGE_SUFFIX)
            messages[name] = SignedMessage(name, int(top["time_ms"]), str(top["signature"]), body)
        return messages

    def close_step(self, place: Place, parties: Iterable[str]) -> None:
        _write(self.path / place.path / CLOSED, canonical_json({"parties": sorted(parties)}))

    def closed_parties(self, place: Place) -> tuple[str, ...] | None:
        """Whose messages of a step count; None while it is open."""
        path = self.path / place.path / CLOSED
        return tuple(parse_json_object(path.read_bytes(), CLOSED)["parties"]) if path.is_file() else None

    def latest_attempt(self, task: int) -> int:
        """The number of the attempt at a task that is going on."""
        numbers = [int(path.name) for path in (self.path / str(task)).iterdir() if path.name.isdecimal()]
        return max(numbers, default=0)

    def begin_attempt(self, task: int, attempt: int) -> None:
        (self.path / str(task) / str(attempt)).mkdir(parents=True, exist_ok=True)

    def forget_messages(self, task: int) -> None:
        """The messages of a task that is over: the transcript has their digests, and nobody needs the numbers."""
        for path in (self.path / str(task)).iterdir():
            if path.is_dir():
                shutil.rmtree(path)

    def _state_path(self, task: int) -> Path:
        return self.path / str(task) / STATE


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        part.write_bytes(data)
