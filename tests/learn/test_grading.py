"""What a learner's code may not do is named in words, whatever it catches; chance gets a second run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from deepseek.errors import CheckError, InputError
from deepseek.learn.definition.lab import Lab, read_lab
from deepseek.learn.grading import grade as grading
from deepseek.learn.grading.grade import grade_folder, make_data
from deepseek.learn.grading.kit import Mistake
from deepseek.learn.grading.landlock import restrict_writes
from deepseek.learn.grading.runner import RunPlace, child_environment, run_solution
from learn.conftest import EXAMPLES, solve


@pytest.fixture
def work(begun: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    shutil.copytree(begun, folder)
    return folder


def mistake_of(work: Path, tmp_path: Path, body: str, *, top: str = "", seconds: float = 20.0) -> Mistake:
    """The mistake of a function with this body, called once with three numbers."""
    solve(work, body, top=top)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(Mistake) as caught:
        run_solution(RunPlace(work, scratch, 256, seconds), "solution.py", "total", [[[1, 2, 3]]])
    return caught.value


def test_a_good_solution_gets_all_points_and_the_folder_stays_as_it_was(work: Path, counting: Lab, seed: int) -> None:
    solve(work)
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    grade = grade_folder(counting, work, seed, fresh_seed=2)
    assert (grade.score, grade.is_passed) == (100, True)
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_check_that_depends_on_chance_is_run_again_before_it_fails(work: Path, counting: Lab, seed: int) -> None:
    """It holds at even seeds of a grading; the two runs are an odd and an even one."""
    solve(work)
    grade = grade_folder(counting, work, seed, fresh_seed=3)
    assert {check.id: check.num_runs for check in grade.checks}["chance"] == 2
    assert grade.score == 100


def test_what_fails_is_named_and_an_essential_check_cannot_be_made_up_for(work: Path, counting: Lab, seed: int) -> None:
    solve(work, "return 6")
    grade = grade_folder(counting, work, seed, fresh_seed=2)
    assert [check.id for check in grade.checks if not check.is_passed] == ["total", "empty"]
    failed = grade.first_failed
    assert failed is not None
    assert failed.mistake is not None
    assert "and 6 is given" in failed.mistake.en
    assert not grade.is_passed


@pytest.mark.slow
def test_data_that_was_changed_is_told_and_the_grading_takes_what_it_was(work: Path, counting: Lab, seed: int) -> None:
    solve(work)
    (work / "numbers.csv").write_text("number\n1\n")
    grade = grade_folder(counting, work, seed, fresh_seed=2)
    assert grade.changed_data == ("numbers.csv",)
    assert grade.score == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("raise ValueError('no numbers')", "solution_raised", {"line": "3", "error": "ValueError: no numbers"}),
        ("import os; os._exit(0)", "solution_exited", {"code": "0"}),
        ("return object()", "solution_value", {"kind": "object"}),
        ("return [0] * (1 << 30)", "solution_memory", {"mb": "256"}),
        ("open('/tmp/outside.txt', 'w')", "solution_writes", {"path": "/tmp/outside.txt"}),
        ("import socket; socket.create_connection(('192.0.2.1', 80))", "solution_network", {"address": "192.0.2.1:80"}),
        ("print('-----BEGIN PRIVATE KEY-----'); return 6", "solution_secret", {"kind": "private key"}),
    ],
    ids=["raises", "exits", "odd value", "memory", "writes outside", "network", "secret"],
)  # fmt: skip
def test_what_no_solution_may_do_is_named(
    work: Path, tmp_path: Path, body: str, code: str, words: dict[str, str]
) -> None:
    mistake = mistake_of(work, tmp_path, body)
    assert mistake.code == code
    assert words.items() <= mistake.values.items()
    assert not Path("/tmp/outside.txt").exists()


@pytest.mark.slow
def test_a_solution_that_never_ends_is_ended_with_all_that_it_has_started(work: Path, tmp_path: Path) -> None:
    body = (
        "import subprocess, time; open('pid', 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)"
    )
    mistake = mistake_of(work, tmp_path, body, seconds=0.5)
    assert (mistake.code, mistake.values["seconds"]) == ("solution_endless", "2.5")
    pid, end_s = int((work / "pid").read_text()), time.monotonic() + 20
    while is_running(pid) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not is_running(pid)


@pytest.mark.slow
def test_what_has_not_ended_once_is_not_waited_for_as_long_again(work: Path, tmp_path: Path, seed: int) -> None:
    lab = tmp_path / "endless_lab"
    shutil.copytree(EXAMPLES / "counting", lab)
    text = (lab / "lab.toml").read_text()
    (lab / "lab.toml").write_text(text.replace("seconds = 30", "seconds = 20"))
    solve(work, "while True: pass")
    grade = grade_folder(read_lab(lab), work, seed, fresh_seed=2)
    words = {check.id: check.mistake.en for check in grade.checks if check.code == "solution_endless" and check.mistake}
    assert "after 5 seconds" in words["total"]  # as the check says
    assert "after 2 seconds" in words["empty"]
    assert [check.id for check in grade.checks if check.is_passed] == ["answer", "chance", "read"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_catching_everything_hides_nothing(work: Path, tmp_path: Path) -> None:
    body = "\n    ".join(["try:", "    open('/tmp/outside.txt', 'a')", "except BaseException:", "    return 6"])
    assert mistake_of(work, tmp_path, body).code == "solution_writes"


def test_a_solution_reads_neither_the_home_nor_other_processes(work: Path, tmp_path: Path) -> None:
    """The environment of who has started it may hold keys."""
    mistake = mistake_of(work, tmp_path, f"return len(open('/proc/{os.getpid()}/environ').read())")
    assert (mistake.code, mistake.values["path"]) == ("solution_reads", f"/proc/{os.getpid()}/environ")


def test_no_key_of_the_environment_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHOOL_TOKEN", "0123456789abcdef")
    assert "SCHOOL_TOKEN" not in child_environment(tmp_path)


def test_the_kernel_refuses_writes_that_python_does_not_see(tmp_path: Path) -> None:
    """In a process of its own, for it cannot be taken back."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    pid = os.fork()
    if pid == 0:
        held = restrict_writes([inside])
        (inside / "a").write_text("a")
        try:
            outside.write_text("b")
        except PermissionError:
            os._exit(0 if held else 2)
        os._exit(1 if held else 0)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.slow
