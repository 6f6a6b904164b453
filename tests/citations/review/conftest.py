"""The example's agreements, and a model of them that is trained once."""

from __future__ import annotations

import pytest

from deepseek.citations.review.embedders import HashedEmbedder
from deepseek.citations.review.labels import read_labelled
from deepseek.citations.review.lines import read_checklist
from deepseek.citations.review.model import ReviewModel
from deepseek.recipes.compliance.example import write_example
from support.reviewed import Reviewed


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Reviewed:
    files = write_example(tmp_path_factory.mktemp("agreements"))
    checklist = read_checklist(files.checklist)
    labelled, warnings = read_labelled(files.documents, checklist)
    assert warnings == []
    return Reviewed(files, checklist, labelled, ReviewModel.fit(checklist, labelled[:-10], HashedEmbedder()))
