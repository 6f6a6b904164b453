"""The notebooks run as they are written: in a kernel where Jupyter is installed, else as the scripts that they are."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples" / "notebooks").glob("*.py"))
MOST_CPU_S = 300.0  # of all six together


def test_there_are_six_and_each_is_a_source_without_outputs() -> None:
    assert len(NOTEBOOKS) == 6
    for path in NOTEBOOKS:
        text = path.read_text("utf-8")
        assert text.startswith("# ---\n# jupyter:")
        assert re.search(r"^# %% \[markdown\]\n# # \w", text, re.MULTILINE), f"{path.name} begins with its title"
    named = re.findall(r"^\| `(.+?\.py)`", NOTEBOOKS[0].with_name("README.md").read_text("utf-8"), re.MULTILINE)
    assert named == [path.name for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_takes_its_share_of_the_time(path: Path, tmp_path: Path) -> None:
    before_s = _children_cpu_s()
    if _has_jupyter():
        _run_in_a_kernel(path, tmp_path)
    else:
        done = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert _children_cpu_s() - before_s < MOST_CPU_S / len(NOTEBOOKS)


def _has_jupyter() -> bool:
    try:
        import ipykernel  # noqa: F401
        import jupytext  # noqa: F401
        import nbclient  # noqa: F401
    except ImportError:
        return False
    return True


def _run_in_a_kernel(path: Path, folder: Path) -> None:
    """Run each cell; every one that ends in a result of ours shows a card, and no display of progress is left."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    assert any("deepseek-card" in html for html in shown)
    assert not any('class="meter"' in html for html in shown), "a progress that was not taken away"


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
