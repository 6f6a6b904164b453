"""A regulation to its checklist: every line has its clause, decisions survive a new version, and what is wrong is
said."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from deepseek.citations.documents import read_document
from deepseek.citations.review.lines import read_checklist
from deepseek.errors import InputError
from deepseek.recipes.checklist.example import CHINESE, ENGLISH
from deepseek.recipes.checklist.lines import RuleLine, read_lines, write_lines
from deepseek.recipes.checklist.run import ChecklistOptions, RegulationChecklist, make_checklist


def checklist_of(folder: Path, text: str, **options: object) -> RegulationChecklist:
    path = folder / "rules.txt"
    path.write_text(text, encoding="utf-8")
    return make_checklist(read_document(path), ChecklistOptions(**options))  # type: ignore[arg-type]


def line_of(result: RegulationChecklist, source: str, kind: str) -> RuleLine:
    return next(line for line in result.lines if line.source == source and line.kind == kind)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_every_line_has_its_clause_word_for_word_a_question_and_what_decided(tmp_path: Path, text: str) -> None:
    result = checklist_of(tmp_path, text)
    document = read_document(tmp_path / "rules.txt")
    for line in result.lines:
        assert line.quote in document.text
        assert line.question.endswith(("?", "？"))
        assert line.note.startswith(("decided by the words", "decided by the model", "由词语", "由模型"))
        assert line.evidence
    assert {"obligation", "prohibition", "permission", "penalty", "threshold"} <= {line.kind for line in result.lines}


def test_a_ban_with_a_list_is_one_line_that_a_document_may_not_say(tmp_path: Path) -> None:
    ban = line_of(checklist_of(tmp_path, CHINESE), "第五条", "prohibition")
    assert ban.expect == "absent"
    assert ban.quote.endswith("催收。")
    assert "不得" not in ban.text


def test_a_clause_that_is_named_is_followed_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = checklist_of(tmp_path, ENGLISH)
    keeping = line_of(result, "Article 7", "obligation")
    assert "names Article 2: A lender shall state the yearly rate" in keeping.note
    assert result.unresolved == ("Article 40",)


def test_the_file_is_toml_that_gives_the_lines_back(tmp_path: Path) -> None:
    result = checklist_of(tmp_path, CHINESE)
    write_lines(tmp_path / "c.toml", 'Rules "of" lending\\', result.lines)
    table = tomllib.loads((tmp_path / "c.toml").read_text("utf-8"))
    assert table["checklist"] == {"name": 'Rules "of" lending\\'}
    assert read_lines(tmp_path / "c.toml") == list(result.lines)
    assert all(isinstance(value, str) for row in table["line"] for value in row.values())
    assert len({row["id"] for row in table["line"]}) == len(table["line"])


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_accept_takes_the_duties_that_words_decide_and_compliance_reads_them(tmp_path: Path, text: str) -> None:
    result = checklist_of(tmp_path, text, accept=True)
    duties = {line.id for line in result.lines if line.kind in ("obligation", "prohibition") and not line.is_by_model}
    assert {line.id for line in result.lines if line.status == "accepted"} == duties
    write_lines(tmp_path / "c.toml", result.name, result.lines)
    assert set(read_checklist(tmp_path / "c.toml").ids) == duties


def test_a_new_version_keeps_what_was_decided_and_asks_again_what_has_changed(tmp_path: Path) -> None:
    first = checklist_of(tmp_path, ENGLISH, accept=True)
    edited = [
        replace(line, status="struck", question="Mine?") if line.kind == "permission" else line for line in first.lines
    ]
    write_lines(tmp_path / "first.toml", "Rules", edited)
    changed = ENGLISH.replace("for six years", "for ten years").replace(
        "Article 6 A borrower may repay early, unless the contract was signed before these rules took effect.\n", ""
    )
    changed += "Article 10 A lender shall publish its fees.\n"
    result = checklist_of(tmp_path, changed, previous=tmp_path / "first.toml")
    assert result.comparison is not None
    assert [each.id for each in result.comparison.changed if "ten years" in each.after]
    assert "Article 6" in {line.source for line in result.comparison.removed}
    assert "Article 10" in {line.source for line in result.lines if line.id in result.comparison.new}
    kept = {line.id: line for line in result.lines}
    for each in edited:
        if each.id in result.comparison.unchanged:
            assert (kept[each.id].status, kept[each.id].question) == (each.status, each.question)
    for each in result.comparison.changed:
        assert kept[each.id].status == "proposed"


def test_the_same_regulation_changes_nothing(tmp_path: Path) -> None:
    first = checklist_of(tmp_path, CHINESE, accept=True)
    write_lines(tmp_path / "first.toml", "Rules", first.lines)
    again = checklist_of(tmp_path, CHINESE, previous=tmp_path / "first.toml")
    assert again.comparison is not None
    assert len(again.comparison.unchanged) == len(first.lines)
    assert [line.to_dict() for line in again.lines] == [line.to_dict() for line in first.lines]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Article 1 A lender may deduct interest in advance.\nArticle 2 A lender may not deduct interest in advance.\n",
         "must not"),
        ("第一条 贷款人应当在三日内归还押金。\n第二条 贷款人应当在十日内归还押金。\n", "amounts"),
    ],
)  # fmt: skip
def test_lines_that_contradict_each_other_are_told(tmp_path: Path, text: str, why: str) -> None:
    (contradiction,) = checklist_of(tmp_path, text).contradictions
    assert why in contradiction.why


def test_a_text_that_lays_down_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lays down nothing"):
        checklist_of(tmp_path, "The river is long and the town lies beside it.\n")


def test_duties_of_other_persons_or_cases_are_no_contradiction_for_a_review(tmp_path: Path) -> None:
    text = "第一条 借款满一年的，贷款人应当在六个月内报告。\n第二条 借款不满一年的，贷款人应当在三个月内报告。\n"
    result = checklist_of(tmp_path, text, accept=True)
    write_lines(tmp_path / "c.toml", result.name, result.lines)
    assert len(read_checklist(tmp_path / "c.toml").lines) == 2
