"""CoNLL: a token and its tag on each line, a blank line between texts. Tags are BIO: B- begins a span, I- goes on.

>>> write_conll("Ann saw Rome", [{"label": "who", "start": 0, "end": 3}])
['Ann\\tB-who', 'saw\\tO', 'Rome\\tO']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepseek.contracts import JsonObject
from deepseek.errors import InputError

#: Words, Chinese characters one by one, and signs.
TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")


def write_conll(text: str, spans: Sequence[JsonObject]) -> list[str]:
    """The lines of one text. A token that a span only touches belongs to it."""
    lines, last = [], None
    for match in TOKEN.finditer(text):
        place = next(
            (k for k, span in enumerate(spans) if span["start"] < match.end() and match.start() < span["end"]), None
        )
        tag = "O" if place is None else f"{'I' if place == last else 'B'}-{spans[place]['label']}"
        lines.append(f"{match[0]}\t{tag}")
        last = place
    return lines


def read_documents(content: str) -> Iterator[list[tuple[str, str]]]:
    """Tokens with their tags, of each text. InputError for a line that is no such pair."""
    document: list[tuple[str, str]] = []
    for number, line in enumerate([*content.splitlines(), ""], 1):
        if line.startswith("-DOCSTART-"):
            continue
        if not line.strip():
            if document:
                yield document
            document = []
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if len(cells) < 2 or not re.fullmatch(r"O|[BI]-.+", cells[-1].strip()):
            raise InputError(
                f"line {number} is {line[:40]!r}", expected="a token and O, B-NAME or I-NAME", fix="mend it"
            )
        document.append((cells[0], cells[-1].strip()))
    return


def letters_of(text: str) -> str:
    """What a text and its tokens have in common: all but blanks."""
    return "".join(text.split())


def find_spans(text: str, document: Sequence[tuple[str, str]]) -> list[JsonObject]:
    """The spans of tagged tokens, at their places in the text. InputError where a token is not in it."""
    spans: list[JsonObject] = []
    place, is_open = 0, ""
    for token, tag in document:
        start = text.find(token, place)
        if start < 0:
            raise InputError(f"{token!r} is not in the text", expected="its tokens in their order", fix="mend the file")
        place = start + len(token)
        name = tag[2:]
        if tag == "O":
            is_open = ""
        elif tag[0] == "I" and is_open == name:
            spans[-1]["end"] = place
        else:
            spans.append({"label": name, "start": start, "end": place})
            is_open = name
    return spans
