"""`import deepseek` forbids the libraries below it to report to their makers, whatever the environment says."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import deepseek
from deepseek.telemetry import OPT_OUT_VARIABLES, REPORTERS

SRC = Path(deepseek.__file__).parent
NAMES = list(OPT_OUT_VARIABLES)
SAY = f"import json, os, deepseek; print(json.dumps({{name: os.environ.get(name) for name in {NAMES}}}))"
IN_A_CHILD = "import deepseek, subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
CHILD_SAYS = SAY.replace("deepseek", "sys")


def python(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own, whose environment has none of the variables but those of `environ`."""
    kept = {name: value for name, value in os.environ.items() if name not in OPT_OUT_VARIABLES}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *words], env={**kept, "PYTHONPATH": path, **(environ or {})}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize("outside", [{}, dict.fromkeys(OPT_OUT_VARIABLES, "0"), dict.fromkeys(OPT_OUT_VARIABLES, "")])
def test_what_the_environment_says_is_overruled(outside: dict[str, str]) -> None:
    assert json.loads(python("-c", SAY, environ=outside).stdout) == OPT_OUT_VARIABLES


def test_child_processes_inherit_it() -> None:
    assert json.loads(python("-c", IN_A_CHILD, CHILD_SAYS).stdout) == OPT_OUT_VARIABLES


def test_the_sender_of_openvinos_reports_cannot_be_imported_by_what_would_use_it() -> None:
    said = python("-c", "import deepseek\ntry: import openvino_telemetry\nexcept ImportError: print('absent')").stdout
    assert said == "absent\n"


@pytest.mark.parametrize("name", sorted(REPORTERS))
def test_a_library_that_was_imported_before_is_warned_of(name: str) -> None:
    before = f"import sys, types; sys.modules[{name!r}] = types.ModuleType({name!r}); import deepseek"
    said = python("-c", before).stderr
    assert f"RuntimeWarning: {name} was imported before deepseek" in said
    assert f"set {REPORTERS[name]}=1" in said
    assert python("-c", before, environ={REPORTERS[name]: "1"}).stderr == ""
    assert python("-c", "import deepseek").stderr == ""


def test_models_and_tokenizers_are_opened_from_folders_only() -> None:
    """transformers would look on the hub for what a folder lacks."""
    num_calls = 0
    texts = {path: path.read_text("utf-8") for path in SRC.rglob("*.py")}
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)) if ".from_pretrained" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                num_calls += 1
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                is_local = words.get("local_files_only") == "True" or words.get(None) == "SAFE_OPTIONS"
                assert is_local, f"{path}:{node.lineno}"
    assert num_calls > 5
