"""Citations as a document and as a page: counts, provenance, one schema, and nothing of a text that becomes markup."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepseek.citations import Corpus, Draft, Index, cite_drafts, draft_of, read_drafts, schema, write_page
from deepseek.citations.corpus import drafts as drafts_module
from deepseek.citations.page import page as page_module
from deepseek.citations.page.report import CitationReport
from deepseek.errors import InputError, MissingError, TooLargeError
from deepseek.explain.report.document import write_document
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

LEASE = "Article 1 A lease must not exceed twenty years. The rest is void.\nArticle 2 The lessor keeps it in repair.\n"
LOAN = "Article 1 Interest must not be deducted in advance.\nArticle 2 A loan is repaid within a year.\n"
TEXT = (
    "A lease must not exceed twenty years. Under Article 2 of the Loan Act interest must not be deducted in advance. "
    "The parties met in London."
)
EVIL = "<script>alert('x')</script>"


class Reacting:
    """A generator that writes each sentence more likely with the clauses that it has most letters of."""

    def log_probabilities(self, clauses: Sequence[str], sentences: Sequence[str]) -> list[float]:
        return [-8.0 + 5.0 * any("twenty" in clause and "twenty" in said for clause in clauses) for said in sentences]


@pytest.fixture(scope="module")
def index() -> Index:
    return Index(Corpus.of({"Lease Act": LEASE, "Loan Act": LOAN}, "2024-01-01"))


@pytest.fixture(scope="module")
def done(index: Index) -> CitationReport:
    return cite_drafts([draft_of(TEXT, "draft.txt")], index, command="deepseek cite draft.txt --corpus laws")


@pytest.fixture(scope="module")
def batch(index: Index) -> CitationReport:
    drafts = [draft_of(TEXT, "one.txt"), draft_of("A lease must not exceed twenty years.", "b/two.md")]
    return cite_drafts(drafts, index, skipped=[drafts_module.SkippedFile("bad.txt", "it is empty")])


def as_json(done: CitationReport, folder: Path) -> Any:
    write_document(folder / "report.json", done.to_dict())
    return json.loads((folder / "report.json").read_text("utf-8"))


def errors_of(document: Any) -> list[str]:
    import jsonschema_rs

    return [str(error) for error in jsonschema_rs.validator_for(schema()).iter_errors(document)]


def test_a_text_is_counted_and_its_origin_told(done: CitationReport, index: Index) -> None:
    assert [done[f"num_{name}"] for name in ("sentences", "supported", "misattributed", "unsupported")] == [3, 1, 1, 1]
    assert done["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert done["laws"] == [
        {"law": "Lease Act", "version": "2024-01-01", "num_sentences": 1, "num_articles": 1},
        {"law": "Loan Act", "version": "2024-01-01", "num_sentences": 1, "num_articles": 1},
    ]
    origin = done["provenance"]
    assert (origin["corpus_digest"], origin["num_clauses"]) == (index.corpus.digest, 4)
    assert (origin["scorer"], origin["threshold"], origin["embedders"]) == ("terms", 0.65, [])
    assert origin["options"] == {"num_articles": 10, "num_citations": 3, "margin": 0.02}


def test_a_report_has_typed_fields_and_the_summary_of_the_shell(done: CitationReport, batch: CitationReport) -> None:
    assert done.documents[0].cited.sentences[0].status == done["sentences"][0]["status"] == "supported"
    assert done.summary().startswith("+ A lease must not exceed twenty years.\n")
    assert done.summary().endswith("\n1 of 3 sentences supported\n")
    assert "? one.txt, sentence 2: " in batch.summary()
    assert batch.summary().endswith("2 of 4 sentences supported, in 2 texts\n")


def test_a_quote_stands_between_what_is_before_and_behind_it(done: CitationReport, index: Index) -> None:
    (citation,) = done["sentences"][0]["citations"]
    assert citation["before"] + citation["quote"] + citation["after"] == index.corpus[citation["id"]].text
    assert citation["after"] == " The rest is void."
    assert citation["clause_letters"] == len(index.corpus[citation["id"]].text)


def test_texts_and_batches_keep_to_the_schema(done: CitationReport, batch: CitationReport, tmp_path: Path) -> None:
    for result in (done, batch):
        document = as_json(result, tmp_path)
        assert errors_of(document) == []
        assert errors_of(document | {"provenance": {}})
        assert errors_of({**document, "format": 2})
    single = as_json(done, tmp_path)
    del single["sentences"][0]["citations"][0]["quote"]
    assert errors_of(single)
    assert errors_of({name: value for name, value in as_json(batch, tmp_path).items() if name != "documents"})


def test_a_batch_sums_up_its_texts(batch: CitationReport) -> None:
    assert batch["kind"] == "batch"
    names = ("documents", "sentences", "supported", "misattributed", "unsupported")
    assert [batch[f"num_{name}"] for name in names] == [2, 4, 2, 1, 1]
    assert batch["most_cited"][0] == {
        "law": "Lease Act", "article": "Article 1", "version": "2024-01-01", "num_sentences": 2, "num_documents": 2,
    }  # fmt: skip
    assert [(one["document"], one["number"], one["status"]) for one in batch["review"]] == [
        (0, 2, "misattributed"),
        (0, 3, "unsupported"),
    ]
    assert batch["skipped"] == [{"name": "bad.txt", "problem": "it is empty"}]


def test_progress_rises_over_all_texts_to_the_end(index: Index) -> None:
    heard: list[tuple[str, float]] = []
    drafts = [draft_of(TEXT, "one"), draft_of("A lease must not exceed twenty years.", "two")]
    cite_drafts(drafts, index, progress=lambda what, share: heard.append((what, share)))
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert len(shares) == 4
    assert shares[-1] == pytest.approx(1)
    assert heard[-1][0] == "judging sentences of two"


def test_the_vectors_of_a_corpus_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepseek.citations.retrieval import retriever as retrieve
    from support.rows.checklists import Hashed

    corpus = Corpus.of({"Law": "".join(f"Article {n} {'word ' * (n % 7)}number {n}.\n" for n in range(1, 30))})
    heard: list[float] = []
    monkeypatch.setattr(retrieve, "CHUNK_CLAUSES", 8)
    (vectors,) = Index(corpus, [Hashed()], progress=lambda _, share: heard.append(share)).vectors
    assert vectors.tobytes() == Hashed().passages([clause.text for clause in corpus]).tobytes()
    assert heard == [8 / 29, 16 / 29, 24 / 29, 1.0]


def test_the_page_says_statuses_in_words_and_marks_the_quote(done: CitationReport) -> None:
    html = write_page(None, done)
    assert "1 of 3 sentences is supported by the corpus; 1 cites another article" in html
    assert "3 句中有 1 句得到语料支持" in html
    for words in ("cites another article", "引错条文", "unsupported", "无依据", "support 1.00 by “terms”"):
        assert words in html
    assert "<mark>A lease must not exceed twenty years.</mark> The rest is void.</blockquote>" in html
    assert done["sha256"] in html
    assert done["provenance"]["corpus_digest"] in html
    assert "caused" not in html


def test_what_caused_a_sentence_is_told_where_a_generator_was_asked(index: Index, tmp_path: Path) -> None:
    result = cite_drafts([draft_of(TEXT)], index, Reacting())
    assert errors_of(as_json(result, tmp_path)) == []
    (citation,) = result["sentences"][0]["citations"]
    assert citation["caused"]
    assert result["provenance"]["generator"] == "Reacting"
    html = write_page(None, result)
    assert re.search(r"caused the sentence: \+\d[\d.]* log-odds", html)
    assert "did not cause the sentence: 0 log-odds" in html
    assert html.count("rank correlation of 1.00") == 1  # of the one that it reacts to


def test_a_generator_that_fails_is_told_on_the_page(index: Index) -> None:
    class Broken:
        def log_probabilities(self, clauses: Sequence[str], sentences: Sequence[str]) -> list[float]:
            raise RuntimeError("out of <b>memory</b>")

    html = write_page(None, cite_drafts([draft_of(TEXT)], index, Broken()))
    assert "RuntimeError: out of &lt;b&gt;memory&lt;/b&gt;" in html


@pytest.fixture(scope="module")
def hostile() -> CitationReport:
    law = f"Act {EVIL}"
    corpus = Corpus.of({law: f"Article 1 A lease {EVIL} must not exceed twenty years \u202e now.\n"}, EVIL)
    draft = Draft(f"{EVIL}.txt", f"A lease {EVIL} must not exceed twenty years now. {EVIL} is here.", "0" * 64, 9)
    return cite_drafts([draft, draft], Index(corpus), command=EVIL, skipped=[drafts_module.SkippedFile(EVIL, EVIL)])


def test_nothing_of_a_text_a_law_or_a_quote_becomes_markup(hostile: CitationReport) -> None:
    assert hostile["num_supported"] == 2
    assert EVIL in hostile["documents"][0]["sentences"][0]["citations"][0]["quote"]
    assert EVIL in hostile["laws"][0]["law"]
    for result in (hostile, replace(hostile, documents=hostile.documents[:1], kind="text")):
        html = write_page(None, result)
        assert "<script>alert" not in html
        assert html.count("<script") == 1  # the page's own
        assert html.count("&lt;script&gt;alert") > 10
        assert "\u202e" not in html


def test_a_hostile_page_runs_nothing_and_keeps_its_width(
    hostile: CitationReport, tmp_path: Path, open_page: OpenPage
) -> None:
    write_page(tmp_path / "hostile.html", hostile)
    dialogs: list[str] = []
    for width in (1280, 390):
        page = open_page((tmp_path / "hostile.html").as_uri(), width=width)
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        page.locator(".switch button[value=zh]").click()
        assert page.locator("html").get_attribute("data-lang") == "zh"
        assert page.locator(".said").count() == 4
        assert overflow_px(page) <= 0
        assert collisions(page) == []
        assert not page.locator("#sign-off").is_visible()
        page.emulate_media(media="print")
        assert page.locator("#sign-off").is_visible()
    assert dialogs == []


def test_links_lead_to_the_sentences_of_a_text_that_is_folded(
    batch: CitationReport, tmp_path: Path, open_page: OpenPage
) -> None:
    write_page(tmp_path / "batch.html", batch)
    page = open_page((tmp_path / "batch.html").as_uri())
    assert not page.locator("#s1-2").is_visible()
    page.locator("#review a").first.click()
    assert page.locator("#s1-2").is_visible()
    for link in page.locator("main a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_a_page_has_room_for_what_needs_a_look_first(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "A lease must not exceed twenty years. " * 30 + "The parties met in London. " + "B" * 3_000 + " is here."
    result = cite_drafts([draft_of(text)], index)
    monkeypatch.setattr(page_module, "MAX_SENTENCE_BYTES", 6_000)
    html = write_page(tmp_path / "small.html", result)
    assert 'id="s1-31"' in html
    assert 'id="s1-32"' in html
    num = html.count('class="said good"')
    assert 0 < num < 30
    assert f"{30 - num} sentences are not on this page" in html
    assert f"The first of them is sentence {num + 1};" in html


@pytest.mark.slow
def test_a_page_of_thousands_of_sentences_stays_below_two_megabytes(index: Index) -> None:
    text = "".join(
        f"In case {n} a lease must not exceed twenty years. The party {n} met in London. " for n in range(3_000)
    )
    html = write_page(None, cite_drafts([draft_of(text)], index))
    assert len(html.encode()) < 2_000_000
    assert "sentences are not on this page" in html


def test_drafts_of_folders_and_files_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "one.txt").write_bytes("租期最长二十年。".encode("gb18030"))
    (tmp_path / "a" / "sub" / "two.md").write_text("A lease.", "utf-8")
    (tmp_path / "a" / ".hidden.txt").write_text("No.", "utf-8")
    (tmp_path / "a" / "table.csv").write_text("No.", "utf-8")
    drafts, skipped = read_drafts([tmp_path / "a" / "one.txt", tmp_path / "a"])
    assert [draft.name for draft in drafts] == ["one.txt", "sub/two.md"]
    assert drafts[0].text == "租期最长二十年。"
    assert drafts[0].sha256 == hashlib.sha256("租期最长二十年。".encode("gb18030")).hexdigest()
    assert skipped == []


def test_files_that_cannot_be_used_are_named_all_at_once_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts_module, "MAX_FILE_BYTES", 1_000)
    (tmp_path / "good.txt").write_text("A lease.", "utf-8")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xff\xff")
    (tmp_path / "large.txt").write_text("A lease. " * 200, "utf-8")
    with pytest.raises(InputError) as caught:
        read_drafts([tmp_path])
    for name in ("empty.txt: there is no text", "bytes.txt: cannot be read", "large.txt: is too large"):
        assert name in str(caught.value)
    drafts, skipped = read_drafts([tmp_path], "mask")
    assert [draft.name for draft in drafts] == ["good.txt"]
    assert [each.name for each in skipped] == ["bytes.txt", "empty.txt", "large.txt"]
    (tmp_path / "good.txt").unlink()
    with pytest.raises(InputError, match="mend or remove them"):
        read_drafts([tmp_path], "mask")
    monkeypatch.setattr(drafts_module, "MAX_FILES", 2)
    with pytest.raises(TooLargeError, match="more than 2 files"):
        read_drafts([tmp_path])


def test_what_is_not_there_and_folders_without_texts_are_said(tmp_path: Path, index: Index) -> None:
    with pytest.raises(MissingError, match=r"there is no .*no\.txt"):
        read_drafts([tmp_path / "no.txt"])
    with pytest.raises(MissingError, match="there is no text in"):
        read_drafts([tmp_path])
    with pytest.raises(InputError, match="there is no draft"):
        cite_drafts([], index)
