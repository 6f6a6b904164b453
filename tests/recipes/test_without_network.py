"""Assistants, reviews, checklists and drafts are made and asked with the network cut: no weights are fetched, nobody is
told anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: Imported by Python before anything else: ends each look at another machine, and writes down what was looked for.
CUT = """
import os, sys

LOCAL = ("127.0.0.1", "::1", "localhost", "", None)


def cut(event, arguments):
    host = None
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if isinstance(host, bytes):
        host = host.decode()
    if host not in LOCAL:
        with open(os.environ["LOOKED_FOR"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError("the network is cut")


sys.addaudithook(cut)
"""
EXAMPLES = {
    "assistant": [
        ["recipe", "assistant", "--example", "--out", "help"],
        ["predict", "help", "questions.csv", "--out", "answers.csv"],
    ],
    "compliance": [
        ["recipe", "compliance", "--example", "--out", "review"],
        ["review", "review", "agreement.txt", "--html", "findings.html"],
    ],
    "checklist": [["recipe", "checklist", "--example", "--out", "checklist.toml", "--html", "checklist.html"]],
    "judgment": [["recipe", "judgment", "--example", "--out", "draft.docx", "--html", "draft.html"]],
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process without a network; what it looks for stands in the file LOOKED_FOR."""
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CUT)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "LOOKED_FOR": str(tmp_path / "looked-for")}


def test_a_look_at_another_machine_is_ended_and_written_down(tmp_path: Path, environment: dict[str, str]) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://example.com', timeout=5)"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "the network is cut" in run.stderr
    assert "example.com" in (tmp_path / "looked-for").read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_made_and_asked_with_the_network_cut(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "questions.csv").write_text("question\nWhere is my order 12345?\n我的订单在哪里？\n")
    (tmp_path / "agreement.txt").write_text(
        "1. Term. This agreement ends on 31 December.\n2. Liability. The supplier is liable without limit.\n"
    )
    for words in EXAMPLES[name]:
        run = subprocess.run(
            [sys.executable, "-m", "deepseek", *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip
        assert run.returncode in (0, 3), run.stderr  # 3: a review with findings
        written = words[words.index("--html" if "--html" in words else "--out") + 1]
        assert (tmp_path / written).exists(), written
    assert not (tmp_path / "looked-for").exists(), (tmp_path / "looked-for").read_text()
