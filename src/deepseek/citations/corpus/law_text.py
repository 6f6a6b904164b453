"""Plain law text into clauses: .txt and .md with articles, or Parquet with columns law, article, text.

    clauses, skipped = read_laws(Path("laws"))

A law's name is its first heading or line, else the file's name; its version the date in the file's name, else the
latest date above the first article. An article begins a line: 第二百六十四条 (a space behind it, or the number next in
turn), 第一百三十三条之一, Article 12, Section 3.1, § 5. A file is UTF-8, UTF-16 with its mark, or GB18030, each by
itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deepseek.citations.corpus.clause import UNDATED, Clause, duplicate_error
from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number
from deepseek.errors import InputError, MalformedError, MissingError
from deepseek.extras import need
from deepseek.files import read_bounded

MAX_FILE_BYTES = 64 * 2**20
SUFFIXES = (".txt", ".md", ".parquet")
PARQUET_COLUMNS = ("law", "article", "text")
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NUMERAL = f"[{NUMERAL_CHARS}0-9]+"
_CHINESE = re.compile(rf"(?:\*\*)?(第\s?({_NUMERAL})\s?条(?:\s?之{_NUMERAL})?)(?:\*\*)?([\s　:：]*)(.*)")
_ENGLISH = re.compile(
    r"(?:\*\*)?((?:Article|Section|Clause|§)\s?\d[\w.\-]*?)(?:\*\*)?([.:)]?(?:\s+|$))(.*)", re.IGNORECASE
)
_HEADING = re.compile(rf"#+\s|第{_NUMERAL}[编章节]|(?:Part|Chapter|Title)\s+[IVXLC\d]+\b")
_ITEM = re.compile(r"[（(]\s?[一二三四五六七八九十百\da-zA-Z]{1,4}\s?[)）]|\d{1,2}[.、)]\s?|[-*•]\s")
_DATE = re.compile(r"(\d{4})\s?[年\-./]\s?(\d{1,2})\s?[月\-./]\s?(\d{1,2})")
#: What ends a paragraph. A line behind another end goes on with it.
_ENDS = tuple('。！？；.!?;”"》）)')


def read_laws(path: Path) -> tuple[list[Clause], list[str]]:
    """Clauses of all files under `path`, and the names of files in which there was no article.

    MissingError without the path, MalformedError for a file in two encodings or none, TooLargeError above 64 MB,
    InputError for an article that is there twice.
    """
    if not path.exists():
        raise MissingError(f"there is no {path}", expected="a folder of laws, or one file", fix="give its path")
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    clauses: list[Clause] = []
    skipped = []
    for file in files:
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith("."):
            clauses_of_file = list(_read_parquet(file) if file.suffix.lower() == ".parquet" else _read_text(file))
            clauses += clauses_of_file
            skipped += [] if clauses_of_file else [file.name]
    return clauses, skipped


def decode_text(data: bytes, name: str) -> str:
    """The text of a file. MalformedError, which says where, for bytes in no encoding, or in two.

    >>> decode_text("第一条".encode("gb18030"), "law.txt"), decode_text("第一条".encode("utf-16"), "law.txt")
    ('第一条', '第一条')
    """
    mark = next((encoding for start, encoding in BYTE_ORDER_MARKS.items() if data.startswith(start)), None)
    for encoding in [mark] if mark else ["utf-8", "gb18030"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            problem = f"byte {error.start} fits no {encoding}"
            if encoding == "utf-8":
                _refuse_mixed_encodings(data, name)
            continue
        if "\0" in text:
            raise MalformedError(f"{name} is no text: it holds NUL", expected="plain text", fix="leave the file out")
        return text
    raise MalformedError(
        f"{name} cannot be read: {problem}",
        expected="UTF-8, UTF-16 with its mark, or GB18030",
        fix="save it again as UTF-8",
    )


def _refuse_mixed_encodings(data: bytes, name: str) -> None:
    """MalformedError for bytes that are no UTF-8 as a whole but hold lines that are: as GB18030 these would read as
    other letters."""
    for line_number, line in enumerate(data.splitlines(), 1):
        high = sum(byte > 127 for byte in line)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if high >= 6:  # two Chinese letters; one alone may be GB18030 by chance
            raise MalformedError(
                f"{name} is in two encodings: line {line_number} is UTF-8, others are not",
                expected="one encoding in a file",
                fix="save it again as UTF-8",
            )


def _read_text(file: Path) -> Iterator[Clause]:
    data = read_bounded(file, MAX_FILE_BYTES, what="the text of a law", smaller="split it into a file for each law")
    text = decode_text(data, file.name)
    law, version = _law_and_version(text, file)
    yield from parse_clauses(text, law, version, source=file.name)


def _law_and_version(text: str, file: Path) -> tuple[str, str]:
    """The name and the version of the law in a file."""
    above: list[str] = []
    for line in text.splitlines():
        if _match_article(line, None):
            break
        above += [line.strip()] if line.strip() else []
        if len(above) > 200:
            break
    first = above[0].lstrip("# ").strip() if above else ""
    dates = _DATE.findall(file.stem) or _DATE.findall(" ".join(above))
    version = max((f"{int(y):04}-{int(m):02}-{int(d):02}" for y, m, d in dates), default=UNDATED)
    is_name = 0 < len(first) <= 60 and not _HEADING.match(first)
    return (first if is_name else _DATE.sub("", file.stem).strip("()（）-_ ") or file.stem), version


def _match_article(line: str, last: float | None) -> tuple[str, str] | None:
    """The number as it is written and the rest of the line, where the line begins an article; else None. `last` is the
    number before it."""
    stripped = line.strip()
    match = _CHINESE.match(stripped)
    if match:
        value = parse_number(match[2])
        if match[3] or not match[4] or stripped.startswith("**") or value == (last or 0) + 1:
            return "".join(match[1].split()), match[4].strip()
        return None
    match = _ENGLISH.match(stripped)
    return (" ".join(match[1].rstrip(".").split()), match[3].strip()) if match else None


def parse_clauses(text: str, law: str, version: str, *, source: str) -> Iterator[Clause]:
    """The clauses of one law. InputError for an article that is there twice."""
    section, article, start_line = "", "", 0
    last: float | None = None
    lines: list[str] = []
    seen: dict[str, Clause] = {}

    def close() -> Iterator[Clause]:
        for number, paragraph in enumerate(join_paragraphs(lines), 1):
            clause = Clause(law, article, number, version, paragraph, section, f"{source}:{start_line}")
            if number == 1:
                if article in seen:
                    raise duplicate_error(seen[article], clause)
                seen[article] = clause
            yield clause

    for line_number, line in enumerate(text.splitlines(), 1):
        opening = _match_article(line, last)
        if opening:
            yield from close()
            article, start_line, lines = opening[0], line_number, [opening[1]]
            match = _CHINESE.match(line.strip())
            last = parse_number(match[2]) if match else None
        elif _HEADING.match(line.strip()):
            yield from close()
            lines = []
            section = line.strip().lstrip("# ")
        elif article:
            lines.append(line.strip())
    yield from close()


def join_paragraphs(lines: list[str]) -> list[str]:
    """Lines as paragraphs: an item, or a line behind one that did not end, belongs to the paragraph before it.

    >>> join_paragraphs(["One of these:", "(a) this;", "(b) that.", "Another", "one."])
    ['One of these:\\n(a) this;\\n(b) that.', 'Another one.']
    """
    paragraphs: list[str] = []
    for line in lines:
        if not any(letter.isprintable() and not letter.isspace() for letter in line):
            continue  # a zero-width space is a line in some files
        if paragraphs and _ITEM.match(line):
            paragraphs[-1] += "\n" + line
        elif paragraphs and not paragraphs[-1].endswith(_ENDS):
            joint = " " if paragraphs[-1][-1].isascii() and line[0].isascii() else ""
            paragraphs[-1] += ("\n" if paragraphs[-1].endswith((":", "：")) else joint) + line
        else:
            paragraphs.append(line)
    return paragraphs


def _read_parquet(file: Path) -> Iterator[Clause]:
    parquet = need("pyarrow.parquet", extra="tabular")
    from pyarrow import ArrowException

    try:
        table = parquet.read_table(file)
    except (OSError, ArrowException) as error:
        raise MalformedError(
            f"{file.name} cannot be read: {str(error)[:100]}", expected="a Parquet file", fix="write it again"
        ) from error
    missing = [name for name in PARQUET_COLUMNS if name not in table.column_names]
    if missing:
        raise InputError(
            f"{file.name} has no column {missing[0]!r}", expected=", ".join(PARQUET_COLUMNS), fix="name the columns so"
        )
    seen: dict[tuple[str, str, str], Clause] = {}
    for row_number, row in enumerate(table.to_pylist()):
        source = str(row.get("source_file") or file.name)
        date = _DATE.search(source)
        version = f"{int(date[1]):04}-{int(date[2]):02}-{int(date[3]):02}" if date else UNDATED
        law, article, section = str(row["law"]), str(row["article"]), str(row.get("section") or "")
        for number, paragraph in enumerate(join_paragraphs(str(row["text"]).splitlines()), 1):
            clause = Clause(law, article, number, version, paragraph, section, f"{file.name}, row {row_number}")
            if number == 1:
                if clause.key in seen:
                    raise duplicate_error(seen[clause.key], clause)
                seen[clause.key] = clause
            yield clause
