"""`deepseek recipe checklist` and `deepseek recipe judgment` in the shell: examples, files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["recipe", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("language", [(), ("--chinese",)])
def test_the_example_checklist_is_written_with_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], language: tuple[str, ...]
) -> None:
    toml, html = tmp_path / "c.toml", tmp_path / "c.html"
    words = ("checklist", "--example", *language, "--out", str(toml), "--html", str(html), "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    table = json.loads(out)
    assert table["num_lines"] == len(table["lines"]) == toml.read_text("utf-8").count("[[line]]")
    page = html.read_text("utf-8")
    assert all(f'id="{line["id"]}"' in page for line in table["lines"])
    code, _, err = run(capsys, *words)
    assert (code, "--overwrite" in err) == (2, True)


def test_a_regulation_that_cannot_be_read_ends_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, broken = tmp_path / "empty.txt", tmp_path / "broken.docx"
    empty.write_text(" \n")
    broken.write_bytes(b"PK\x03\x04 no archive")
    for path in (empty, broken, tmp_path / "none.pdf"):
        code, _, err = run(capsys, "checklist", str(path), "--out", str(tmp_path / "c.toml"))
        assert code == 2, err
        assert path.name in err
    assert not (tmp_path / "c.toml").exists()


def test_the_example_draft_is_checked_again_after_an_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("docx")
    draft, page = tmp_path / "draft.docx", tmp_path / "draft.html"
    code, out, _ = run(capsys, "judgment", "--example", "--out", str(draft), "--html", str(page), "--json")
    assert code == 0
    table = json.loads(out)
    assert table["num_verbatim"] == 5
    assert draft.read_bytes()[:2] == b"PK"
    code, _, err = run(capsys, "judgment", "--example", "--out", str(draft), "--strict")
    assert (code, "need a look" in err) == (3, True)


@pytest.mark.parametrize(
    "words",
    [
        ("judgment",),
        ("judgment", "facts.json", "--out", "d.docx"),
        ("judgment", "--example"),
        ("checklist", "--out", "c"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, *words)[0] == 2
