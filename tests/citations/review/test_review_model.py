"""A model of reviewed documents: verdicts, evidence word for word, what is missing, lines that nobody trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle, write_bundle
from deepseek.citations.documents import read_document
from deepseek.citations.review.embedders import EncoderChoice, HashedEmbedder, RememberingEmbedder
from deepseek.citations.review.evaluation import JudgedDocument, evaluate_model, share_to_read
from deepseek.citations.review.findings import review_document
from deepseek.citations.review.labels import LABELS_FILE, read_labelled
from deepseek.citations.review.lines import Checklist, ChecklistLine
from deepseek.citations.review.model import ReviewModel, choose_denial_weight, weigh_denials
from deepseek.citations.review.passages import split_passages
from deepseek.citations.review.storage import model_files, open_model
from deepseek.citations.review.training import ReviewOptions, review_manifest, train_review
from deepseek.contracts import Float32
from deepseek.errors import InputError, IntegrityError
from support.reviewed import Reviewed

pytestmark = pytest.mark.slow


def test_agreements_that_it_has_not_seen_are_judged_right(reviewed: Reviewed) -> None:
    figures = evaluate_model(reviewed.model, reviewed.labelled[-10:])
    assert figures.num_documents == 10
    assert figures.metrics["accuracy"]["value"] >= 0.8
    assert figures.metrics["evidence_map"]["value"] >= 0.8
    assert (
        figures.metrics["accuracy"]["low"]
        <= figures.metrics["accuracy"]["value"]
        <= figures.metrics["accuracy"]["high"]
    )


def test_findings_of_the_example_have_their_clauses_word_for_word(reviewed: Reviewed) -> None:
    document = read_document(reviewed.files.contract)
    report = review_document(reviewed.model, document, sha256="0" * 64)
    verdicts = {finding.line.id: finding.verdict for finding in report.findings}
    assert (verdicts["liability-cap"], verdicts["audit"], verdicts["one-sided-change"]) == (
        "breaks",
        "not there",
        "breaks",
    )
    assert {finding.line.id for finding in report.open_findings} >= {"liability-cap", "audit", "one-sided-change"}
    for finding in report.findings:
        assert 0 <= finding.probability <= 1
        for evidence in finding.evidence:
            assert document.text[evidence.start : evidence.end] == evidence.quote
    broken = next(finding for finding in report.findings if finding.line.id == "liability-cap")
    assert any(word in broken.evidence[0].quote for word in ("unlimited", "without limit"))
    risks = [item.risk for item in report.reading]
    assert risks == sorted(risks, reverse=True)
    assert len(report.reading) == len(document.clauses)


def test_a_line_with_too_few_examples_is_answered_by_retrieval_and_says_so(reviewed: Reviewed) -> None:
    line = ChecklistLine("invoice", "The customer pays each invoice within 45 days.")
    absurd = ChecklistLine("fax", "The supplier sends zebras to the moon.")
    checklist = Checklist("more", (*reviewed.checklist.lines, line, absurd))
    model = ReviewModel(checklist, reviewed.model.embedder, reviewed.model.trained)
    report = review_document(model, read_document(reviewed.files.contract))
    told, missing = report.findings[-2:]
    assert (told.basis, told.verdict, told.needs_a_look) == ("retrieval", "holds", True)
    assert "45 days" in told.evidence[0].quote
    assert (missing.basis, missing.verdict, missing.is_finding) == ("retrieval", "not there", True)
    assert told.probability <= 0.8


def test_few_documents_are_judged_by_the_regression(reviewed: Reviewed) -> None:
    model = ReviewModel.fit(reviewed.checklist, reviewed.labelled[:12], HashedEmbedder())
    assert model.name.startswith("regression")
    answers = model.answers(reviewed.labelled[-1].passages)
    for answer in answers:
        assert answer.probabilities.sum() == pytest.approx(1)
        assert answer.passages.shape == (len(reviewed.labelled[-1].passages),)
    with pytest.raises(InputError, match="no passage"):
        model.answers(())


def test_denials_count_more_where_that_costs_no_right_verdict() -> None:
    rare = np.tile([0.45, 0.15, 0.4], (10, 1, 1))  # of 10 documents 9 deny, and each says so a little too softly
    sure = np.tile([0.1, 0.8, 0.1], (10, 1, 1))
    labels = np.array([[2]] * 9 + [[0]] + [[1]] * 10)
    probabilities = np.concatenate([rare, sure])
    weight = choose_denial_weight(probabilities, labels)
    assert 0.45 / 0.4 < weight <= 2
    assert (weigh_denials(probabilities, weight).argmax(-1)[:10] == 2).all()
    assert choose_denial_weight(probabilities, np.array([[0]] * 10 + [[1]] * 10)) == 1


def test_a_bundle_gives_the_same_answers_to_the_bit(reviewed: Reviewed, tmp_path: Path) -> None:
    encoder, path = EncoderChoice("hashed"), tmp_path / "review"
    manifest = review_manifest(reviewed.checklist, reviewed.labelled, ReviewOptions(path, encoder))
    bundle = write_bundle(path, manifest, model_files(reviewed.model, encoder))
    again = open_model(bundle)
    assert again.name == reviewed.model.name
    for each in reviewed.labelled[-3:]:
        for one, other in zip(reviewed.model.answers(each.passages), again.answers(each.passages), strict=True):
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
            np.testing.assert_array_equal(one.passages, other.passages)
    with pytest.raises(InputError, match="is not there"):
        open_model(bundle, EncoderChoice("folder", str(tmp_path / "none")))
    data = bytearray((path / "review.json").read_bytes())
    data[10] ^= 1
    (path / "review.json").write_bytes(data)
    with pytest.raises(IntegrityError):
        open_model(open_bundle(path))


@pytest.mark.slow
def test_training_holds_documents_back_for_its_figures(reviewed: Reviewed, tmp_path: Path) -> None:
    options = ReviewOptions(tmp_path / "review", EncoderChoice("hashed"))
    steps: list[tuple[str, float]] = []
    result = train_review(
        reviewed.checklist, reviewed.labelled[:12], options, progress=lambda what, share: steps.append((what, share))
    )
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert (shares[0] > 0, shares[-1] < 1) == (True, True)
    assert max(after - before for before, after in pairwise(shares)) < 0.35  # a guess of the rest has much to go by
    assert {what for what, _ in steps} >= {
        "embedding passages", "judging passages on a part", "judging passages on all"
    }  # fmt: skip
    assert verify_bundle(tmp_path / "review") == []
    assert (result["task"], result.num_documents, result.num_held) == ("review", 12, 2)
    assert {"accuracy", "evidence_map"} <= set(result.metrics)
    assert {"accuracy", "evidence_map"} <= set(result.baseline)
    assert open_model(open_bundle(tmp_path / "review")).trained_ids == result.trained
    with pytest.raises(InputError, match="is not empty"):
        train_review(reviewed.checklist, reviewed.labelled[:12], options)


def test_a_passage_is_embedded_once_however_often_it_is_read() -> None:
    class Counting(HashedEmbedder):
        def passages(self, texts: Sequence[str]) -> Float32:
            seen.extend(texts)
            return super().passages(texts)

    seen: list[str] = []
    embedder = RememberingEmbedder(Counting())
    first = embedder.passages(["a clause", "another", "a clause"])
    again = embedder.passages(["another", "a third", "a clause"])
    assert seen == ["a clause", "another", "a third"]
    np.testing.assert_array_equal(again[[2, 0]], first[:2])
    np.testing.assert_array_equal(first, HashedEmbedder().passages(["a clause", "another", "a clause"]))
    assert embedder.passages([]).shape == (0, first.shape[1])


def test_too_few_documents_give_no_figures_and_a_warning(reviewed: Reviewed, tmp_path: Path) -> None:
    result = train_review(
        reviewed.checklist, reviewed.labelled[:4], ReviewOptions(tmp_path / "review", EncoderChoice("hashed"))
    )
    assert result.metrics == {}
    assert any("too few" in warning for warning in result.warnings)


def test_labels_that_do_not_fit_are_named(reviewed: Reviewed, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1. The liability is limited.\n2. Fees are due in May.\n")
    (tmp_path / "b.txt").write_text("1. Fees are due in June.\n")
    head = "document,line,state,quote\n"
    good = head + 'a.txt,audit,holds,"liability is\n limited"\nb.txt,audit,not there,\nb.txt,unknown,holds,\n'
    (tmp_path / LABELS_FILE).write_text(good)
    labelled, warnings = read_labelled(tmp_path, reviewed.checklist)
    audit = reviewed.checklist.ids.index("audit")
    assert labelled[0].evidence[:, audit].tolist() == [1, 0]
    assert [each.labels[audit] for each in labelled] == [1, 0]
    assert warnings == ["1 rows of labels.csv are of 'unknown', which the checklist has not"]
    for text, problem in (
        (head + "a.txt,audit,maybe,\n", "row 2 .* the state is 'maybe'"),
        (head + "a.txt,audit,holds,no such words\nb.txt,audit,holds,\n", "row 2 .* does not stand in a.txt"),
        (head + "a.txt,audit,holds,\na.txt,audit,breaks,\nb.txt,audit,holds,\n", "rows 2 and 3 .* different things"),
        ("document,line\na.txt,audit\n", "no column 'state'"),
        (head + "a.txt,audit,holds,\n", "labels 1 documents"),
        (head + "../a.txt,audit,holds,\nb.txt,audit,holds,\n", "is not in"),
    ):
        (tmp_path / LABELS_FILE).write_text(text)
        with pytest.raises(InputError, match=problem):
            read_labelled(tmp_path, reviewed.checklist)


def test_passages_cover_every_word_of_a_clause(tmp_path: Path) -> None:
    long = " ".join(
        f"Sentence number {number} says that the supplier delivers what was ordered." for number in range(9)
    )
    (tmp_path / "a.txt").write_text(f"1. {long}\n2. Short one. And another.\n")
    document = read_document(tmp_path / "a.txt")
    passages = split_passages(document)
    assert len(passages) == 10
    assert all(document.text[passage.start : passage.end] == passage.text for passage in passages)
    joined = "".join("".join(passage.text.split()) for passage in passages)
    assert joined == "".join("".join(clause.text.split()) for clause in document.clauses)


def test_the_share_to_read_counts_until_the_findings_are_seen() -> None:
    judged = JudgedDocument(
        np.array([0]), np.array([1]), np.array([False]), np.array([[0.9], [0.1], [0.5], [0.2]]),
        np.array([[1], [0], [0], [1]]), np.array([10, 20, 30, 40]), np.array([1.0]),
    )  # fmt: skip
    assert share_to_read([judged], [judged.letters]) == pytest.approx(0.8)
    assert share_to_read([judged], [np.ones(4, np.int64)]) == pytest.approx(0.75)
    assert share_to_read([replace(judged, evidence=0 * judged.evidence)], [judged.letters]) is None
