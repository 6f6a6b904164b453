"""Files of which the Makefile's runs need nothing are not imported (conftest.py): no test may be lost by that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import NOT_SLOW, ONLY_SLOW, ROOT


def collected(marks: str) -> set[str]:
    """The tests that a run with `-m marks` chooses."""
    words = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", marks]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if "::" in line}


@pytest.mark.slow
@pytest.mark.parametrize("marks", [NOT_SLOW, ONLY_SLOW])
def test_a_run_has_all_tests_that_its_marks_choose(marks: str) -> None:
    all_files_imported = f"({marks})"  # conftest.py does not know these marks
    assert collected(marks) == collected(all_files_imported)
