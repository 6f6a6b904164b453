"""Lines that nobody trained: the passage that has most of what the line is about, and whether it says it.

The answer is weaker than a trained one and is marked so: words decide, and vectors where there is an encoder; a passage
that says the opposite by its words (support/opposites.py) denies. The weights are set by hand, so no answer is surer
than MAX_PROBABILITY; benchmarks/review.py measures what such answers are worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek.citations.retrieval.bm25 import Bm25
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.citations.review.findings import LineAnswer
from deepseek.citations.review.lines import ChecklistLine
from deepseek.citations.support.nearest import term_weight
from deepseek.citations.support.opposites import Comparison
from deepseek.contracts import Float32, Float64

#: What the cosine of the nearest passage, and the share of the line's words in it, say for its being there: log-odds.
COSINE_WEIGHT, WORDS_WEIGHT, BIAS = 6.0, 3.0, -4.5
#: No answer is surer than this.
MAX_PROBABILITY = 0.8
CONFLICT_SHARE = 0.8  # of what is there, that denies, where words speak against the line
MAX_COMPARED = 20  # passages, the likeliest first


def answer_untrained(
    lines: Sequence[ChecklistLine], texts: Sequence[str], vectors: Float32, embedder: Embedder
) -> list[LineAnswer]:
    """One for each line, by the passages (N texts) and their vectors (N, D)."""
    if not lines:
        return []
    index = Bm25(list(texts))
    weight = term_weight(index)
    cosines = vectors @ embedder.queries([f"{line.text} {line.question}".strip() for line in lines]).T
    answers = []
    for place, line in enumerate(lines):
        comparison = Comparison(line.text, weight)
        lexical = index.scores(line.text)
        near = lexical / max(float(lexical.max(initial=0.0)), 1e-9) + np.maximum(cosines[:, place], 0)
        order = np.argsort(-near, kind="stable")[:MAX_COMPARED]
        covered = np.zeros(len(texts))
        covered[order] = [comparison.coverage(texts[at]) for at in order.tolist()]
        log_odds = BIAS + COSINE_WEIGHT * np.maximum(cosines[:, place], 0) + WORDS_WEIGHT * covered
        passages = np.minimum(1 / (1 + np.exp(-log_odds)), MAX_PROBABILITY)
        answers.append(LineAnswer(_states(passages, comparison, texts), passages, "retrieval"))
    return answers


def _states(passages: Float64, comparison: Comparison, texts: Sequence[str]) -> Float64:
    best = int(passages.argmax())
    there = float(passages[best])
    denied = CONFLICT_SHARE * there if comparison.conflict(texts[best]) is not None else 0.0
    return np.array([1 - there, there - denied, denied])