def test_checks_that_take_too_long_are_not_reached_and_the_lab_is_not_passed(
    work: Path, tmp_path: Path, seed: int
) -> None:
    """Beside a limit for all, the first checks may or may not be over."""
    lab = tmp_path / "slow_lab"
    shutil.copytree(EXAMPLES / "counting", lab)
    text = (lab / "lab.toml").read_text()
    (lab / "lab.toml").write_text(text.replace("seconds = 30", "seconds = 0.2"))
    (lab / "checks.py").write_text(
        (lab / "checks.py").read_text().replace('work.read_json("answer.json")\n', "__import__('time').sleep(600)\n")
    )
    solve(work)
    grade = grade_folder(read_lab(lab), work, seed, fresh_seed=2)
    assert [check.code for check in grade.checks][-1] == "not_reached"
    assert not grade.checks[-1].is_passed


@pytest.mark.slow
def test_checks_that_fail_themselves_are_not_the_learners_mistake(work: Path, tmp_path: Path, seed: int) -> None:
    lab = tmp_path / "broken_lab"
    shutil.copytree(EXAMPLES / "counting", lab)
    path = lab / "checks.py"
    path.write_text(path.read_text().replace('said = work.number("answer.json", "sum")', "said = 1 / 0"))
    solve(work)
    with pytest.raises(CheckError, match=r"have failed themselves.*ZeroDivisionError"):
        grade_folder(read_lab(lab), work, seed)


@pytest.mark.slow
def test_what_this_package_refuses_to_use_is_the_learners_mistake(work: Path, tmp_path: Path, seed: int) -> None:
    """As a bundle that takes other columns than those of the lab."""
    lab = tmp_path / "refusing_lab"
    shutil.copytree(EXAMPLES / "counting", lab)
    path = lab / "checks.py"
    raised = "from deepseek.errors import InputError; raise InputError('the data has no column age')"
    path.write_text(path.read_text().replace('work.read_json("answer.json")', raised))
    solve(work)
    check = grade_folder(read_lab(lab), work, seed, fresh_seed=2).checks[-1]
    assert check.mistake is not None
    assert check.mistake.en.endswith("cannot be used as the lab asks for it: the data has no column age")


@pytest.mark.slow
def test_a_link_out_of_the_folder_is_not_followed(work: Path, counting: Lab, seed: int) -> None:
    solve(work)
    (work / "answer.json").unlink()
    (work / "answer.json").symlink_to("/etc/hostname")
    grade = grade_folder(counting, work, seed, fresh_seed=2)
    assert [check.code for check in grade.checks if not check.is_passed] == ["link", "link"]


def test_a_folder_that_is_too_large_is_refused(
    work: Path, counting: Lab, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "MAX_SUBMITTED_BYTES", 10)
    with pytest.raises(InputError, match="holds more than"):
        grade_folder(counting, work, seed)


def test_data_follows_from_the_learner(counting: Lab, tmp_path: Path) -> None:
    texts = []
    for number, seed in enumerate((1, 2, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert make_data(counting, folder, seed) == ("numbers.csv",)
        texts.append((folder / "numbers.csv").read_text())
    assert texts[0] == texts[2] != texts[1]
