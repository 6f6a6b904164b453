"""Every sentence of a draft against the law in force and against the facts.

    checked = check_text(text, facts, law)
    checked.sentences[3].status        "verbatim", "not_verbatim", "wrong_amount", ...

A sentence states law where it names an article, stands within the quotation of one, or lays something down without a
name of the facts. It must be found word for word, as whole sentences, in the article that it names. What only cite()
supports is said to be reworded. Every other sentence may name no amount, day or name that the facts do not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.sentences import Sentence, split_sentences
from deepseek.citations.provisions.reading import is_chinese, read_provisions
from deepseek.citations.retrieval.retriever import Index
from deepseek.citations.support.citing import cite
from deepseek.citations.support.in_force import InForce
from deepseek.citations.support.results import Citation, CitedSentence, Reference
from deepseek.citations.support.scorer import strip_references
from deepseek.citations.support.verbatim import is_verbatim
from deepseek.look.words import Text
from deepseek.recipes.judgment.facts import Facts, read_days, read_money_and_counts

Status = Literal[
    "verbatim", "applied", "checked", "plain", "reworded", "not_verbatim", "contradicted", "unsupported", "unknown_article",
    "wrong_article", "not_quoted", "wrong_amount", "wrong_day", "wrong_name", "open",
]  # fmt: skip
#: What needs no look: law word for word, an article that the draft quotes, facts as they are known, and the rest.
GOOD: tuple[Status, ...] = ("verbatim", "applied", "checked", "plain")
OPEN = re.compile(r"【待撰写：|\[to be written: ")
_SAYS = re.compile(
    r"(?:第[零一二三四五六七八九十\d]+款)?(?:第[零一二三四五六七八九十\d]+项)?(?:的?规定|明确|载明)?[：:，,]?\s*"
    r"(?:of the (?:[A-Z]\w*\s?)+)?(?:(?:says?|provides?|states?|reads?)(?:\s+that)?)?[:,]?\s*[“\"「‘']*"
)
_ROLE_ZH = re.compile(
    r"(?P<role>原告|被告|第三人|上诉人|被上诉人|申请人|被申请人|出借人|借款人|出租人|承租人|出卖人|买受人)[：:]?"
    r"(?=(?P<behind>[一-鿿A-Za-z·]{2,24}))"
)
#: Two to four letters that end where a name does.
_NAME_ZH = re.compile(r"[一-鿿]{2,4}?(?=和|与|、|应当|向|于|的|未|已|不|承担|支付|签订|主张|称|返还|赔偿|$)")
_FAMILY_NAMES = frozenset(
    "王李张刘陈杨黄赵周吴徐孙朱马胡郭林何高梁郑罗宋谢唐韩曹许邓萧冯曾程蔡彭潘袁于董余苏叶吕魏蒋田杜丁沈姜范江傅钟卢汪戴崔任陆廖姚方金邱夏谭韦贾邹石熊孟秦阎薛侯雷白龙段郝孔邵史毛常万顾赖武康贺严尹钱施牛洪龚"
)
_NO_NAME = frozenset("应可不与和在于向对将被已未认主称的是至因之以自从及时人处种")
_BETWEEN = r"(?:[\s,]+(?:the\s+)?)"
_CAPITALIZED = re.compile(
    r"(?<![.!?“\"]\s)(?<!^)\b[A-Z](?:\w|['’.-](?=\w))+(?:\s(?:[A-Z]\.?\s)?[A-Z](?:\w|['’-](?=\w))+)+|\b[A-Z]\.\s[A-Z]\w+"
)


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence of the draft: text[start:end]."""

    text: str
    start: int
    end: int
    states_law: bool
    status: Status
    citations: tuple[Citation, ...]  # the clauses that say it
    reason: Text = Text("", "")  # why it needs a look

    @property
    def is_flagged(self) -> bool:
        return self.status not in GOOD


@dataclass(frozen=True, slots=True)
class CheckedText:
    """A draft, sentence by sentence."""

    text: str
    sentences: tuple[CheckedSentence, ...]

    @property
    def flagged(self) -> tuple[CheckedSentence, ...]:
        return tuple(each for each in self.sentences if each.is_flagged)

    @property
    def law(self) -> tuple[CheckedSentence, ...]:
        return tuple(each for each in self.sentences if each.states_law)


#: states_law, status, reason, citations -> the sentence with them.
_Result = Callable[..., CheckedSentence]


@dataclass(frozen=True, slots=True)
class _Quoted:
    """The article within whose quotation a sentence stands."""

    references: tuple[Reference, ...]


