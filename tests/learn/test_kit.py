"""What checks are written with: files are read with words for what is wrong, a bundle is served and asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work
from deepseek.learn.grading.runner import RunPlace, run_verb
from deepseek.learn.grading.serving import serve_bundle


@pytest.fixture
def work(tmp_path: Path) -> Work:
    folder = tmp_path / "submitted"
    folder.mkdir()
    return Work(folder, RunPlace(folder, tmp_path, 256, 20.0), 1, 2, None)


def mistake_of(ask: object) -> tuple[str, dict[str, str | Text]]:
    assert callable(ask)
    with pytest.raises(Mistake) as caught:
        ask()
    return caught.value.code, caught.value.values


def test_what_is_wrong_with_a_json_file_is_named(work: Work) -> None:
    (work.folder / "a.json").write_text('{"n": "3", "deep": {"x": 1.5, "nan": NaN}}')
    (work.folder / "b.json").write_text("[1]")
    assert work.number("a.json", "deep.x") == 1.5
    assert mistake_of(lambda: work.number("a.json", "n")) == ("no_number", {"name": "a.json", "key": "n", "value": "3"})
    assert mistake_of(lambda: work.number("a.json", "deep.nan"))[0] == "no_number"
    assert mistake_of(lambda: work.number("a.json", "deep.y")) == ("no_key", {"name": "a.json", "key": "deep.y"})
    assert mistake_of(lambda: work.read_json("b.json")) == ("no_json", {"name": "b.json", "problem": "it is a list"})
    assert mistake_of(lambda: work.read_json("c.json")) == ("missing_file", {"name": "c.json"})


def test_what_is_wrong_with_a_csv_file_is_named(work: Work) -> None:
    (work.folder / "a.csv").write_text("x,y\n1,2\n")
    (work.folder / "b.csv").write_text("x,y\n")
    assert work.read_csv("a.csv", "x") == [{"x": "1", "y": "2"}]
    assert mistake_of(lambda: work.read_csv("a.csv", "z")) == ("no_column", {"name": "a.csv", "column": "z"})
    assert mistake_of(lambda: work.read_csv("b.csv"))[0] == "no_csv"


def test_a_folder_that_is_no_bundle_is_named(work: Work) -> None:
    (work.folder / "model").mkdir()
    assert mistake_of(lambda: work.bundle("model"))[0] == "no_bundle"


def test_empty_cells_and_numbers_of_numpy_are_written_as_text(tmp_path: Path) -> None:
    data = DataFolder(tmp_path, 1)
    data.write_csv("a.csv", {"x": [1.5, float("nan"), None], "y": data.rng.integers(7, 8, 3)})
    assert (tmp_path / "a.csv").read_text() == "x,y\n1.5,7\n,7\n,7\n"
    assert data.files == ["a.csv"]


@pytest.mark.slow
def test_a_probe_runs_beside_the_code_and_mistakes_name_the_learners_file(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot pass between processes, as a class, is asked where it is. The home is the grader's, as when a folder
    is graded: nothing in it may be read."""
    monkeypatch.setenv("HOME", str(work.place.scratch / "home"))
    (work.place.scratch / "home").mkdir(exist_ok=True)
    (tmp_path / "probe.py").write_text("def count(learner, num):\n    return learner.Counter(num).total()\n")
    code = "class Counter:\n    def __init__(self, num):\n        self.num = num\n\n    def total(self):\n"
    (work.folder / "counter.py").write_text(f"{code}        return self.num + 1\n")
    assert work.probe(tmp_path / "probe.py", "counter.py", "count", [3], [4]) == [4, 5]
    assert not (work.folder / "probe.py").exists()
    (work.folder / "counter.py").write_text(f"{code}        return self.nothing\n")
    code, values = mistake_of(lambda: work.probe(tmp_path / "probe.py", "counter.py", "count", [3]))
    assert (code, values["file"], values["line"]) == ("solution_raised", "counter.py", "6")
    assert mistake_of(lambda: work.probe(tmp_path / "probe.py", "no.py", "count", [3]))[0] == "missing_file"


@pytest.mark.slow
def test_a_bundle_is_served_and_asked_and_verbs_answer(cancer_bundle: Path, tmp_path: Path) -> None:
    place = RunPlace(tmp_path, tmp_path, 256, 60.0)
    assert run_verb(place, "inspect", str(cancer_bundle))["task"] == "binary"
    code, values = mistake_of(lambda: run_verb(place, "inspect", "nothing"))
    assert (code, values["verb"]) == ("verb_failed", "inspect")
    with serve_bundle(cancer_bundle, place) as served:
        status, text = served.get(f"/v1/models/{served.model}/example")
        rows = json.loads(text)["instances"]
        assert (status, len(rows) > 0) == (200, True)
        status, answer = served.predict(rows)
        assert (status, len(answer["predictions"])) == (200, len(rows))
        assert served.predict([{"mean_radius": "broken"}])[0] == 422


RANKS = """
import pathlib, time

def meet(rank, num):
    pathlib.Path(f"{rank}.txt").write_text("here")
    while len(list(pathlib.Path(".").glob("*.txt"))) < num:
        time.sleep(0.01)
    return rank

def fail(rank):
    while rank == 0:
        time.sleep(0.01)
    raise ValueError("rank 1 has had enough")

def work(seconds):
    pathlib.Path("begun.log").write_text("1")
    time.sleep(seconds)
    return 1
"""


@pytest.mark.slow
def test_ranks_run_at_the_same_time_and_the_first_failure_ends_all(work: Work) -> None:
    (work.folder / "ranks.py").write_text(RANKS)
    assert work.call_ranks("ranks.py", "meet", [0, 2], [1, 2]) == [0, 1]
    code, values = mistake_of(lambda: work.call_ranks("ranks.py", "fail", [0], [1]))
    assert (code, values["error"]) == ("solution_raised", "ValueError: rank 1 has had enough")


@pytest.mark.slow
def test_a_function_is_killed_when_the_grader_says_so_and_not_when_it_has_ended(work: Work) -> None:
    (work.folder / "ranks.py").write_text(RANKS)
    assert work.kill("ranks.py", "work", 600, when=(work.folder / "begun.log").exists)
    assert not work.kill("ranks.py", "work", 0, when=lambda: False)
    assert mistake_of(lambda: work.kill("ranks.py", "fail", 1, when=lambda: False))[0] == "solution_raised"
