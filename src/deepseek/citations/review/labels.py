"""Documents that people have reviewed: a folder with labels.csv and the documents that it names.

    document,line,state,quote
    acme.docx,liability-cap,holds,"The liability is limited to the fees of twelve months."
    acme.docx,audit,not there,

A row says what a document says of a line: holds (it says it), breaks (it says the opposite), not there. `quote` is
copied from the document; several rows of a document and a line have a quote each. A line that has no row in a document
is not there. English and Chinese words are read: 符合, 违反, 未提及.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.corpus.law_text import decode_text
from deepseek.citations.documents import Document, read_document
from deepseek.citations.review.lines import Checklist
from deepseek.citations.review.passages import Passage, split_passages
from deepseek.errors import InputError, MalformedError
from deepseek.files import read_bounded

LABELS_FILE = "labels.csv"
COLUMNS = ("document", "line", "state", "quote")
#: What a document says of a line, by the words of a file. 0: nothing, 1: it says it, 2: it says the opposite.
STATE_WORDS = {
    "not there": 0, "not_there": 0, "missing": 0, "未提及": 0, "缺失": 0,
    "holds": 1, "says it": 1, "符合": 1, "有": 1,
    "breaks": 2, "contradicts": 2, "违反": 2, "相反": 2,
}  # fmt: skip
MAX_LABELS_BYTES = 32 * 2**20
MIN_DOCUMENTS = 2


@dataclass(frozen=True, slots=True, eq=False)
class LabelledDocument:
    """A document with N passages, and what it says of H lines."""

    document: Document
    passages: tuple[Passage, ...]
    evidence: NDArray[np.int64]  # (N, H): 0 nothing, 1 supports, 2 contradicts
    labels: NDArray[np.int64]  # (H,), the same for the whole document


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    state: int
    quote: str
    number: int  # of the row in the file


def read_labelled(folder: Path, checklist: Checklist) -> tuple[list[LabelledDocument], list[str]]:
    """The documents that labels.csv names, and warnings: rows of lines that the checklist has not, files without rows.
    MissingError, MalformedError or InputError name the row that is wrong."""
    rows, warnings = _read_rows(folder / LABELS_FILE, checklist)
    if len(rows) < MIN_DOCUMENTS:
        raise InputError(
            f"{folder / LABELS_FILE} labels {len(rows)} documents", expected=f"at least {MIN_DOCUMENTS}",
            fix="label more documents",
        )  # fmt: skip
    labelled = []
    for name, of_document in rows.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{name!r} is not in {folder}", expected="documents in that folder", fix="copy it there")
        labelled.append(label_document(read_document(path), of_document, len(checklist.lines)))
    return labelled, warnings


def label_document(document: Document, rows: Sequence[_Row], num_lines: int) -> LabelledDocument:
    """A document with its rows. InputError for a quote that it has not, and for a line with two states."""
    passages = split_passages(document)
    evidence = np.zeros((len(passages), num_lines), np.int64)
    labels = np.zeros(num_lines, np.int64)
    seen: dict[int, _Row] = {}
    for row in rows:
        before = seen.setdefault(row.line, row)
        if before.state != row.state:
            raise InputError(
                f"rows {before.number} and {row.number} of {LABELS_FILE} say different things of one line of "
                f"{document.source}", expected="one state for a line in a document", fix="correct one of them",
            )  # fmt: skip
        labels[row.line] = row.state
        if row.state and row.quote:
            places = find_quote_passages(document, passages, row.quote)
            if not places:
                raise InputError(
                    f"row {row.number} of {LABELS_FILE}: {row.quote[:60]!r} does not stand in {document.source}",
                    expected="words that are copied from the document", fix="copy the clause again",
                )  # fmt: skip
            evidence[places, row.line] = row.state
    return LabelledDocument(document, passages, evidence, labels)


def find_quote_passages(document: Document, passages: Sequence[Passage], quote: str) -> list[int]:
    """The passages in which words stand, whatever the spaces between them; none where they do not stand."""
    wanted = "".join(quote.split())
    plain, places = _without_spaces(document.text)
    at = plain.find(wanted)
    if at < 0 or not wanted:
        return []
    start, end = places[at], places[at + len(wanted) - 1] + 1
    return [index for index, passage in enumerate(passages) if passage.start < end and start < passage.end]


def _without_spaces(text: str) -> tuple[str, list[int]]:
    places = [match.start() for match in re.finditer(r"\S", text)]
    return "".join(text[place] for place in places), places


def _read_rows(path: Path, checklist: Checklist) -> tuple[dict[str, list[_Row]], list[str]]:
    data = read_bounded(path, MAX_LABELS_BYTES, what="labels of documents", smaller="split the folder")
    reader = csv.DictReader(io.StringIO(decode_text(data, path.name)), strict=True)
    lines = {line.id: index for index, line in enumerate(checklist.lines)}
    rows: dict[str, list[_Row]] = {}
    unknown: dict[str, int] = {}
    try:
        missing = [name for name in COLUMNS[:3] if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path} has no column {missing[0]!r}",
                expected=", ".join(COLUMNS),
                fix="name its columns in the first row",
            )
        for number, row in enumerate(reader, 2):
            state = STATE_WORDS.get((row["state"] or "").strip().casefold())
            if state is None or not (row["document"] or "").strip():
                raise InputError(
                    f"row {number} of {path}: the state is {row['state']!r:.40}",
                    expected="holds, breaks or not there, and the name of a document", fix="correct that row",
                )  # fmt: skip
            of_document = rows.setdefault(row["document"].strip(), [])
            line = (row["line"] or "").strip()
            if line in lines:
                of_document.append(_Row(lines[line], state, (row.get("quote") or "").strip(), number))
            else:
                unknown[line] = unknown.get(line, 0) + 1
    except csv.Error as error:
        raise MalformedError(
            f"{path}: {error}", expected="CSV with quotes around commas", fix="save it again"
        ) from error
    warnings = [
        f"{num} rows of {LABELS_FILE} are of {line!r}, which the checklist has not" for line, num in unknown.items()
    ]
    return rows, warnings
