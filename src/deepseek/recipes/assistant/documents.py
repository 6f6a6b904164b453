"""A folder of documents as an FAQ: each section is an answer word for word, and its heading asks for it.

table = read_documents(Path("docs"))       # columns question, answer
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepseek.automl.assistant.questions import ANSWER_NAMES, INTENT_NAMES, QUESTION_NAMES, column_texts
from deepseek.data.media.text import decode_text
from deepseek.data.table.table import Table
from deepseek.engines.assistant.terms import split_words
from deepseek.errors import InputError

SUFFIXES = (".md", ".txt")
MAX_ANSWER_LETTERS = 1_200  # of a section that are given as its answer
MAX_FILE_BYTES = 5_000_000
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def read_documents(folder: Path) -> Table:
    """Sections of all .md and .txt files below `folder`: the heading and the first sentence ask, the text answers.
    A file without headings is one section, named after its file. InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", expected="a folder of .md or .txt files", fix="check the path")
    answer_of: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"{path} has more than {MAX_FILE_BYTES} bytes", expected="documents that a person reads",
                fix="cut it into several files, or leave it out",
            )  # fmt: skip
        for heading, body in sections_of(decode_text(path.read_bytes(), path.name), path.stem):
            own = heading if heading not in answer_of else f"{path.stem}: {heading}"  # "Overview" stands in many
            for question in (own, first_sentence(body)):
                if split_words(question):
                    answer_of.setdefault(question, body[:MAX_ANSWER_LETTERS])
    questions, answers = list(answer_of), list(answer_of.values())
    if not questions:
        raise InputError(
            f"{folder} has no .md or .txt file with text", expected="at least one section", fix="check the folder"
        )
    return _table(questions, answers)


def sections_of(text: str, name: str) -> list[tuple[str, str]]:
    """(heading, text) of each section that has a text.

    >>> sections_of("# Returns\\nWithin 30 days.\\n\\n# Hours\\n9 to 19.", "shop")
    [('Returns', 'Within 30 days.'), ('Hours', '9 to 19.')]
    """
    parts = _HEADING.split(text.replace("\r\n", "\n"))
    pairs = [(name, parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    return [(heading, body.strip()) for heading, body in pairs if split_words(body)]


def first_sentence(text: str) -> str:
    """The beginning of a text, up to the end of its first sentence."""
    return " ".join(re.split(r"(?<=[.!?。！？])\s*", text.strip(), maxsplit=1)[0].split())[:300]


def join_faq(tables: Sequence[Table]) -> Table:
    """Tables of questions and answers below each other; intents where the first has them."""
    questions = [text for table in tables for text in column_texts(table, "", QUESTION_NAMES, "questions")]
    answers = [text for table in tables for text in column_texts(table, "", ANSWER_NAMES, "answers")]
    names = [
        name for table in tables for name in (
            column_texts(table, "", INTENT_NAMES, "intents")
            if any(each.strip().casefold() in INTENT_NAMES for each in table.names) else [""] * table.num_rows
        )
    ]  # fmt: skip
    return _table(questions, answers, names if any(names) else None)


def _table(questions: list[str], answers: list[str], names: list[str] | None = None) -> Table:
    columns = {"question": questions, "answer": answers} | ({"intent": names} if names else {})
    return Table({name: np.array(values, object) for name, values in columns.items()}, dict.fromkeys(columns, "text"))
