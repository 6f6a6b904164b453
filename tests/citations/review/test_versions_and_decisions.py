"""Two versions of a document, who decided what, and the page that shows both."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.citations.documents import read_document
from deepseek.citations.review.decisions import read_decisions, write_template
from deepseek.citations.review.dossier import ReviewDossier, ReviewProvenance
from deepseek.citations.review.findings import ReviewReport, review_document
from deepseek.citations.review.page import write_page
from deepseek.citations.review.versions import compare_versions, pair_clauses
from deepseek.errors import InputError
from support.reviewed import Reviewed

SHA = "ab" * 32


def report_of(reviewed: Reviewed, path: Path) -> ReviewReport:
    return review_document(reviewed.model, read_document(path), sha256=SHA)


def test_changes_of_a_version_are_named_with_their_words(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text(
        "1. Fees are due within 30 days of the invoice.\n2. The term is two years from the date of signature.\n"
        "3. Each party keeps the secrets of the other.\n4. The court of the seat decides on all disputes.\n"
    )
    (tmp_path / "new.txt").write_text(
        "1. An annex forms part of this text.\n2. Fees are due within 60 days of the invoice.\n"
        "3. Each party keeps the secrets of the other.\n4. The term is two years from the date of signature.\n"
    )
    old, new = read_document(tmp_path / "old.txt"), read_document(tmp_path / "new.txt")
    assert pair_clauses(old.clauses, new.clauses) == {0: 1, 1: 3, 2: 2}


def test_a_version_with_another_verdict_is_told(reviewed: Reviewed) -> None:
    old, new = report_of(reviewed, reviewed.files.older), report_of(reviewed, reviewed.files.contract)
    comparison = compare_versions(old, new)
    lines = {line.id: (line.before, line.after, line.is_worse) for line in comparison.lines}
    assert lines["liability-cap"] == ("holds", "breaks", True)
    assert lines["audit"] == ("holds", "not there", True)
    kinds = {change.kind for change in comparison.changes}
    assert "removed" in kinds
    assert "added" in kinds or "changed" in kinds
    same = compare_versions(new, new)
    assert (same.changes, same.lines, same.num_same) == ((), (), len(new.document.clauses))


def test_decisions_are_bound_to_the_document_and_what_is_open_is_told(reviewed: Reviewed, tmp_path: Path) -> None:
    report = report_of(reviewed, reviewed.files.contract)
    path = tmp_path / "decisions.csv"
    write_template(path, report)
    assert len(read_decisions(path, report).open_lines) == len(report.open_findings)
    head = "line,decision,by,at,note,document\n"
    path.write_text(
        head + f"audit,fix,Li Wei,2026-03-02,asked for,{SHA[:16]}\nliability-cap,accept,Ana,2026-03-03T10:00:00,,00ff\n"
    )
    log = read_decisions(path, report)
    assert (log.rows[0].is_stale, log.rows[1].is_stale) == (False, True)
    assert "audit" not in log.open_lines
    assert "liability-cap" in log.open_lines
    for row, problem in (
        ("none,fix,Ana,2026-03-02,,", "row 2 .* 'none'"), ("audit,maybe,Ana,2026-03-02,,", "'maybe'"),
        ("audit,fix,,2026-03-02,,", "who decided"), ("audit,fix,Ana,soon,,", "no date"),
    ):  # fmt: skip
        path.write_text(head + row + "\n")
        with pytest.raises(InputError, match=problem):
            read_decisions(path, report)


def test_the_page_shows_findings_versions_and_decisions_and_escapes_what_is_in_them(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    contract = tmp_path / "<b>contract.txt"
    contract.write_text(
        reviewed.files.contract.read_text() + "\n99. A <script>alert(1)</script> clause, see Section 77.\n"
    )
    old, new = report_of(reviewed, reviewed.files.older), report_of(reviewed, contract)
    (tmp_path / "d.csv").write_text(
        f"line,decision,by,at,note,document\naudit,fix,Li <i>Wei</i>,2026-03-02,,{SHA[:16]}\n"
    )
    provenance = ReviewProvenance("review", "d" * 64, "2026-01-01", new.judge, "2026-03-02", "deepseek review", ())
    dossier = ReviewDossier(new, provenance, compare_versions(old, new), read_decisions(tmp_path / "d.csv", new))
    page = write_page(tmp_path / "findings.html", dossier)
    assert (tmp_path / "findings.html").read_text() == page
    assert "<script>alert" not in page
    assert "<i>Wei" not in page
    assert page.count('class="said bad"') == len(new.open_findings)
    for words in ("Right to audit", "missing", "taken out", "to be corrected", "Li &lt;i&gt;Wei", "Section 77", "缺失"):
        assert words in page
    assert len(page) < 2_000_000
    document = dossier.to_dict()
    assert document["num_findings"] == len(new.open_findings)
    assert [each["text"] for each in document["unresolved_references"]] == [
        "Annex A",
        "Annex B",
        "Annex A",
        "Section 77",
    ]
