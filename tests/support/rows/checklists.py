"""Made contracts for checklists: two sentences, for each a clause that supports and one that contradicts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek.citations import Contract
from deepseek.citations.retrieval.bm25 import extract_terms

LIST = ("The receiver may copy the data.", "The receiver shall return the data.")
COPY = ("", "The receiver may copy the data for its own use.", "The receiver shall not copy any of the data.")
GIVE = ("", "At the end the receiver shall return all data.", "The receiver need not return the data, ever.")
FILLER = (
    "This agreement is governed by the law of England.", "Each party bears its own costs.", "Notices are in writing.",
    "The term is two years.", "No partnership is created.", "The parties met in London.", "Fees are due on Monday.",
)  # fmt: skip


class Hashed:
    """Words into 32 cells."""

    name, weight = "hashed", 1.0

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for term in extract_terms(text):
                vectors[row, sum(map(ord, term)) % 32] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)

    queries = passages


def contract(seed: int) -> Contract:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, 2)
    clauses = [
        *draw.permutation(FILLER)[:4],
        *(kind[label] for kind, label in zip((COPY, GIVE), labels, strict=True) if label),
    ]
    order = draw.permutation(len(clauses))
    shuffled = tuple(str(clauses[place]) for place in order)
    evidence = np.array(
        [
            [label * (clause == kind[label]) for kind, label in zip((COPY, GIVE), labels, strict=True)]
            for clause in shuffled
        ]
    )
    return Contract(shuffled, evidence, labels)
