"""Citations for a text: for each sentence the clauses that support it, by an id that stays, with a quote word for word.

from deepseek.explain import cite

report = cite("利息不得预先在本金中扣除。租期最长五十年。", "laws/")
report.sentences[0].citations[0].id       # 中华人民共和国民法典 合同编/第六百七十条/1@undated
report.sentences[1].status                # "unsupported"

done = cite_drafts([draft_of(text)], Index(Corpus.read("laws/")))       # with provenance, by a schema
write_page(Path("report.html"), done)                                   # to be printed and signed

The way: sentences.py -> retrieve.py (candidates) -> score.py (does the clause say it?) -> quote.py (word for word) ->
ablate.py (did it cause the sentence? where a generator is given) -> report.py. An id is never read from the text: it
comes from the corpus, so an article that is not there cannot be cited; a number of an article that the text itself
names is looked up, and said to be unknown where it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.explain.cite.ablate import Ablation, Generator
    from deepseek.explain.cite.check import CiteOptions
    from deepseek.explain.cite.checklist import Checklist
    from deepseek.explain.cite.clause import Clause
    from deepseek.explain.cite.corpus import Corpus
    from deepseek.explain.cite.document import cite_drafts, schema
    from deepseek.explain.cite.drafts import Draft, draft_of, read_drafts
    from deepseek.explain.cite.embed import Embedder, FolderEmbedder
    from deepseek.explain.cite.evidence import Contract
    from deepseek.explain.cite.generator import FolderGenerator
    from deepseek.explain.cite.page import write_page
    from deepseek.explain.cite.report import CitedText
    from deepseek.explain.cite.retrieve import Index
    from deepseek.explain.cite.score import Scorer, TermScorer
    from deepseek.explain.cite.use import SentenceEncoder

__all__ = [
    "Ablation",
    "Checklist",
    "CiteOptions",
    "CitedText",
    "Clause",
    "Contract",
    "Corpus",
    "Draft",
    "Embedder",
    "FolderEmbedder",
    "FolderGenerator",
    "Generator",
    "Index",
    "Scorer",
    "SentenceEncoder",
    "TermScorer",
    "cite_drafts",
    "draft_of",
    "read_drafts",
    "schema",
    "write_page",
]

_MODULES = {
    "Ablation": "ablate",
    "Checklist": "checklist",
    "CiteOptions": "check",
    "CitedText": "report",
    "Clause": "corpus",
    "Contract": "evidence",
    "Corpus": "corpus",
    "Draft": "drafts",
    "Embedder": "embed",
    "FolderEmbedder": "embed",
    "FolderGenerator": "generator",
    "Generator": "ablate",
    "Index": "retrieve",
    "Scorer": "score",
    "SentenceEncoder": "use",
    "TermScorer": "score",
    "cite_drafts": "document",
    "draft_of": "drafts",
    "read_drafts": "drafts",
    "schema": "document",
    "write_page": "page",
}

__getattr__ = lazily(__name__, _MODULES)


class _Room(ModuleType):
    """This room has the name of what it does, as explain has: cite(...) is check(...), whatever was imported."""

    def __call__(
        self,
        text: str,
        corpus: Corpus | Index | str | Path,
        generator: Generator | None = None,
        *,
        embedders: Sequence[Embedder] = (),
        scorer: Scorer | None = None,
        options: CiteOptions | None = None,
    ) -> CitedText:
        """See check.check()."""
        from deepseek.explain.cite.check import check

        return check(text, corpus, generator, embedders=embedders, scorer=scorer, options=options)


sys.modules[__name__].__class__ = _Room
