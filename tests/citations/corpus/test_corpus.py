"""Law text as people have it: numbers of articles, paragraphs and items, dates, encodings, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.citations import Corpus
from deepseek.citations.corpus.numerals import parse_number, to_chinese
from deepseek.errors import InputError, MalformedError, MissingError

LAW = """中华人民共和国示例法
（2020年5月28日通过，2023年12月29日修订）
第一章 总则
第一条　为了保护权利，制定本法。
第二条 有下列情形之一的，无效：
（一）欺诈；
（二）胁迫。
前款规定不影响善意第三人。
第二条之一 第三条规定的期限为三年。
第三条期限为二十年。
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "law.txt").write_text(LAW, "utf-8")
    return tmp_path


def test_a_law_is_cut_into_articles_paragraphs_and_items(folder: Path) -> None:
    corpus = Corpus.read(folder)
    assert [(clause.article, clause.paragraph) for clause in corpus] == [
        ("第一条", 1), ("第二条", 1), ("第二条", 2), ("第二条之一", 1), ("第三条", 1),
    ]  # fmt: skip
    second = corpus["中华人民共和国示例法/第二条/1@2023-12-29"]
    assert second.text == "有下列情形之一的，无效：\n（一）欺诈；\n（二）胁迫。"
    assert second.section == "第一章 总则"
    assert second.source == "law.txt:5"
    assert [clause.text for clause in corpus.find("示例法", "第三条")] == ["期限为二十年。"]
    assert corpus.find("别的法", "第三条") == ()


def test_english_laws_have_articles_and_wrapped_lines(tmp_path: Path) -> None:
    (tmp_path / "act-2024-03-01.md").write_text(
        "# The Data Act\n\n**Article 1** The keeper of data\nmust answer within 30 days.\n\nIt may ask for a fee.\n"
        "Article 2. The following are exempt:\n(a) courts;\n(b) banks.\n"
    )
    corpus = Corpus.read(tmp_path)
    assert [clause.id for clause in corpus] == [
        "The Data Act/Article 1/1@2024-03-01",
        "The Data Act/Article 1/2@2024-03-01",
        "The Data Act/Article 2/1@2024-03-01",
    ]
    assert corpus.clauses[0].text == "The keeper of data must answer within 30 days."
    assert corpus.clauses[2].text == "The following are exempt:\n(a) courts;\n(b) banks."


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_each_file_has_an_encoding_of_its_own(folder: Path, encoding: str) -> None:
    (folder / "other.txt").write_bytes(LAW.replace("示例法", "另一法").encode(encoding))
    corpus = Corpus.read(folder)
    assert len(corpus.find("示例法", "第二条")) == len(corpus.find("另一法", "第二条")) == 2


def test_two_encodings_in_one_file_are_named(folder: Path) -> None:
    (folder / "mixed.txt").write_bytes(LAW.encode() + "第四条 期限为一年。".encode("gb18030"))
    with pytest.raises(MalformedError, match=r"mixed.txt is in two encodings: line 1 is UTF-8"):
        Corpus.read(folder)
    (folder / "mixed.txt").write_bytes(LAW.encode() + b"\xff\xff")
    with pytest.raises(MalformedError, match=r"mixed.txt"):
        Corpus.read(folder)


def test_an_article_that_is_there_twice_is_named_with_both_places(folder: Path) -> None:
    (folder / "law.txt").write_text(LAW + "第一条　为了别的目的。\n", "utf-8")
    with pytest.raises(InputError, match=r"第一条 of .*示例法.* is there twice: law.txt:4 and law.txt:11"):
        Corpus.read(folder)
    (folder / "law.txt").write_text(LAW, "utf-8")
    (folder / "copy.txt").write_text(LAW, "utf-8")
    with pytest.raises(InputError, match=r"twice: copy.txt:4 and law.txt:4"):
        Corpus.read(folder)
    (folder / "copy.txt").write_text(LAW.replace("2023年12月29日", "2021年1月1日"), "utf-8")
    assert {clause.version for clause in Corpus.read(folder)} == {"2021-01-01", "2023-12-29"}


def test_an_empty_corpus_is_refused_and_files_without_articles_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("Nothing here.")
    assert Corpus.read(folder).skipped == ("notes.txt",)
    (folder / "law.txt").unlink()
    with pytest.raises(InputError, match="the corpus has no clause"):
        Corpus.read(folder)
    with pytest.raises(MissingError, match="there is no"):
        Corpus.read(tmp_path / "nowhere")


def test_numbers_are_read_as_they_are_written() -> None:
    assert all(parse_number(to_chinese(value)) == value for value in range(1, 2000))
    with pytest.raises(ValueError, match="no number"):
        parse_number("条")


def test_zh_law_is_read_whole(shared_data: Path) -> None:
    corpus = Corpus.read(shared_data / "zh-law")
    assert len(corpus.articles) == 3977
    assert len({clause.id for clause in corpus}) == len(corpus)
    assert corpus.find("公司法", "第四十七条")[0].version == "2023-12-29"