def check_text(text: str, facts: Facts, law: InForce, *, index: Index | None = None, known: str = "") -> CheckedText:
    """Check a draft. `known`: other words that are no names, as those of the template. InputError for a text without
    words."""
    index = index or Index(law.corpus)
    sentences = split_sentences(text)
    cited = {each.start: each for each in cite(text, index).sentences}
    checked: list[CheckedSentence] = []
    quoted: _Quoted | None = None
    for sentence in sentences:
        references = _own_references(sentence.text, cited[sentence.start].references)
        if quoted is not None:
            references = ()  # what a clause names within its quotation is no article that the draft names
        carried = references or (quoted.references if quoted is not None else ())
        checked.append(_check_sentence(sentence, references, carried, cited[sentence.start], facts, law, known))
        quoted = _open_quote(sentence.text, carried, is_inside=quoted is not None)
    return CheckedText(text, tuple(_check_applied(checked, law)))


def _own_references(words: str, references: Sequence[Reference]) -> tuple[Reference, ...]:
    """The articles that a sentence names before its quotation, if it has one."""
    head, mark, _ = words.partition("“")
    own = tuple(each for each in references if each.text in head)
    return own if mark and own else tuple(references)


def _open_quote(words: str, references: Sequence[Reference], *, is_inside: bool) -> _Quoted | None:
    """The quotation that a sentence leaves open."""
    depth = int(is_inside) + words.count("“") - words.count("”")
    return _Quoted(tuple(references)) if depth > 0 and references else None


def _check_sentence(
    sentence: Sentence, references: Sequence[Reference], carried: Sequence[Reference], cited: CitedSentence, facts: Facts,
    law: InForce, known: str,
) -> CheckedSentence:  # fmt: skip
    words = sentence.text

    def result(
        states_law: bool, status: Status, reason: Text = Text("", ""), citations: Sequence[Citation] = ()
    ) -> CheckedSentence:
        return CheckedSentence(words, sentence.start, sentence.end, states_law, status, tuple(citations), reason)

    if OPEN.search(words):
        return result(False, "open", Text("nobody has written it yet", "尚未撰写"))
    unknown = [each for each in carried if not each.ids]
    if unknown:
        names = ", ".join(each.text for each in unknown)
        later = [
            each
            for each in law.not_yet
            if any(each.law in reference.law or reference.law in each.law for reference in unknown if reference.law)
        ]
        why = f"; {later[0].law} is in force since {later[0].since}" if later else ""
        why_zh = f"；{later[0].law}自{later[0].since}起施行" if later else ""
        return result(
            True,
            "unknown_article",
            Text(f"not in the corpus as of {law.day}: {names}{why}", f"截至{law.day}，语料中没有：{names}{why_zh}"),
        )
    statement = _statement(words, references)
    if carried:
        named = [law.corpus[name] for reference in carried for name in reference.ids]
        if (says := _verbatim_in(statement, named)) or (says := _whole_article(statement, named)):
            return result(True, "verbatim", citations=[_citation(each) for each in says])
        if references and (_names_facts(words, facts) or _is_short(statement)):
            if cited.status == "contradicted":
                return _not_verbatim(result, statement, named, cited, law)
            return _check_facts(sentence, facts, law, known, applied=tuple(_citation(each) for each in named))
        return _not_verbatim(result, statement, named, cited, law)
    if not _names_facts(words, facts) and any(
        each.kind in ("obligation", "prohibition", "permission", "penalty") for each in read_provisions(words)
    ):
        says = _verbatim_in(statement, law.corpus.clauses)
        if says:
            return result(True, "verbatim", citations=[_citation(each) for each in says])
        return _by_cite(result, cited)
    return _check_facts(sentence, facts, law, known)


def _statement(words: str, references: Sequence[Reference]) -> str:
    """What a sentence says: its quotation, else what stands behind the article that it names. Articles that the clause
    itself names stay."""
    if "“" in words and references:
        words = words.partition("“")[2]
    elif references:
        first = references[0].text
        words = words[words.find(first) + len(first) :]
        words = words[_SAYS.match(words).end() :]  # type: ignore[union-attr]
    return words.strip("“”\"「」‘’ ，,")


def _is_short(statement: str) -> bool:
    return sum(letter.isalnum() for letter in statement) < 4


def _verbatim_in(statement: str, clauses: Sequence[Clause]) -> list[Clause]:
    return [clause for clause in clauses if is_verbatim(statement, clause.text)][:3] if not _is_short(statement) else []


def _whole_article(statement: str, clauses: Sequence[Clause]) -> list[Clause]:
    """The clauses of an article that a statement repeats one after the other."""
    joined = "\n".join(clause.text for clause in clauses)
    return list(clauses) if len(clauses) > 1 and not _is_short(statement) and is_verbatim(statement, joined) else []


def _citation(clause: Clause) -> Citation:
    return Citation(
        clause.id,
        clause.law,
        clause.article,
        clause.paragraph,
        clause.version,
        clause.text,
        0,
        len(clause.text),
        "quote",
        1.0,
    )


