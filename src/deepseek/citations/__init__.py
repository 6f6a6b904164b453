"""Citations for a text: for each sentence the clauses that support it, by an id that stays, with a quote word for word.

from deepseek.citations import cite

report = cite("利息不得预先在本金中扣除。租期最长五十年。", "laws/")
report.sentences[0].citations[0].id       # 中华人民共和国民法典 合同编/第六百七十条/1@undated
report.sentences[1].status                # "unsupported"

done = cite_drafts([draft_of(text)], Index(Corpus.read("laws/")))       # with provenance, by a schema
write_page(Path("report.html"), done)                                   # to be printed and signed

The way: sentences.py -> retriever.py (candidates) -> scorer.py (does the clause say it?) -> quote.py (word for word) ->
context_ablation.py (did it cause the sentence? where a generator is given) -> report.py. An id is never read from the
text: it comes from the corpus, so an article that is not there cannot be cited; a number of an article that the text
itself names is looked up, and said to be unknown where it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.citations.checklist.checklist import Checklist
    from deepseek.citations.checklist.evidence import Contract
    from deepseek.citations.corpus.clause import Clause
    from deepseek.citations.corpus.corpus import Corpus
    from deepseek.citations.corpus.drafts import Draft, draft_of, read_drafts
    from deepseek.citations.page.document import cite_drafts, schema
    from deepseek.citations.page.page import write_page
    from deepseek.citations.retrieval.embedder import Embedder, FolderEmbedder
    from deepseek.citations.retrieval.retriever import Index
    from deepseek.citations.retrieval.universal_encoder import SentenceEncoder
    from deepseek.citations.support.citing import CiteOptions, cite
    from deepseek.citations.support.context_ablation import Ablation, Generator
    from deepseek.citations.support.generator import FolderGenerator
    from deepseek.citations.support.results import CitedText
    from deepseek.citations.support.scorer import Scorer, TermScorer

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
    "cite",
    "cite_drafts",
    "draft_of",
    "read_drafts",
    "schema",
    "write_page",
]

_MODULES = {
    "Ablation": "support.context_ablation",
    "Checklist": "checklist.checklist",
    "CiteOptions": "support.citing",
    "CitedText": "support.results",
    "Clause": "corpus.corpus",
    "Contract": "checklist.evidence",
    "Corpus": "corpus.corpus",
    "Draft": "corpus.drafts",
    "Embedder": "retrieval.embedder",
    "FolderEmbedder": "retrieval.embedder",
    "FolderGenerator": "support.generator",
    "Generator": "support.context_ablation",
    "Index": "retrieval.retriever",
    "Scorer": "support.scorer",
    "SentenceEncoder": "retrieval.universal_encoder",
    "TermScorer": "support.scorer",
    "cite": "support.citing",
    "cite_drafts": "page.document",
    "draft_of": "corpus.drafts",
    "read_drafts": "corpus.drafts",
    "schema": "page.document",
    "write_page": "page.page",
}

__getattr__ = lazy_attributes(__name__, _MODULES)


class _Room(ModuleType):
    """In the last release `from deepseek.explain import cite` gave a function, and now gives this package, which can
    therefore be called. `from deepseek.citations import cite` is the function."""

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
        """See cite()."""
        from deepseek.citations.support.citing import cite

        return cite(text, corpus, generator, embedders=embedders, scorer=scorer, options=options)


sys.modules[__name__].__class__ = _Room
