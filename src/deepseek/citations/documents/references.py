"""Which clause another one names, and where a term is defined.

resolve_references(document)[0].target      # the index of the clause that "Section 9.2" means, None where none is
find_definitions(document)[0].term          # "Confidential Information"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number
from deepseek.citations.documents.document import Document

_NUMERAL = f"[{NUMERAL_CHARS}0-9]+"
_ENGLISH = re.compile(
    r"(?<![\w])(?P<word>Articles?|Sections?|Clauses?|Paragraphs?|articles?|sections?|clauses?|paragraphs?|Schedules?"
    r"|Annex|Appendix|Exhibits?|§§?)\s?(?P<number>[IVXLC]+\b|[A-Z]\b|\d+[A-Za-z]?(?:\.\d+)*)"
    r"(?P<items>(?:\s?\([a-zA-Z0-9]{1,4}\))*)"
)
_CHINESE = re.compile(
    rf"第(?P<number>{_NUMERAL})条(?:之{_NUMERAL})?(?:第(?P<paragraph>{_NUMERAL})款)?(?:第(?P<item>{_NUMERAL})项)?"
)
#: Behind a reference: it names another text, and no clause of this one.
_ELSEWHERE = re.compile(r"\s*(?:of|in|under)\s+(?:the\s+)?(?!this\b|these\b|the Agreement\b|Agreement\b)[A-Z]")
_ELSEWHERE_BEFORE = re.compile(r"[》法例]$")
_DEFINITIONS = (
    re.compile(
        r"[\"“](?P<term>[^\"”“\n]{2,80})[\"”]\s*(?:,?\s*(?:as used herein|in this Agreement)?,?\s*)"
        r"(?:shall\s+)?(?:means?|include[s]?|refers?\s+to|has the meaning|have the meaning)"
    ),
    re.compile(r"\((?:(?:the|each,?\s+an?|collectively,?(?:\s+the)?"
               r"|hereinafter(?:\s+referred to as)?,?(?:\s+the)?)\s*,?\s*)?"
               r"[\"“](?P<term>[^\"”“\n]{2,80})[\"”]\)"),
    re.compile(r"(?:以下简称|下称|以下统称)(?:为)?[：:]?\s?[\"“「](?P<term>[^\"”」\n]{1,30})[\"”」]"),
    re.compile(r"(?:本[法条例办合同协议规定]{1,3}所称|所称)(?P<term>[^，。；\n]{1,24}?)，?(?:是指|系指|指)"),
    re.compile(r"[\"“「](?P<term>[^\"”」\n]{1,30})[\"”」]\s?(?:是指|系指|指)"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that names a clause."""

    text: str  # as it is written
    start: int  # in Document.text
    end: int
    clause: int  # the index of the clause in which it stands
    target: int | None  # of the clause that it names; None where the document has none


@dataclass(frozen=True, slots=True)
class Definition:
    """A term, and the clause that says what it means."""

    term: str
    start: int  # of the term in Document.text
    end: int
    clause: int


def resolve_references(document: Document) -> tuple[Reference, ...]:
    """Every place at which a clause names a clause of this document. What names another text ("Section 9 of the Act")
    is left out."""
    by_key: dict[str, int] = {}
    for index, clause in enumerate(document.clauses):
        if clause.number:
            by_key.setdefault(_key(clause.number), index)
    references = []
    for index, clause in enumerate(document.clauses):
        for match in (*_ENGLISH.finditer(clause.text), *_CHINESE.finditer(clause.text)):
            before, behind = clause.text[: match.start()], clause.text[match.end() :]
            if _ELSEWHERE.match(behind) or _ELSEWHERE_BEFORE.search(before):
                continue
            target = by_key.get(_reference_key(match))
            start = clause.start + match.start()
            references.append(Reference(match[0], start, start + len(match[0]), index, target))
    return tuple(references)


def find_definitions(document: Document) -> tuple[Definition, ...]:
    """The terms that a clause defines, each at its first place."""
    definitions: dict[str, Definition] = {}
    for index, clause in enumerate(document.clauses):
        for pattern in _DEFINITIONS:
            for match in pattern.finditer(clause.text):
                term = match["term"].strip(" ,.")
                start = clause.start + match.start("term")
                if term and term not in definitions:
                    definitions[term] = Definition(term, start, start + len(match["term"]), index)
    return tuple(sorted(definitions.values(), key=lambda each: each.start))


def _key(number: str) -> str:
    """The number of a clause without how it is written: Section 3.2(a), 3.2(a) and 3.2 (a) are one.

    >>> _key("Section 3.2 (a)"), _key("第二十条（一）"), _key("Article IV")
    ('3.2(a)', '20(1)', 'IV')
    """
    if match := re.match(rf"第({_NUMERAL})条(.*)", number):
        items = "".join(f"({int(parse_number(part))})" for part in re.findall(f"（({_NUMERAL})）", match[2]))
        return f"{int(parse_number(match[1]))}{items}"
    plain = re.sub(
        r"^(?:article|section|clause|paragraph|schedule|annex|appendix|exhibit|§)s?\s*", "", number, flags=re.I
    )
    return plain.replace(" ", "").rstrip(".")


def _reference_key(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if "word" in groups:
        return f"{groups['number']}{(groups['items'] or '').replace(' ', '')}"
    item = f"({int(parse_number(groups['item']))})" if groups["item"] else ""
    return f"{int(parse_number(groups['number']))}{item}"
