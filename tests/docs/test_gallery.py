"""The gallery: each page is short, shows its picture and its code runs as it is written."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from studio.gallery import PAGES, REPORTS, run_page
from website.snippets import blocks

MOST_LINES = 40
#: Each industry solution and each kind of data -> the files that its code leaves behind.
FILES = {
    "compliance": ("findings.html", "checklist.html", "checklist.toml", "draft.docx"),
    "customer-service": ("understood.csv",),
    "defects": ("surface.html", "found.json", "found.parts.csv"),
    "fraud": ("scores.csv", "why.html", "rings.html"),
    "maintenance": ("life.csv", "fleet.html"),
    "process": ("press.html",),
    "audio": ("sounds.html", "why.html"),
    "ct": ("scans.html", "why.html"),
    "images": ("digits.html", "why.html"),
    "series": ("pumps.html", "why.html"),
    "tables": ("scores.csv", "why.html"),
    "text": ("topics.html",),
    "video": ("films.html", "why.html"),
}
NAMES = sorted(FILES)


def read(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


def test_each_solution_and_each_kind_of_data_has_a_page_that_the_index_lists() -> None:
    assert sorted(file.stem for file in PAGES.glob("*.md") if file.name != "README.md") == NAMES
    for index in (PAGES / "README.md", PAGES / "zh" / "README.md"):
        assert sorted(re.findall(r"^- \[.*\]\(([\w-]+)\.md\)$", index.read_text("utf-8"), re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_short_to_paste_and_shows_a_picture(name: str) -> None:
    code = blocks(read(name))
    assert {block.language for block in code} <= {"python", "bash"}
    assert [block for block in code if block.not_run or block.run_by] == []
    assert 0 < sum(block.body.count("\n") for block in code) < MOST_LINES
    assert max(len(line) for block in code for line in block.body.splitlines()) <= 140
    (picture,) = re.findall(r"!\[.+\]\((\S+)\)", read(name))
    assert (PAGES / picture).is_file()


def test_a_picture_is_of_a_file_that_its_page_writes() -> None:
    assert [name for name, file in REPORTS.items() if file not in FILES[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_code_of_a_page_runs_as_it_is_written(name: str, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    printed = run_page(name, tmp_path, port)
    for file in FILES[name]:
        assert (tmp_path / file).stat().st_size > 100, file
        if file.endswith(".html"):
            assert "</html>" in (tmp_path / file).read_text("utf-8")
    if name == "customer-service":
        assert '"text"' in printed
