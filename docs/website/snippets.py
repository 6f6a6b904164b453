"""The code on a page: each block in its order, and what a comment before it says of how it is run.

    <!-- run by: tests/test_docs.py::test_the_python_guide_runs_as_it_is_written -->
    <!-- not run: needs two wheels of weights, 250 MB -->

A block of Python without such a comment is run by tests/docs/test_snippets.py, after the page's other ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = re.compile(r"^(?:<!-- (run by|not run): (.+?) -->\n\n?)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code of a page."""

    language: str  # python, bash, ...; empty where the page says none
    body: str
    run_by: str = ""  # the test that runs it: FILE::NAME
    not_run: str = ""  # the reason


def blocks(text: str) -> list[Block]:
    """The blocks of a page of Markdown that stand between fences.

    >>> blocks("<!-- not run: too long -->\\n```python\\nx = 1\\n```\\n")
    [Block(language='python', body='x = 1\\n', run_by='', not_run='too long')]
    """
    return [
        Block(language, body, reason if kind == "run by" else "", reason if kind == "not run" else "")
        for kind, reason, language, body in BLOCK.findall(text)
    ]


def as_script(parts: list[Block]) -> str:
    """Blocks of Python and bash as one script for bash that stops at the first error, and its servers with it."""
    head = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    return head + "".join(
        f"python <<'PYTHON'\n{part.body}PYTHON\n" if part.language == "python" else part.body for part in parts
    )
