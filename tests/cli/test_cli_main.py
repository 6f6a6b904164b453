"""The shell's contract: exit codes, --json, and help that imports nothing heavy."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from deepseek import cli
from deepseek.errors import BusyError, CheckError, InputError, IntegrityError

SRC = Path(cli.__file__).parent


def run(*args: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deepseek", *args], capture_output=True, text=True, check=False, **more
    )


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    @click.option("--json", is_flag=True)
    def verb(json: bool) -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: verb)


def test_every_verb_of_the_table_is_a_file_with_help_and_an_example() -> None:
    for verb in cli.VERBS:
        command = importlib.import_module(f"deepseek.cli.{verb}").command
        assert isinstance(command, click.Command), verb
        text = command.get_help(click.Context(command, info_name=f"deepseek {verb}"))
        assert f"deepseek {verb}" in text.split("Options:")[1], f"{verb} has no example"
        assert "--json" in text, f"{verb} does not take --json"
        assert all(option.help for option in command.params if isinstance(option, click.Option)), verb


def test_every_file_with_a_command_is_in_the_table() -> None:
    files = [*SRC.glob("*.py"), *SRC.glob("*/__init__.py")]
    modules = {
        path.stem if path.parent == SRC else path.parent.name for path in files if "\ndef command(" in path.read_text()
    }
    assert modules == set(cli.VERBS)


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (InputError("column 'age' is missing", expected="age, income", fix="add it"), 2, "bad_input"),
        (CheckError("recall is 0.2"), 3, "check_failed"),
        (IntegrityError("model.onnx was changed"), 3, "integrity"),
        (BusyError("the queue is full"), 3, "overloaded"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "out/bundle"), 2, "bad_input"),
    ],
)
def test_an_error_is_an_exit_code_a_message_and_one_json_object(monkeypatch, capsys, error, code, name) -> None:
    raising(monkeypatch, error)
    assert cli.main(["ship", "--json"]) == code
    out, err = capsys.readouterr()
    said = json.loads(out)["error"]
    assert set(said) == {"code", "message", "expected", "fix"}
    assert said["code"] == name
    assert said["message"] in err
    assert "Traceback" not in err


def test_without_json_nothing_is_printed_on_stdout_when_a_verb_fails(monkeypatch, capsys) -> None:
    raising(monkeypatch, InputError("column 'age' is missing", expected="age, income", fix="add it"))
    assert cli.main(["ship"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: column 'age' is missing\n  expected: age, income\n  to mend it: add it\n"


@pytest.mark.parametrize(
    "args", [["shp"], ["ship", "--no-such-option"], ["ship", "--seed", "x"], ["ship"], ["predict"]]
)
def test_bad_usage_is_exit_code_2_with_a_way_on(args: list[str], capsys) -> None:
    assert cli.main(args) == 2
    assert "--help" in capsys.readouterr().err


def test_an_unknown_verb_names_the_near_one(capsys) -> None:
    assert cli.main(["exlpain"]) == 2
    assert "Did you mean 'explain'?" in capsys.readouterr().err


def test_a_bug_is_one_line_and_exit_code_1_and_the_traceback_is_on_demand(tmp_path: Path) -> None:
    script = (
        "import sys; from deepseek import cli; cli.LazyGroup.get_command = lambda *_: 1 / 0; "
        "sys.exit(cli.main(['ship']))"
    )
    quiet = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert quiet.returncode == 1
    assert "ZeroDivisionError" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert cli.TRACEBACK in quiet.stderr
    env = os.environ | {cli.TRACEBACK: "1"}
    loud = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=env)
    assert loud.returncode == 1
    assert "Traceback" in loud.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    verb = f"{sys.executable} -m deepseek doctor --json"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {verb} | true"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_version_and_help_answer(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in cli.VERBS)


def test_python_dash_m_is_the_same_program() -> None:
    assert run("--version").stdout.startswith("deepseek, version ")
