"""The log of a store: what came, written before it counts, so that a process that is killed loses nothing.

    log = EventLog.create(folder, first_sequence=1)
    sequence = log.append(EVENTS, payload)      # written; safe from a kill of the process
    log.sync()                                  # on the disk; safe from a loss of power

A frame: 4 bytes of magic, length of the payload (uint32), kind (uint8) and three zeros, sequence (uint64), CRC-32 of
all that and of the payload (uint32), little-endian; then the payload. Sequences count up by one, through all files.
A file is named by its first sequence. A frame that a crash has cut off at the end of the last file is dropped; one
that is damaged while others follow it is an IntegrityError, for what was acknowledged would be lost.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepseek.errors import IntegrityError, StorageError
from deepseek.features.events import EventColumns, Longs

MAGIC = b"dsEL"
HEAD = struct.Struct("<4sIB3xQ")
CHECK = struct.Struct("<I")
FRAME_BYTES = HEAD.size + CHECK.size
EVENTS, VERDICTS = 1, 2
MAX_PAYLOAD_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Frame:
    """One record of a log."""

    sequence: int
    kind: int
    payload: bytes
    end: int  # the place in the file behind it


@dataclasses.dataclass(frozen=True)
class LogFile:
    """A file of a log, read through once."""

    path: Path
    frames: tuple[Frame, ...]
    size_bytes: int

    @property
    def whole_bytes(self) -> int:
        """How much of it is whole frames."""
        return self.frames[-1].end if self.frames else 0


class EventLog:
    """The file that is written to."""

    def __init__(self, path: Path, next_sequence: int, size_bytes: int) -> None:
        self.path = path
        self.next_sequence = next_sequence
        self.synced_sequence = next_sequence - 1
        self._size = size_bytes
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size != size_bytes:
            os.ftruncate(self._file, size_bytes)
        os.lseek(self._file, size_bytes, os.SEEK_SET)
        os.fdatasync(self._file)  # what a killed process wrote need not be on the disk yet

    @classmethod
    def create(cls, folder: Path, first_sequence: int) -> EventLog:
        """An empty file, which is there for good: its folder is synced."""
        log = cls(file_of(folder, first_sequence), first_sequence, 0)
        sync_folder(folder)
        return log

    @classmethod
    def resume(cls, folder: Path, last_file: LogFile | None, sequence: int) -> EventLog:
        """What goes on behind the record `sequence`: in the last file, where that is its last record, else in a new
        one."""
        if last_file is None or not last_file.frames or last_file.frames[-1].sequence != sequence:
            return cls.create(folder, sequence + 1)
        return cls(last_file.path, sequence + 1, last_file.whole_bytes)

    def append(self, kind: int, *parts: bytes | memoryview) -> int:
        """Writes one frame, and gives its sequence. StorageError when the disk does not take it; the file then ends
        where it ended before."""
        file = self._open_file()
        head = encode_head(kind, self.next_sequence, *parts)
        size = len(head) + sum(memoryview(part).nbytes for part in parts)
        try:
            number = os.writev(file, (head, *parts))
            while number < size:  # a disk that is nearly full takes a part, and then fails
                number += os.write(file, b"".join((head, *parts))[number:])
        except OSError as error:
            self._take_back(file)
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror}; nothing was changed", expected="room on the disk",
                fix="make room, then send the same again",
            ) from error  # fmt: skip
        self._size += size
        self.next_sequence += 1
        return self.next_sequence - 1

    def sync(self) -> None:
        """Waits until all that was appended is on the disk; another thread may append meanwhile. After a StorageError
        nothing more is taken: what the disk holds is not known."""
        file, last = self._open_file(), self.next_sequence - 1
        if self.synced_sequence == last:
            return
        try:
            os.fdatasync(file)
        except OSError as error:
            self.close()
            raise StorageError(
                f"{self.path} could not be brought to the disk: {error.strerror}", expected="a disk that works",
                fix="mend it, then open the store anew; it goes on from what is there",
            ) from error  # fmt: skip
        self.synced_sequence = last

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._file is None

    def close(self) -> None:
        """Ends the log without a sync; a second time it does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_back(self, file: int) -> None:
        try:
            os.ftruncate(file, self._size)
            os.lseek(file, self._size, os.SEEK_SET)
        except OSError:  # the next reader drops the part of a frame
            self.close()

    def _open_file(self) -> int:
        if self._file is None:
            raise StorageError(f"{self.path} is closed", expected="an open store", fix="open the store anew")
        return self._file


