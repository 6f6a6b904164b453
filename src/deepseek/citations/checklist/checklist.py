"""A fixed list of sentences that every contract is checked against: what the contract says of each, and where.

    checklist = Checklist.fit(contracts, hypotheses, FolderEmbedder("all-MiniLM"))
    for finding in checklist.check(clauses):
        finding.label, finding.places[:3]     # "Entailment", the places of the likeliest clauses, best first

Three steps, each trained on what the step before says of contracts that it has not seen (5 folds): two views of each
clause (evidence.py), boosted trees that rank clauses, readers and boosted trees that decide on the whole contract
(verdict.py). The task is that of ContractNLI (Koreeda and Manning 2021). As a scorer of cite() it judges sentences of
its list alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.checklist.evidence import Contract, EvidenceScorer, clause_features, combine_scores
from deepseek.citations.checklist.verdict import VerdictModel
from deepseek.citations.corpus.clause import Clause
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.extras import need

LABELS = ("NotMentioned", "Entailment", "Contradiction")
NUM_FOLDS = 5
#: Clauses of a contract that the trees rank for each sentence; the others keep their order behind them.
NUM_RERANKED = 12
#: What the first score counts beside the trees' log-odds.
FIRST_SCORE_WEIGHT = 0.3
RANKER_PARAMETERS = {
    "n_estimators": 150, "max_depth": 4, "learning_rate": 0.08, "subsample": 0.7, "colsample_bytree": 0.7,
    "min_child_weight": 3, "n_jobs": 1, "random_state": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What a contract says of one sentence."""

    hypothesis: str
    label: str  # one of LABELS
    probabilities: tuple[float, float, float]  # of LABELS
    places: tuple[int, ...]  # of all clauses, the likeliest evidence first
    scores: tuple[float, ...]  # of these: log-odds that the clause is evidence


class Checklist:
    """Made by fit(), or opened from a folder that save() wrote."""

    threshold = 0.5

    def __init__(
        self, hypotheses: Sequence[str], embedder: Embedder, views: EvidenceScorer, ranker: Any, verdicts: VerdictModel
    ) -> None:
        self.hypotheses, self._embedder = tuple(hypotheses), embedder
        self._views, self._ranker, self._verdicts = views, ranker, verdicts
        self.name = f"checklist+{embedder.name}"

    @classmethod
    def fit(cls, contracts: Sequence[Contract], hypotheses: Sequence[str], embedder: Embedder) -> Checklist:
        """Train on at least NUM_FOLDS contracts. InputError for too few, or labels that do not fit."""
        _check_contracts(contracts, hypotheses)
        vectors = [embedder.passages(contract.clauses) for contract in contracts]
        fold = np.random.default_rng(0).permutation(len(contracts)) % NUM_FOLDS
        tables: list[Any] = [None] * len(contracts)
        for fold_number in range(NUM_FOLDS):
            training = [index for index in range(len(contracts)) if fold[index] != fold_number]
            views = EvidenceScorer.fit([contracts[index] for index in training], [vectors[index] for index in training])
            for index in np.flatnonzero(fold == fold_number).tolist():
                clauses = contracts[index].clauses
                tables[index] = clause_features(*views.scores(clauses, vectors[index]), clauses)
        ranked: list[Any] = [None] * len(contracts)
        for fold_number in range(NUM_FOLDS):
            training = [index for index in range(len(contracts)) if fold[index] != fold_number]
            ranker = fit_ranker([tables[index] for index in training], [contracts[index] for index in training])
            for index in np.flatnonzero(fold == fold_number).tolist():
                ranked[index] = rank_clauses(ranker, tables[index])
        verdicts, _ = VerdictModel.fit(contracts, vectors, tables, ranked, fold)
        return cls(
            hypotheses, embedder, EvidenceScorer.fit(contracts, vectors), fit_ranker(tables, contracts), verdicts
        )

    def save(self, folder: str | Path) -> Path:
        """Write a new folder of JSON, safetensors and .ubj, no pickle (storage.py); the embedder's weights are not in
        it.

        InputError when something is there, TooLargeError for more than open() would read."""
        from deepseek.citations.checklist.storage import save

        return save(Path(folder), self.hypotheses, self._embedder, self._views, self._ranker, self._verdicts)

    @classmethod
    def open(cls, folder: str | Path, embedder: Embedder | None = None) -> Checklist:
        """What save() wrote, with the embedder that it was trained with: its answers are those of before, to the bit.

        MissingError for a file that is not there, IntegrityError for a changed one, TooLargeError for one above its
        limit, InputError for another format or embedder."""
        from deepseek.citations.checklist.storage import embedder_name, open_parts

        path = Path(folder)
        if embedder is None:
            raise InputError(
                f"{path} was trained with the embedder {embedder_name(path)}, and none is given",
                expected="that embedder: its weights are not in the folder",
                fix='Checklist.open(folder, FolderEmbedder("all-MiniLM"))',
            )
        hypotheses, *parts = open_parts(path, embedder)
        return cls(hypotheses, embedder, *parts)

    def check(self, clauses: Sequence[str]) -> list[Finding]:
        """A finding for each sentence of the list. InputError for a contract without clauses."""
        if not clauses:
            raise InputError("the contract has no clause", expected="at least one", fix="split it into clauses")
        vectors = self._embedder.passages(clauses)
        table = clause_features(*self._views.scores(clauses, vectors), clauses)
        ranked = rank_clauses(self._ranker, table)
        probabilities = self._verdicts.probabilities(clauses, vectors, table, ranked)
        findings = []
        for column, hypothesis in enumerate(self.hypotheses):
            order = np.argsort(-ranked[:, column], kind="stable")
            findings.append(
                Finding(
                    hypothesis, LABELS[int(probabilities[column].argmax())], tuple(probabilities[column].tolist()),
                    tuple(order.tolist()), tuple(ranked[order, column].tolist()),
                )
            )  # fmt: skip
        return findings

    def scores(self, sentence: str, clauses: Sequence[Clause]) -> Float64:
        """Scores (N,) as a scorer of cite(): the probability that a clause is evidence, 0 where the whole does not
        support it."""
        if sentence not in self.hypotheses:
            raise InputError(
                f"{sentence[:60]!r} is not in the checklist",
                expected=f"one of its {len(self.hypotheses)} sentences",
                fix="train a checklist with it, or take TermScorer",
            )
        finding = self.check([clause.text for clause in clauses])[self.hypotheses.index(sentence)]
        scores = np.zeros(len(clauses))
        if finding.label == LABELS[1]:
            scores[list(finding.places)] = 1 / (1 + np.exp(-np.array(finding.scores)))
        return scores


