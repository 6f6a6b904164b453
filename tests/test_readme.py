"""The two READMEs: one tour whose blocks are run, and two languages that say the same."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from deepseek.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = (ROOT / "README.md").read_text("utf-8"), (ROOT / "README.zh-CN.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(text: str) -> list[str]:
    return re.split(r"^## .*\n", text, flags=re.MULTILINE)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def as_script(language: str, body: str) -> str:
    return body if language == "bash" else f"python <<'PYTHON'\n{body}PYTHON\n"


def test_the_tour_runs_as_it_is_written(tmp_path: Path) -> None:
    """At a port that is free, and with two trials in place of a budget: the rest is as it is written."""
    blocks = BLOCK.findall(sections(ENGLISH)[1])
    assert {language for language, _ in blocks} == {"bash", "python"}
    tour = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    written = "".join(as_script(*block) for block in blocks)
    assert "--budget 20s" in written
    tour += written.replace("8000", free_port()).replace("--budget 20s", "--trials 2")
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", tour], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert '"predictions"' in done.stdout
    assert '"explanations"' in done.stdout
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 570
    assert "<html" in (tmp_path / "why.html").read_text("utf-8")


def test_both_languages_have_the_same_code() -> None:
    assert BLOCK.findall(ENGLISH) == BLOCK.findall(CHINESE)


def test_both_languages_have_the_same_parts() -> None:
    def shape(text: str) -> list[list[str]]:
        """The kind of each paragraph, section by section."""
        kinds = {"|": "table", "#": "head", "-": "list", " ": "code", "`": "code"}
        return [
            [kinds.get(part[0], "text") for part in re.split(r"\n{2,}", BLOCK.sub("```", section)) if part.strip()]
            for section in sections(text)
        ]

    assert shape(ENGLISH) == shape(CHINESE)


def test_both_languages_have_as_many_sentences_in_each_paragraph() -> None:
    def sentences(text: str) -> list[int]:
        text = re.sub(r"`[^`]*`|\([^)]*\.(?:md|html)\)|https?://\S+", "", BLOCK.sub("", text))
        paragraphs = [part for part in re.split(r"\n{2,}", text) if part.strip() and part[0] not in "#|- "]
        return [len(re.findall(r"[.?!](?=[\s)]|$)|[。？！]", part)) for part in paragraphs]

    assert sentences(ENGLISH) == sentences(CHINESE)


def test_both_languages_have_the_same_rows_in_their_tables() -> None:
    def keys(text: str) -> list[str]:
        return re.findall(r"^\| (`[^`]+`)", text, flags=re.MULTILINE)

    assert keys(ENGLISH) == keys(CHINESE)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_the_table_of_verbs_is_the_table_of_the_program(text: str) -> None:
    assert re.findall(r"^\| `deepseek (\w+)", text, flags=re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / unquote(target)).exists(), f"{page.relative_to(ROOT)} links to {target}"
