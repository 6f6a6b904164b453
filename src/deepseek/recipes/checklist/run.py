"""A regulation becomes its checklist: each thing that it lays down is one line, with its clause word for word.

    result = make_checklist(read_document(Path("rules.pdf")), ChecklistOptions())
    result.lines[0].quote, result.lines[0].question, result.comparison

Clauses are read article by article (deepseek.citations.provisions). A line says what decided: a signal word, or the
model, which a person should look at. Clauses that a line names are followed, and what is not there is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path

from deepseek.citations.corpus.amounts import find_amounts
from deepseek.citations.documents import Document, resolve_references
from deepseek.citations.documents.document import Clause
from deepseek.citations.documents.references import Reference
from deepseek.citations.provisions.provision import KINDS, Kind, Provision, Span
from deepseek.citations.provisions.reading import is_chinese, read_provisions
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.look.summary import format_value, make_table, render_text
from deepseek.look.words import Text
from deepseek.recipes.checklist.lines import BY_MODEL, RuleLine, read_lines
from deepseek.recipes.checklist.versions import Comparison, compare_versions
from deepseek.recipes.checklist.wording import RISKS, word_line
from deepseek.results import Result

MAX_LINES = 1_000
#: What a document can be asked for by itself; a right, a punishment, and an amount that its duty has, are not.
BINDING: tuple[Kind, ...] = ("obligation", "prohibition")
MAX_TITLE_CHARS = 60
ALIKE = 0.85  # of two duties, from which on another sign or another amount is a contradiction
_CROSS_CHARS = 160  # of a clause that another one names


@dataclass(frozen=True, slots=True)
class ChecklistOptions:
    """What a user chooses."""

    accept: bool = False  # obligations and prohibitions that words decide are accepted at once
    previous: Path | None = None  # the checklist of the regulation as it was
    name: str = ""  # of the checklist; "" for the regulation's title
    command: str = ""  # that makes it again


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two lines that nobody can meet both."""

    first: str  # ids
    second: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class RegulationChecklist(Result):
    """What `deepseek recipe checklist` gives."""

    name: str
    source: str
    is_chinese: bool
    lines: tuple[RuleLine, ...]
    contradictions: tuple[Contradiction, ...]
    unresolved: tuple[str, ...]  # clauses that are named and are not there
    num_clauses: int
    num_silent: int  # clauses that lay down nothing
    comparison: Comparison | None = None
    options: ChecklistOptions = field(default_factory=ChecklistOptions)

    @property
    def num_by_model(self) -> int:
        """Lines that words did not decide."""
        return sum(line.is_by_model for line in self.lines)

    def count(self, kind: Kind) -> int:
        """Lines of a kind."""
        return sum(line.kind == kind for line in self.lines)

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        comparison = None
        if self.comparison is not None:
            comparison = {
                "unchanged": list(self.comparison.unchanged),
                "changed": [asdict(each) for each in self.comparison.changed], "new": list(self.comparison.new),
                "removed": [line.to_dict() for line in self.comparison.removed],
            }  # fmt: skip
        return {
            "name": self.name, "source": self.source, "num_clauses": self.num_clauses, "num_silent": self.num_silent,
            "num_lines": len(self.lines), **{f"num_{kind}": self.count(kind) for kind in KINDS},
            "num_by_model": self.num_by_model, "lines": [line.to_dict() for line in self.lines],
            "contradictions": [asdict(each) for each in self.contradictions], "unresolved": list(self.unresolved),
            "comparison": comparison,
        }  # fmt: skip

    def summary(self) -> str:
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """Counts by kind, then what a person has to look at."""
        counts = make_table("kind", "lines")
        for kind in KINDS:
            counts.add_row(kind, format_value(self.count(kind)))
        every = f"{len(self.lines)} lines from {self.num_clauses} clauses of {self.name}"
        parts: list[object] = [f"{every}; {self.num_silent} clauses lay down nothing", counts]
        if self.num_by_model:
            parts.append(f"{self.num_by_model} lines were decided by the model: look at them first")
        parts += [f"{each.first} and {each.second} contradict each other: {each.why}" for each in self.contradictions]
        if self.unresolved:
            parts.append(f"named, and not in this document: {', '.join(self.unresolved)}")
        if self.comparison is not None:
            each = self.comparison
            parts.append(
                f"against the previous checklist: {len(each.unchanged)} unchanged, {len(each.changed)} changed,"
                f" {len(each.new)} new, {len(each.removed)} removed"
            )
        return parts


@dataclass(frozen=True, slots=True)
class _Article:
    """Clauses that are read together."""

    number: str
    start: int  # in Document.text
    end: int
    clauses: tuple[tuple[int, Clause], ...]


