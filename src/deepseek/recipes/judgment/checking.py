"""Every sentence of a draft against the law in force and against the facts.

    checked = check_text(text, facts, law)
    checked.sentences[3].status        "verbatim", "not_verbatim", "wrong_amount", ...

A sentence states law where it names an article, stands within the quotation of one, or lays something down without a
name of the facts. It must be found word for word, as whole sentences, in the article that it names. What only cite()
supports is said to be reworded. Every other sentence may name no amount, day or name that the facts do not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.sentences import Sentence, split_sentences
from deepseek.citations.provisions.reading import read_provisions
from deepseek.citations.retrieval.retriever import Index
from deepseek.citations.support.citing import cite
from deepseek.citations.support.in_force import InForce
from deepseek.citations.support.results import Citation, CitedSentence, Reference
from deepseek.citations.support.scorer import strip_references
from deepseek.citations.support.verbatim import is_verbatim
from deepseek.look.words import Text
from deepseek.recipes.judgment.facts import Facts, read_days, read_money_and_counts
from deepseek.recipes.judgment.names import strange_names

Status = Literal[
    "verbatim", "applied", "checked", "plain", "reworded", "not_verbatim", "contradicted", "unsupported",
    "unknown_article",
    "wrong_article", "not_quoted", "wrong_amount", "wrong_day", "wrong_name", "open",
]  # fmt: skip
#: What needs no look: law word for word, an article that the draft quotes, facts as they are known, and the rest.
GOOD: tuple[Status, ...] = ("verbatim", "applied", "checked", "plain")
OPEN = re.compile(r"【待撰写：|\[to be written: ")
_SAYS = re.compile(
    r"(?:第[零一二三四五六七八九十\d]+款)?(?:第[零一二三四五六七八九十\d]+项)?(?:的?规定|明确|载明)?[：:，,]?\s*"
    r"(?:of the (?:[A-Z]\w*\s?)+)?(?:(?:says?|provides?|states?|reads?)(?:\s+that)?)?[:,]?\s*[“\"「‘']*"
)
_CASE = re.compile(r"本案|本院|本庭|\bthis (?:case|court)\b|\bthe court\b", re.IGNORECASE)
_RULES = ("obligation", "prohibition", "permission", "penalty")
MIN_STATEMENT_LETTERS = 4  # with fewer letters behind its article a sentence says nothing of it
MAX_CLAUSES = 3  # that are cited for a sentence
_NO_REASON = Text("", "")


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence of the draft: text[start:end]."""

    text: str
    start: int
    end: int
    states_law: bool
    status: Status
    citations: tuple[Citation, ...]  # the clauses that say it
    reason: Text = _NO_REASON  # why it needs a look

    @property
    def is_flagged(self) -> bool:
        return self.status not in GOOD


