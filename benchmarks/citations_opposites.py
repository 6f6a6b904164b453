"""Sentences against the law: which of them `cite` names as contradicted, and which true ones it names so by mistake.

    python benchmarks/citations_opposites.py [--only PART]           # the held-out sentences, which chose nothing
    python benchmarks/citations_opposites.py --tune [--corpus NAME]  # the tuning ones, with each that is missed

100 opposites and some 190 true sentences a split, of other articles in each: by hand on 80 articles that we put into
English (citations_laws.tsv: the article, a paraphrase, an opposite), by hand on zh-law (citations_opposites.tsv, and
the opposites in citations_texts.tsv), and by a script on zh-law and on contract-nli (a must for a may, twice the
amount). True are paraphrases, articles word for word, and drafted sentences. An opposite counts when it is called
contradicted by its own article.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from citations_data import article_name, contract_documents, contract_json, texts_of, zh_corpus
from result import claim, finish, found_before, options

from deepseek.citations import CitedText, Corpus, Index, cite
from deepseek.citations.corpus.numerals import parse_number, to_chinese

HERE = Path(__file__).parent
Split = Literal["tune", "more", "held"]
NUM_SCRIPTED = 15  # of zh-law and of contract-nli, each
NUM_UNCHANGED = 30  # word for word, of each
SEEDS: dict[Split, int] = {"tune": 11, "held": 12}  # "more" is by hand alone
EASY_CHARS = (15, 90)  # of a sentence of zh-law that is changed
EASY_WORDS = (10, 45)  # of a clause of a contract


@dataclass(frozen=True)
class Case:
    """A sentence, its corpus, the article that it is about, and whether it says the opposite of it."""

    corpus: str  # "english", "chinese", or the name of a contract
    law: str  # the end of its name
    article: str
    text: str
    is_opposite: bool
    source: str  # by whom: "hand", "script", "unchanged", "paraphrase"


def cases(split: Split) -> list[Case]:
    """All sentences of a split."""
    return [*_english_cases(split), *_chinese_cases(split), *_contract_cases(split)]


@cache
def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _english_cases(split: Split) -> Iterator[Case]:
    for row in _rows("citations_laws.tsv"):
        if row["split"] == split:
            about = ("english more" if split == "more" else "english", row["law"], row["article"])
            yield Case(*about, row["opposite"], True, "hand")
            yield Case(*about, row["true"], False, "paraphrase")
            yield Case(*about, re.split(r"(?<=[a-z])\. ", row["text"].replace(" | ", " "))[0], False, "unchanged")


def _chinese_cases(split: Split) -> Iterator[Case]:
    for row in _rows("citations_opposites.tsv"):
        if row["split"] == split:
            text = row["edit"]
            if text.startswith("unanswerable "):
                text = texts_of("unanswerable")[int(text.split()[1]) - 1]["text"]
            yield Case("chinese", row["law"], article_name(row["article"]), text, True, "hand")
    if split == "more":
        return
    for row in texts_of("drafted")[split == "held" :: 2]:
        yield Case("chinese", row["law"], article_name(row["article"]), row["text"], False, "paraphrase")
    draw = np.random.default_rng(SEEDS[split])
    parity = split == "held"
    changed = unchanged = 0
    for place in draw.permutation(len(zh_corpus())).tolist():
        if place % 2 != parity:
            continue
        clause = zh_corpus().clauses[place]
        first = re.split(r"(?<=[。；])", clause.text.split("\n")[0])[0]  # the second one often lacks the subject
        if clause.paragraph > 1 or not first.endswith("。") or not EASY_CHARS[0] <= len(first) <= EASY_CHARS[1]:
            continue
        other = _change_chinese(first, draw)
        if unchanged < NUM_UNCHANGED:
            unchanged += 1
            yield Case("chinese", clause.law, clause.article, first, False, "unchanged")
        elif other and changed < NUM_SCRIPTED:
            changed += 1
            yield Case("chinese", clause.law, clause.article, other, True, "script")


def _change_chinese(text: str, draw: np.random.Generator) -> str:
    """The sentence with one sign or one amount changed; "" where it has none."""
    changed = []
    for old, new in (("不得", "可以"), ("应当", "可以不"), ("可以", "不得"), ("有效", "无效")):
        if text.count(old) == 1 and f"{old}不" not in text and f"不{old}" not in text:
            changed.append(text.replace(old, new))
    amount = re.search(r"([二三四五六七八九十百]+)(年|日|个月|倍|万元)", text)
    if amount:
        changed.append(text.replace(amount[0], to_chinese(int(2 * parse_number(amount[1]))) + amount[2]))
    return str(draw.choice(changed)) if changed else ""


def _contract_cases(split: Split) -> Iterator[Case]:
    if split == "more":
        return
    draw = np.random.default_rng(SEEDS[split])
    changed = unchanged = 0
    for name, spans in contract_documents("train_truncated" if split == "tune" else "dev"):
        usable = [
            (number, " ".join(span.split()))
            for number, span in enumerate(spans, 1)
            if EASY_WORDS[0] <= len(span.split()) <= EASY_WORDS[1]
            and span[:1].isupper()
            and span.rstrip().endswith(".")
        ]
        usable = [usable[place] for place in draw.permutation(len(usable)).tolist()]
        for number, span in usable:
            other = _change_english(span, draw)
            if other and changed < NUM_SCRIPTED:
                changed += 1
                yield Case(name, "", f"Section {number}", other, True, "script")
                break
        for number, span in usable[-1:]:
            if unchanged < NUM_UNCHANGED:
                unchanged += 1
                yield Case(name, "", f"Section {number}", span, False, "unchanged")


_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _change_english(text: str, draw: np.random.Generator) -> str:
    """The sentence with one sign or one amount changed; "" where it has none."""
    changed = []
    for old, new in (("shall not", "may"), ("may not", "may"), ("must not", "may"), ("will not", "may")):
        if text.count(f" {old} ") == 1:
            changed.append(text.replace(f" {old} ", f" {new} "))
    changed += [
        text.replace(f" {old} ", f" {'shall' if old == 'may' else old} not ")
        for old in ("shall", "may", "will", "must")
        if text.count(f" {old} ") == 1 and f" {old} not " not in text
    ]
    amount = re.search(rf"\b(\d+|{'|'.join(_COUNTS[1:6])})(\)? )(days|years|months)\b", text)
    if amount:
        word = amount[1]
        twice = str(2 * int(word)) if word.isdigit() else _COUNTS[2 * _COUNTS.index(word) + 1]
        changed.append(text.replace(amount[0], twice + amount[2] + amount[3]))
    return str(draw.choice(changed)) if changed else ""


@cache
def _index(name: str) -> Index:
    if name.startswith("english"):
        laws: dict[str, list[str]] = {}
        for row in _rows("citations_laws.tsv"):
            if (row["split"] == "more") != (name == "english more"):
                continue
            laws.setdefault(row["law"], []).append(f"{row['article']} {row['text'].replace(' | ', chr(10))}")
        return Index(Corpus.of({law: "\n".join(articles) for law, articles in laws.items()}))
    if name == "chinese":
        return Index(zh_corpus())
    spans = dict(contract_documents("train_truncated") + contract_documents("dev"))[name]
    return Index(Corpus.of({name: "\n".join(f"Section {n} {' '.join(s.split())}" for n, s in enumerate(spans, 1))}))


def judged(case: Case) -> tuple[CitedText, bool, bool]:
    """(what cite says, whether it is called contradicted, whether by its own article)."""
    report = cite(case.text, _index(case.corpus))
    against = [each for each in report.sentences if each.status == "contradicted"]
    own = any(
        each.nearest is not None and each.nearest.law.endswith(case.law) and each.nearest.article == case.article
        for each in against
    )
    return report, bool(against), own


def opposites() -> list[dict[str, Any]]:
    """Opposites that are named by their article, and true sentences that are called contradicted, held out."""
    every = [(case, judged(case)) for case in cases("held")]
    against = [own for case, (_, _, own) in every if case.is_opposite]
    mistaken = [called for case, (_, called, _) in every if not case.is_opposite]
    first = [(case, judged(case)) for case in cases("tune")]
    chose = [own for case, (_, _, own) in first if case.is_opposite]
    chose_true = [called for case, (_, called, _) in first if not case.is_opposite]
    parts = []
    for corpus in ("english", "chinese", "contracts"):
        of = [own for case, (_, _, own) in every if case.is_opposite and _kind(case) == corpus]
        parts.append(f"{corpus} {sum(of)} of {len(of)}")
    neutral = [row["text"] for row in texts_of("unanswerable")[:20]]
    silent = sum(any(s.status == "contradicted" for s in cite(text, _index("chinese")).sentences) for text in neutral)
    return [
        claim(
            "opposites that are named with their clause", ours=100 * float(np.mean(against)), unit="%", op=">=", bar=90,
            note=f"of {len(against)}: {', '.join(parts)}",
        ),
        claim(
            "true sentences called contradicted", ours=100 * float(np.mean(mistaken)), unit="%", op="<=", bar=3,
            note=f"of {len(mistaken)}; of 20 sentences about what no law says, {silent}",
        ),
        claim(
            "the same of the first sentences, which chose the words", ours=100 * float(np.mean(chose)), unit="%",
            note=f"{sum(chose)} of {len(chose)}; of {len(chose_true)} true ones {sum(chose_true)} called contradicted",
        ),
    ]  # fmt: skip


def contracts() -> list[dict[str, Any]]:
    """What people have judged: contract-nli's own 17 sentences against the contracts of its dev part."""
    pairs = list(_judged_hypotheses("dev"))
    others = [called for label, called in pairs if label != "Contradiction"]
    against = [called for label, called in pairs if label == "Contradiction"]
    return [
        claim(
            "sentences that a contract says or leaves open, called contradicted", ours=100 * float(np.mean(others)),
            unit="%", op="<=", bar=3, note=f"{len(others)} pairs of contract-nli's dev part",
        ),
        claim(
            "sentences that a contract contradicts in other words, named", ours=100 * float(np.mean(against)), unit="%",
            note=f"{len(against)} pairs of contract-nli's dev part: other words for the same thing are not seen",
        ),
    ]  # fmt: skip


