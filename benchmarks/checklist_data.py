"""The 300 texts of checklist.py, read from their sets, and the labels that were made of them (checklist_labels.md)."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyarrow import parquet

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("DEEPSEEK_DATA", HERE.parent.parent / "shared" / "data"))
Span = tuple[int, int]


@dataclass(frozen=True)
class Label:
    """One thing that a text lays down, as a person labeled it."""

    start: int
    end: int
    kind: str
    subject: tuple[Span, ...]
    condition: tuple[Span, ...]


@dataclass(frozen=True)
class Unit:
    """One article or paragraph."""

    name: str  # SET/...
    half: str  # development, held
    text: str
    labels: tuple[Label, ...]

    @property
    def is_chinese(self) -> bool:
        return self.name.startswith("zh-law/")


def units(half: str) -> list[Unit]:
    """The units of a half. SystemExit when a text is not the one that was labeled."""
    labels: dict[str, list[Label]] = {}
    for row in _rows("checklist_labels.tsv"):
        labels.setdefault(row["unit"], []).append(
            Label(int(row["start"]), int(row["end"]), row["kind"], _spans(row["subject"]), _spans(row["condition"]))
        )
    chosen = []
    for row in _rows("checklist_units.tsv"):
        if row["half"] != half:
            continue
        text = _text_of(row["unit"])
        if hashlib.sha256(text.encode()).hexdigest()[:16] != row["sha256"]:
            raise SystemExit(f"{row['unit']} is not the text that was labeled")
        chosen.append(Unit(row["unit"], half, text, tuple(labels.get(row["unit"], []))))
    return chosen


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _spans(text: str) -> tuple[Span, ...]:
    pairs = (part.split("-") for part in text.split("+") if part)
    return tuple((int(start), int(end)) for start, end in pairs)


def _text_of(name: str) -> str:
    source, rest = name.split("/", 1)
    if source == "contract-nli":
        document, place = rest.split("/")
        start, end = map(int, place.split("-"))
        return contracts()[document][start:end]
    first, second = rest.rsplit("/", 1)
    return {"zh-law": articles, "unfair-tos": terms, "opp115": policies}[source]()[first, second]


@cache
def articles() -> dict[tuple[str, str], str]:
    rows = parquet.read_table(DATA / "zh-law" / "zh_law_articles.parquet").to_pylist()
    return {(row["law"], row["article"]): row["text"] for row in rows}


@cache
def terms() -> dict[tuple[str, str], str]:
    table = parquet.read_table(DATA / "unfair-tos" / "unfair_tos.parquet", columns=["company", "sentence", "text"])
    return {(row["company"], str(row["sentence"])): row["text"] for row in table.to_pylist()}


@cache
def policies() -> dict[tuple[str, str], str]:
    table = parquet.read_table(DATA / "opp115" / "segments.parquet", columns=["policy", "segment", "text"])
    return {(row["policy"], str(row["segment"])): row["text"] for row in table.to_pylist()}


@cache
def contracts() -> dict[str, str]:
    texts = {}
    with zipfile.ZipFile(DATA / "contract-nli" / "contract_nli.zip") as archive:
        for part in ("train_truncated", "dev", "test"):
            for document in json.loads(archive.read(f"{part}.json"))["documents"]:
                texts[str(document["id"])] = document["text"]
    return texts


def segment_of(unit: Unit, place: int) -> int:
    """Which part of a text, up to a stop, a semicolon or a line, a place is in."""
    ends = re.finditer(r"[。；;\n]" if unit.is_chinese else r"[;\n]|[.!?](?=\s+[A-Z]|\s*$| $)", unit.text)
    return sum(match.end() <= place for match in ends)
