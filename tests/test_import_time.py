"""`import deepseek` and `deepseek --help` load nothing heavy and answer at once."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence

HEAVY = (
    "numpy",
    "torch",
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "xgboost",
    "onnx",
    "onnxruntime",
    "optuna",
    "starlette",
    "rich",
)
MOST_TIMES = 8  # as long as Python itself takes to begin, which is 40 ms where the limit comes to .3 s


def loaded_after(code: str) -> set[str]:
    script = f"import sys, json; {code}; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def least_cpu_s(*programs: Sequence[str], num_rounds: int = 5) -> list[float]:
    """CPU seconds of each program, the least of several runs in turn: a clock would count what a busy machine adds."""
    took: list[list[float]] = [[] for _ in programs]
    for _ in range(num_rounds):
        for words, seconds in zip(programs, took, strict=True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return [min(seconds) for seconds in took]


def test_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import deepseek") & set(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_after("from deepseek.cli import main; main(['--help'])") & set(HEAVY)


def test_the_help_of_every_verb_loads_no_library() -> None:
    from deepseek.cli import VERBS

    calls = "; ".join(f"main(['{verb}', '--help'])" for verb in VERBS)
    assert not loaded_after(f"from deepseek.cli import main; {calls}") & (set(HEAVY) - {"numpy"})


def test_the_package_imports_and_answers_help_within_the_limit() -> None:
    python, package, help_text = least_cpu_s(
        ["-c", "import json, pathlib"], ["-c", "import deepseek"], ["-m", "deepseek", "--help"]
    )
    assert package < MOST_TIMES * python
    assert help_text < MOST_TIMES * python


def test_the_lazy_names_are_listed_and_a_wrong_one_says_what_there_is() -> None:
    import pytest

    import deepseek

    assert set(deepseek.__all__) <= set(dir(deepseek))
    with pytest.raises(AttributeError, match="ship"):
        _ = deepseek.no_such_name
