"""From a text and a corpus to citations: the whole way, sentence by sentence.

report = check(text, Corpus.read("laws"))                           # BM25 and terms: no model
report = check(text, Index(corpus, [FolderEmbedder("e5-small")]))   # with vectors
report = check(text, corpus, generator)                             # and causes

Every quote is compared with its clause before it is given out; one that is not there word for word is our bug.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.corpus import Corpus
from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number, to_chinese
from deepseek.citations.corpus.sentences import Sentence, split_sentences
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.citations.retrieval.retriever import CHUNK_QUERIES, Hit, Index
from deepseek.citations.support.context_ablation import Ablation, Generator, attribute_clauses
from deepseek.citations.support.nearest import Nearest, find_nearest
from deepseek.citations.support.quote import find_quote
from deepseek.citations.support.results import Citation, CitedSentence, CitedText, CorpusFacts, Reference, Status
from deepseek.citations.support.scorer import Scorer, TermScorer, strip_references
from deepseek.errors import InputError
from deepseek.look.words import Text

MAX_SENTENCE_CHARS = 2_000  # of a sentence that are looked at
#: A sentence of which this share stands in the clause in one piece repeats it.
QUOTE_SHARE = 0.8
CITED: tuple[Status, ...] = ("supported", "misattributed")
_CHINESE = re.compile(rf"(?:《([^》]{{1,60}})》)?(第\s?([{NUMERAL_CHARS}\d]+)\s?条(之[{NUMERAL_CHARS}]+)?)")
_ENGLISH = re.compile(r"\b((?:Article|Section|Clause)\s\d[\w\-]*(?:\.\d+)*)(?: of the ([A-Z]\w*(?: [A-Z]\w*){0,6}))?")


@dataclass(frozen=True, slots=True)
class CiteOptions:
    """How cite() chooses clauses."""

    num_articles: int = 10  # candidates of a sentence, 1 to 1,000
    num_citations: int = 3  # the most of a sentence, 1 to 100
    margin: float = 0.02  # a citation's score may be this much less than the best one's, 0..1
    ablation: Ablation = field(default_factory=Ablation)

    def __post_init__(self) -> None:
        for name, most in (("num_articles", 1_000), ("num_citations", 100), ("margin", 1)):
            value = getattr(self, name)
            if not (0 if name == "margin" else 1) <= value <= most:
                raise InputError(
                    f"CiteOptions.{name} is {value}",
                    expected=f"a number up to {most}",
                    fix="leave it out for the default",
                )


def cite(
    text: str,
    corpus: Corpus | Index | str | Path,
    generator: Generator | None = None,
    *,
    embedders: Sequence[Embedder] = (),
    scorer: Scorer | None = None,
    options: CiteOptions | None = None,
    progress: Callable[[str, float], object] | None = None,
) -> CitedText:
    """The clauses of `corpus` (a folder, a Corpus, or an Index of one) that support each sentence of `text`.

    Candidates come from BM25 and `embedders`, judged by `scorer` (TermScorer where none is given). With a
    `generator` each citation says how much it caused its sentence; one that fails leaves the citations and a `problem`.
    `progress` hears what is going on and the share of the sentences that are judged (0 to 1).
    InputError for a text without words or a corpus without clauses; see law_text.py for the errors of files.
    """
    options = options or CiteOptions()
    index = _as_index(corpus, embedders)
    scorer = scorer or TermScorer(index.bm25)
    sentences = split_sentences(text)
    once = {sentence.text: sentence for sentence in sentences}  # drafts repeat their formulas
    unique = list(once.values())
    cited: dict[str, CitedSentence] = {}
    for start in range(0, len(unique), CHUNK_QUERIES):
        chunk = unique[start : start + CHUNK_QUERIES]
        hits = index.search(
            [strip_references(sentence.text[:MAX_SENTENCE_CHARS]) for sentence in chunk], most=options.num_articles
        )
        for sentence, articles in zip(chunk, hits, strict=True):
            cited[sentence.text] = _cite_sentence(sentence, articles, index, scorer, options)
            if progress is not None:
                progress("judging sentences", len(cited) / len(unique))
    report = CitedText(
        tuple(replace(cited[sentence.text], start=sentence.start, end=sentence.end) for sentence in sentences),
        CorpusFacts(len(index.corpus), len(index.corpus.articles), index.corpus.digest, tuple(index.corpus.skipped)),
        scorer.name,
        ("bm25", *(embedder.name for embedder in index.embedders)),
        threshold=float(scorer.threshold),
    )
    return report if generator is None else _add_causes(report, index.corpus, generator, options)


def _as_index(corpus: Corpus | Index | str | Path, embedders: Sequence[Embedder]) -> Index:
    if isinstance(corpus, Index):
        if embedders:
            raise InputError(
                "embedders are given beside an index", expected="one of the two", fix="Index(corpus, embedders)"
            )
        return corpus
    return Index(corpus if isinstance(corpus, Corpus) else Corpus.read(corpus), embedders)


def _cite_sentence(
    sentence: Sentence, articles: Sequence[Hit], index: Index, scorer: Scorer, options: CiteOptions
) -> CitedSentence:
    corpus = index.corpus
    references = tuple(_find_references(sentence.text, corpus))
    clauses = [corpus.clauses[place] for hit in articles for place in hit.places]
    named = [corpus[name] for reference in references for name in reference.ids]
    clauses += [clause for clause in named if clause not in clauses]
    text = sentence.text[:MAX_SENTENCE_CHARS]
    scores = np.asarray(scorer.scores(text, clauses), np.float64)
    if scores.shape != (len(clauses),) or not ((scores >= 0) & (scores <= 1)).all():
        raise InputError(
            f"the scorer {scorer.name!r} gave {list(scores.shape)} scores for {len(clauses)} clauses, or not 0..1",
            expected="a number from 0 to 1 for each clause",
            fix="correct the scorer",
        )
    least = max(scorer.threshold, float(scores.max(initial=0)) - options.margin)
    order = [place for place in np.argsort(-scores, kind="stable") if scores[place] >= least][: options.num_citations]
    citations = tuple(_make_citation(text, clauses[place], float(scores[place])) for place in order)
    against = None if citations else find_nearest(strip_references(text), clauses, index.bm25)
    status, reason = _status_and_reason(citations, references, against)
    if len(sentence.text) > MAX_SENTENCE_CHARS:
        cut = Text(
            f"only its first {MAX_SENTENCE_CHARS} letters were looked at", f"只看了前 {MAX_SENTENCE_CHARS} 个字符"
        )
        reason = Text(f"{reason.en}; {cut.en}", f"{reason.zh}；{cut.zh}") if reason.en else cut
    nearest = None
    if against is not None:
        kind: Literal["nearest", "opposite"] = "opposite" if status == "contradicted" else "nearest"
        nearest = replace(_make_citation(text, against.clause, against.covered), kind=kind)
    return CitedSentence(
        sentence.text, sentence.start, sentence.end, status, citations if status in CITED else (), references,
        reason.en, reason_zh=reason.zh, nearest=nearest,
        conflict=against.conflict if against is not None and status == "contradicted" else None,
    )  # fmt: skip


def _status_and_reason(
    citations: tuple[Citation, ...], references: tuple[Reference, ...], against: Nearest | None
) -> tuple[Status, Text]:
    """The status of a sentence, and why it is not simply supported."""
    unknown = [reference.text for reference in references if not reference.ids]
    if unknown:
        return "unsupported", Text(
            f"it names what is not in the corpus: {', '.join(unknown)}", f"它写出的条文不在语料中：{'、'.join(unknown)}"
        )
    if against is not None and against.conflict is not None:
        clause, conflict = against.clause, against.conflict
        return "contradicted", Text(
            f"{clause.article} of {clause.law} says the opposite: “{conflict.law}”, not “{conflict.said}”",
            f"{clause.law}{clause.article}的规定与此相反：是“{conflict.law}”，不是“{conflict.said}”",
        )
    if not citations:
        return "unsupported", Text("no clause of the corpus says this", "语料中没有条款这样规定")
    cited = {citation.id for citation in citations}
    articles = {name.rpartition("/")[0] for name in cited}
    other = [r.text for r in references if not articles & {name.rpartition("/")[0] for name in r.ids}]
    if references and len(other) == len(references):
        return "misattributed", Text(
            f"another article says this than the one that it names: {', '.join(other)}",
            f"这样规定的是另一条，而不是它写出的：{'、'.join(other)}",
        )
    return "supported", Text("", "")


def _make_citation(sentence: str, clause: Clause, score: float) -> Citation:
    quote = find_quote(strip_references(sentence), clause.text)
    words = clause.text[quote.start : quote.end]
    if not words or words not in clause.text:
        raise RuntimeError(f"the quote of {clause.id} is not in it")
    return Citation(
        clause.id, clause.law, clause.article, clause.paragraph, clause.version, words, quote.start, quote.end,
        "quote" if quote.share >= QUOTE_SHARE else "entailed", round(score, 6),
    )  # fmt: skip


def _find_references(sentence: str, corpus: Corpus) -> list[Reference]:
    """The articles that a sentence names. Without a law's name the last one named in the sentence holds."""
    references = []
    law = ""
    for match in _CHINESE.finditer(sentence):
        law = match[1] or law
        try:
            article = f"第{to_chinese(int(parse_number(match[3])))}条{match[4] or ''}"
        except ValueError:
            article = "".join(match[2].split())
        references.append(_resolve_reference(match[0], law, article, corpus))
    for match in _ENGLISH.finditer(sentence):
        law = match[2] or law
        references.append(_resolve_reference(match[0], law, match[1], corpus))
    return references


def _resolve_reference(text: str, law: str, article: str, corpus: Corpus) -> Reference:
    return Reference(text, law, article, tuple(clause.id for clause in corpus.find(law, article)))


def _add_causes(report: CitedText, corpus: Corpus, generator: Generator, options: CiteOptions) -> CitedText:
    """The report with how much each cited clause caused its sentence. Each cited clause is a source; the generator is
    asked about all sentences at once."""
    names = list(dict.fromkeys(citation.id for sentence in report.sentences for citation in sentence.citations))
    if not names:
        return report
    causes = attribute_clauses(
        generator,
        [corpus[name].text for name in names],
        [sentence.text for sentence in report.sentences],
        options.ablation,
    )
    if causes.problem:
        return replace(report, problem=causes.problem, num_calls=causes.num_calls)
    column = {name: index for index, name in enumerate(names)}
    sentences = tuple(
        replace(
            sentence,
            fit=float(causes.fit[row]),
            citations=tuple(
                replace(citation, cause=float(causes.weights[row, column[citation.id]]))
                for citation in sentence.citations
            ),
        )
        for row, sentence in enumerate(report.sentences)
    )
    return replace(report, sentences=sentences, num_calls=causes.num_calls)
