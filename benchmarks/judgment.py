"""Drafts of judgments: every sentence of law is a clause in force, word for word; what a script changes is caught.

    python benchmarks/judgment.py [--quick] [--only CLAIM]

20 cases are drawn: names, days and amounts, and three articles each of zh-law. Each is drafted by one of two
templates.
Then one sentence after the other is changed: a number of a clause, its sign (不得 and 可以, 应当 and 可以, 有权
and 无权), the
number of its article, and in sentences about the case an amount, a day, a name. The draft with the one change is
checked
as a draft that somebody has edited. Beside it cite() alone: a changed sentence is caught where its status is not
"supported". The last claims are of sentences that a person has written in other words (citations_texts.tsv), which is
no bar: they are said to be reworded, and a person looks.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from citations_data import article_name, texts_of, zh_corpus
from result import claim, finish, options

from deepseek.citations import Index, cite
from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.numerals import to_chinese
from deepseek.citations.support.in_force import InForce, find_in_force
from deepseek.recipes.judgment.checking import check_text
from deepseek.recipes.judgment.facts import Facts, facts_of
from deepseek.recipes.judgment.run import JudgmentDraft, draft_judgment
from deepseek.recipes.judgment.template import template_of

DAY, SEED = "2025-04-01", 20
NUM_CASES, QUICK_CASES, NUM_ARTICLES = 20, 5, 3
MAX_CLAUSE_CHARS = 300  # of an article that is drawn: those of judgments are short
FAMILY, GIVEN = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚"
TEMPLATES = (
    """# 民事判决书（草稿）
原告：{{{{parties.原告}}}}。被告：{{{{parties.被告}}}}。
{{{{contract.signed}}}}，原告{{{{parties.原告}}}}与被告{{{{parties.被告}}}}签订合同，约定价款{{{{contract.price}}}}。
被告{{{{parties.被告}}}}于{{{{contract.paid}}}}支付{{{{contract.part}}}}，此后未再支付。
{law}
根据{first}，被告{{{{parties.被告}}}}应当向原告{{{{parties.原告}}}}支付{{{{contract.rest}}}}。
""",
    """# 法律意见书（草稿）
