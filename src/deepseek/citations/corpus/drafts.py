"""Drafts to be checked: a text, files, folders of .txt and .md, each with the sha256 of what was given.

    draft = draft_of("租期不得超过二十年。")
    drafts, skipped = read_drafts([Path("drafts")], broken="mask")

A file that cannot be used (in no encoding, without a word, too large) ends it, by name and before any work; with "mask"
it is left out and named. A file may be UTF-8, UTF-16 or GB18030, as those of a corpus (law_text.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.citations.corpus.law_text import MAX_FILE_BYTES, decode_text
from deepseek.citations.corpus.sentences import split_sentences
from deepseek.errors import InputError, MissingError, TooLargeError
from deepseek.files import read_bounded

SUFFIXES = (".txt", ".md")
MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A text with words, and what it was given as."""

    name: str  # of its file, below the folder that was given; "" for a text itself
    text: str
    sha256: str  # of the file's bytes, or of the text in UTF-8
    num_bytes: int


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that was left out."""

    name: str
    problem: str


def draft_of(text: str, name: str = "") -> Draft:
    """A text itself as a draft. InputError for one without words, TooLargeError for one that is too long."""
    return _make_draft(text, text.encode("utf-8", "surrogatepass"), name)


def draft_from(data: bytes, name: str) -> Draft:
    """A draft from the bytes of a file. MalformedError for bytes that are no text."""
    return _make_draft(decode_text(data, name), data, name)


def read_draft(path: Path, name: str = "") -> Draft:
    """A draft from one file, whatever its ending. MissingError, MalformedError, TooLargeError, or InputError without a
    word."""
    data = read_bounded(path, MAX_FILE_BYTES, what="a text", smaller="give it in parts")
    return draft_from(data, name or path.name)


def read_drafts(
    paths: Sequence[Path], broken: Literal["fail", "mask"] = "fail"
) -> tuple[list[Draft], list[SkippedFile]]:
    """The files, and those in the folders, in their order; a file that is given twice is read once.

    MissingError for what is not there; InputError, which names each, for files that cannot be used where `broken` is
    "fail", and where none is left.
    """
    drafts: list[Draft] = []
    skipped: list[SkippedFile] = []
    seen: set[Path] = set()
    for file, name in _list_files(paths):
        if (real := file.resolve()) in seen:
            continue
        seen.add(real)
        if len(seen) > MAX_FILES:
            raise TooLargeError(
                f"there are more than {MAX_FILES} files", expected="fewer at a time", fix="give them in parts"
            )
        try:
            drafts.append(read_draft(file, name))
        except InputError as error:
            message = error.message.replace(str(file), name)
            skipped.append(SkippedFile(name, message.removeprefix(name).lstrip(": ")))
    if skipped and (broken == "fail" or not drafts):
        raise InputError(
            "; ".join(f"{omission.name}: {omission.problem}" for omission in skipped[:10])
            + (f"; and {len(skipped) - 10} more" if len(skipped) > 10 else ""),
            expected="texts with words, in UTF-8, UTF-16 or GB18030",
            fix="mend or remove them" if not drafts else "mend or remove them, or leave them out with --broken mask",
        )
    return drafts, skipped


def _list_files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file with the name that it has in the report."""
    for path in paths:
        if path.is_dir():
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
            ]
            if not inside:
                raise MissingError(
                    f"there is no text in {path}", expected="files .txt or .md", fix="give the folder of the drafts"
                )
            yield from ((file, str(file.relative_to(path))) for file in inside)
        elif path.is_file():
            yield path, path.name
        else:
            raise MissingError(f"there is no {path}", expected="a file or a folder of drafts", fix="check the path")


def _make_draft(text: str, data: bytes, name: str) -> Draft:
    try:
        split_sentences(text)
    except InputError as error:
        if not name:
            raise
        raise type(error)(f"{name}: {error.message}", expected=error.expected, fix=error.fix) from error
    return Draft(name, text, hashlib.sha256(data).hexdigest(), len(data))
