"""Names that could lead out of the folder, or mean two things on two disks, are refused."""

from __future__ import annotations

import pytest

from deepseek.bundle.paths import MAX_FILES, path_problem, paths_problem


@pytest.mark.parametrize(
    "name",
    ["model.json", "weights/part-0.safetensors", "evidence/报告.json", "a b/c", ".hidden", "a..b", "é.json"],
)
def test_a_plain_relative_name_is_fine(name: str) -> None:
    assert path_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "../a", "a/../b", "a\\b", "c:a", "a\nb", "a\x00b",
        "a\u202eb", "e\u0301.json", "a.", "a ", " a", "a/ b", "bundle.json", "BUNDLE.SIG", "x" * 201, "a/" * 8 + "b",
        "\udcff",
    ],
)  # fmt: skip
def test_a_name_that_could_mean_another_place_is_refused_in_words_that_quote_it(name: str) -> None:
    problem = path_problem(name)
    assert problem is not None
    problem.encode()
    assert repr(name)[1:4] in problem


@pytest.mark.parametrize(
    "names",
    [
        ["a", "A"],
        ["straße", "STRASSE"],
        ["x/a", "X/b"],
        ["ﬁle", "file"],
        ["h", "ℌ"],
        ["K", "\u212a"],
        ["a", "a/b"],
        ["A/b", "a"],
    ],
)
def test_two_names_that_meet_on_some_disk_are_refused(names: list[str]) -> None:
    assert paths_problem(names)


def test_too_many_files_are_refused() -> None:
    assert paths_problem(str(i) for i in range(MAX_FILES)) is None
    assert paths_problem(str(i) for i in range(MAX_FILES + 1))
