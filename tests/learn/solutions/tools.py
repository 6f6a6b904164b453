"""What solutions of labs are written with: verbs as a learner runs them, and small edits of files."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from deepseek.contracts import JsonObject


class Solutions(Protocol):
    """solutions/LAB.py: the reference fills a folder that was begun; each wrong solution changes a folder that the
    reference has filled, and WRONG names the mistake that the grader must find."""

    WRONG: Mapping[str, str]

    def reference(self, folder: Path) -> None: ...


def solutions_of(lab: str) -> Any:
    """The solutions of a lab, which lie here or in the folder of a level."""
    file = next(Path(__file__).parent.rglob(f"{lab}.py"))
    return importlib.import_module(
        ".".join(("learn.solutions", *file.relative_to(Path(__file__).parent).parent.parts, lab))
    )


def deepseek_verb(folder: Path, *arguments: str) -> JsonObject:
    """What `deepseek ... --json` prints in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", *arguments, "--json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    document: JsonObject = json.loads(done.stdout)
    return document


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def replace_text(path: Path, before: str, after: str) -> None:
    """Replace a part of a file, which has to be there."""
    text = path.read_text("utf-8")
    assert before in text, f"{path} has no {before!r}"
    path.write_text(text.replace(before, after), encoding="utf-8")
