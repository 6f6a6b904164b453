"""2,000 machines with two axes of vibration at 25.6 kHz, through `deepseek stream`: continuous, and by snapshots.

    python benchmarks/maintenance.py --only fleet

A process of its own is the fleet: it writes blocks of int16 samples into the pipe of the stream when they are due, and
reads the answers. Continuous: each machine sends its last second each second, 102,400 bytes, 205 MB a second for all
(410 MB as float32); of each window the stream computes 20 features, 97 rows back, and the model. A window that could
not be written within a second of its time is dropped, as a machine drops it whose buffer holds one more. Snapshots: a
tenth of a second every ten seconds, as the bearings of FEMTO were watched. The model is what the recipe makes of those
bearings. CPU seconds are those of the stream's process with its threads, from its first answer to its last; the fleet's
own are beside them, because both share the machine's cores.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from maintenance_bearings import UNIT, read_known_lives
from result import claim

from deepseek.features.machines.blocks import Block, encode_block
from deepseek.features.machines.history import MachineColumns
from deepseek.recipes.maintenance.run import MaintenanceOptions, run_maintenance

NUM_MACHINES, RATE_HZ, AXES = 2_000, 25_600, ("h", "v")
DURATION_S = 60.0
BUFFER_S = 1.0  # that a machine keeps a window for
SNAPSHOT_SAMPLES, SNAPSHOT_EVERY_S = 2_560, 10.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class FleetRun:
    """One minute of the fleet."""

    num_due: int
    num_dropped: int
    num_answered: int
    latency_s: np.ndarray  # (answers,) from when a window was due to its answer
    cpu_s: float  # of the stream
    fleet_cpu_s: float  # of the process that writes
    duration_s: float
    load: float  # runnable processes of the machine, the mean of a minute

    @property
    def cores(self) -> float:
        return self.cpu_s / self.duration_s


def make_bundle(folder: Path) -> Path:
    """The recipe on the features of the bearings."""
    table = read_known_lives()
    options = MaintenanceOptions(
        MachineColumns(UNIT, "snapshot"), folder / "bearings", rul="rul", trials=4,
        interval=0.8,  # eleven bearings promise no more
    )  # fmt: skip
    return run_maintenance(table, options).shipped.path


def make_samples(num_samples: int) -> list[np.ndarray]:
    """Sixteen pieces (2, num_samples) of noise that wears: counts of thousandths of g."""
    rng = np.random.default_rng(0)
    time_s = np.arange(num_samples) / RATE_HZ
    pieces = []
    for wear in np.linspace(0.3, 3.0, 16):
        noise = rng.normal(size=(2, num_samples)) * wear * 500
        pieces.append((noise + 300 * np.sin(2 * np.pi * 1_800 * time_s)).clip(-32_000, 32_000).astype(np.int16))
    return pieces


class Fleet:
    """Writes windows when they are due, and counts those that it could not."""

    def __init__(self, pipe: IO[bytes], num_samples: int, every_s: float) -> None:
        self._descriptor = pipe.fileno()
        self._pieces = [np.ascontiguousarray(piece).tobytes() for piece in make_samples(num_samples)]
        self._every_s, self._num_samples = every_s, num_samples
        self.due: deque[float] = deque()  # of windows that were written and are not answered
        self.num_due = self.num_dropped = 0

    def message(self, machine: int, turn: int) -> list[bytes]:
        """A frame: its length, the head of the block, the samples."""
        empty = Block(f"M{machine:04}", turn * self._every_s, AXES, RATE_HZ, np.zeros((2, 0), np.int16), 0.001)
        head = bytearray(encode_block(empty))
        struct.pack_into("<I", head, 28, self._num_samples)
        samples = self._pieces[(machine + turn) % len(self._pieces)]
        return [struct.pack("<I", len(head) + len(samples)), bytes(head), samples]

    def run(self, start_s: float, duration_s: float) -> None:
        """Send for so long, on the clock of time.monotonic()."""
        for turn in range(round(duration_s / self._every_s)):
            for machine in range(NUM_MACHINES):
                due_s = start_s + self._every_s * (turn + machine / NUM_MACHINES)
                if (wait_s := due_s - time.monotonic()) > 0:
                    time.sleep(max(wait_s, 0.002))
                self.num_due += 1
                if time.monotonic() > due_s + BUFFER_S:
                    self.num_dropped += 1
                    continue
                self.due.append(due_s)
                self._write(self.message(machine, turn))

    def _write(self, parts: list[bytes]) -> None:
        number = os.writev(self._descriptor, parts)
        rest = memoryview(b"".join(parts))[number:] if number < sum(map(len, parts)) else memoryview(b"")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def cpu_seconds(pid: int) -> float:
    """Of a process with its threads, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_fleet(bundle: Path, folder: Path, num_samples: int, every_s: float, duration_s: float = DURATION_S) -> FleetRun:
    """One minute through the stream."""
    words = [sys.executable, "-m", "deepseek", "stream", str(bundle), "--state", str(folder), "--from", "frames:-"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    fleet = Fleet(process.stdin, num_samples, every_s)
    latency_s: list[float] = []
    cpu: list[float] = []

    def read(answers: IO[bytes]) -> None:
        """The answers of all windows but the first, which only says that the stream is ready."""
        with os.fdopen(os.dup(answers.fileno()), "rb") as lines:
            assert json.loads(lines.readline())["status"] == "accepted"
            cpu.append(cpu_seconds(process.pid))
            for _ in lines:
                latency_s.append(time.monotonic() - fleet.due.popleft())
                if len(latency_s) % 100 == 0:
                    cpu.append(cpu_seconds(process.pid))

    reading = threading.Thread(target=read, args=(process.stdout,))
    reading.start()
    fleet._write(fleet.message(NUM_MACHINES, 0))
    while not cpu:
        time.sleep(0.05)
    own_s, start_s = time.process_time(), time.monotonic() + 0.5
    fleet.run(start_s, duration_s)
    fleet_cpu_s = time.process_time() - own_s
    process.stdin.close()
    reading.join()
    process.wait()
    return FleetRun(
        fleet.num_due, fleet.num_dropped, len(latency_s), np.array(latency_s), cpu[-1] - cpu[0], fleet_cpu_s,
        duration_s, os.getloadavg()[0],
    )  # fmt: skip


def fleet_claims(duration_s: float = DURATION_S) -> list[dict[str, Any]]:
    """Continuous, then by snapshots."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_bundle(folder)
        whole = run_fleet(bundle, folder / "continuous", RATE_HZ, 1.0, duration_s)
        snapshot = run_fleet(bundle, folder / "snapshots", SNAPSHOT_SAMPLES, SNAPSHOT_EVERY_S, duration_s)
    for what, run in (("continuous", whole), ("snapshots", snapshot)):
        print(
            f"{what}: {run.num_due:,} windows, {run.num_dropped:,} dropped, {run.num_answered:,} answered; "
            f"{run.cores:.3f} cores (the fleet itself {run.fleet_cpu_s / run.duration_s:.3f}); "
            f"p50 {np.median(run.latency_s) * 1e3:.0f} ms, p99 {np.quantile(run.latency_s, 0.99) * 1e3:.0f} ms; "
            f"load {run.load:.1f}", flush=True,
        )  # fmt: skip
    note = (f"load average {whole.load:.1f} on {os.cpu_count()} cores; {whole.duration_s:.0f} s; the fleet that writes "
            f"takes {whole.fleet_cpu_s / whole.duration_s:.2f} cores")  # fmt: skip
    lost = whole.num_dropped + (whole.num_due - whole.num_dropped - whole.num_answered)
    return [
        claim("fleet_dropped", ours=lost, unit=f"windows of {whole.num_due:,}", op="<=", bar=0, note=note),
        claim("fleet_cores", ours=whole.cores, unit="CPU seconds a second, 2,000 machines x 2 axes x 25.6 kHz",
              op="<=", bar=2.0, note=note),
        claim("snapshot_cores", ours=snapshot.cores, unit="CPU seconds a second, 200 snapshots a second", op="<=",
              bar=0.05, note=f"load average {snapshot.load:.1f}"),
        claim("snapshot_p99", ours=float(np.quantile(snapshot.latency_s, 0.99)) * 1e3, unit="ms from due to answer",
              op="<=", bar=100.0, note=f"load average {snapshot.load:.1f}"),
    ]  # fmt: skip
