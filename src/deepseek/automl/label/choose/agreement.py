"""Labels of several people -> one label of each item, with its confidence.

Where people answer the same items, their confusion of classes and the true classes are estimated together by
expectation and maximization (Dawid and Skene 1979), with a little of "people are mostly right" in the confusion. A
reviewer's label decides. One person alone is believed as far as others have agreed with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.project.people import list_people
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Label, LabelValue
from deepseek.contracts import Float64

NUM_STEPS = 50
PRIOR_RIGHT, PRIOR_WRONG = 4.0, 1.0  # pseudo-counts of a person: right, and wrong in all
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class DecidedLabel:
    """What an item is taken for."""

    item: int
    value: LabelValue
    confidence: float  # 0..1
    num_people: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree where several answered."""

    num_shared: int  # items that two people or more labeled
    share: float | None  # of pairs of labels that are equal, 0..1
    kappa: float | None  # above chance (Fleiss 1971): 1 for all equal, 0 for as by chance
    accuracies: Mapping[str, float]  # of each person, as estimated


def decide_labels(project: Project) -> list[DecidedLabel]:
    """One label of each labeled item, in the order of items."""
    reviewers = {person.name for person in list_people(project.store) if person.role in ("reviewer", "owner")}
    by_item = _group(project.store.labels())
    if not project.definition.is_class:
        return [_decide_plainly(item, labels, reviewers) for item, labels in by_item.items()]
    classes = project.definition.labels
    posterior = estimate_classes(by_item, classes)
    decided = []
    for (item, labels), chances in zip(by_item.items(), posterior, strict=True):
        final = [label for label in labels if label.person in reviewers]
        if final:
            decided.append(DecidedLabel(item, max(final, key=lambda label: label.change).value, 1.0, len(labels)))
            continue
        best = int(np.argmax(chances))
        confidence = float(chances[best]) if len(labels) > 1 else 1.0
        decided.append(DecidedLabel(item, classes[best], confidence, len(labels)))
    return decided


def measure_agreement(project: Project) -> Agreement:
    """Of the labels as people gave them."""
    by_item = {item: labels for item, labels in _group(project.store.labels()).items() if len(labels) > 1}
    classes = project.definition.labels
    if not by_item or not project.definition.is_class:
        return Agreement(len(by_item), None, None, {})
    counts = np.zeros((len(by_item), len(classes)))
    for row, labels in enumerate(by_item.values()):
        for label in labels:
            counts[row, classes.index(str(label.value))] += 1
    total = counts.sum(axis=1)
    equal = ((counts**2).sum(axis=1) - total) / (total * (total - 1))
    shares = counts.sum(axis=0) / counts.sum()
    chance, share = float(shares @ shares), float(equal.mean())
    kappa = None if chance >= 1 else (share - chance) / (1 - chance)
    posterior = estimate_classes(by_item, classes)
    hits: dict[str, list[float]] = defaultdict(list)
    for labels, chances in zip(by_item.values(), posterior, strict=True):
        for label in labels:
            hits[label.person].append(float(chances[classes.index(str(label.value))]))
    return Agreement(len(by_item), share, kappa, {name: float(np.mean(each)) for name, each in sorted(hits.items())})


def estimate_classes(by_item: Mapping[int, Sequence[Label]], classes: Sequence[str]) -> Float64:
    """The chance of each class (N, C) of each item, in their order."""
    people = {
        name: place for place, name in enumerate(sorted({each.person for own in by_item.values() for each in own}))
    }
    code = {name: place for place, name in enumerate(classes)}
    triples = np.array(
        [
            (row, people[label.person], code[str(label.value)])
            for row, labels in enumerate(by_item.values())
            for label in labels
        ],
        np.int64,
    ).reshape(-1, 3)
    votes = np.zeros((len(by_item), len(classes)))
    np.add.at(votes, (triples[:, 0], triples[:, 2]), 1.0)
    posterior: Float64 = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    if len(people) < 2 or len(triples) == len(by_item):
        return posterior
    for _ in range(NUM_STEPS):
        confusion = _confusion(posterior, triples, len(people))
        prior = (posterior.sum(axis=0) + 1) / (len(posterior) + len(classes))
        logs = np.tile(np.log(prior), (len(posterior), 1))
        np.add.at(logs, triples[:, 0], np.log(confusion[triples[:, 1], :, triples[:, 2]]))
        logs -= logs.max(axis=1, keepdims=True)
        new: Float64 = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
        change, posterior = float(np.abs(new - posterior).max()), new
        if change < TOLERANCE:
            break
    return posterior


def _confusion(posterior: Float64, triples: NDArray[np.int64], num_people: int) -> Float64:
    """(P, C, C): the chance that a person says the last class of an item of the first."""
    num_classes = posterior.shape[1]
    counts = np.zeros((num_people, num_classes, num_classes))
    places: Any = (triples[:, 1], slice(None), triples[:, 2])
    np.add.at(counts, places, posterior[triples[:, 0]])
    prior = np.full((num_classes, num_classes), PRIOR_WRONG / max(num_classes - 1, 1))
    np.fill_diagonal(prior, PRIOR_RIGHT)
    counts += prior
    return np.asarray(counts / counts.sum(axis=2, keepdims=True))


def _group(labels: Sequence[Label]) -> dict[int, list[Label]]:
    """The labels of each item; who was unsure or skipped said nothing."""
    by_item: dict[int, list[Label]] = {}
    for label in labels:
        if label.state == "label":
            by_item.setdefault(label.item, []).append(label)
    return by_item


def _decide_plainly(item: int, labels: Sequence[Label], reviewers: set[str]) -> DecidedLabel:
    """The mean of numbers; of boxes and spans what a reviewer, else whoever came last, has marked."""
    final = [label for label in labels if label.person in reviewers] or list(labels)
    if all(isinstance(label.value, float | int) for label in final):
        return DecidedLabel(item, float(np.mean([label.value for label in final])), 1.0, len(labels))
    return DecidedLabel(item, max(final, key=lambda label: label.change).value, 1.0, len(labels))
