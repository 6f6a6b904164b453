"""A checklist that is trained on contracts: labels and places on new ones, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from checklists import COPY, FILLER, GIVE, LIST, Hashed, contract
from deepseek.errors import InputError
from deepseek.explain import cite
from deepseek.explain.cite import Checklist, CiteOptions, Corpus


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
