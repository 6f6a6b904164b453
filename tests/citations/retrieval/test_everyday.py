"""Everyday words find the articles that are written in those of the law."""

from __future__ import annotations

from importlib.resources import files

from deepseek.citations import Corpus, Index
from deepseek.citations.retrieval.everyday import TABLE_FILE, legal_words

CORPUS = Corpus.of(
    {"法": "第一条 用人单位应当支付劳动报酬。\n第二条 承揽人应当妥善保管材料。\n第三条 房屋应当登记。\n"}
)


def test_a_question_without_a_word_of_the_law_finds_its_article() -> None:
    (hits,) = Index(CORPUS).search(["老板欠薪水"], most=1)
    assert hits[0].key[1] == "第一条"
    assert hits[0].score > 0
    (hits,) = Index(CORPUS, legal_weight=0.0).search(["老板欠薪水"], most=1)
    assert hits[0].score == 0


def test_what_stands_in_the_text_is_not_asked_for_twice() -> None:
    assert legal_words("出租人") == ""
    assert legal_words("房东就是出租人") == ""
    assert legal_words("房东 房东 业主把房子租") == "出租人"
    assert legal_words("The landlord is gone") == ""


def test_the_table_has_words_on_both_sides_and_none_that_only_says_itself() -> None:
    lines = (files("deepseek.citations.retrieval") / TABLE_FILE).read_text(encoding="utf-8").splitlines()
    pairs = [tuple(map(str.split, line.split("\t"))) for line in lines]
    assert all(said and meant and not set(meant) <= set(said) for said, meant in pairs)
    words = [word for said, _ in pairs for word in said]
    assert len(words) == len(set(words)), [word for word in words if words.count(word) > 1]
