"""What checks.py of a lab is written with.

    def make(data: DataFolder) -> object:              # writes the learner's data; returns what only the grader knows
        data.write_csv("loans.csv", {"age": data.rng.integers(18, 80, 200), ...})
        return {"leak": "visit_id"}

    def check_leak(work: Work) -> None:                # returns when it holds, raises Mistake when not
        if work.read_json("report.json").get("leak") != work.truth["leak"]:
            raise Mistake("leak_missed")

`data.rng` follows from the learner, so that each learner has other data and other answers; `work.rng(...)` is of this
one grading, for inputs that nobody has seen before.
"""

from __future__ import annotations

import csv
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError
from deepseek.files import read_bounded
from deepseek.learn.grading.mistake import Mistake
from deepseek.learn.grading.runner import RunPlace, kill_solution, run_ranks, run_solution, run_verb
from deepseek.learn.grading.serving import ServedBundle, serve_bundle
from deepseek.look.words import Text

__all__ = ["DataFolder", "Mistake", "ServedBundle", "Text", "Work"]
MAX_FILE_BYTES = 1 << 26


@dataclass(slots=True)
class DataFolder:
    """Where the learner's data is written; the same seed writes the same bytes."""

    folder: Path
    seed: int
    files: list[str] = field(default_factory=list)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def write_csv(self, name: str, columns: Mapping[str, Sequence[object] | np.ndarray[Any, Any]]) -> None:
        """A CSV with a header; None and NaN become empty cells."""
        with self.path(name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow([_cell(value) for value in row])

    def write_json(self, name: str, document: object) -> None:
        self.write_text(name, json.dumps(document, ensure_ascii=False, indent=1, default=_plain) + "\n")

    def write_text(self, name: str, text: str) -> None:
        self.path(name).write_text(text, encoding="utf-8")

    def path(self, name: str) -> Path:
        """Where a file of that name is to be written by hand; it counts as data from now on."""
        self.files.append(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Work:
    """What a learner has handed in, and what a check may do with it."""

    folder: Path  # a copy of the learner's folder, to be read
    place: RunPlace  # another copy, where code runs
    seed: int  # of the learner for this lab
    fresh_seed: int  # of this one grading
    truth: Any  # what make() has returned

    def rng(self, name: str) -> np.random.Generator:
        """Numbers for inputs of this grading; each name has its own."""
        return np.random.default_rng([self.fresh_seed, zlib.crc32(name.encode())])

    def path(self, name: str) -> Path:
        """The path of a file or folder that was handed in. Mistake where it is not there."""
        path = self.folder / name
        if path.is_symlink():
            raise Mistake("link", name=name)
        if not path.exists():
            raise Mistake("missing_file", name=name)
        return path

    def read_json(self, name: str) -> JsonObject:
        """A JSON object. Mistake where it is none."""
        try:
            document = json.loads(self._read(name))
        except (ValueError, RecursionError) as error:
            raise Mistake("no_json", name=name, problem=error) from error
        if not isinstance(document, dict):
            raise Mistake("no_json", name=name, problem=f"it is a {type(document).__name__}")
        return document

    def value(self, name: str, key: str) -> Any:
        """One value of a JSON object; a.b is b of the object a. Mistake where it is not there."""
        value: Any = self.read_json(name)
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise Mistake("no_key", name=name, key=key)
            value = value[part]
        return value

    def number(self, name: str, key: str) -> float:
        """One finite number of a JSON object. Mistake where it is none."""
        value = self.value(name, key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Mistake("no_number", name=name, key=key, value=str(value)[:40])
        return float(value)

    def read_csv(self, name: str, *needed: str) -> list[dict[str, str]]:
        """The rows of a CSV, each by column; Mistake where it has none of the columns that are needed."""
        try:
            rows = list(csv.DictReader(self._read(name).decode("utf-8-sig").splitlines(), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise Mistake("no_csv", name=name, problem=error) from error
        if not rows:
            raise Mistake("no_csv", name=name, problem="it has no rows")
        for column in needed:
            if rows[0].get(column) is None:
                raise Mistake("no_column", name=name, column=column)
        return rows

    def call(self, file: str, function: str, *calls: Sequence[object], seconds: float | None = None) -> list[Any]:
        """What a function of the learner's returns for each list of arguments, in a process with limits."""
        return run_solution(self.place, file, function, calls, seconds)

    def call_ranks(self, file: str, function: str, *ranks: Sequence[object], seconds: float | None = None) -> list[Any]:
        """What a function of the learner's returns in each of several processes that run at the same time, one for each
        list of arguments, and may talk to each other."""
        return run_ranks(self.place, file, function, ranks, seconds)

    def kill(
        self, file: str, function: str, *arguments: object, when: Callable[[], bool], seconds: float | None = None
    ) -> bool:
        """Call a function of the learner's and end its process with SIGKILL as soon as `when()` is true. Whether it was
        ended: not where it had done its work before."""
        return kill_solution(self.place, file, function, arguments, when, seconds)

    def probe(
        self, probe: Path, file: str, function: str, *calls: Sequence[object], seconds: float | None = None
    ) -> list[Any]:
        """What a function of a probe returns for each list of arguments: a file beside checks.py that runs in the
        learner's process, for what cannot pass between two. Its functions take the learner's module first."""
        return run_solution(self.place, file, function, calls, seconds, probe)

    def verb(self, *arguments: str, seconds: float | None = None) -> JsonObject:
        """What `deepseek VERB ... --json` prints, run beside what was handed in."""
        return run_verb(self.place, *arguments, seconds=seconds)

    def bundle(self, name: str, key: str | None = None) -> Path:
        """The path of a bundle whose every byte is as its manifest says, signed by the public key `key` where one is
        named. Mistake with the reason where it is not."""
        from deepseek.bundle import verification

        path, public = self.path(name), None if key is None else self.path(key)
        if not path.is_dir():
            raise Mistake("no_bundle", name=name, problem="it is no folder")
        try:
            report = verification(path, key=public)
        except DeepseekError as error:
            raise Mistake("no_bundle", name=name, problem=error.message) from error
        if report.problems:
            raise Mistake("no_bundle", name=name, problem=report.problems[0])
        return path

    @contextmanager
    def serve(self, name: str, *options: str, port: int = 0) -> Iterator[ServedBundle]:
        """The bundle behind a server of its own, as long as the block lasts. `options` are those of `deepseek serve`,
        and paths in them are of the folder that was handed in."""
        path = self.bundle(name)
        with serve_bundle(path, self.place, *options, port=port, folder=self.place.folder) as served:
            yield served

    def _read(self, name: str) -> bytes:
        path = self.path(name)
        if not path.is_file():
            raise Mistake("missing_file", name=name)
        try:
            return read_bounded(path, MAX_FILE_BYTES, what="a file", smaller="hand in less")
        except DeepseekError as error:
            raise Mistake("no_json", name=name, problem=error.message) from error


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.item() if hasattr(value, "item") else value


def _plain(value: Any) -> object:
    """A number or an array of numpy for json.dump()."""
    return value.tolist()
