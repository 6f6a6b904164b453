"""Answered requests -> items of a project, in a thread of its own: a request waits for nothing.

A row keeps the columns of the project and nothing else: no header, no key, no id of the request. What a killed process
loses are the rows of the last few seconds; a project that takes no more rows, or a disk that does not, holds up nobody.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from deepseek.automl.label.collect.config import CollectConfig
from deepseek.automl.label.collect.files import count_bytes, store_files
from deepseek.automl.label.collect.unsure import UnsureRow, find_unsure
from deepseek.automl.label.project.additions import ServedRow, add_served, count_waiting
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Definition
from deepseek.bundle import Manifest
from deepseek.contracts import AnsweredRows, Event, Record, Tensors
from deepseek.data.table.values import level_name
from deepseek.dialogue.masking import mask
from deepseek.errors import DeepseekError, InputError
from deepseek.extras import need

MAX_WAITING_ROWS = 20_000  # of requests that are not looked at yet; beyond it rows pass
MAX_WAITING_BYTES = 256 * 2**20  # of the files of these
MAX_TEXT = 20_000  # characters of a text that is sent


class UnsureSink:
    """A RowSink."""

    def __init__(
        self, config: CollectConfig, manifests: Mapping[str, Manifest], *,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`manifests` of the models that are served from the start, by name; others may come. `tell` hears once when
        the project cannot be written. InputError for a project that takes no rows, for models that answer other classes
        or read other columns, and for columns to hide that it does not have."""
        with Project.open(config.project) as project:
            self._definition, self._texts = project.definition, text_columns(project)
        check_project(config, self._definition)
        check_models(config, self._definition, manifests)
        if config.texts == "masked" and self._definition.texts:
            need("phonenumbers", extra="dialogue")  # else numbers of phones would pass
        self._config, self._tell = config, tell
        self._thresholds = {name: manifest.threshold for name, manifest in manifests.items()}
        self._labels = frozenset(self._definition.labels)
        self._requests: deque[tuple[Event, AnsweredRows]] = deque()
        self._num_waiting = self._num_handled = 0  # rows; each changed by one thread
        self._waiting_bytes = self._handled_bytes = 0  # of their files
        self._num_dropped = self._num_failed = 0
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unsure-rows", daemon=True)
        self._thread.start()

    def emit_rows(self, event: Event, rows: AnsweredRows | None) -> None:
        if rows is None or event.status >= 400 or not event.num_rows:
            return
        request_id = str(event.fields.get("request_id", ""))
        if self._config.share < 1 and zlib.crc32(request_id.encode()) >= self._config.share * 2**32:
            return
        num_bytes = self._count_bytes(rows)
        has_room = self._num_waiting - self._num_handled + event.num_rows <= MAX_WAITING_ROWS
        if not has_room or self._waiting_bytes - self._handled_bytes + num_bytes > MAX_WAITING_BYTES:
            self._num_dropped += event.num_rows
            return
        self._num_waiting += event.num_rows
        self._waiting_bytes += num_bytes
        self._requests.append((event, rows))

    @property
    def num_lost(self) -> int:
        """Rows that had no room here, and unsure ones that the project could not take."""
        return self._num_dropped + self._num_failed

    def close(self) -> None:
        """Send what waits, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._config.every_s):
            self._send()
        self._send()

    def _send(self) -> None:
        unsure: list[UnsureRow] = []
        for _ in range(len(self._requests)):
            event, rows = self._requests.popleft()
            threshold = self._thresholds.get(event.model_name)
            unsure += find_unsure(event, rows, self._labels, threshold, self._config.margin)
            self._num_handled += event.num_rows
            self._handled_bytes += self._count_bytes(rows)
        if not unsure:
            return
        unsure.sort(key=lambda row: row.margin)
        try:
            with Project.open(self._config.project) as project:
                served: Iterable[ServedRow] = map(self._keep, unsure)  # one by one: no more are masked than are sent
                if self._definition.media:  # files are written before the project is held for the rows
                    num_free = self._config.waiting - count_waiting(project.store)
                    served = self._keep_files(unsure[: max(0, num_free)])
                add_served(project.store, served, self._config.waiting)
            self._is_failing = False
        except DeepseekError as error:
            self._num_failed += len(unsure)
            if not self._is_failing:
                fields = {"state": "what the model is unsure of cannot be sent", "error": error.message}
                self._tell(Event("server", fields=fields))
            self._is_failing = True

    def _keep(self, row: UnsureRow) -> ServedRow:
        """The row as the project takes it, its files written."""
        definition, hide = self._definition, self._config.hide
        cells = keep_columns(row.record, definition, self._config, self._texts)
        answer = (row.answer, row.probability, row.margin, row.model, row.version)
        if not definition.media:
            return ServedRow(cells, *answer)
        files = store_files(row.record, definition, hide)
        return ServedRow({**cells, **files.paths}, *answer, definition.media, files.digests, files.size_bytes)

    def _keep_files(self, rows: Sequence[UnsureRow]) -> list[ServedRow]:
        """Those rows that have a file; one whose file cannot be taken is counted and holds up no other."""
        kept = []
        for row in rows:
            try:
                served = self._keep(row)
            except InputError:
                self._num_failed += 1
                continue
            if served.file_digests:
                kept.append(served)
        return kept

    def _count_bytes(self, rows: AnsweredRows) -> int:
        """Of the files of a request."""
        media, records = self._definition.media, rows.records
        if not media or records is None or isinstance(records, Tensors):
            return 0
        return sum(count_bytes(record, media) for record in records)


def check_project(config: CollectConfig, definition: Definition) -> None:
    """InputError for a project that takes no rows of a server, and for columns that are not there."""
    if not definition.is_class:
        raise InputError(
            f"{config.project} is a project of {definition.task}", expected="a project of classes",
            fix="leave --unsure-to out, or make such a project",
        )  # fmt: skip
    if definition.media and config.files != "plain":
        raise InputError(
            f"{config.project} shows files, in which nothing can be masked: faces, voices, names in a scan",
            expected="consent to send them as they came", fix=f"--unsure-to {config.project},files=plain",
        )  # fmt: skip
    if odd := [name for name in config.hide if name not in definition.kinds]:
        raise InputError(
            f"{config.project} has no column {odd[0]!r} to hide", expected=", ".join(definition.kinds), fix="correct it"
        )
    if len(config.hide) == len(definition.kinds):
        raise InputError("all columns are hidden", expected="one at least that people see", fix="hide fewer")


def check_models(config: CollectConfig, definition: Definition, manifests: Mapping[str, Manifest]) -> None:
    """InputError unless one of the models answers the classes of the project and reads columns of it."""
    if not manifests:
        return  # they come out of a repository
    problems = []
    for name, manifest in manifests.items():
        more = [each.name for each in manifest.inputs if each.name not in definition.kinds]
        if set(manifest.labels) != set(definition.labels):
            problems.append(f"{name} answers {', '.join(manifest.labels[:5]) or 'no classes'}")
        elif more:
            problems.append(f"{name} reads {more[0]!r}, which the project does not have")
        else:
            return
    raise InputError(
        f"no model fits {config.project}: {'; '.join(problems)}",
        expected=f"the classes {', '.join(definition.labels[:5])} of the columns {', '.join(definition.kinds)}",
        fix="serve a bundle of this project: deepseek ship PROJECT",
    )  # fmt: skip


def text_columns(project: Project) -> frozenset[str]:
    """The columns whose cells are texts in the rows that the project began with; the others hold numbers."""
    seen: dict[str, bool] = {}
    for item in project.store.items():
        new = {name: value for name, value in item.content.items() if value is not None and name not in seen}
        seen |= {name: isinstance(value, str) for name, value in new.items()}
        if len(seen) == len(project.definition.kinds):
            break
    return frozenset(name for name in project.definition.kinds if seen.get(name, True))


def keep_columns(
    record: Record, definition: Definition, config: CollectConfig, texts: frozenset[str]
) -> dict[str, object]:
    """The cells of a row that are sent, files apart, by the columns of the project; `texts`: those that hold texts.

    What a column cannot hold becomes a missing value: of a column that the row lacks, too.
    """
    kept: dict[str, object] = {}
    for name, kind in definition.kinds.items():
        if name in definition.media:
            continue
        value = None if name in config.hide else record.get(name)
        if isinstance(value, np.generic):
            value = value.item()
        kept[name] = _keep_text(value, kind, config.texts) if name in texts else _keep_number(value)
    return kept


def _keep_text(value: object, kind: str, texts: str) -> str | None:
    if not isinstance(value, str | int | float):
        return None
    text = value if isinstance(value, str) else level_name(value)
    if text is None:
        return None
    if kind != "text":
        return text
    return None if texts == "none" else text[:MAX_TEXT] if texts == "plain" else mask(text, MAX_TEXT)


def _keep_number(value: object) -> float | int | None:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return number if isinstance(number, int | float) else None
