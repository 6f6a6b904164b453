"""What was spent on the rows of some people, run after run: a file that every run on these rows names.

    with open_ledger(Path("patients.json")) as ledger:
        ledger.spent_before("runs/a")          # steps of all other runs
        ledger.record("runs/a", NoisySteps(...))

A run is written down before its first step, so that one which is killed has paid. Going on with it costs nothing more:
its later steps take the place of those that nobody has seen.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.errors import InputError
from deepseek.files import atomic_file, read_bounded
from deepseek.train.private.accountant import NoisySteps

FORMAT = 1
MAX_LEDGER_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One run on the rows."""

    run: str  # a name that no other run has
    what: str  # for people: what was trained
    steps: tuple[NoisySteps, ...]
    delta: float = 0.0  # that was spent beside the steps


@dataclass(slots=True)
class PrivacyLedger:
    """All runs on the rows of one ledger."""

    path: Path
    entries: list[LedgerEntry] = field(default_factory=list)

    def spent_before(self, run: str) -> list[NoisySteps]:
        """The steps of all other runs."""
        return [steps for entry in self.entries if entry.run != run for steps in entry.steps]

    def delta_before(self, run: str) -> float:
        """What all other runs have spent of delta beside their steps."""
        return sum(entry.delta for entry in self.entries if entry.run != run)

    def record(self, run: str, what: str, steps: tuple[NoisySteps, ...], delta: float = 0.0) -> None:
        """Write a run down, on the disk when this returns; the same run again takes its own place."""
        self.entries = [*(each for each in self.entries if each.run != run), LedgerEntry(run, what, steps, delta)]
        self._write()

    def remove(self, run: str) -> None:
        """Take out a run of which nothing was written anywhere."""
        self.entries = [each for each in self.entries if each.run != run]
        self._write()

    def _write(self) -> None:
        document = {"format": FORMAT, "entries": [asdict(each) for each in self.entries]}
        with atomic_file(self.path) as part:
            part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def open_ledger(path: Path) -> Iterator[PrivacyLedger]:
    """The ledger in a file, or a new one; nobody else has it until the end. InputError for a file that is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield PrivacyLedger(path, _read(path) if path.exists() else [])


def _read(path: Path) -> list[LedgerEntry]:
    data = read_bounded(path, MAX_LEDGER_BYTES, what="a privacy ledger", smaller="begin one for other rows")
    top = parse_json_object(data, path.name)
    if top.get("format") != FORMAT or not isinstance(top.get("entries"), list):
        raise InputError(
            f"{path} is no privacy ledger", expected=f"a file that --dp ledger=... wrote, of format {FORMAT}",
            fix="name another file: one that was lost must not be begun anew, for then it counts too little",
        )  # fmt: skip
    return [parse_value(LedgerEntry, entry, f"{path.name}: entries") for entry in top["entries"]]
