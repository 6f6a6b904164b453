"""Regular expressions of rules, held against texts in a process of their own, in a time of their own.

    search_rows([Search("order number", r"order [0-9]+", ("text",))], records, keys)    # [[True, False, ...]]

Python's `re` goes back and tries again: `(a+)+$` takes longer than anybody waits on a text of forty letters. A text has
TEXT_CPU_S seconds of the processor and an expression RULE_CPU_S for all of them; whatever needs more is named, with the
row. Seconds of the processor, not of the clock: a busy machine ends nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deepseek.contracts import Record
from deepseek.errors import ComputeError, InputError

TEXT_CPU_S = 2.0
RULE_CPU_S = 120.0
MAX_TEXT = 20_000  # characters of a text that are looked at
#: Runs in the child: reads searches and rows as lines of JSON, writes one list of hits for each search. The timer's
#: signal is looked at by `re` itself, every few thousand steps.
CHILD = """
import json, re, signal, sys, time, warnings
warnings.simplefilter("ignore")
class Late(Exception):
    pass
def end(*_):
    raise Late
signal.signal(signal.SIGPROF, end)
text_s, rule_s = map(float, sys.argv[1:])
searches = json.loads(sys.stdin.readline())
rows = [json.loads(line) for line in sys.stdin]
hits, late = [], None
for search in searches:
    find, columns, place, own = re.compile(search["regex"], re.I).search, search["columns"], 0, []
    started = time.process_time()
    try:
        for place, row in enumerate(rows):
            signal.setitimer(signal.ITIMER_PROF, max(min(text_s, rule_s - (time.process_time() - started)), 1e-6))
            own.append(any(find(row[column]) for column in columns))
        signal.setitimer(signal.ITIMER_PROF, 0)
    except Late:
        late = {"name": search["name"], "row": place}
        break
    hits.append(own)
json.dump({"hits": hits, "late": late}, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Search:
    """One expression, and the columns of texts that it is held against."""

    name: str  # of the rule
    regex: str  # that compiles
    columns: tuple[str, ...]


def search_rows(
    searches: Sequence[Search], records: Sequence[Record], keys: Sequence[str], *, text_cpu_s: float = TEXT_CPU_S,
    rule_cpu_s: float = RULE_CPU_S,
) -> list[list[bool]]:  # fmt: skip
    """Of each search whether it hits each of N rows; `keys` (N,) are their names in errors. InputError for one that
    does not end in its time."""
    if not searches:
        return []
    columns = sorted({column for search in searches for column in search.columns})
    lines = [json.dumps([asdict(search) for search in searches])]
    lines += [json.dumps({column: text_of(record[column]) for column in columns}) for record in records]
    command = [sys.executable, "-I", "-c", CHILD, str(text_cpu_s), str(rule_cpu_s)]
    done = subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it was killed"]
        raise ComputeError(
            f"regular expressions could not be held against the rows: {last[0][:300]}",
            expected="a process with enough memory", fix="take fewer rows, or report it",
        )  # fmt: skip
    document = json.loads(done.stdout)
    if (late := document["late"]) is not None:
        raise InputError(
            f"the regular expression of {late['name']!r} does not end on {keys[late['row']]}",
            expected=f"at most {text_cpu_s:g} CPU s on a text and {rule_cpu_s:g} on all of them",
            fix="look for a repetition within a repetition, such as (a+)+, or use keywords",
        )  # fmt: skip
    hits: list[list[bool]] = document["hits"]
    return hits


def text_of(value: object) -> str:
    """A cell as it is searched."""
    return "" if value is None else str(value)[:MAX_TEXT]
