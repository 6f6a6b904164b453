"""Small projects that tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.verbs import new_project

NUM_ROWS = 40
MakeProject = Callable[..., Project]


def write_claims(path: Path, num_rows: int = NUM_ROWS) -> Path:
    """Claims of two kinds; row 3 and the last are the same."""
    words = ("the kitchen burned and smoke", "water from the pipe on floor")
    rows = [f"{words[row % 2]} number {row} of the house,{row * 10}" for row in range(num_rows - 1)]
    path.write_text("\n".join(["story,amount", *rows, rows[2]]) + "\n")
    return path


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """A project of claims; arguments of ProjectOptions."""

    def make(folder: str = "project", num_rows: int = NUM_ROWS, **options: object) -> Project:
        data = write_claims(tmp_path / "claims.csv", num_rows)
        usual = {"task": "binary", "labels": ("fire", "water")}
        new_project(data, tmp_path / folder, ProjectOptions(**{**usual, **options}))  # type: ignore[arg-type]
        return Project.open(tmp_path / folder)

    return make