def encode_head(kind: int, sequence: int, *parts: bytes | memoryview) -> bytes:
    """What stands before the payload of a frame; the payload is the parts, one behind the other."""
    head = HEAD.pack(MAGIC, sum(memoryview(part).nbytes for part in parts), kind, sequence)
    check = zlib.crc32(head)
    for part in parts:
        check = zlib.crc32(part, check)
    return head + CHECK.pack(check)


def encode_events(events: EventColumns) -> tuple[memoryview, ...]:
    """What a frame holds of events: times, amounts, keys and ids, 8 bytes each."""
    columns = (events.time, events.amount, *events.keys, events.id)
    return tuple(np.ascontiguousarray(column).data for column in columns)


def decode_events(payload: bytes, num_keys: int) -> EventColumns:
    """The events of a frame. IntegrityError where it has other columns."""
    if len(payload) % (8 * (num_keys + 3)):
        raise IntegrityError(
            "a frame of the log has other columns", expected=f"{num_keys} keys", fix="check the folder"
        )
    columns = np.frombuffer(payload, np.int64).reshape(num_keys + 3, -1)
    return EventColumns(columns[0], columns[1], tuple(columns[2:-1]), columns[-1])


def encode_verdicts(ids: Longs, fraud: Longs, time: int) -> tuple[bytes, ...]:
    """What a frame holds of verdicts: when they came, ids, verdicts, 8 bytes each."""
    return (struct.pack("<q", time), ids.tobytes(), fraud.tobytes())


def decode_verdicts(payload: bytes) -> tuple[Longs, Longs, int]:
    """Ids (N,), verdicts (N,) and when they came."""
    ids, fraud = np.frombuffer(payload, np.int64, offset=8).reshape(2, -1)
    return ids, fraud, struct.unpack_from("<q", payload)[0]


def read_logs(folder: Path, first_sequence: int) -> Iterator[LogFile]:
    """The files of a folder from the one that holds `first_sequence` on, each read through; of the last the end may be
    cut off. IntegrityError names what is damaged or missing."""
    paths = sorted(folder.glob("log-*.bin"))
    expected = first_sequence
    for path in paths:
        if _first_sequence(path) > expected:
            raise IntegrityError(
                f"{path.name} begins with record {_first_sequence(path)}", expected=f"record {expected}",
                fix="bring the missing file of the log back",
            )  # fmt: skip
        file = read_log(path, is_last=path == paths[-1])
        if file.frames and file.frames[-1].sequence >= expected:
            expected = file.frames[-1].sequence + 1
        yield file


def read_log(path: Path, *, is_last: bool) -> LogFile:
    """One file of a log. IntegrityError where a frame is damaged that was once whole."""
    data = path.read_bytes()
    frames: list[Frame] = []
    sequence, place = _first_sequence(path), 0
    while (frame := _read_frame(data, place)) is not None and frame.sequence == sequence:
        frames.append(frame)
        sequence, place = sequence + 1, frame.end
    if place < len(data) and (not is_last or _has_frame_after(data, place, sequence)):
        raise IntegrityError(
            f"{path.name} is damaged at byte {place}, behind record {sequence - 1}",
            expected="whole records to its end",
            fix="bring the file back from a copy; what follows that byte cannot be trusted without it",
        )  # fmt: skip
    return LogFile(path, tuple(frames), len(data))


def _read_frame(data: bytes, place: int) -> Frame | None:
    """The frame at a place; None where there is no whole one."""
    if len(data) - place < FRAME_BYTES:
        return None
    magic, length, kind, sequence = HEAD.unpack_from(data, place)
    end = place + FRAME_BYTES + length
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or end > len(data):
        return None
    payload = data[place + FRAME_BYTES : end]
    check = zlib.crc32(payload, zlib.crc32(data[place : place + HEAD.size]))
    return Frame(sequence, kind, payload, end) if CHECK.unpack_from(data, place + HEAD.size)[0] == check else None


def _has_frame_after(data: bytes, place: int, sequence: int) -> bool:
    """Whether a whole frame of a later record stands somewhere behind a place."""
    while (place := data.find(MAGIC, place + 1)) >= 0:
        frame = _read_frame(data, place)
        if frame is not None and frame.sequence > sequence:
            return True
    return False


def file_of(folder: Path, first_sequence: int) -> Path:
    """The file whose first record has this sequence."""
    return folder / f"log-{first_sequence:020d}.bin"


def _first_sequence(path: Path) -> int:
    digits = path.stem.removeprefix("log-")
    if not digits.isdecimal():
        raise IntegrityError(f"{path.name} is no file of a log", expected="log-NUMBER.bin", fix="take it out")
    return int(digits)


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
