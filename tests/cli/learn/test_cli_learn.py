"""`deepseek learn`: from the first lab to its grade, in the shell."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from deepseek.cli import cli, main
from deepseek.cli.learn import SUBCOMMANDS
from deepseek.errors import DeepseekError
from deepseek.learn.definition.catalog import read_catalog
from deepseek.learn.definition.lab import TASKS
from learn.conftest import EXAMPLES, solve


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("DEEPSEEK_LABS", str(EXAMPLES))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["learn", *arguments])
    return code, capsys.readouterr().out


@pytest.mark.slow
def test_a_lab_from_start_to_grade(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "start", "counting")
    assert (code, "then: cd counting" in out, "no extra" in out) == (0, True, True)
    code, out = run(capsys, "check", "counting")
    assert code == 3
    assert "answer.json is not there yet" in out
    assert "hint: Sum up." in out
    assert "Traceback" not in out
    code, out = run(capsys, "hints", "counting", "--lang", "zh")
    assert "所有行。" in out
    solve(tmp_path / "counting")
    code, out = run(capsys, "check", "counting", "--json")
    grade = json.loads(out)
    assert (code, grade["passed"], grade["score"]) == (0, True, 100)
    code, out = run(capsys, "--json")
    assert {"counting": "passed"}.items() <= {lab["lab"]: lab["status"] for lab in json.loads(out)["labs"]}.items()
    code, out = run(capsys, "matrix", "--json", "--html", "skills.html")
    cells = {f"{cell['module']}.{cell['layer']}": cell for cell in json.loads(out)["cells"]}
    assert cells["data.expert"]["passed"] == ["counting"]
    assert "技能矩阵" in (tmp_path / "skills.html").read_text("utf-8")


def test_a_lab_that_is_not_there_and_a_folder_that_is_none_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "start", "countin"]) == 2
    assert "Did you mean 'counting'" in capsys.readouterr().err
    assert main(["learn", "check"]) == 2
    assert "is no folder of a lab" in capsys.readouterr().err
    assert main(["learn", "check", "counting"]) == 2
    assert "was not begun yet" in capsys.readouterr().err


def test_a_level_that_is_not_passed_is_not_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "school"]) == 0
    capsys.readouterr()
    assert main(["learn", "certify", "expert", "--name", "Ann", "--key", "school", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "check_failed"
    assert not (tmp_path / "expert.json").exists()


def test_labs_become_pages_of_a_documentation_in_both_languages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(capsys, "export", "--docs", "pages", "--json")
    assert code == 0
    names = json.loads(out)["files"]
    assert {"README.md", "counting.md", "zh/README.md", "zh/counting.md"} <= set(names)
    assert "| 40 | answer.json 含 numbers.csv 的总和 |" in (tmp_path / "pages/zh/counting.md").read_text("utf-8")


def test_a_folder_of_ones_own_is_held_to_what_a_lab_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "labs", "--test", str(EXAMPLES / "counting"))
    assert (code, out) == (0, "counting: a lab; its data can be made\n")


def test_verify_knows_a_certificate_that_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ann.json").write_text('{"type": ["VerifiableCredential"]}')
    assert main(["verify", "ann.json", "--json"]) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "has no proof of the kind eddsa-jcs-2022" in problem


def test_a_reviewer_signs_a_rubric_and_verify_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is graded here: the certificate grades again."""
    lab = read_catalog(()).lab("architecture_review")
    folder = tmp_path / "work"
    (folder / "plugin").mkdir(parents=True)
    (folder / ".lab.json").write_text(json.dumps({"lab": lab.id, "owner": "0" * 16, "data": []}))
    for name in ("plugin/pyproject.toml", "benchmark.py", "benchmark.json", "design.md"):
        (folder / name).write_text(name)
    for name in ("ann", "bo"):
        assert main(["keygen", name]) == 0
    shutil.copyfile("ann.pub", folder / "author.pub")
    rubric = (lab.folder / "start" / "rubric.toml").read_text("utf-8")
    filled = rubric.replace('author = ""', 'author = "Ann Li"').replace("points = 0", "points = 3")
    (tmp_path / "rubric.toml").write_text(filled.replace('reason = ""', 'reason = "I have read and tried it."'))
    capsys.readouterr()
    sign = ("certify", "expert", "--name", "Bo Wu", "--key", "bo", "--rubric", "rubric.toml")
    code, out = run(capsys, *sign, "--folder", "work", "--json")
    assert (code, json.loads(out)["points"]["price"]) == (0, 3)
    assert main(["verify", "review.json", "--key", "bo.pub"]) == 0
    assert "of architecture_review by Ann Li, reviewed by Bo Wu); signed by the key you gave" in capsys.readouterr().out
    assert main(["learn", *sign]) == 2
    assert main(["verify", "review.json", "--key", "ann.pub"]) == 3


def test_each_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for name in SUBCOMMANDS:
        assert main(["learn", name, "--help"]) == 0
        assert f"deepseek learn {name}" in capsys.readouterr().out


def test_the_commands_of_each_task_are_ones_that_the_program_takes() -> None:
    """Verbs, their options and choices; a task may name an option without its value, and files that are not there."""
    commands = {
        command
        for lab in read_catalog(()).labs
        for language in TASKS
        for command in re.findall(r"(?:`|^    )(deepseek \w[^`\n]*)", lab.task(language), re.MULTILINE)
    }
    assert len(commands) > 30
    assert [problem for command in sorted(commands) if (problem := problem_of(command))] == []


@pytest.mark.parametrize("line", ["deepseek data a.csv --target b", "deepseek ship --targets b", "deepseek shop"])
def test_a_command_that_the_program_does_not_take_is_told(line: str) -> None:
    assert problem_of(line).startswith(line)


def problem_of(line: str) -> str:
    """Why the program would not take a command, by its own parser; empty where it would."""
    command: click.Command = cli
    context, words = click.Context(command, info_name="deepseek"), shlex.split(line)[1:]
    try:
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            verb = command.get_command(context, words[0])
            if verb is None:
                return f"{line}: there is no {words[0]}"
            command, words = verb, words[1:]
            context = click.Context(command, info_name=command.name, parent=context)
        if words or not isinstance(command, click.Group):  # a group may be named alone
            command.make_context(command.name, list(words), parent=context.parent)
    except (click.exceptions.Exit, click.MissingParameter, click.BadOptionUsage, DeepseekError):
        return ""
    except click.BadParameter as error:
        return f"{line}: {error.message}" if error.param and isinstance(error.param.type, click.Choice) else ""
    except click.UsageError as error:
        return f"{line}: {error.format_message()}"
    return ""