def _not_verbatim(
    result: _Result, statement: str, named: Sequence[Clause], cited: CitedSentence, law: InForce
) -> CheckedSentence:
    """A statement that its article does not have: in another article, in other words, or nowhere."""
    other = _verbatim_in(statement, law.corpus.clauses)
    where, where_zh = named[0].article, named[0].article
    if other:
        return result(
            True, "wrong_article",
            Text(f"{other[0].law}, {other[0].article} says this, not {where}", f"这是{other[0].law}{other[0].article}的规定，而不是{where_zh}"),
            [_citation(each) for each in other],
        )  # fmt: skip
    status: Status = "reworded" if cited.status == "supported" else "not_verbatim"
    if cited.status == "contradicted":
        status = "contradicted"
    said = cited.reason if status == "contradicted" else f"{where} does not say this word for word"
    zh = cited.reason_zh if status == "contradicted" else f"{where_zh}没有这样逐字规定"
    return result(True, status, Text(said, zh), [_citation(each) for each in named[:1]])


def _by_cite(result: _Result, cited: CitedSentence) -> CheckedSentence:
    """A statement of law that names no article and stands nowhere word for word."""
    if cited.status == "supported":
        first = cited.citations[0]
        reason = Text(f"in other words than {first.article} of {first.law}", f"与{first.law}{first.article}措辞不同")
        return result(True, "reworded", reason, cited.citations)
    status = "contradicted" if cited.status == "contradicted" else "unsupported"
    return result(True, status, Text(cited.reason, cited.reason_zh))


def _names_facts(words: str, facts: Facts) -> bool:
    """Whether a sentence speaks of this case."""
    return any(party.name in words or party.role in words for party in facts.parties) or bool(
        re.search(r"本案|本院|本庭|this (?:case|court)|the court\b", words, re.IGNORECASE)
    )


def _check_facts(
    sentence: Sentence, facts: Facts, law: InForce, known: str, applied: tuple[Citation, ...] = ()
) -> CheckedSentence:
    """A sentence about the case: every day, amount and name in it must be known."""
    words = sentence.text

    def result(status: Status, reason: Text = Text("", "")) -> CheckedSentence:
        return CheckedSentence(words, sentence.start, sentence.end, bool(applied), status, applied, reason)

    bare = strip_references(words)
    if days := read_days(bare) - facts.days:
        names = ", ".join(sorted(days))
        return result("wrong_day", Text(f"the facts do not have the day {names}", f"事实中没有日期 {names}"))
    amounts = [each for each in read_money_and_counts(bare) if not _has_amount(each, facts)]
    if amounts:
        names = ", ".join(sorted(f"{value:g} {unit}".strip() for value, unit in amounts))
        return result("wrong_amount", Text(f"the facts do not have the amount {names}", f"事实中没有数额 {names}"))
    if strangers := list(_strange_names(words, facts, law, known)):
        return result(
            "wrong_name",
            Text(f"the facts do not have the name {', '.join(strangers)}", f"事实中没有名称 {'、'.join(strangers)}"),
        )
    if applied:
        return result("applied")
    has_facts = bool(read_days(words) or read_money_and_counts(words)) or _names_facts(words, facts)
    return result("checked" if has_facts else "plain")


def _has_amount(amount: tuple[float, str], facts: Facts) -> bool:
    value, unit = amount
    return any(value == known and (not unit or not other or unit == other) for known, other in facts.amounts)


def _strange_names(words: str, facts: Facts, law: InForce, known: str) -> Iterator[str]:
    """Names behind a role that are not that party's, and English names that nothing knows."""
    if is_chinese(words):
        for match in _ROLE_ZH.finditer(words):
            behind = match["behind"]
            right = [party.name for party in facts.parties if party.role == match["role"]]
            if not right or any(behind.startswith(name) for name in right):
                continue
            others = [name for name in facts.names if behind.startswith(name)]
            if others:
                yield f"{match['role']}{others[0]}"
            elif _looks_like_name(behind, right):
                yield f"{match['role']}{behind[:4]}"
        return
    for party in facts.parties:
        pattern = re.compile(
            rf"\b{re.escape(party.role)}{_BETWEEN}([A-Z][\w.'’-]*(?:\s[A-Z][\w.'’-]*)*)", re.IGNORECASE
        )
        for match in pattern.finditer(words):
            if match[1][0].isupper() and not match[1].startswith(party.name) and not party.name.startswith(match[1]):
                yield match[1]
    vocabulary = " ".join((*facts.values.values(), known, *{clause.law for clause in law.corpus}))
    for match in _CAPITALIZED.finditer(words):
        if match[0] not in vocabulary:
            yield match[0]


def _looks_like_name(behind: str, right: Sequence[str]) -> bool:
    """Whether what stands behind a role is a name: like the right one, or of a family name, and no verb."""
    for name in right:
        same = sum(one == two for one, two in zip(name, behind, strict=False))
        if same >= max(1, len(name) - 2) or behind[len(name) - 2 : len(name)] == name[-2:]:
            return True
    match = _NAME_ZH.match(behind)
    return match is not None and match[0][0] in _FAMILY_NAMES and match[0][1] not in _NO_NAME


def _check_applied(checked: Sequence[CheckedSentence], law: InForce) -> Iterator[CheckedSentence]:
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
