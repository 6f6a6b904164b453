"""A model of a checklist: trained lines by their documents, the others by retrieval.

    model = ReviewModel.fit(checklist, labelled, embedder)
    model.answers(split_passages(document))                   # a LineAnswer for each line

Passages are scored by views.py. What the whole document says of a line is decided, with MIN_TREE_DOCUMENTS documents or
more, by the ranker, readers and trees of citations/checklist on those scores; with fewer, by one multinomial regression
over the best passages of all lines. Each step is trained on what the step before says of documents that it has not
seen, so that its probabilities are what they were worth there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.checklist.checklist import fit_ranker, rank_clauses
from deepseek.citations.checklist.evidence import MEANING_WEIGHT, Contract, clause_features
from deepseek.citations.checklist.verdict import VerdictModel
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.citations.review.findings import LineAnswer
from deepseek.citations.review.labels import LabelledDocument
from deepseek.citations.review.lines import Checklist
from deepseek.citations.review.passages import Passage
from deepseek.citations.review.progress import Progress, ignore_progress, part_progress
from deepseek.citations.review.tuning import TunedEncoders, TunedView
from deepseek.citations.review.untrained import answer_untrained
from deepseek.citations.review.views import PassageClassifier, fold_numbers, squash
from deepseek.contracts import Float32, Float64
from deepseek.errors import InputError
from deepseek.extras import need

#: With fewer documents, or where none says the opposite of a line, there are no trees.
MIN_TREE_DOCUMENTS = 20
#: Documents that must say something of a line before it counts as trained.
MIN_EXAMPLES = 2
NUM_STATES = 3  # says nothing, says it, says the opposite
DENIED = 2
DENIAL_WEIGHTS = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
ACCURACY_MARGIN = 2e-3
NUM_BEST = 2  # passages of a line that the regression sees
INVERSE_REGULARIZATION = 1.0
RANKED_SHARE = 0.5  # of the time of ranker and verdicts
RANKER_WEIGHT = 0.9  # beside the classifier's
RANKED_FLOOR = 15.0  # log-odds below which the ranker has not looked at a passage
#: The shares of a fit at which encoders are tuned and passages judged, without and with tuning.
STEPS, TUNED_STEPS = (0.0, 0.45), (0.85, 0.93)
#: Makes encoders learn, from the passages and the targets of each document.
Tuner = Callable[[Sequence[Sequence[str]], Sequence[NDArray[np.int64]], Progress], TunedEncoders]


@dataclass(frozen=True, slots=True, eq=False)
class StateRegression:
    """Probabilities of the states of a line, from its best passages."""

    weights: Float64  # (3, NUM_BEST + 1 + T): T trained lines have an offset each
    bias: Float64  # (3,)

    @classmethod
    def fit(cls, features: Sequence[Float64], labels: Sequence[NDArray[np.int64]]) -> StateRegression:
        """`features`: (T, NUM_BEST + 1) of each document, `labels`: (T,)."""
        linear = need("sklearn.linear_model", extra="tabular")
        rows = np.concatenate([_with_offsets(each) for each in features])
        target = np.concatenate(list(labels))
        classes = sorted(set(target.tolist()))
        weights, bias = np.zeros((NUM_STATES, rows.shape[1])), np.full(NUM_STATES, -30.0)
        if len(classes) == 1:
            bias[classes[0]] = 0.0
            return cls(weights, bias)
        model = linear.LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=500).fit(rows, target)
        if len(classes) == 2:  # one row of weights, of the second class
            bias[classes[0]], weights[classes[1]], bias[classes[1]] = 0.0, model.coef_[0], model.intercept_[0]
        else:
            weights, bias = model.coef_, model.intercept_
        return cls(np.asarray(weights, np.float64), np.asarray(bias, np.float64))

    def probabilities(self, features: Float64) -> Float64:
        """Probabilities (T, 3)."""
        scores = _with_offsets(features) @ self.weights.T + self.bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True, eq=False)
class TreeVerdicts:
    """The ranker and the verdicts of citations/checklist."""

    ranker: Any
    verdicts: VerdictModel


@dataclass(frozen=True, slots=True, eq=False)
class TrainedLines:
    """What judges the lines that have examples."""

    lines: tuple[int, ...]  # T indices in the checklist
    classifier: PassageClassifier  # of 2 T columns: speaks of a line, says the opposite of it
    states: StateRegression
    trees: TreeVerdicts | None  # with documents enough
    tuned: TunedView | None = None  # encoders that learned the lines
    denial_weight: float = 1.0  # what the probability of a denial counts beside the two others

    def answer_lines(self, texts: Sequence[str], vectors: Float32) -> tuple[Float64, Float64]:
        """Probabilities (T, 3) of the states, and (N, T) of each passage of a document to be evidence."""
        scores = self.scores(texts, vectors)
        log_odds = self.classifier.log_odds(scores)
        states = self.states.probabilities(_best_passages(log_odds))
        evidence = log_odds[:, : len(self.lines)]
        if self.trees is not None:
            table = _clause_table(self.classifier, scores, texts)
            ranked = rank_clauses(self.trees.ranker, table)
            states = (states + self.trees.verdicts.probabilities(texts, vectors, table, ranked)) / 2
            evidence = _join_ranks(evidence, ranked)
        return weigh_denials(states, self.denial_weight), squash(evidence)

    def passage_labels(self, texts: Sequence[str], vectors: Float32) -> NDArray[np.bool_]:
        """Whether each passage speaks of each line: (N, T), by the thresholds of the classifier."""
        said = squash(self.classifier.log_odds(self.scores(texts, vectors))) >= self.classifier.thresholds
        return np.asarray(said[:, : len(self.lines)])

    def scores(self, texts: Sequence[str], vectors: Float32) -> Float64:
        """What all views say: (V, N, 2 T)."""
        return self.classifier.scores(texts, vectors, None if self.tuned is None else self.tuned.scores(texts))


class ReviewModel:
    """Made by fit(), or opened from a bundle (storage.py)."""

    def __init__(self, checklist: Checklist, embedder: Embedder, trained: TrainedLines | None) -> None:
        self.checklist, self.embedder, self.trained = checklist, embedder, trained

    @property
    def name(self) -> str:
        """What judges, in a word."""
        if self.trained is None:
            return f"retrieval by words and {self.embedder.name}"
        kind = "regression" if self.trained.trees is None else "trees and regression"
        tuned = "" if self.trained.tuned is None else ", tuned on the lines"
        return f"{kind} over words, letters and {self.embedder.name}{tuned}"

    @property
    def trained_ids(self) -> tuple[str, ...]:
        """Of the lines that are not left to retrieval."""
        lines = () if self.trained is None else self.trained.lines
        return tuple(self.checklist.lines[line].id for line in lines)

    @classmethod
    def fit(
        cls, checklist: Checklist, labelled: Sequence[LabelledDocument], embedder: Embedder, tune: Tuner | None = None,
        progress: Progress = ignore_progress,
    ) -> ReviewModel:  # fmt: skip
        """Train on reviewed documents. A line with too few examples is left to retrieval. `tune`: makes encoders learn
        the lines, given the passages and the targets of each document."""
        lines = trained_lines(labelled)
        if not lines:
            return cls(checklist, embedder, None)
        groups = [[passage.text for passage in each.passages] for each in labelled]
        tuned_at, classified = STEPS if tune is None else TUNED_STEPS
        vectors = embed_documents(groups, embedder)
        evidence = [each.evidence[:, lines] for each in labelled]
        labels = [each.labels[lines] for each in labelled]
        targets = [_targets(each) for each in evidence]
        tuned = None if tune is None else tune(groups, targets, part_progress(progress, 0.0, tuned_at))
        classifier, unseen = PassageClassifier.fit(
            groups, targets, vectors, tuned.held if tuned else (), part_progress(progress, tuned_at, classified)
        )
        features = [_best_passages(classifier.log_odds(scores)) for scores in unseen]
        states, trees = StateRegression.fit(features, labels), None
        unseen_states = _unseen_states(features, labels)
        if len(labelled) >= MIN_TREE_DOCUMENTS and len(np.unique(np.concatenate(labels))) == NUM_STATES:
            contracts = [
                Contract(tuple(group), each, label) for group, each, label in zip(groups, evidence, labels, strict=True)
            ]
            hear = part_progress(progress, classified, 1.0)
            trees, unseen_verdicts = _fit_trees(contracts, vectors, classifier, unseen, hear)
            unseen_states = (unseen_states + np.stack(unseen_verdicts)) / 2
        weight = choose_denial_weight(unseen_states, np.stack(labels))
        view = tuned.view if tuned else None
        return cls(checklist, embedder, TrainedLines(tuple(lines), classifier, states, trees, view, weight))

    def answers(self, passages: Sequence[Passage]) -> list[LineAnswer]:
        """One for each line of the checklist. InputError for a document without a passage."""
        if not passages:
            raise InputError("the document has no passage", expected="at least one", fix="look whether it is empty")
        texts = [passage.text for passage in passages]
        vectors = self.embedder.passages(texts)
        answers: dict[int, LineAnswer] = {}
        if self.trained is not None:
            states, evidence = self.trained.answer_lines(texts, vectors)
            for place, line in enumerate(self.trained.lines):
                answers[line] = LineAnswer(states[place], evidence[:, place], "trained")
        left = [line for line in range(len(self.checklist.lines)) if line not in answers]
        lines = [self.checklist.lines[line] for line in left]
        answers |= dict(zip(left, answer_untrained(lines, texts, vectors, self.embedder), strict=True))
        return [answers[line] for line in range(len(self.checklist.lines))]


def embed_documents(
    groups: Sequence[Sequence[str]], embedder: Embedder, progress: Progress = ignore_progress
) -> list[Float32]:
    """The vectors (N, D) of the passages of each document."""
    letters = np.cumsum([sum(map(len, group)) for group in groups])
    vectors = []
    for group, num in zip(groups, letters.tolist(), strict=True):
        vectors.append(embedder.passages(group))
        progress("embedding passages", num / letters[-1])
    return vectors


def trained_lines(labelled: Sequence[LabelledDocument]) -> list[int]:
    """The lines with enough examples: documents that say something of it, with a quote."""
    said = np.stack([(each.evidence > 0).any(axis=0) for each in labelled]).sum(axis=0)
    return np.flatnonzero(said >= MIN_EXAMPLES).tolist()


def _fit_trees(
    contracts: Sequence[Contract],
    vectors: Sequence[Float32],
    classifier: PassageClassifier,
    unseen: Sequence[Float64],
    progress: Progress,
) -> tuple[TreeVerdicts, list[Float64]]:
    """Ranker and verdicts, each on what the step before says of documents that it has not seen; and the probabilities
    (T, 3) of each document by verdicts that have not seen it."""
    tables = [
        _clause_table(classifier, scores, contract.clauses) for scores, contract in zip(unseen, contracts, strict=True)
    ]
    fold = fold_numbers(len(contracts))
    ranked: list[Any] = [None] * len(contracts)
    for number in sorted(set(fold.tolist())):
        training = np.flatnonzero(fold != number).tolist()
        ranker = fit_ranker([tables[index] for index in training], [contracts[index] for index in training])
        for index in np.flatnonzero(fold == number).tolist():
            ranked[index] = rank_clauses(ranker, tables[index])
        progress("ranking passages", RANKED_SHARE * (number + 1) / (fold.max() + 1))
    verdicts, unseen_verdicts = VerdictModel.fit(contracts, vectors, tables, ranked, fold)
    return TreeVerdicts(fit_ranker(tables, contracts), verdicts), unseen_verdicts


def _unseen_states(features: Sequence[Float64], labels: Sequence[NDArray[np.int64]]) -> Float64:
    """Probabilities (N, T, 3) of each document by a regression that has not seen it."""
    fold = fold_numbers(len(features))
    probabilities = np.zeros((len(features), len(features[0]), NUM_STATES))
    for number in sorted(set(fold.tolist())):
        training = np.flatnonzero(fold != number).tolist()
        model = StateRegression.fit([features[index] for index in training], [labels[index] for index in training])
        for index in np.flatnonzero(fold == number).tolist():
            probabilities[index] = model.probabilities(features[index])
    return probabilities


def choose_denial_weight(probabilities: Float64, labels: NDArray[np.int64]) -> float:
    """What a denial, which is rare and dear to miss, should count: of the weights with which as many states (N, T) are
    right as with any, to within ACCURACY_MARGIN, the one whose F1 of denials is best on probabilities (N, T, 3) of
    documents that were not seen."""
    right, denials = [], []
    for weight in DENIAL_WEIGHTS:
        states = weigh_denials(probabilities, weight).argmax(axis=-1)
        said = states == DENIED
        right.append(float((states == labels).mean()))
        both = (said & (labels == DENIED)).sum()
        denials.append(2 * both / max(said.sum() + (labels == DENIED).sum(), 1))
    allowed = np.array(right) >= max(right) - ACCURACY_MARGIN
    return DENIAL_WEIGHTS[int(np.where(allowed, denials, -1.0).argmax())]


def weigh_denials(probabilities: Float64, weight: float) -> Float64:
    """Probabilities (..., 3) with the last weighed, that add up to 1 again.

    >>> weigh_denials(np.array([0.4, 0.2, 0.4]), 2.0).round(3).tolist()
    [0.286, 0.143, 0.571]
    """
    weighed = probabilities * np.array([1.0, 1.0, weight])
    return np.asarray(weighed / weighed.sum(axis=-1, keepdims=True))


def _clause_table(classifier: PassageClassifier, scores: Float64, texts: Sequence[str]) -> Float64:
    """Features (N, T, F) of the ranker. The second half of the columns says whether a passage denies."""
    num = scores.shape[2] // 2
    by_terms, by_meaning = classifier.by_terms_and_meaning(scores)
    return clause_features(by_terms[:, :num], by_meaning[:, :num] / MEANING_WEIGHT, texts)


def _join_ranks(log_odds: Float64, ranked: Float64) -> Float64:
    """Log-odds (N, T) of evidence by the classifier and, of the passages that it has looked at, by the ranker."""
    joined = (1 - RANKER_WEIGHT) * log_odds + RANKER_WEIGHT * ranked
    return np.where(ranked > -RANKED_FLOOR, joined, np.minimum(log_odds, ranked))


def _targets(evidence: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, 2 T): whether a passage speaks of each line, and whether it says the opposite of it."""
    return np.concatenate([evidence > 0, evidence == NUM_STATES - 1], axis=1).astype(np.int64)


def _best_passages(log_odds: Float64) -> Float64:
    """(T, NUM_BEST + 1): the best passages of each line, and how surely the one that denies it most does."""
    num = log_odds.shape[1] // 2
    best = -np.sort(-log_odds[:, :num], axis=0)[:NUM_BEST]
    best = np.pad(best, [(0, NUM_BEST - len(best)), (0, 0)], constant_values=-8.0)
    return np.asarray(np.concatenate([best, log_odds[:, num:].max(axis=0, keepdims=True)]).T, np.float64)


def _with_offsets(features: Float64) -> Float64:
    return np.concatenate([features, np.eye(len(features))], axis=1)