def make_checklist(document: Document, options: ChecklistOptions) -> RegulationChecklist:
    """The checklist of a regulation. InputError for one that lays down nothing, and for a previous checklist that is
    none."""
    chinese = is_chinese(document.text)
    references = resolve_references(document)
    lines: list[RuleLine] = []
    speaking: set[int] = set()
    ids: set[str] = set()
    for article in _articles(document):
        text = document.text[article.start : article.end]
        provisions = read_provisions(text)
        for place, provision in enumerate(provisions):
            index, clause = _clause_at(article, article.start + provision.cue.start)
            speaking.add(index)
            lines.append(
                _make_line(document, article, text, provisions, place, clause, references, ids, options, chinese)
            )
    lines = _without_repeats(lines)
    if not lines:
        raise InputError(
            f"{document.source} lays down nothing",
            expected="a regulation: clauses with must, shall, may not, 应当, 不得, 可以, 处以罚款",
            fix="look whether this is the text of the rules",
        )
    if len(lines) > MAX_LINES:
        raise InputError(
            f"{document.source} gives {len(lines)} lines", expected=f"at most {MAX_LINES}", fix="give it in parts"
        )
    comparison = None
    if options.previous is not None:
        lines, comparison = compare_versions(lines, read_lines(options.previous))
    unresolved = tuple(dict.fromkeys(each.text for each in references if each.target is None))
    return RegulationChecklist(
        options.name or _title_of(document), document.source, chinese, tuple(lines), tuple(_find_contradictions(lines)),
        unresolved, len(document.clauses), len(document.clauses) - len(speaking), comparison, options,
    )  # fmt: skip


def _title_of(document: Document) -> str:
    """The title, else the first line where it is no sentence, else the file's name."""
    first = document.text.split("\n", 1)[0].strip()
    is_title = 0 < len(first) <= MAX_TITLE_CHARS and not first.endswith(tuple("。；，.;,:："))
    return first if document.title == Path(document.source).stem and is_title else document.title


def _articles(document: Document) -> Iterator[_Article]:
    """The clauses by the outermost number that they are in; those without a number are alone."""
    parents = {clause.number: clause.parent for clause in document.clauses if clause.number}

    def root(clause: Clause) -> str:
        number = clause.number or clause.parent or ""
        for _ in range(12):  # levels
            above = parents.get(number)
            if not above or above == number:
                break
            number = above
        return number

    group: list[tuple[int, Clause]] = []
    last = ""
    for index, clause in enumerate(document.clauses):
        number = root(clause)
        if group and (number != last or not number):
            yield _Article(last, group[0][1].start, group[-1][1].end, tuple(group))
            group = []
        group.append((index, clause))
        last = number
    if group:
        yield _Article(last, group[0][1].start, group[-1][1].end, tuple(group))


def _clause_at(article: _Article, place: int) -> tuple[int, Clause]:
    at = [each for each in article.clauses if each[1].start <= place]
    return at[-1] if at else article.clauses[0]


def _make_line(
    document: Document, article: _Article, text: str, provisions: Sequence[Provision], place: int, clause: Clause,
    references: Sequence[Reference], ids: set[str], options: ChecklistOptions, chinese: bool,
) -> RuleLine:  # fmt: skip
    provision = provisions[place]
    wording = word_line(text, provision, _own_end(text, provisions, place), chinese=chinese)
    amounts = [
        each.cue.of(text) for each in provisions
        if each.kind == "deadline" and _overlap(each.clause, provision.clause)
    ]  # fmt: skip
    is_deadline_of = provision.kind == "obligation" and bool(amounts)
    start, end = article.start + provision.clause.start, article.start + provision.clause.end
    named = [each for each in references if start <= each.start < end]
    number = clause.number or clause.parent or article.number
    by_words = provision.decided_by == "words"
    return RuleLine(
        id=_make_id(number or f"p{article.clauses[0][0] + 1}", provision.kind, ids), text=wording.text,
        expect=wording.expect, risk="high" if is_deadline_of else RISKS[provision.kind],
        status="accepted" if options.accept and by_words and provision.kind in BINDING else "proposed",
        kind=provision.kind,
        source=number + (f", page {clause.page}" if clause.page is not None else ""), quote=provision.clause.of(text),
        subject=provision.subject.of(text) if provision.subject else "",
        condition="；".join(span.of(text) for span in provision.condition) if chinese
        else "; ".join(span.of(text) for span in provision.condition),
        deadline=amounts[0] if is_deadline_of else "", evidence=wording.evidence, question=wording.question,
        note=_note(document, provision, text, named, chinese=chinese),
    )  # fmt: skip


def _overlap(one: Span, two: Span) -> bool:
    return one.start < two.end and two.start < one.end


def _own_end(text: str, provisions: Sequence[Provision], place: int) -> int:
    """Where the words of a provision end: before the next one of the same clause."""
    provision = provisions[place]
    duties = [each for each in provisions[place + 1 :] if each.kind not in ("deadline", "threshold")]
    following = next((each for each in duties if each.cue.start < provision.clause.end), None)
    if following is None or following.cue.start <= provision.cue.end:
        return provision.clause.end
    before = text[provision.cue.end : following.cue.start]
    cut = max((match.start() for match in re.finditer(r"[，,;；。.\n]|\b(?:and|but)\b", before)), default=len(before))
    if following.condition and provision.cue.end < following.condition[0].start < following.cue.start:
        cut = min(cut, following.condition[0].start - provision.cue.end)
    return provision.cue.end + cut


