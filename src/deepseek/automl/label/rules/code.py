"""Rules as functions of the user's, run in a process of their own and only on request, for they are code.

    def rule_refund(row):                 # row: the columns of an item by name
        return "refund" if "refund" in row["text"] else None

Each function has a process and a time of its own: one that raises abstains on that row and is counted, one that loops
is ended and named, one that answers otherwise when asked again is refused.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deepseek.automl.label.rules.definition import RuleVotes
from deepseek.contracts import Record
from deepseek.errors import InputError
from deepseek.files import read_bounded

PREFIX = "rule_"
MAX_FILE_BYTES = 2**20
TIME_S = 120.0  # of one function, for all rows
MAX_CHECKED_TWICE = 200  # rows that a function is asked about again
#: Runs in the child: reads rows as lines of JSON, writes answers as lines of JSON. The user's prints go to stderr.
CHILD = """
import importlib.util, json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
path, name, again = sys.argv[1:]
spec = importlib.util.spec_from_file_location("rules_of_user", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
work = getattr(module, name)
def ask(row):
    try:
        answer = work(dict(row))
    except (Exception, SystemExit) as error:
        return {"raised": f"{type(error).__name__}: {error}"[:200]}
    if answer is None or isinstance(answer, str):
        return {"label": answer}
    return {"raised": f"returned {type(answer).__name__}"}
rows = [json.loads(line) for line in sys.stdin]
answers = [ask(row) for row in rows]
differ = [place for place in range(min(int(again), len(rows))) if ask(rows[place]) != answers[place]]
json.dump({"answers": answers, "differ": differ}, out)
out.flush()
"""


def find_functions(path: Path) -> tuple[str, ...]:
    """The names of the rules in a file, which is read and not run. InputError where there is none."""
    text = read_bounded(path, MAX_FILE_BYTES, what="a file of Python", smaller="split it").decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise InputError(
            f"{path.name} is no Python: {error}", expected="functions rule_NAME(row)", fix="mend it"
        ) from error
    names = tuple(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIX))
    if not names:
        raise InputError(
            f"{path.name} has no function {PREFIX}NAME", expected=f"def {PREFIX}refund(row): ...", fix="name them so"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path.name} has {twice} twice", expected="names of their own", fix="rename one")
    return names


def run_function(path: Path, name: str, records: Sequence[Record], time_s: float = TIME_S) -> RuleVotes:
    """Ask one function about each row. InputError where it does not end, where the file cannot be run, and where it
    disagrees with itself."""
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    command = [sys.executable, "-I", "-c", CHILD, str(path.resolve()), name, str(MAX_CHECKED_TWICE)]
    try:
        done = subprocess.run(
            command, input=lines.encode("utf-8", "replace"), capture_output=True, timeout=time_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{name} has not ended after {time_s:g} s on {len(records):,} rows", expected="a function that ends",
            fix="look for a loop, or leave it out",
        ) from error  # fmt: skip
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it has ended"]
        raise InputError(
            f"{path.name} cannot be run: {last[0][:300]}", expected="a file that can be imported", fix="mend it"
        )
    try:
        document = json.loads(done.stdout)
    except ValueError as error:  # the function has ended the process, by os._exit() or so
        raise InputError(
            f"{name} has ended its process before it answered", expected="a function that returns",
            fix="return None instead of leaving the program",
        ) from error  # fmt: skip
    if document["differ"]:
        raise InputError(
            f"{name} answers row {document['differ'][0] + 1} otherwise when it is asked again",
            expected="the same answer to the same row", fix="leave chance and clocks out of it",
        )  # fmt: skip
    errors = [answer["raised"] for answer in document["answers"] if "raised" in answer]
    labels = tuple(answer.get("label") for answer in document["answers"])
    return RuleVotes(name, labels, len(errors), errors[0] if errors else "")