本案当事人为原告{{{{parties.原告}}}}和被告{{{{parties.被告}}}}。
双方于{{{{contract.signed}}}}订立合同，价款为{{{{contract.price}}}}，已付{{{{contract.part}}}}，尚欠{{{{contract.rest}}}}。
最后一次付款在{{{{contract.paid}}}}。
{law}
依照{first}，本案的处理以上述条文为准。
""",
)
SIGNS = (("不得", "可以"), ("应当", "可以"), ("可以", "不得"), ("必须", "可以"), ("有权", "无权"), ("不承担",
"承担"), ("无效", "有效"),
         ("禁止", "允许"), ("应当", "不得"), ("未", "已"), ("没有", "有"))  # fmt: skip
_NUMBER = re.compile(r"[二三四五六七八九](?=[年月日个人倍元十百分万])|(?<=之)[一二三四五六七八九](?![一-鿿])|\d+")


@dataclass(frozen=True)
class Change:
    """One sentence of a draft with one change."""

    kind: str  # amount, negation, article; fact amount, fact day, fact name
    before: str
    after: str
    start: int


@cache
def law_in_force() -> InForce:
    return find_in_force(zh_corpus(), DAY)


@cache
def index() -> Index:
    return Index(law_in_force().corpus)


def draw_case(draw: np.random.Generator) -> tuple[Facts, str]:
    """Facts and the text of a template."""
    first, second = (FAMILY[draw.integers(20)] + "".join(GIVEN[i] for i in draw.integers(20, size=2)) for _ in range(2))
    price = int(draw.integers(20, 900)) * 1000
    part = int(price * draw.uniform(0.1, 0.8)) // 100 * 100
    days = [f"{draw.integers(2021, 2025)}年{draw.integers(1, 13)}月{draw.integers(1, 29)}日" for _ in range(2)]
    contract = {
        "signed": days[0],
        "paid": days[1],
        "price": f"{price}元",
        "part": f"{part}元",
        "rest": f"{price - part}元",
    }
    parties = [{"role": "原告", "name": first}, {"role": "被告", "name": second}]
    facts = facts_of({"date": DAY, "parties": parties, "contract": contract}, "facts.json", repr(contract).encode())
    keys = [key for key in law_in_force().corpus.articles if article_chars(key) <= MAX_CLAUSE_CHARS]
    chosen = [keys[place] for place in draw.choice(len(keys), NUM_ARTICLES, replace=False)]
    law = "\n".join(f"{{{{law: {name} | {article}}}}}" for name, article, _ in chosen)
    template = TEMPLATES[int(draw.integers(2))].format(law=law, first=f"《{chosen[0][0]}》{chosen[0][1]}")
    return facts, template


def article_chars(key: tuple[str, str, str]) -> int:
    corpus = law_in_force().corpus
    return sum(len(corpus.clauses[place].text) for place in corpus.articles[key])


def changes_of(draft: JudgmentDraft, draw: np.random.Generator) -> Iterator[Change]:
    """At most one change of each kind to each sentence."""
    for sentence in draft.checked.sentences:
        words = sentence.text
        if sentence.status == "verbatim":
            body = words.find("“") + 1
            changed = (("amount", change_number(words, body, draw)), ("negation", change_sign(words, body)),
                       ("article", change_article(words, draw)))  # fmt: skip
        elif sentence.status in ("checked", "applied"):
            changed = (("fact amount", change_money(words, draw)), ("fact day", change_day(words)),
                       ("fact name", change_name(words, draft.facts, draw)))  # fmt: skip
        else:
            continue
        yield from (Change(kind, words, after, sentence.start) for kind, after in changed if after not in ("", words))


def change_number(words: str, body: int, draw: np.random.Generator) -> str:
    matches = list(_NUMBER.finditer(words, body))
    if not matches:
        return ""
    match = matches[int(draw.integers(len(matches)))]
    if match[0].isdigit():
        other = str(int(match[0]) + int(draw.integers(1, 9)))
    else:
        other = str(draw.choice([each for each in "二三四五六七八九" if each != match[0]]))
    return words[: match.start()] + other + words[match.end() :]


def change_sign(words: str, body: int) -> str:
    for old, new in SIGNS:
        if (place := words.find(old, body)) >= 0:
            return words[:place] + new + words[place + len(old) :]
    return ""


def change_article(words: str, draw: np.random.Generator) -> str:
    match = re.search(r"第([^条“]+)条", words[: words.find("“")] if "“" in words else "")
    if not match:
        return ""
    return words[: match.start()] + f"第{to_chinese(int(draw.integers(1, 60)))}条" + words[match.end() :]


def change_money(words: str, draw: np.random.Generator) -> str:
    matches = list(re.finditer(r"\d{4,}(?=元)", words))
    if not matches:
        return ""
    match = matches[int(draw.integers(len(matches)))]
    return words[: match.start()] + str(int(match[0]) + int(draw.integers(1, 50)) * 100) + words[match.end() :]


def change_day(words: str) -> str:
    match = re.search(r"(\d{4}年)(\d+)(月)", words)
    return words[: match.start(2)] + str(int(match[2]) % 12 + 1) + words[match.end(2) :] if match else ""


def change_name(words: str, facts: Facts, draw: np.random.Generator) -> str:
    """Another name, or the other party's, behind the role of one party."""
    party = facts.parties[int(draw.integers(2))]
    if f"{party.role}{party.name}" not in words:
        return ""
    other = next(each for each in facts.parties if each is not party)
    letter = next(each for each in GIVEN if each != party.name[2])
    name = str(draw.choice([other.name, party.name[:2] + letter, FAMILY[int(draw.integers(20))] + "建国"]))
    return words.replace(f"{party.role}{party.name}", f"{party.role}{name}", 1) if name != party.name else ""


def line_around(text: str, start: int) -> tuple[int, int]:
    """The lines of the quotation in which a sentence stands."""
    first = text.rfind("\n", 0, start) + 1
    while first and text[:first].count("“") > text[:first].count("”"):
        first = text.rfind("\n", 0, first - 1) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    while last < len(text) and text[:last].count("“") > text[:last].count("”"):
        following = text.find("\n", last + 1)
        last = len(text) if following < 0 else following
    return first, last


def is_caught(draft: JudgmentDraft, change: Change, quoted: str) -> bool:
    """Whether the changed sentence is flagged; the lines around it are those of the draft. A sentence that applies an
    article is read with the article's quotation before it."""
    first, last = line_around(draft.checked.text, change.start)
    at = change.start - first
    part = draft.checked.text[first:last]
    text = part[:at] + change.after + part[at + len(change.before) :]
    checked = check_text(f"{quoted}\n{text}", draft.facts, draft.law, index=index(), known=draft.checked.text)
    start = len(quoted) + 1 + at
    return any(
        each.is_flagged for each in checked.sentences if each.start < start + len(change.after) and each.end > start
    )


