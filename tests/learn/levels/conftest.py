"""The labs of the level that a file is of, and what three learners and wrong solutions make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("learn.levels.contract")  # so that a failure shows both sides

from learn.levels.contract import LABS, LEARNERS  # noqa: E402
from learn.solutions.tools import solutions_of  # noqa: E402


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name, lab in LABS.items() if lab.table.level == metafunc.module.LEVEL]
    arguments = metafunc.fixturenames
    if "wrong" in arguments:
        pairs = [(name, wrong) for name in names for wrong in solutions_of(name).WRONG]
        metafunc.parametrize(("name", "wrong"), pairs, ids=["-".join(pair) for pair in pairs])
    elif "name" in arguments:
        metafunc.parametrize("name", names)
    if "learner" in arguments:
        metafunc.parametrize("learner", LEARNERS, ids=["first", "second", "third"])


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labs")
