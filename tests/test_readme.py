"""The two READMEs: a tour whose blocks are run, figures that stand in the results, two languages that say the same."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import deepseek
from deepseek.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = (ROOT / "README.md").read_text("utf-8"), (ROOT / "README.zh-CN.md").read_text("utf-8")
MOST_LINES = 150
#: Figures of both READMEs: result, claim, how the figure is written there. Each claim holds or has no bar.
FIGURES = (
    ("explain_trees", "tree_rate_256", "{ours:,.0f}"),
    ("explain_trees", "tree_rate_256", "{rival:.0f}"),
    ("explain_trees", "tree_rate_256", "{ratio:.1f}"),
    ("citations", "citations with a valid id", "{ours:.0f} %"),
    ("citations", "quotes word for word", "{ours:.0f} %"),
    ("citations", "citations with a valid id", "{note}"),
    ("citations", "unanswerable sentences that are cited", "{ours:.0f}"),
    ("citations", "unanswerable sentences that are cited", "{note}"),
    ("root_cause", "top_1", "{ours:.0%}"),
    ("root_cause", "top_1", "{rival:.0%}"),
    ("root_cause", "false_alarms", "{ours:.0f}"),
    ("ship_quality", "loss_vs_autogluon", "{ratio:.2f}"),
    ("ship_quality", "loss_vs_autogluon", "0.78"),
    ("ship_quality", "loss_vs_autogluon", "1.13"),
    ("ship_quality", "size_vs_autogluon", "1/{ratio:.0f}"),
    ("serving", "text_bentoml_int8", "{ratio:.1f}"),
    ("serving", "text_litserve_int8", "{ratio:.1f}"),
    ("serving", "text_ray_int8", "{ratio:.1f}"),
    ("explain", "mlp_deeplift_one_row_shap", "1/{ratio:.0f}"),
    ("drift", "windows_until_found", "{ours:.1f}"),
    ("drift", "windows_until_found", "{rival:.1f}"),
    ("federated", "secure_bytes", "{ratio:.2f}"),
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(text: str) -> list[str]:
    return re.split(r"^## .*\n", text, flags=re.MULTILINE)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def as_script(language: str, body: str) -> str:
    return body if language == "bash" else f"python <<'PYTHON'\n{body}PYTHON\n"


@pytest.mark.slow
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


@pytest.mark.parametrize(("result", "claim", "written"), FIGURES)
def test_a_figure_is_that_of_the_results_and_its_claim_holds(result: str, claim: str, written: str) -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / f"{result}.json").read_text("utf-8"))
    (entry,) = (entry for entry in record["claims"] if entry["claim"] == claim)
    assert entry["holds"] is not False
    note = re.sub(r"\D", "", (entry["note"] or "").split(";")[0])
    figure = written.format(**entry | {"note": note}).removesuffix("%" if written.endswith(".0%}") else "")
    if "{" not in written:  # the ends of an interval stand in the note alone
        assert any(f"{float(end):.2f}" == written for end in re.findall(r"\d\.\d+", entry["note"].split("interval")[1]))
    for text in (ENGLISH, CHINESE):
        assert re.search(rf"(?<![\d.,/]){re.escape(figure)}(?![\d.]\d)", text), figure


def test_autogluon_is_better_on_one_table_by_the_share_that_is_said() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "ship_quality.json").read_text("utf-8"))
    (entry,) = (entry for entry in record["claims"] if entry["claim"] == "loss_vs_autogluon_concrete")
    share = round(100 * (1 - entry["rival"] / entry["ours"]))
    assert f"error is {share} % lower" in ENGLISH
    assert f"误差低 {share} %" in CHINESE


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_a_readme_is_short(text: str) -> None:
    assert len(text.splitlines()) < MOST_LINES


def test_the_citation_names_the_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == deepseek.__version__
    assert citation["license"] == "Apache-2.0"


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
