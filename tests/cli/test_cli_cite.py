"""`deepseek cite`: one object as JSON, words for a person, control characters shown as codes."""

from __future__ import annotations

import json
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


def test_a_corpus_that_cannot_be_used_is_said(laws: Path, capsys) -> None:
    (laws / "copy.txt").write_text((laws / "law-2024-01-01.txt").read_text("utf-8") + "2024年1月1日", "utf-8")
    (laws / "copy.txt").rename(laws / "copy-2024-01-01.txt")
    assert main(["cite", "利息。", "--corpus", str(laws)]) == 2
    assert "is there twice" in capsys.readouterr().err
