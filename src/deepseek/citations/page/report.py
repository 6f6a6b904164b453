"""What a check of drafts has given, as typed records and as the JSON document of cite.schema.json.

    report = cite_drafts([draft_of(text)], Index(corpus))     # document.py
    report.documents[0].cited.sentences[0].status             # typed fields
    report["sentences"][0]["status"]                          # the same, as the JSON document has it

One draft is of the kind "text", and its fields stand at the top of the document; several are a "batch".
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from deepseek.citations.corpus.corpus import Corpus
from deepseek.citations.corpus.drafts import Draft, SkippedFile
from deepseek.citations.support.citing import CiteOptions
from deepseek.citations.support.results import STATUSES, Citation, CitedSentence, CitedText, Status
from deepseek.contracts import JsonObject
from deepseek.look.summary import format_value, make_table, render_text
from deepseek.look.terminal import escape_for_terminal
from deepseek.results import Result
from deepseek.version import __version__

FORMAT = 1  # of the document; fields are added to it, never renamed
#: Letters of a clause that are kept before and behind a quote.
CONTEXT_CHARS = 240
MAX_MOST_CITED = 20  # articles of a batch
SIGNS: dict[Status, str] = {"supported": "+", "misattributed": "?", "unsupported": "!", "contradicted": "x"}
NUM_ARTICLES_SHOWN, MAX_REVIEW_SHOWN = 10, 30  # in the terminal


@dataclass(frozen=True, slots=True)
class QuoteContext:
    """What stands in a clause around a quote."""

    before: str  # at most CONTEXT_CHARS
    after: str
    clause_letters: int  # of the whole clause


@dataclass(frozen=True, slots=True)
class LawUse:
    """A law that is cited."""

    law: str
    version: str
    num_sentences: int  # that it supports
    num_articles: int  # of it that are cited


@dataclass(frozen=True, slots=True)
class ArticleUse:
    """An article that is cited in a batch."""

    law: str
    article: str
    version: str
    num_sentences: int  # that it supports
    num_documents: int  # in which it is cited


@dataclass(frozen=True, slots=True)
class CitedDocument:
    """One draft that was checked."""

    draft: Draft
    cited: CitedText
    corpus: Corpus

    def context(self, citation: Citation) -> QuoteContext:
        """What stands in the clause before and behind the quote, and how long the clause is."""
        text = self.corpus[citation.id].text
        start, end = citation.quote_start, citation.quote_end
        return QuoteContext(text[max(0, start - CONTEXT_CHARS) : start], text[end : end + CONTEXT_CHARS], len(text))

    def numbered_sentences(self) -> Iterator[tuple[int, CitedSentence]]:
        """The sentences with their numbers, from 1."""
        return enumerate(self.cited.sentences, 1)

    def to_dict(self) -> JsonObject:
        """The draft's part of the JSON document; what all drafts share (corpus, scorer, retrieval, threshold) is not in
        it."""
        cited = self.cited.to_dict()
        shared = ("corpus", "scorer", "threshold", "retrieval")
        return {
            "name": self.draft.name,
            "sha256": self.draft.sha256,
            "num_bytes": self.draft.num_bytes,
            **{name: value for name, value in cited.items() if name not in shared},
            "sentences": [
                {
                    "number": number,
                    **entry,
                    "citations": [
                        {**citation, **asdict(self.context(source))}
                        for citation, source in zip(entry["citations"], sentence.citations, strict=True)
                    ],
                    "nearest": None
                    if sentence.nearest is None
                    else {**entry["nearest"], **asdict(self.context(sentence.nearest))},
                }
                for (number, sentence), entry in zip(self.numbered_sentences(), cited["sentences"], strict=True)
            ],
            "laws": [asdict(law) for law in count_laws(self.cited.sentences)],
        }


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A sentence that a person has to look at."""

    document: int  # index of its document, from 0
    number: int  # of the sentence, from 1
    sentence: CitedSentence

    def to_dict(self) -> JsonObject:
        sentence = self.sentence
        return {
            "document": self.document, "number": self.number, "status": sentence.status, "text": sentence.text,
            "reason": sentence.reason, "reason_zh": sentence.reason_zh,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a report was made: options, models, versions, and the command that makes it again."""

    options: CiteOptions
    generator: str | None
    versions: dict[str, str]  # of the packages that took part
    date: str
    seconds: float
    command: str

    def to_dict(self, cited: CitedText) -> JsonObject:
        """The entry "provenance" of the JSON document. `cited`: any text of the report, for its corpus and scorer."""
        options = self.options
        return {
            "corpus_digest": cited.corpus.digest, "num_clauses": cited.corpus.num_clauses,
            "embedders": list(cited.retrieval[1:]), "scorer": cited.scorer, "threshold": cited.threshold,
            "generator": self.generator,
            "options": {name: getattr(options, name) for name in ("num_articles", "num_citations", "margin")},
            "versions": {"deepseek": __version__, "python": platform.python_version()} | self.versions,
            "date": self.date, "seconds": self.seconds, "command": self.command,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CitationReport(Result):
    """All drafts of one check. It reads like its JSON document, too: report["num_supported"]."""

    documents: tuple[CitedDocument, ...]
    provenance: Provenance
    kind: Literal["text", "batch"]
    skipped: tuple[SkippedFile, ...] = ()  # files that were left out

    @property
    def common(self) -> CitedText:
        """The first text, for what all of them share: corpus, scorer, threshold, retrieval."""
        return self.documents[0].cited

    @property
    def sentences(self) -> list[CitedSentence]:
        """The sentences of all drafts."""
        return [sentence for document in self.documents for sentence in document.cited.sentences]

    def count(self, status: Status) -> int:
        """How many sentences of all drafts have this status."""
        return sum(document.cited.count(status) for document in self.documents)

    @property
    def num_sentences(self) -> int:
        return sum(len(document.cited.sentences) for document in self.documents)

    def laws(self) -> list[LawUse]:
        """The laws that are cited, the one that supports most sentences first."""
        return count_laws(self.sentences)

    def most_cited(self) -> list[ArticleUse]:
        """The articles that support most sentences, at most MAX_MOST_CITED."""
        uses: dict[tuple[str, str, str], tuple[set[tuple[int, int]], set[int]]] = {}
        for index, document in enumerate(self.documents):
            for number, sentence in document.numbered_sentences():
                for citation in sentence.citations:
                    article = (citation.law, citation.article, citation.version)
                    sentences, documents = uses.setdefault(article, (set(), set()))
                    sentences.add((index, number))
                    documents.add(index)
        articles = [
            ArticleUse(*article, len(sentences), len(documents)) for article, (sentences, documents) in uses.items()
        ]
        return sorted(articles, key=lambda use: -use.num_sentences)[:MAX_MOST_CITED]

    def review(self) -> list[ReviewItem]:
        """The sentences that are not simply supported, in their order."""
        return [
            ReviewItem(index, number, sentence)
            for index, document in enumerate(self.documents)
            for number, sentence in document.numbered_sentences()
            if sentence.status != "supported"
        ]

    def to_dict(self) -> JsonObject:
        """The document of cite.schema.json, which --json prints."""
        cited = self.common.to_dict()
        common = {name: cited[name] for name in ("corpus", "scorer", "threshold", "retrieval")}
        documents = [document.to_dict() for document in self.documents]
        body = documents[0] if self.kind == "text" else self._batch() | {"documents": documents}
        return (
            {"format": FORMAT, "kind": self.kind} | body | common | {"provenance": self.provenance.to_dict(self.common)}
        )

    def _batch(self) -> JsonObject:
        """What a batch says beside its documents."""
        return {
            "num_documents": len(self.documents), "num_sentences": self.num_sentences,
            **{f"num_{status}": self.count(status) for status in STATUSES},
            "partial": any(document.cited.is_partial for document in self.documents),
            "skipped": [asdict(file) for file in self.skipped],
            "laws": [asdict(law) for law in self.laws()],
            "most_cited": [asdict(article) for article in self.most_cited()],
            "review": [item.to_dict() for item in self.review()],
        }  # fmt: skip

    def summary(self) -> str:
        """What `deepseek cite` prints: each sentence with its citations; of a batch counts, and what needs a look."""
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """The lines and tables of summary(), for a terminal that wraps them to its width."""
        supported = f"{format_value(self.count('supported'))} of {format_value(self.num_sentences)} sentences supported"
        if self.kind == "text":
            return [*(line for sentence in self.sentences for line in _sentence_lines(sentence)), "", supported]
        table = make_table("text", "sentences", "supported", "other article", "unsupported", "contradicted")
        for document in self.documents:
            counts = [len(document.cited.sentences), *(document.cited.count(status) for status in SIGNS)]
            table.add_row(_one_line(document.draft.name), *map(format_value, counts))
        parts: list[object] = [table]
        if most_cited := self.most_cited():
            articles = make_table("most cited", "version", "sentences", "texts")
            for use in most_cited[:NUM_ARTICLES_SHOWN]:
                names = (_one_line(f"{use.law} {use.article}"), _one_line(use.version))
                articles.add_row(*names, *map(format_value, (use.num_sentences, use.num_documents)))
            parts += ["", articles]
        return [*parts, *self._review_lines(), "", f"{supported}, in {format_value(len(self.documents))} texts"]

    def _review_lines(self) -> list[str]:
        """The first of the sentences that need a look, with the reason of each."""
        review = self.review()
        if not review:
            return []
        lines = ["", "need a look"]
        for item in review[:MAX_REVIEW_SHOWN]:
            where = f"{self.documents[item.document].draft.name}, sentence {item.number}"
            lines.append(f"{SIGNS[item.sentence.status]} {_one_line(where)}: {_one_line(item.sentence.text)}")
            lines.append(f"    {_one_line(item.sentence.reason)}")
        if len(review) > MAX_REVIEW_SHOWN:
            lines.append(f"and {format_value(len(review) - MAX_REVIEW_SHOWN)} more: --json and --html list them")
        return lines


def _sentence_lines(sentence: CitedSentence) -> list[str]:
    """A sentence with its sign, its citations and its reason."""
    lines = [f"{SIGNS[sentence.status]} {_one_line(sentence.text)}"]
    for citation in sentence.citations:
        lines += [f"    {_one_line(citation.id)}", f"      “{_one_line(citation.quote)}”"]
    if sentence.reason:
        lines.append(f"    {_one_line(sentence.reason)}")
    if sentence.nearest is not None:
        which = "" if sentence.status == "contradicted" else "nearest: "
        lines += [f"    {which}{_one_line(sentence.nearest.id)}", f"      “{_one_line(sentence.nearest.quote)}”"]
    return lines


def _one_line(text: str) -> str:
    """A text on one line, without what could drive the terminal."""
    return escape_for_terminal(" ".join(text.split()), one_line=True)


def count_laws(sentences: Iterable[CitedSentence]) -> list[LawUse]:
    """The laws that sentences cite, the one that supports most of them first."""
    uses: dict[tuple[str, str], tuple[set[int], set[str]]] = {}
    for index, sentence in enumerate(sentences):
        for citation in sentence.citations:
            supported, articles = uses.setdefault((citation.law, citation.version), (set(), set()))
            supported.add(index)
            articles.add(citation.article)
    laws = [LawUse(*law, len(supported), len(articles)) for law, (supported, articles) in uses.items()]
    return sorted(laws, key=lambda use: -use.num_sentences)
