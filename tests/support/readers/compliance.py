"""A contract as PDF, whose clauses have numbers and name each other."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from support.documents import pdf_bytes, pdf_lines
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    lines = [
        "1 Definitions",
        "In this agreement Fees means what clause 3 says.",
        "2 Term",
        "The term is twelve months.",
        "3 Fees",
        "The customer pays 100 euros.",
        "4 Liability",
        "The supplier is liable as clause 9 says.",
    ]
    Path("contract.pdf").write_bytes(pdf_bytes([pdf_lines(lines)]))
    return Reader()
