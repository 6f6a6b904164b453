"""The numbers that Word counts and does not write: 3.2, (a), 第三条.

    numbering = Numbering.of(document)
    numbering.enter(paragraph)         # ("3.2", None), or (label, level) of a heading

By ECMA-376 part 1, 17.9: a paragraph, or its style, names a list and a level; the level says how it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from deepseek.citations.documents.html import format_count

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING_NAME = re.compile(r"(?:heading|标题)\s*(\d)$", re.IGNORECASE)
MAX_STYLES = 40  # that stand on each other
MAX_LEVELS = 9


@dataclass(frozen=True, slots=True)
class _Level:
    style: str  # as "decimal"
    text: str  # as "%1.%2"
    start: int
    is_decimal: bool  # all numbers in digits


@dataclass(frozen=True, slots=True)
class _Style:
    name: str
    based_on: str | None
    list_id: str | None
    level: int | None


@dataclass(slots=True)
class Numbering:
    """Counts paragraphs of all lists in their order."""

    _levels: dict[str, dict[int, _Level]] = field(default_factory=dict)  # by the id of an abstract list
    _abstract: dict[str, str] = field(default_factory=dict)  # abstract list of a list
    _starts: dict[tuple[str, int], int] = field(default_factory=dict)  # of a list that begins anew
    _styles: dict[str, _Style] = field(default_factory=dict)
    _counts: dict[str, dict[int, int]] = field(default_factory=dict)
    _begun: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def of(cls, document: Any) -> Numbering:
        """The lists and styles of a document of python-docx."""
        numbering = cls()
        for style in document.styles.element.iter(f"{_W}style"):
            numbering._styles[style.get(f"{_W}styleId", "")] = _read_style(style)
        part = next((each.target_part for each in document.part.rels.values() if _is_numbering(each)), None)
        root = getattr(part, "element", None)
        if root is not None:
            numbering._read_lists(root)
        return numbering

    def _read_lists(self, root: Any) -> None:
        for abstract in root.iter(f"{_W}abstractNum"):
            self._levels[abstract.get(f"{_W}abstractNumId", "")] = {
                _number(level.get(f"{_W}ilvl")): _read_level(level) for level in abstract.iter(f"{_W}lvl")
            }
        for each in root.iter(f"{_W}num"):
            list_id = each.get(f"{_W}numId", "")
            self._abstract[list_id] = _value(each, "abstractNumId") or ""
            for override in each.iter(f"{_W}lvlOverride"):
                start = _value(override, "startOverride")
                if start is not None:
                    self._starts[list_id, _number(override.get(f"{_W}ilvl"))] = _number(start)

    def enter(self, paragraph: Any) -> tuple[str, int | None]:
        """The label of a paragraph, "" for none, and its level where it is a heading."""
        properties = paragraph.find(f"{_W}pPr")
        style = (_value(properties, "pStyle") if properties is not None else None) or ""
        list_id, level, heading = self._of_style(style)
        direct = properties.find(f"{_W}numPr") if properties is not None else None
        if direct is not None:
            list_id = _value(direct, "numId") or list_id
            level = _number(_value(direct, "ilvl")) if _value(direct, "ilvl") is not None else level
        if list_id in (None, "0") or not any(node.text for node in paragraph.iter(f"{_W}t")):
            return "", heading
        return self._count(str(list_id), min(level or 0, MAX_LEVELS - 1)), heading

    def _of_style(self, style: str) -> tuple[str | None, int | None, int | None]:
        """List, level in it, and level of a heading, of a style or of those that it is based on."""
        list_id: str | None = None
        level: int | None = None
        heading: int | None = None
        for _ in range(MAX_STYLES):
            each = self._styles.get(style)
            if each is None:
                break
            list_id, level = list_id or each.list_id, level if level is not None else each.level
            match = _HEADING_NAME.match(each.name) or (re.match("()title$", each.name, re.IGNORECASE))
            heading = heading if heading is not None or not match else _number(match[1]) or 1
            style = each.based_on or ""
        return list_id, level, heading

    def _count(self, list_id: str, level: int) -> str:
        abstract = self._abstract.get(list_id, "")
        levels = self._levels.get(abstract, {})
        if level not in levels:
            return ""
        counts = self._counts.setdefault(abstract, {})
        start = self._starts.get((list_id, level))
        if start is not None and (list_id, level) not in self._begun:
            self._begun.add((list_id, level))
            counts[level] = start
        else:
            counts[level] = counts.get(level, levels[level].start - 1) + 1
        for deeper in [each for each in counts if each > level]:
            del counts[deeper]
        return self._write(levels, counts, level)

    def _write(self, levels: dict[int, _Level], counts: dict[int, int], level: int) -> str:
        form = levels[level]
        if form.style in ("bullet", "none"):
            return ""

        def replace(match: re.Match[str]) -> str:
            index = int(match[1]) - 1
            each = levels.get(index)
            if each is None:
                return ""
            return format_count(counts.get(index, each.start), "decimal" if form.is_decimal else each.style)

        return re.sub(r"%([1-9])", replace, form.text).strip()


def _is_numbering(relationship: Any) -> bool:
    return not relationship.is_external and str(relationship.reltype).endswith("/numbering")


def _read_style(style: Any) -> _Style:
    properties = style.find(f"{_W}pPr")
    listed = properties.find(f"{_W}numPr") if properties is not None else None
    level = _value(listed, "ilvl") if listed is not None else None
    return _Style(
        _value(style, "name") or "", _value(style, "basedOn"), _value(listed, "numId") if listed is not None else None,
        _number(level) if level is not None else None,
    )  # fmt: skip


def _read_level(level: Any) -> _Level:
    return _Level(
        _value(level, "numFmt") or "decimal", _value(level, "lvlText") or "", _number(_value(level, "start") or "1"),
        level.find(f"{_W}isLgl") is not None,
    )  # fmt: skip


def _value(element: Any, name: str) -> str | None:
    child = element.find(f"{_W}{name}")
    return None if child is None else child.get(f"{_W}val")


def _number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() and len(text) < 8 else 0
