"""Lines of a JSONL file, one a run, so that a benchmark that was stopped goes on and a rival is not run twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from result import ROOT

Line = dict[str, Any]


def source_digest(part: str = "") -> str:
    """Of the package, or of its room `part`: ours is run again after a change of it."""
    files = sorted((ROOT / "src" / "deepseek" / part).rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


class Runs:
    """The lines of a file that is only appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        if path.exists():
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def find(self, key: Line) -> Line | None:
        """The last line with these values."""
        return next((line for line in reversed(self.lines) if key.items() <= line.items()), None)

    def add(self, line: Line) -> None:
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
