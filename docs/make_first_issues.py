"""Makes docs/first-issues.md: what the log says was left undone or unmeasured, as things that somebody new can take.

    python docs/make_first_issues.py

The first sentence after each **Not done** or **Not measured** of docs/log.md is cut at its semicolons. What repeats an
earlier one, is a fragment, or tells a figure (the story behind, not a task) is left out. The newest stand first.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
LOG, PAGE = DOCS / "log.md", DOCS / "first-issues.md"
KINDS = {"Not done": "To build", "Not measured": "To measure"}
#: What tells a story and is no task: a figure with its unit, or a sentence about the sentence before.
STORY = re.compile(
    r"\d ?(?:%|ms\b|us\b|µs|MB\b|s\b)|\d \(|\d / \d|^(?:But|The machine|The bars) |in its record|not reached"
)
PASSAGE = re.compile(r"\*\*(Not done|Not measured)\b[^*]*\*\*(.+?)(?=\*\*|\n\n|\Z)", re.DOTALL)
#: Characters of an entry: below it is a fragment, above it a story.
SHORTEST, LONGEST = 18, 240
HEAD = """# Good first issues

Made by `docs/make_first_issues.py` from [the log](log.md): what was left undone or unmeasured, the newest first. The
log is a diary, so look whether an entry is done since; then open an issue that names it, and say how you would test it.
What comes next for those who know the project stands in [the roadmap](roadmap.md); how to work on it in
[Contributing](../CONTRIBUTING.md).
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to do, and the section of the log that it was left in."""

    kind: str  # of KINDS
    text: str
    section: str


def entries(log: str) -> list[Entry]:
    """What a log leaves undone, in its order.

    >>> [each.text for each in entries("## 2026-11-29: drift\\n\\n**Not done:** a gauge of all drifts. MMD is not.\\n")]
    ['A gauge of all drifts']
    """
    by_task: dict[str, Entry] = {}
    for section in re.split(r"^## ", log, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        for kind, passage in PASSAGE.findall(body):
            text = re.sub(r"^,? ?for want of [^:]*:", "", " ".join(passage.split()).lstrip(":. "))
            sentence = re.split(r"(?<=[\w)`])[.](?= |$)", text)[0]
            for words in map(str.strip, re.split(r";(?![^()]*\))", sentence)):
                if SHORTEST <= len(words) <= LONGEST and not STORY.search(words):
                    task = words[0].upper() + words[1:]
                    by_task.setdefault(task, Entry(kind, task, title))
    return list(by_task.values())


def anchor(heading: str) -> str:
    """As GitHub and the site make it."""
    kept = "".join(sign for sign in heading.lower() if sign in " -_" or unicodedata.category(sign)[0] in "LN")
    return kept.replace(" ", "-")


def page(log: str) -> str:
    """The page as Markdown."""
    listed = entries(log)[::-1]
    parts = [HEAD]
    for kind, title in KINDS.items():
        rows = [
            f"- {entry.text} ([{entry.section.partition(': ')[2]}](log.md#{anchor(entry.section)}))"
            for entry in listed
            if entry.kind == kind
        ]
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(LOG.read_text("utf-8")), encoding="utf-8")
