"""A checklist that is trained on contracts: labels and places on new ones, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.citations import Checklist, CiteOptions, Contract, Corpus, cite
from deepseek.citations.checklist.verdict import NUM_SUMMARY_FEATURES, LabelReaders, VerdictModel
from deepseek.errors import InputError
from support.rows.checklists import COPY, FILLER, GIVE, LIST, Hashed, contract


@pytest.fixture(scope="module")
def checklist() -> Checklist:
    return Checklist.fit([contract(seed) for seed in range(60)], LIST, Hashed())


def test_new_contracts_are_judged_and_the_clause_is_named(checklist: Checklist) -> None:
    right, first = [], []
    for seed in range(100, 130):
        new = contract(seed)
        for column, finding in enumerate(checklist.check(new.clauses)):
            label = int(new.labels[column])
            right.append(finding.label == ("NotMentioned", "Entailment", "Contradiction")[label])
            assert sum(finding.probabilities) == pytest.approx(1, abs=1e-5)
            assert sorted(finding.places) == list(range(len(new.clauses)))
            if label:
                first.append(new.evidence[finding.places[0], column] > 0)
    assert np.mean(right) >= 0.9
    assert np.mean(first) >= 0.9


def test_a_checklist_is_a_scorer_of_its_own_sentences(checklist: Checklist) -> None:
    corpus = Corpus.of(
        {"NDA": f"Article 1 {COPY[1]}\nArticle 2 {FILLER[0]}\nArticle 3 {FILLER[1]}\nArticle 4 {GIVE[2]}\n"}
    )
    report = cite(" ".join(LIST), corpus, scorer=checklist, options=CiteOptions(margin=0.5, num_citations=1))
    assert report.scorer == "checklist+hashed"
    assert [[citation.article for citation in sentence.citations] for sentence in report.sentences] == [
        ["Article 1"],
        [],
    ]
    with pytest.raises(InputError, match="not in the checklist"):
        cite("Something else.", corpus, scorer=checklist)


def test_contracts_that_do_not_fit_are_refused(checklist: Checklist) -> None:
    with pytest.raises(InputError, match="there are 2 contracts"):
        Checklist.fit([contract(0), contract(1)], LIST, Hashed())
    wrong = [contract(seed) for seed in range(6)]
    with pytest.raises(InputError, match="contract 0 does not fit the list"):
        Checklist.fit(wrong, LIST[:1], Hashed())
    with pytest.raises(InputError, match="the contract has no clause"):
        checklist.check([])


def test_contracts_that_share_no_word_can_be_learned_from() -> None:
    words = ["alpha", "bravo", "carol", "delta", "eagle", "frost", "grape", "hotel", "india", "joker"]
    evidence = [np.array([[label, 0], [0, 0]]) for label in (0, 1, 2, 0, 1)]
    contracts = [Contract((words[at], words[at + 5]), each, each[0]) for at, each in enumerate(evidence)]
    verdict = Checklist.fit(contracts, LIST, Hashed()).check(contracts[0].clauses)
    assert [sum(finding.probabilities) for finding in verdict] == pytest.approx([1, 1], abs=1e-5)
    assert verdict[1].label == "NotMentioned"


def test_a_reader_knows_from_the_scores_alone_whether_any_clause_is_evidence() -> None:
    """Every contract has the same words and vectors."""
    clauses, vectors = (FILLER[0], FILLER[1]), Hashed().passages(FILLER[:2])
    labels = [0, 1] * 10
    contracts = [Contract(clauses, np.array([[label], [0]]), np.array([label])) for label in labels]
    ranked = [np.array([[2.0 if label else -4.0], [-6.0]]) for label in labels]
    readers = LabelReaders.fit(contracts, [vectors] * len(contracts), ranked)
    for label, score in ((0, -4.5), (0, -3.0), (1, 1.5), (1, 3.0)):
        chances = readers.probabilities(clauses, vectors, np.array([[score], [-6.0]]))
        assert chances.argmax() == label
        assert readers.probabilities(clauses[:1], vectors[:1], np.array([[score]])).argmax() == label


class Sure:
    """Trees that say one label of every sentence."""

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        assert table.shape == (2, NUM_SUMMARY_FEATURES)
        return np.tile(np.array([0, 1, 0], np.float32), (len(table), 1))


def test_reader_and_trees_count_the_same() -> None:
    verdicts = VerdictModel(LabelReaders.of([1, 2]), Sure())
    probabilities = verdicts.probabilities(
        FILLER[:3], Hashed().passages(FILLER[:3]), np.zeros((3, 2, 15)), np.zeros((3, 2))
    )
    assert probabilities.tolist() == [[0, 1, 0], [0, 0.5, 0.5]]
