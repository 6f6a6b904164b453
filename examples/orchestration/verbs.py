"""A verb of deepseek as a function, for whatever starts tasks: its JSON, or an error that says what is wrong.

result = run_verb("ship", "loans.csv", "--target", "default", "--out", "loans-new", "--against", "loans")
check_not_worse(result)
replace_bundle("loans-new", "loans")
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

LIMIT_NOT_MET = 3  # the exit code of a stated limit or check that does not hold


class VerbError(RuntimeError):
    """A verb that failed. `code` is its exit code: trying again helps for none of them but 1."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run_verb(*words: str) -> Any:
    """The JSON object of `deepseek WORDS --json`. VerbError with the exit code and what it says is wrong."""
    command = [os.environ.get("DEEPSEEK", "deepseek"), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout or "{}")
    if done.returncode:
        problem = result.get("error", {}).get("message") or done.stderr.strip()[-500:] or "it wrote nothing"
        raise VerbError(f"deepseek {words[0]} ended with {done.returncode}: {problem}", done.returncode)
    return result


def check_not_worse(shipped: Any) -> str:
    """The digest of a bundle that `ship --against` made. VerbError where the older model is better by more than
    noise."""
    comparison = shipped["against"]["comparisons"][0]
    if comparison["verdict"] == "worse":
        raise VerbError(comparison["headline"]["en"], LIMIT_NOT_MET)
    return str(shipped["digest"])


def replace_bundle(new: str, current: str) -> None:
    """Put a copy of `new` in the place of `current`, which is never there in half: it is copied beside it before."""
    ahead, behind = (Path(current).with_name(f"{Path(current).name}.{word}") for word in ("next", "before"))
    for folder in (ahead, behind):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(new, ahead)
    Path(current).rename(behind)
    ahead.rename(current)
    shutil.rmtree(behind)
