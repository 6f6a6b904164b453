"""A lab that is graded within a second, begun by a learner of a known number."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from deepseek.learn.definition.catalog import Catalog, LevelTable
from deepseek.learn.definition.lab import Lab, Translated, read_lab
from deepseek.learn.learner.place import Learner, LearnerPlace, lab_seed, read_learner
from deepseek.learn.learner.workspace import begin_lab
from deepseek.learn.verbs import LearningPath

EXAMPLES = Path(__file__).parent / "example_labs"
WORDS = Translated("Expert: counting", "专家：计数")


@pytest.fixture(scope="session")
def counting() -> Lab:
    return read_lab(EXAMPLES / "counting")


@pytest.fixture
def learning_path(tmp_path: Path, counting: Lab) -> LearningPath:
    """A path of that lab alone, whose level is whole with it."""
    place = LearnerPlace(tmp_path / "data")
    return LearningPath(Catalog((counting,), {"expert": LevelTable(WORDS, WORDS, 1.0, 1)}), place, read_learner(place))


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, counting: Lab) -> Path:
    """A folder of the lab whose data was made, without any work in it. Tests copy it."""
    folder = tmp_path_factory.mktemp("begun") / "counting"
    learner = Learner("5" * 32)
    begin_lab(counting, folder, learner, lab_seed(learner.id, counting.data_seed_name))
    return folder


@pytest.fixture(scope="session")
def seed(counting: Lab) -> int:
    return lab_seed("5" * 32, counting.data_seed_name)


def solve(folder: Path, body: str = "return sum(numbers)", *, top: str = "") -> None:
    """Hand in the sum of the folder's numbers, and a function with this body."""
    with (folder / "numbers.csv").open() as file:
        numbers = [int(row["number"]) for row in csv.DictReader(file)]
    (folder / "answer.json").write_text(json.dumps({"sum": sum(numbers)}))
    (folder / "solution.py").write_text(f"{top}\ndef total(numbers):\n    {body}\n")
