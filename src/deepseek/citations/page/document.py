"""Citations as a document: what was checked, by what, against which corpus, as one JSON object with a schema.

    done = cite_drafts([draft_of(text)], Index(corpus))     # "kind": "text"; of several drafts "batch"
    write_page("report.html", done)                         # page.py
    write_document(Path("report.json"), done)               # explain/report/document.py
    schema()                                                JSON Schema (draft 2020-12)

Each citation has what stands before and behind its quote in the clause; each text the sha256 of what was given.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from deepseek.bundle import now
from deepseek.citations.corpus.corpus import Corpus
from deepseek.citations.corpus.drafts import Draft, SkippedFile
from deepseek.citations.retrieval.retriever import Index
from deepseek.citations.support.citing import CiteOptions, cite_text
from deepseek.citations.support.context_ablation import Generator
from deepseek.citations.support.results import STATUSES
from deepseek.citations.support.scorer import Scorer
from deepseek.errors import InputError
from deepseek.explain.report.document import installed_versions
from deepseek.version import __version__

FORMAT = 1  # of the document; fields are added to it, never renamed
#: Letters of a clause that are kept before and behind a quote.
CONTEXT_CHARS = 240
MAX_MOST_CITED = 20  # articles of a batch
_PACKAGES = ("numpy", "openvino", "tokenizers", "torch", "transformers", "xgboost", "xgboost-cpu")
Progress = Callable[[str, float], object]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    found: dict[str, Any] = json.loads(files("deepseek.citations.page").joinpath("cite.schema.json").read_text("utf-8"))
    return found


def cite_drafts(
    drafts: Sequence[Draft],
    index: Index,
    generator: Generator | None = None,
    *,
    scorer: Scorer | None = None,
    options: CiteOptions | None = None,
    skipped: Sequence[SkippedFile] = (),
    batch: bool | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check each draft as cite_text() does. One draft is a "text" unless `batch`; `skipped` are files that were left
    out.

    `command` is what makes this again. InputError without a draft; the errors of cite_text().
    """
    if not drafts:
        raise InputError("there is no draft", expected="at least one text", fix="give a text")
    how, start_s = options or CiteOptions(), time.perf_counter()
    many = len(drafts) > 1 or bool(skipped) if batch is None else batch
    total, done = sum(draft.num_bytes for draft in drafts), 0
    documents, common = [], {}
    for draft in drafts:
        heard = _draft_progress(progress, draft.name, done / total, draft.num_bytes / total)
        made = cite_text(draft.text, index, generator, scorer=scorer, options=how, progress=heard).to_dict()
        done += draft.num_bytes
        common = {name: made.pop(name) for name in ("corpus", "scorer", "threshold", "retrieval")}
        documents.append(_document(draft, made, index.corpus))
    origin = _provenance(common, how, command, time.perf_counter() - start_s, generator)
    top = {"format": FORMAT, "kind": "batch" if many else "text"}
    if not many:
        return top | documents[0] | common | {"provenance": origin}
    return top | _batch_summary(documents, skipped) | {"documents": documents} | common | {"provenance": origin}


def _draft_progress(progress: Progress | None, name: str, before: float, share: float) -> Progress | None:
    """Progress of one draft as that of all."""
    if progress is None:
        return None
    return lambda what, part: progress(f"{what} of {name}" if name else what, before + share * part)


def _document(draft: Draft, made: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    sentences = [
        {
            "number": place,
            **sentence,
            "citations": [{**citation, **_quote_context(citation, corpus)} for citation in sentence["citations"]],
        }
        for place, sentence in enumerate(made["sentences"], 1)
    ]
    given = {"name": draft.name, "sha256": draft.sha256, "num_bytes": draft.num_bytes}
    return given | {**made, "sentences": sentences, "laws": _cited_laws(sentences)}


def _quote_context(citation: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    """What stands in the clause before and behind the quote, and how long the clause is."""
    text, start, end = corpus[citation["id"]].text, citation["quote_start"], citation["quote_end"]
    return {
        "before": text[max(0, start - CONTEXT_CHARS) : start],
        "after": text[end : end + CONTEXT_CHARS],
        "clause_letters": len(text),
    }


def _cited_laws(sentences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The laws that are cited, the one that supports most sentences first."""
    found: dict[tuple[str, str], tuple[set[Any], set[Any]]] = {}
    for place, sentence in enumerate(sentences):
        for citation in sentence["citations"]:
            kept = found.setdefault((citation["law"], citation["version"]), (set(), set()))
            kept[0].add(place)
            kept[1].add(citation["article"])
    made: list[dict[str, Any]] = [
        {"law": law, "version": version, "num_sentences": len(places), "num_articles": len(articles)}
        for (law, version), (places, articles) in found.items()
    ]
    return sorted(made, key=lambda one: -one["num_sentences"])


def _batch_summary(documents: Sequence[Mapping[str, Any]], skipped: Sequence[SkippedFile]) -> dict[str, Any]:
    """What a batch says beside its documents."""
    every = [sentence for document in documents for sentence in document["sentences"]]
    review = [
        {"document": place, **{name: sentence[name] for name in ("number", "status", "text", "reason", "reason_zh")}}
        for place, document in enumerate(documents)
        for sentence in document["sentences"]
        if sentence["status"] != "supported"
    ]
    return {
        "num_documents": len(documents), "num_sentences": len(every),
        **{f"num_{status}": sum(document[f"num_{status}"] for document in documents) for status in STATUSES},
        "partial": any(document["partial"] for document in documents),
        "skipped": [{"name": each.name, "problem": each.problem} for each in skipped],
        "laws": _cited_laws(every), "most_cited": _most_cited(documents), "review": review,
    }  # fmt: skip


def _most_cited(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The articles that support most sentences."""
    found: dict[tuple[str, str, str], tuple[set[Any], set[Any]]] = {}
    for place, document in enumerate(documents):
        for sentence in document["sentences"]:
            for citation in sentence["citations"]:
                key = citation["law"], citation["article"], citation["version"]
                kept = found.setdefault(key, (set(), set()))
                kept[0].add((place, sentence["number"]))
                kept[1].add(place)
    made: list[dict[str, Any]] = [
        {"law": law, "article": article, "version": version}
        | {"num_sentences": len(sentences), "num_documents": len(places)}
        for (law, article, version), (sentences, places) in found.items()
    ]
    return sorted(made, key=lambda one: -one["num_sentences"])[:MAX_MOST_CITED]


def _provenance(
    common: Mapping[str, Any], how: CiteOptions, command: str, seconds: float, generator: Generator | None
) -> dict[str, Any]:
    return {
        "corpus_digest": common["corpus"]["digest"], "num_clauses": common["corpus"]["num_clauses"],
        "embedders": list(common["retrieval"][1:]), "scorer": common["scorer"], "threshold": common["threshold"],
        "generator": None if generator is None else str(getattr(generator, "name", type(generator).__name__)),
        "options": {"num_articles": how.num_articles, "num_citations": how.num_citations, "margin": how.margin},
        "versions": {"deepseek": __version__, "python": platform.python_version()} | installed_versions(_PACKAGES),
        "date": now(), "seconds": seconds, "command": command,
    }  # fmt: skip
