"""Drafts checked into one report, which is also a JSON document with a schema.

    report = cite_drafts([draft_of(text)], Index(corpus))   # "kind": "text"; of several drafts "batch"
    write_page("report.html", report)                       # page.py
    write_document(Path("report.json"), report)             # explain/report/document.py
    schema()                                                # JSON Schema (draft 2020-12)

Each citation has what stands before and behind its quote in the clause; each text the sha256 of what was given.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from importlib.resources import files

from deepseek.bundle import now
from deepseek.citations.corpus.drafts import Draft, SkippedFile
from deepseek.citations.page.report import CitationReport, CitedDocument, Provenance
from deepseek.citations.retrieval.retriever import Index
from deepseek.citations.support.citing import CiteOptions, cite_text
from deepseek.citations.support.context_ablation import Generator
from deepseek.citations.support.scorer import Scorer
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.explain.report.document import installed_versions

_PACKAGES = ("numpy", "openvino", "tokenizers", "torch", "transformers", "xgboost", "xgboost-cpu")
Progress = Callable[[str, float], object]  # what is going on, and the share of the work that is done


def schema() -> JsonObject:
    """The JSON Schema of the document."""
    document: JsonObject = json.loads(files("deepseek.citations.page").joinpath("cite.schema.json").read_text("utf-8"))
    return document


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
) -> CitationReport:
    """Check each draft as cite_text() does. One draft is a "text" unless `batch`; `skipped` are files that were left
    out.

    `command` is what makes this again. InputError without a draft; the errors of cite_text().
    """
    if not drafts:
        raise InputError("there is no draft", expected="at least one text", fix="give a text")
    options, start_s = options or CiteOptions(), time.perf_counter()
    is_batch = len(drafts) > 1 or bool(skipped) if batch is None else batch
    total_bytes, done_bytes = sum(draft.num_bytes for draft in drafts), 0
    documents = []
    for draft in drafts:
        part = _draft_progress(progress, draft.name, done_bytes / total_bytes, draft.num_bytes / total_bytes)
        cited = cite_text(draft.text, index, generator, scorer=scorer, options=options, progress=part)
        documents.append(CitedDocument(draft, cited, index.corpus))
        done_bytes += draft.num_bytes
    generator_name = None if generator is None else str(getattr(generator, "name", type(generator).__name__))
    seconds = time.perf_counter() - start_s
    provenance = Provenance(options, generator_name, installed_versions(_PACKAGES), now(), seconds, command)
    return CitationReport(tuple(documents), provenance, "batch" if is_batch else "text", tuple(skipped))


def _draft_progress(progress: Progress | None, name: str, before: float, share: float) -> Progress | None:
    """Progress of one draft as that of all."""
    if progress is None:
        return None
    return lambda what, part: progress(f"{what} of {name}" if name else what, before + share * part)
