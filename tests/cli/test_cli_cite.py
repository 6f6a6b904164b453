"""`deepseek cite`: one object as JSON, words for a person, control characters shown as codes."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from deepseek.cli import main


@pytest.fixture
def laws(tmp_path: Path) -> Path:
    folder = tmp_path / "laws"
    folder.mkdir()
    (folder / "law-2024-01-01.txt").write_text(
        "租赁法\n第一条 租赁期限不得超过二十年。\x1b[2J\n第二条 利息不得扣除。\n", "utf-8"
    )
    return folder


def test_json_has_ids_and_quotes(laws: Path, tmp_path: Path, capsys) -> None:
    draft = tmp_path / "draft.txt"
    draft.write_bytes("租赁期限不得超过二十年。今天开会。".encode("gb18030"))
    assert main(["cite", str(draft), "--corpus", str(laws), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["num_sentences"], said["num_supported"], said["partial"]) == (2, 1, False)
    (citation,) = said["sentences"][0]["citations"]
    assert citation["id"] == "租赁法/第一条/1@2024-01-01"
    assert citation["quote"].startswith("租赁期限不得超过二十年。")


def test_the_terminal_is_told_in_words_and_cannot_be_driven(laws: Path, capsys) -> None:
    assert main(["cite", "租赁期限不得超过二十年。今天开会。", "--corpus", str(laws), "--strict"]) == 3
    out, err = capsys.readouterr()
    assert "+ 租赁期限不得超过二十年。" in out
    assert "! 今天开会。" in out
    assert "1 of 2 sentences supported" in out
    assert "\x1b" not in out
    assert "1 of 2 sentences are not supported" in err


def test_json_is_one_object_when_sentences_are_not_supported(laws: Path, capsys) -> None:
    assert main(["cite", "租赁期限不得超过二十年。今天开会。", "--corpus", str(laws), "--strict", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["num_sentences"], document["num_supported"], document["error"]["code"]) == (2, 1, "check_failed")


def test_a_corpus_that_cannot_be_used_is_said(laws: Path, capsys) -> None:
    (laws / "copy.txt").write_text((laws / "law-2024-01-01.txt").read_text("utf-8") + "2024年1月1日", "utf-8")
    (laws / "copy.txt").rename(laws / "copy-2024-01-01.txt")
    assert main(["cite", "利息。", "--corpus", str(laws)]) == 2
    assert "is there twice" in capsys.readouterr().err


def test_a_report_is_written_signed_and_verified(laws: Path, tmp_path: Path, capsys) -> None:
    draft, key = tmp_path / "draft.txt", tmp_path / "key"
    draft.write_text("租赁期限不得超过二十年。今天开会。", "utf-8")
    assert main(["keygen", str(key)]) == 0
    html, file = tmp_path / "report.html", tmp_path / "report.json"
    words = ["--html", str(html), "--json-file", str(file), "--key", str(key), "--json", "--most", "2"]
    capsys.readouterr()
    assert main(["cite", str(draft), "--corpus", str(laws), *words]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert json.loads(file.read_text("utf-8")) == said
    assert (said["format"], said["kind"], said["name"]) == (1, "text", "draft.txt")
    assert said["sha256"] == hashlib.sha256(draft.read_bytes()).hexdigest()
    assert said["provenance"]["command"].endswith(f"--corpus {laws} --most 2 --html report.html")
    assert f"the report is in {html}, its signature in {html}.sig" in err
    for written in (html, file):
        assert main(["verify", str(written), "--key", f"{key}.pub"]) == 0
        written.write_bytes(written.read_bytes().replace("二十年".encode(), "三十年".encode()))
        assert main(["verify", str(written), "--key", f"{key}.pub"]) == 3


def test_what_cannot_be_written_or_signed_is_said_before_the_corpus_is_read(tmp_path: Path, capsys) -> None:
    assert (
        main(["cite", "租期。", "--corpus", str(tmp_path / "no"), "--html", str(tmp_path / "no" / "report.html")]) == 2
    )
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["cite", "租期。", "--corpus", str(tmp_path / "no"), "--key", str(tmp_path / "key")]) == 2
    assert "there is nothing to sign" in capsys.readouterr().err


@pytest.fixture
def drafts(tmp_path: Path) -> Path:
    folder = tmp_path / "drafts"
    folder.mkdir()
    (folder / "a[b].txt").write_text("租赁期限不得超过二十年。今天开会。", "utf-8")
    (folder / "c.md").write_text("租赁期限不得超过二十年。", "utf-8")
    return folder


def test_a_folder_of_texts_is_summed_up(laws: Path, drafts: Path, tmp_path: Path, capsys) -> None:
    assert main(["cite", str(drafts), "--corpus", str(laws), "--html", str(tmp_path / "report.html")]) == 0
    out, _ = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if line.startswith(("a[b]", "c.md"))] == [
        ["a[b].txt", "2", "1", "0", "1", "0"],
        ["c.md", "1", "1", "0", "0", "0"],
    ]
    assert "! a[b].txt, sentence 2: 今天开会。" in out
    assert "2 of 3 sentences supported, in 2 texts" in out
    assert "租赁法 第一条" in out
    assert "a[b].txt" in (tmp_path / "report.html").read_text("utf-8")
    assert main(["cite", str(drafts), "--corpus", str(laws), "--strict"]) == 3


def test_texts_given_several_times_are_a_batch_of_files(laws: Path, drafts: Path, capsys) -> None:
    words = ["cite", str(drafts / "c.md"), str(drafts / "a[b].txt"), "--corpus", str(laws), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], [one["name"] for one in said["documents"]]) == ("batch", ["c.md", "a[b].txt"])
    assert main(["cite", str(drafts / "c.md"), "drafted.txt", "--corpus", str(laws)]) == 2
    assert "there is no drafted.txt" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_ends_a_batch_or_is_left_out(laws: Path, drafts: Path, capsys) -> None:
    (drafts / "empty.txt").write_bytes(b"")
    (drafts / "bytes.txt").write_bytes(b"\xff\xff")
    assert main(["cite", str(drafts), "--corpus", str(laws)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "empty.txt: there is no text" in err
    assert "bytes.txt: cannot be read" in err
    assert main(["cite", str(drafts), "--corpus", str(laws), "--broken", "mask", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [one["name"] for one in json.loads(out)["skipped"]] == ["bytes.txt", "empty.txt"]
    assert "left out: empty.txt: there is no text" in err


def test_progress_is_shown_to_a_person_and_cannot_be_driven_by_a_name(
    laws: Path, drafts: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drafts / "x\x1b[2J.txt").write_text("今天开会。", "utf-8")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["cite", str(drafts), "--corpus", str(laws)]) == 0
    out, err = capsys.readouterr()
    assert "judging sentences of a[b].txt" in err
    assert "\x1b" not in out + err