def _note(document: Document, provision: Provision, text: str, named: Sequence[Reference], *, chinese: bool) -> str:
    """What decided, and the clauses that the line names, followed, in the language of the regulation."""
    cue = " ".join(provision.cue.of(text).split())
    by_words = Text(f"decided by the words {cue!r}", f"由词语“{cue}”判定")
    by_model = Text(
        f"{BY_MODEL[0]} ({provision.score:.2f}): look whether it is a duty",
        f"{BY_MODEL[1]}（{provision.score:.2f}）：请查看是否为义务",
    )
    parts = [by_words if provision.decided_by == "words" else by_model]
    for each in {each.text: each for each in named}.values():
        if each.target is None:
            parts.append(Text(f"names {each.text}, which is not in this document", f"引用{each.text}，本文件中没有"))
            continue
        words = " ".join(document.clauses[each.target].text.split())
        words = words if len(words) <= _CROSS_CHARS else f"{words[:_CROSS_CHARS]}…"
        parts.append(Text(f"names {each.text}: {words}", f"引用{each.text}：{words}"))
    return "；".join(part.zh for part in parts) if chinese else "; ".join(part.en for part in parts)


def _make_id(number: str, kind: Kind, ids: set[str]) -> str:
    """An id of letters and digits: the number of the clause, the kind, and a count."""
    from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number

    digits = re.sub(rf"[{NUMERAL_CHARS}]+", lambda match: f".{int(parse_number(match[0]) or 0)}.", number)
    bare = re.sub(r"[^A-Za-z0-9.]+", "-", re.sub(r"[第条款项章节]", "", digits))
    bare = re.sub(r"^(?:article|section|clause|paragraph)[.\- ]*", "", bare, flags=re.IGNORECASE)
    bare = re.sub(r"[.\-]*\.[.\-]*|-+", lambda match: "." if "." in match[0] else "-", bare).strip(".-")[:40] or "p"
    short = {
        "obligation": "o",
        "prohibition": "f",
        "permission": "p",
        "deadline": "d",
        "threshold": "t",
        "penalty": "s",
    }
    count = 1
    while f"{bare}-{short[kind]}{count}" in ids:
        count += 1
    ids.add(f"{bare}-{short[kind]}{count}")
    return f"{bare}-{short[kind]}{count}"


def _without_repeats(lines: Sequence[RuleLine]) -> list[RuleLine]:
    """Each text once: the first line says where else it stands."""
    first: dict[tuple[str, str], int] = {}
    kept: list[RuleLine] = []
    for line in lines:
        key = ("".join(filter(str.isalnum, line.text.casefold())), line.expect)
        if key in first:
            place = first[key]
            kept[place] = _with_source(kept[place], line.source)
            continue
        first[key] = len(kept)
        kept.append(line)
    return kept


def _with_source(line: RuleLine, source: str) -> RuleLine:
    return replace(line, note=f"{line.note}; = {source}") if source != line.source else line


def _find_contradictions(lines: Sequence[RuleLine]) -> Iterator[Contradiction]:
    """Lines of one subject, of which one must or may do what the other must not, or does it by another deadline."""
    asked = [
        line for line in lines if line.kind in ("obligation", "permission", "prohibition") and line.status != "struck"
    ]
    by_subject: dict[str, list[RuleLine]] = {}
    for line in asked:
        by_subject.setdefault(_plain_person(line.subject), []).append(line)
    for same in by_subject.values():
        for number, line in enumerate(same):
            for other in same[number + 1 :]:
                if (why := _contradiction(line, other)) is not None:
                    yield Contradiction(line.id, other.id, why)


def _contradiction(line: RuleLine, other: RuleLine) -> str | None:
    if line.condition != other.condition:
        return None
    first, second = _act(line), _act(other)
    if len(first) < 4 or len(second) < 4:
        return None
    signs = {line.kind, other.kind}
    if "prohibition" in signs and len(signs) == 2:
        if SequenceMatcher(None, first, second, autojunk=False).ratio() >= ALIKE:
            allowed = "must" if "obligation" in signs else "may"
            return f"{line.subject or 'the same person'} {allowed} and must not do the same"
        return None
    if line.kind == other.kind == "obligation":
        one, two = find_amounts(line.text), find_amounts(other.text)
        plain = [re.sub(r"[\d零〇一二三四五六七八九十百千万亿两]+", "", words) for words in (first, second)]
        if one and two and one != two and SequenceMatcher(None, plain[0], plain[1], autojunk=False).ratio() >= ALIKE:
            return f"the same duty with other amounts: {line.quote[:80]!r} and {other.quote[:80]!r}"
    return None


def _act(line: RuleLine) -> str:
    words = line.text.removeprefix(line.condition).strip("，, ").removeprefix(line.subject)
    return re.sub(
        r"\W|^(?:可以|应当|必须|must|may)", "", re.sub(r"^\s*(?:may|must|可以|应当|必须|有权)\s*", "", words.casefold())
    )


def _plain_person(subject: str) -> str:
    return re.sub(r"^(?:the|a|an|each|any|every|all|no|neither)\s+", "", subject.casefold())
