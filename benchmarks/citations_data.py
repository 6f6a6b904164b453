"""What the benchmarks of citations read: zh-law, our own texts about it, and the contracts of contract-nli."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from fraud_features import data_folder

from deepseek.citations import Corpus
from deepseek.citations.corpus.numerals import to_chinese

TEXTS = Path(__file__).with_name("citations_texts.tsv")


@cache
def zh_corpus() -> Corpus:
    """zh-law."""
    return Corpus.read(data_folder() / "zh-law")


@cache
def texts_of(kind: str) -> list[dict[str, str]]:
    """The rows of citations_texts.tsv of one kind, in their order."""
    with TEXTS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == kind]


def article_name(number: str) -> str:
    """The number of an article as zh-law writes it: 264 is 第二百六十四条; "" without a number."""
    digits = re.match(r"\d+", number)
    return f"第{to_chinese(int(digits[0]))}条{number[digits.end() :]}" if digits else ""


@cache
def contract_json(part: str) -> dict[str, Any]:
    """The contracts of train_truncated, dev or test, as contract-nli has them."""
    with zipfile.ZipFile(data_folder() / "contract-nli" / "contract_nli.zip") as file:
        name = next(name for name in file.namelist() if name.endswith(f"{part}.json"))
        document: dict[str, Any] = json.loads(file.read(name))
        return document


@cache
def contract_documents(part: str) -> list[tuple[str, list[str]]]:
    """(name, clauses) of each contract of a part."""
    return [
        (f"contract {document['id']}", [document["text"][start:end] for start, end in document["spans"]])
        for document in contract_json(part)["documents"]
    ]