def fit_ranker(tables: Sequence[Float64], contracts: Sequence[Contract]) -> Any:
    """Trees that say how likely a clause is evidence, from features (N, H, F) of each contract."""
    rows, target = [], []
    for table, contract in zip(tables, contracts, strict=True):
        for column in range(table.shape[1]):
            top = _top_clauses(table, column)
            rows.append(table[top, column])
            target.append(contract.evidence[top, column] > 0)
    classifier = need("xgboost", extra="explain").XGBClassifier(**RANKER_PARAMETERS)
    return classifier.fit(np.concatenate(rows), np.concatenate(target).astype(int))


def _top_clauses(table: Float64, column: int) -> NDArray[np.int64]:
    return np.argsort(-table[:, column, 0], kind="stable")[:NUM_RERANKED]


def rank_clauses(ranker: Any, table: Float64) -> Float64:
    """Log-odds (N, H) that a clause is evidence; clauses that were not reranked stand behind in their order."""
    first = combine_scores(table[:, :, 1], table[:, :, 2])
    scores = -20 + 0.01 * first
    for column in range(table.shape[1]):
        top = _top_clauses(table, column)
        probability = np.clip(ranker.predict_proba(table[top, column])[:, 1].astype(np.float64), 1e-6, 1 - 1e-6)
        scores[top, column] = np.log(probability / (1 - probability)) + FIRST_SCORE_WEIGHT * first[top, column]
    return scores


def _check_contracts(contracts: Sequence[Contract], hypotheses: Sequence[str]) -> None:
    wrong = [
        index
        for index, contract in enumerate(contracts)
        if contract.evidence.shape != (len(contract.clauses), len(hypotheses))
        or contract.labels.shape != (len(hypotheses),)
        or not contract.clauses
    ]
    if wrong or len(contracts) < NUM_FOLDS:
        raise InputError(
            f"contract {wrong[0]} does not fit the list" if wrong else f"there are {len(contracts)} contracts",
            expected=f"at least {NUM_FOLDS} contracts, each with evidence (N, {len(hypotheses)}) and labels",
            fix="give a label and the clauses for each sentence of the list",
        )
