"""Drafts of judgments: law word for word in the version of the day, facts as they are known, changes that are
caught."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepseek.citations import Corpus
from deepseek.errors import InputError, MalformedError
from deepseek.recipes.judgment.example import ExamplePaths, write_example
from deepseek.recipes.judgment.facts import Facts, facts_of, read_facts
from deepseek.recipes.judgment.run import JudgmentDraft, check_draft, draft_judgment
from deepseek.recipes.judgment.template import Template, read_template, template_of
from deepseek.recipes.judgment.word import read_draft, write_word


@dataclass(frozen=True)
class Case:
    """The example, read and drafted."""

    paths: ExamplePaths
    facts: Facts
    corpus: Corpus
    template: Template
    draft: JudgmentDraft

    def check(self, text: str) -> JudgmentDraft:
        return check_draft(text, self.facts, self.corpus, self.template)


@pytest.fixture(scope="module", params=[False, True], ids=["english", "chinese"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return open_case(tmp_path_factory.mktemp("judgment"), chinese=request.param)


def open_case(folder: Path, *, chinese: bool) -> Case:
    paths = write_example(folder, chinese=chinese)
    facts, corpus, template = read_facts(paths.facts), Corpus.read(paths.corpus), read_template(paths.template)
    return Case(paths, facts, corpus, template, draft_judgment(facts, corpus, template))


def test_every_sentence_of_law_is_a_clause_in_force_word_for_word(case: Case) -> None:
    stated = [each for each in case.draft.checked.law if each.status == "verbatim"]
    assert len(stated) == 5
    for sentence in stated:
        for citation in sentence.citations:
            assert citation.version == "2023-01-01"
            assert case.draft.law.since(case.corpus[citation.id]) == "2023-03-01"
    assert {each.status for each in case.draft.checked.to_review} == {"open"}  # what nobody has written yet


def test_the_version_of_the_day_counts(case: Case) -> None:
    table = json.loads(case.paths.facts.read_text("utf-8")) | {"date": "2023-02-01"}
    early = draft_judgment(facts_of(table, "facts", b""), case.corpus, case.template)
    assert {each.version for sentence in early.checked.law for each in sentence.citations} == {"2018-06-01"}
    assert "36" in early.checked.text or "三十六" in early.checked.text
    with pytest.raises(InputError, match="2018-06-01"):
        draft_judgment(facts_of(table | {"date": "2001-01-01"}, "facts", b""), case.corpus, case.template)


CHANGES = {
    "english": [
        ("24 %", "28 %", "not_verbatim contradicted"), ("may not deduct", "may deduct", "contradicted not_verbatim"),
        ("Article 2 of the Small Loans Act says", "Article 4 of the Small Loans Act says", "wrong_article"),
        ("Article 2 of the Small Loans Act says", "Article 9 of the Small Loans Act says", "unknown_article"),
        ("a loan of 12,000", "a loan of 21,000", "wrong_amount"), ("due on 5 September", "due on 6 September",
        "wrong_day"),
        ("plaintiff Anna Brook and", "plaintiff Tomas Reed and", "wrong_name"),
        ("owes 11,400", "owes 12,400", "wrong_amount"),
    ],
    "chinese": [
        ("百分之二十四", "百分之三十四", "not_verbatim contradicted"), ("不得预先", "可以预先",
        "contradicted not_verbatim"),
        ("》第二条规定", "》第四条规定", "wrong_article"), ("》第二条规定", "》第九条规定", "unknown_article"),
        ("借款12000元", "借款21000元", "wrong_amount"), ("，2024年9月5日到期", "，2024年9月6日到期", "wrong_day"),
        ("，原告林安与", "，原告林平与", "wrong_name"), ("，原告林安与", "，原告陈默与", "wrong_name"),
        ("本金为11400元", "本金为12400元", "wrong_amount"),
    ],
}  # fmt: skip


def test_one_change_is_caught_and_named(case: Case) -> None:
    text = case.draft.checked.text
    is_chinese = "原告" in text
    for before, after, statuses in CHANGES["chinese" if is_chinese else "english"]:
        assert text.count(before) >= 1, before
        changed = case.check(text.replace(before, after, 1)).checked
        caught = {each.status for each in changed.to_review} - {"open"}
        assert caught & set(statuses.split()), (before, after, caught)


def test_half_a_sentence_of_law_is_not_word_for_word(case: Case) -> None:
    text = case.draft.checked.text
    cut = (
        text.replace("that does not repay when the loan is due", "")
        .replace("A borrower who does not repay when the loan is due shall", "A borrower shall")
        .replace("借款人未按期返还借款的，应当", "应当")
    )
    assert {each.status for each in case.check(cut).checked.to_review} - {"open"}


def test_a_draft_written_as_docx_and_read_again_is_checked_the_same(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("docx")
    write_word(tmp_path / "draft.docx", case.draft)
    again = case.check(read_draft(tmp_path / "draft.docx"))
    statuses = [each.status for each in again.checked.sentences if each.status != "plain"]
    assert [each for each in statuses if each in ("verbatim", "applied", "open")] == [
        each.status for each in case.draft.checked.sentences if each.status in ("verbatim", "applied", "open")
    ]


def test_a_generator_is_held_to_the_same_check(case: Case) -> None:
    is_chinese = "原告" in case.draft.checked.text
    words = "出借人可以收取百分之四十的利息。" if is_chinese else "A lender may charge interest of 40 %."
    written = draft_judgment(case.facts, case.corpus, case.template, write=lambda instruction, before: words)
    assert "open" not in {each.status for each in written.checked.sentences}
    assert words in [each.text for each in written.checked.to_review]


def test_facts_that_lack_what_the_template_needs_are_all_named(case: Case) -> None:
    table = json.loads(case.paths.facts.read_text("utf-8"))
    del table["loan"]["due"], table["loan"]["rate"]
    with pytest.raises(InputError, match=r"loan\.\w+, loan\.\w+"):
        draft_judgment(facts_of(table, "facts", b""), case.corpus, case.template)


def test_a_law_that_is_not_in_the_corpus_ends_it_and_nothing_is_invented(case: Case) -> None:
    law = "小额借贷条例" if "原告" in case.draft.checked.text else "Small Loans Act"
    for where in (f"{law} | Article 99", "Rules of Trade | Article 1"):
        template = template_of(f"{{{{law: {where}}}}}\n", "t.txt")
        with pytest.raises(InputError, match="not in the corpus on 2024-03-05"):
            draft_judgment(case.facts, case.corpus, template)


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        ("[]", InputError, "no date"), ("{", MalformedError, "no JSON"), ('{"date": "yesterday"}', InputError,
        "yesterday"),
        ('{"date": "2024-03-05", "parties": [{"role": "x"}]}', InputError, "party 1"),
    ],
)  # fmt: skip
def test_facts_that_are_none_are_refused(tmp_path: Path, words: str, error: type[Exception], match: str) -> None:
    path = tmp_path / "facts.json"
    path.write_text(words)
    with pytest.raises(error, match=match):
        read_facts(path)


@pytest.mark.parametrize("text", ["", "{{law Small Loans Act}} {{", "{{if x}} open"])
def test_a_template_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        template_of(text, "t.txt")