def measure(num_cases: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng(SEED)
    counts: Counter[str] = Counter()
    start = time.process_time()
    for _ in range(num_cases):
        facts, text = draw_case(draw)
        draft = draft_judgment(facts, zh_corpus(), template_of(text, "template"), index=index())
        count_true(draft, counts)
        applied = next((each for each in draft.checked.sentences if each.status == "applied"), None)
        quotes = [
            line
            for line in draft.checked.text.split("\n")
            if applied and line.startswith("《") and applied.citations[0].article in line
        ]
        for change in changes_of(draft, draw):
            quoted = quotes[0] if quotes and applied and change.before == applied.text else ""
            counts[f"changed {change.kind}"] += 1
            counts[f"caught {change.kind}"] += is_caught(draft, change, quoted)
            if change.kind in ("amount", "negation", "article"):
                counts["cite caught"] += cite(change.after, index()).sentences[0].status != "supported"
    return judge(counts, num_cases, time.process_time() - start)


def count_true(draft: JudgmentDraft, counts: Counter[str]) -> None:
    """How the sentences that nobody has changed are judged."""
    for sentence in draft.checked.sentences:
        counts["true"] += 1
        counts["true flagged"] += sentence.is_flagged
        if not sentence.states_law:
            continue
        counts["law"] += 1
        named = [clause_in_force(each.id) for each in sentence.citations]
        counts["law backed"] += bool(named) and all(named) and not sentence.is_flagged
        if sentence.status == "verbatim":
            counts["stated"] += 1
            cited = cite(sentence.text, index()).sentences[0]
            counts["cite flagged"] += cited.status != "supported"
            body = re.sub(r"^.*?规定：“|”$|[“”\s]", "", sentence.text)
            counts["word for word"] += any(body in re.sub(r"[“”\s]", "", clause.text) for clause in named if clause)


def clause_in_force(name: str) -> Clause | None:
    corpus = law_in_force().corpus
    return next((corpus[each] for each in (name,) if each in corpus), None)


def judge(counts: Counter[str], num_cases: int, cpu_s: float) -> list[dict[str, Any]]:
    law, facts = ("amount", "negation", "article"), ("fact amount", "fact day", "fact name")

    def caught(kinds: tuple[str, ...]) -> float:
        return (
            100
            * sum(counts[f"caught {kind}"] for kind in kinds)
            / max(1, sum(counts[f"changed {kind}"] for kind in kinds))
        )

    def note(kinds: tuple[str, ...]) -> str:
        return ", ".join(f"{kind} {counts[f'caught {kind}']} of {counts[f'changed {kind}']}" for kind in kinds)

    changed_law = sum(counts[f"changed {kind}"] for kind in law)
    return [
        claim("sentences of law with a valid clause in force", ours=100 * counts["law backed"] / counts["law"],
        unit="%", op=">=",
              bar=100, note=f"{counts['law']} sentences of {num_cases} drafts; {cpu_s:.0f} s of CPU in all"),
        claim("stated law word for word", ours=100 * counts["word for word"] / counts["stated"], unit="%", op=">=",
        bar=100),
        claim("changed sentences of law that are caught", ours=caught(law),
        rival=100 * counts["cite caught"] / max(1, changed_law),
              rival_name="cite() alone", unit="%", op=">=", bar=95, note=note(law)),
        claim("true sentences that are flagged", ours=100 * counts["true flagged"] / counts["true"],
              rival=100 * counts["cite flagged"] / counts["stated"], rival_name="cite() alone, of stated law",
              unit="%", op="<=",
              bar=5, note=f"of {counts['true']}"),
        claim("changed sentences about the case that are caught", ours=caught(facts), unit="%", op=">=", bar=95,
        note=note(facts)),
    ]  # fmt: skip


def reworded() -> list[dict[str, Any]]:
    """True and changed sentences in other words than the law's: how often each is said to be what."""
    facts = facts_of({"date": DAY, "parties": []}, "facts.json", b"")
    counts: Counter[str] = Counter()
    draw = np.random.default_rng(SEED)
    for row in texts_of("drafted"):
        key = next(
            (
                each
                for each in law_in_force().corpus.articles
                if each[0].endswith(row["law"]) and each[1] == article_name(row["article"])
            ),
            None,
        )
        if key is None:
            continue
        words = f"《{key[0]}》{key[1]}规定，{row['text']}"
        for kind, text in (
            ("true", words),
            ("changed", change_sign(words, 0)),
            ("changed", change_number(words, words.find("，"), draw)),
        ):
            if text:
                sentence = check_text(text, facts, law_in_force(), index=index()).sentences[0]
                counts[kind] += 1
                counts[f"{kind} taken for law"] += sentence.status in ("reworded", "verbatim", "plain")
    return [
        claim("law in other words that cite() supports", ours=100 * counts["true taken for law"] / counts["true"],
        unit="%",
              note=f"of {counts['true']}; flagged as reworded, for a person"),
        claim("changed law in other words that is said to be against the law or not in it",
              ours=100 - 100 * counts["changed taken for law"] / max(1, counts["changed"]), unit="%",
              note=f"of {counts['changed']}"),
    ]  # fmt: skip


def main() -> int:
    parser = options(__doc__, ["drafts", "reworded"], quick=f"{QUICK_CASES} cases instead of {NUM_CASES}")
    arguments = parser.parse_args()
    claims: list[dict[str, Any]] = []
    if arguments.only in (None, "drafts"):
        claims += measure(QUICK_CASES if arguments.quick else NUM_CASES)
    if arguments.only in (None, "reworded"):
        claims += reworded()
    return finish("judgment", claims, not_run=[])


if __name__ == "__main__":
    sys.exit(main())