@dataclass(frozen=True, slots=True)
class CheckedText:
    """A draft, sentence by sentence."""

    text: str
    sentences: tuple[CheckedSentence, ...]

    @property
    def to_review(self) -> tuple[CheckedSentence, ...]:
        return tuple(each for each in self.sentences if each.is_flagged)

    @property
    def law(self) -> tuple[CheckedSentence, ...]:
        return tuple(each for each in self.sentences if each.states_law)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the sentences of a draft are checked against."""

    facts: Facts
    law: InForce
    known: str  # words that are no names

    def names_case(self, words: str) -> bool:
        """Whether a sentence speaks of this case."""
        parties = self.facts.parties
        return any(each.name in words or each.role in words for each in parties) or _CASE.search(words) is not None


@dataclass(frozen=True, slots=True)
class _Reading:
    """A sentence with the articles that it names, and those that its words are to be found in."""

    sentence: Sentence
    references: tuple[Reference, ...]  # of its own
    carried: tuple[Reference, ...]  # its own, else those of the quotation within which it stands
    cited: CitedSentence

    def result(
        self, status: Status, reason: Text = _NO_REASON, clauses: Sequence[Clause] = (), *, states_law: bool = True
    ) -> CheckedSentence:
        citations = tuple(_citation(each) for each in clauses)
        where = self.sentence
        return CheckedSentence(where.text, where.start, where.end, states_law, status, citations, reason)


def check_text(text: str, facts: Facts, law: InForce, *, index: Index | None = None, known: str = "") -> CheckedText:
    """Check a draft. `known`: other words that are no names, as those of the template. InputError for a text without
    words."""
    draft = _Draft(facts, law, known)
    cited = {each.start: each for each in cite(text, index or Index(law.corpus)).sentences}
    checked: list[CheckedSentence] = []
    quoted: tuple[Reference, ...] = ()  # the articles whose quotation is open
    for sentence in split_sentences(text):
        # what a clause names within its quotation is no article that the draft names
        own = () if quoted else _own_references(sentence.text, cited[sentence.start].references)
        reading = _Reading(sentence, own, own or quoted, cited[sentence.start])
        checked.append(_check_sentence(reading, draft))
        depth = bool(quoted) + sentence.text.count("“") - sentence.text.count("”")
        quoted = reading.carried if depth > 0 else ()
    return CheckedText(text, tuple(_check_applied(checked)))


def _own_references(words: str, references: Sequence[Reference]) -> tuple[Reference, ...]:
    """The articles that a sentence names before its quotation, if it has one."""
    head, mark, _ = words.partition("“")
    own = tuple(each for each in references if each.text in head)
    return own if mark and own else tuple(references)


def _check_sentence(reading: _Reading, draft: _Draft) -> CheckedSentence:
    words = reading.sentence.text
    if OPEN.search(words):
        return reading.result("open", Text("nobody has written it yet", "尚未撰写"), states_law=False)
    if unknown := [each for each in reading.carried if not each.ids]:
        return reading.result("unknown_article", _why_unknown(unknown, draft.law))
    if reading.carried:
        return _check_named(reading, draft)
    if not draft.names_case(words) and any(each.kind in _RULES for each in read_provisions(words)):
        if says := _verbatim_in(_statement(reading), draft.law.corpus.clauses):
            return reading.result("verbatim", clauses=says)
        return _by_cite(reading)
    return _check_facts(reading, draft)


def _why_unknown(unknown: Sequence[Reference], law: InForce) -> Text:
    names = ", ".join(each.text for each in unknown)
    laws = [each.law for each in unknown if each.law]
    later = [each for each in law.not_yet if any(each.law in name or name in each.law for name in laws)]
    why = f"; {later[0].law} is in force since {later[0].since}" if later else ""
    why_zh = f"；{later[0].law}自{later[0].since}起施行" if later else ""
    return Text(f"not in the corpus as of {law.day}: {names}{why}", f"截至{law.day}，语料中没有：{names}{why_zh}")


def _check_named(reading: _Reading, draft: _Draft) -> CheckedSentence:
    """A sentence that names an article, or stands in its quotation."""
    statement = _statement(reading)
    named = [draft.law.corpus[name] for each in reading.carried for name in each.ids]
    if says := _verbatim_in(statement, named) or _whole_article(statement, named):
        return reading.result("verbatim", clauses=says)
    is_applied = reading.references and (draft.names_case(reading.sentence.text) or _is_short(statement))
    if is_applied and reading.cited.status != "contradicted":
        return _check_facts(reading, draft, named)
    if other := _verbatim_in(statement, draft.law.corpus.clauses):
        where, right = named[0].article, other[0]
        reason = Text(
            f"{right.law}, {right.article} says this, not {where}",
            f"这是{right.law}{right.article}的规定，而不是{where}",
        )
        return reading.result("wrong_article", reason, other)
    return _not_verbatim(reading, named)


def _statement(reading: _Reading) -> str:
    """What a sentence says: its quotation, else what stands behind the article that it names. Articles that the clause
    itself names stay."""
    words = reading.sentence.text
    if reading.references and "“" in words:
        words = words.partition("“")[2]
    elif reading.references:
        first = reading.references[0].text
        words = _SAYS.sub("", words[words.find(first) + len(first) :], count=1)
    return words.strip('“”"「」‘’ ，,')


def _is_short(statement: str) -> bool:
    return sum(letter.isalnum() for letter in statement) < MIN_STATEMENT_LETTERS


def _verbatim_in(statement: str, clauses: Sequence[Clause]) -> list[Clause]:
    if _is_short(statement):
        return []
    return [clause for clause in clauses if is_verbatim(statement, clause.text)][:MAX_CLAUSES]


def _whole_article(statement: str, clauses: Sequence[Clause]) -> list[Clause]:
    """The clauses of an article that a statement repeats one after the other."""
    joined = "\n".join(clause.text for clause in clauses)
    return list(clauses) if len(clauses) > 1 and not _is_short(statement) and is_verbatim(statement, joined) else []


def _citation(clause: Clause) -> Citation:
    return Citation(
        clause.id, clause.law, clause.article, clause.paragraph, clause.version, clause.text, 0, len(clause.text),
        "quote", 1.0,
    )  # fmt: skip


def _not_verbatim(reading: _Reading, named: Sequence[Clause]) -> CheckedSentence:
    """A statement that its article does not have word for word: in other words, the opposite, or not at all."""
    cited, where = reading.cited, named[0].article
    if cited.status == "contradicted":
        return reading.result("contradicted", Text(cited.reason, cited.reason_zh), named[:1])
    status: Status = "reworded" if cited.status == "supported" else "not_verbatim"
    reason = Text(f"{where} does not say this word for word", f"{where}没有这样逐字规定")
    return reading.result(status, reason, named[:1])


def _by_cite(reading: _Reading) -> CheckedSentence:
    """A statement of law that names no article and stands nowhere word for word."""
    cited = reading.cited
    if cited.status == "supported":
        first = cited.citations[0]
        reason = Text(f"in other words than {first.article} of {first.law}", f"与{first.law}{first.article}措辞不同")
        return replace(reading.result("reworded", reason), citations=cited.citations)
    status: Status = "contradicted" if cited.status == "contradicted" else "unsupported"
    return reading.result(status, Text(cited.reason, cited.reason_zh))


def _check_facts(reading: _Reading, draft: _Draft, applied: Sequence[Clause] = ()) -> CheckedSentence:
    """A sentence about the case: every day, amount and name in it must be known."""
    words, facts, states_law = reading.sentence.text, draft.facts, bool(applied)
    bare = strip_references(words)
    days, amounts = read_days(bare), read_money_and_counts(bare)
    if strange_days := ", ".join(sorted(days - facts.days)):
        reason = Text(f"the facts do not have the day {strange_days}", f"事实中没有日期 {strange_days}")
        return reading.result("wrong_day", reason, applied, states_law=states_law)
    strange = sorted(f"{value:g} {unit}".strip() for value, unit in amounts if not facts.has_amount(value, unit))
    if strange:
        names = ", ".join(strange)
        reason = Text(f"the facts do not have the amount {names}", f"事实中没有数额 {names}")
        return reading.result("wrong_amount", reason, applied, states_law=states_law)
    if strangers := list(strange_names(words, facts, draft.law, draft.known)):
        reason = Text(
            f"the facts do not have the name {', '.join(strangers)}", f"事实中没有名称 {'、'.join(strangers)}"
        )
        return reading.result("wrong_name", reason, applied, states_law=states_law)
    if applied:
        return reading.result("applied", clauses=applied)
    has_facts = bool(days or amounts) or draft.names_case(words)
    return reading.result("checked" if has_facts else "plain", states_law=False)


def _check_applied(checked: Sequence[CheckedSentence]) -> Iterator[CheckedSentence]:
    """The sentences; one that only applies an article is flagged where the draft quotes it nowhere."""
    quoted = {
        (each.law, each.article) for sentence in checked if sentence.status == "verbatim" for each in sentence.citations
    }
    for sentence in checked:
        articles = {(each.law, each.article) for each in sentence.citations}
        if sentence.status == "applied" and articles - quoted:
            _, article = sorted(articles - quoted)[0]
            yield replace(
                sentence,
                status="not_quoted",
                reason=Text(f"{article} is applied and quoted nowhere", f"适用了{article}，但文中没有引用其原文"),
            )
        else:
            yield sentence