def _judged_hypotheses(part: str) -> Iterator[tuple[str, bool]]:
    """(what annotators say, whether it is called contradicted) of each contract and each of the 17 sentences."""
    document = contract_json(part)
    for contract, (name, _) in zip(document["documents"], contract_documents(part), strict=True):
        for key, note in contract["annotation_sets"][0]["annotations"].items():
            report = cite(document["labels"][key]["hypothesis"], _index(name))
            yield note["choice"], any(each.status == "contradicted" for each in report.sentences)


def _kind(case: Case) -> str:
    kind = case.corpus.partition(" ")[0]
    return kind if kind in ("english", "chinese") else "contracts"


def show_tuning(corpus: str | None) -> None:
    """The tuning sentences: every one that is missed, and the counts."""
    right: dict[tuple[str, bool], list[bool]] = {}
    for case in [*cases("tune"), *cases("more")]:
        if corpus in (None, _kind(case)):
            report, called, own = judged(case)
            well = own if case.is_opposite else not called
            right.setdefault((_kind(case), case.is_opposite), []).append(well)
            if not well:
                print("missed" if case.is_opposite else "mistaken", case.source, case.law, case.article, case.text)
                for each in report.sentences:
                    clauses = each.citations or [each.nearest]
                    print("   ", each.status, each.reason, [citation and citation.quote for citation in clauses])
    for (kind, is_opposite), marks in right.items():
        print(f"{kind} {'opposites' if is_opposite else 'true'}: {sum(marks)} of {len(marks)} right")


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {"opposites": opposites, "contracts": contracts}


def main() -> int:
    parser = options(__doc__, PARTS, quick="Nothing is left out: all of it takes a minute.")
    parser.add_argument("--tune", action="store_true", help="Show the tuning sentences instead, and judge nothing.")
    parser.add_argument("--corpus", choices=("english", "chinese", "contracts"), help="With --tune: of these alone.")
    arguments = parser.parse_args()
    if arguments.tune:
        show_tuning(arguments.corpus)
        return 0
    chosen = [arguments.only] if arguments.only else list(PARTS)
    claims = found_before("citations_opposites")
    for part in chosen:
        part_claims = PARTS[part]()
        names = {each["claim"] for each in part_claims}
        claims = [each for each in claims if each["claim"] not in names] + part_claims
    return finish("citations_opposites", claims, not_run=[name for name in PARTS if name not in chosen])


if __name__ == "__main__":
    sys.exit(main())
