"""Titles are no sentences; what lays something down is one, however it is written."""

from __future__ import annotations

import pytest

from deepseek.citations.corpus.sentences import split_sentences


@pytest.mark.parametrize(
    "title",
    [
        "# Loans to related parties", "LOAN POLICY", "Loan Policy for Related Parties", "1. Scope of Application",
        "**Retention**", "Article 5", "Part II General Provisions", "第一章 总则", "关于个人信息保护的通知",
        "一、总体要求", "## 保密义务",
    ],
)  # fmt: skip
def test_a_title_is_left_out(title: str) -> None:
    text = f"{title}\n\nA bank lends.\n"
    (sentence,) = split_sentences(text)
    assert text[sentence.start : sentence.end] == sentence.text == "A bank lends."


@pytest.mark.parametrize(
    "line",
    [
        "The bank lends", "Banks May Lend to Anybody", "## A bank must not lend", "**The bank must not lend.**",
        "No Fees", "Part II: The seller must pay", "租赁期限不得超过二十年", "第三条 银行不得放贷",
        "Usury\nis forbidden here.",
    ],
)  # fmt: skip
def test_what_lays_something_down_is_no_title(line: str) -> None:
    sentences = split_sentences(f"{line}\nA bank lends.")
    assert sentences[0].text == line.split("\n", maxsplit=1)[0]


def test_a_text_that_is_a_title_alone_is_kept() -> None:
    assert [sentence.text for sentence in split_sentences("LOAN POLICY")] == ["LOAN POLICY"]
