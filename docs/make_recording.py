"""Records a session in a terminal as an animated drawing: `python docs/make_recording.py [--work DIR]`.

The commands are really run, in a pseudo terminal, and their output is kept with the time of each line. Rich draws the
lines; styles of CSS let each appear when it came. What took longer than MOST_WAIT_S is shortened to that, which the
last line says, so that the whole takes half a minute.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("pictures") / "recording.svg"
COMMANDS = (
    "deepseek ship --example cancer --trials 2 --out cancer",
    "deepseek verify cancer",
    "deepseek inspect cancer",
)
WIDTH = 96
MOST_WAIT_S, TYPING_S, READING_S = 1.2, 1.0, 4.0
MOST_LINES = 22  # of one command; the rest is cut and said


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the terminal, with its colors, and when it came."""

    text: str
    at_s: float


def run(command: str, folder: Path) -> list[Line]:
    """What a command writes into a terminal. A line that is written over counts as it was last."""
    begin = time.monotonic()
    parent, child = pty.openpty()
    program = [sys.executable, "-m", *command.split()]
    env = os.environ | {"COLUMNS": str(WIDTH), "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(program, cwd=folder, stdin=child, stdout=child, stderr=child, env=env)
    os.close(child)
    pending, lines = "", []
    while True:
        try:
            data = os.read(parent, 65_536)
        except OSError:  # Linux: the last process has closed the terminal
            break
        if not data:
            break
        *whole, pending = (pending + data.decode("utf-8", "replace")).replace("\r\n", "\n").split("\n")
        lines += [Line(last_written(text), time.monotonic() - begin) for text in whole]
    os.close(parent)
    if process.wait():
        sys.exit(f"error: {command} failed:\n" + "\n".join(line.text for line in lines))
    return [line for line in lines if line.text.strip()]


def last_written(text: str) -> str:
    """A line without what was written over, and without moves of the cursor.

    >>> last_written("  0%\\r 50%\\r\\x1b[2K\\x1b[1mdone\\x1b[0m")
    '\\x1b[1mdone\\x1b[0m'
    """
    return re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]", "", text.rsplit("\r", 1)[-1])


def timeline(sessions: list[tuple[str, list[Line]]]) -> list[tuple[Text, float]]:
    """Every line with the second at which it appears, waiting times shortened."""
    shown, now = [], 0.5
    for command, lines in sessions:
        shown.append((Text.assemble(("$ ", "bold green"), (command, "bold")), now))
        now, before = now + TYPING_S, 0.0
        for line in lines[:MOST_LINES]:
            now += min(MOST_WAIT_S, line.at_s - before)
            before = line.at_s
            shown.append((Text.from_ansi(line.text), now))
        if len(lines) > MOST_LINES:
            shown.append((Text(f"... {len(lines) - MOST_LINES} more lines", "dim"), now))
        shown.append((Text(""), now))
        now += READING_S
    shown.append((Text("(waiting times are shortened)", "dim"), now))
    return shown


def draw(shown: list[tuple[Text, float]]) -> str:
    """The terminal as SVG: line N appears at its second, and stays."""
    console = Console(width=WIDTH, record=True, file=StringIO(), force_terminal=True, highlight=False)
    for text, _ in shown:
        console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
    svg = console.export_svg(title="deepseek", clear=True, unique_id="deepseek")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts of another host
    rules = ["@keyframes appear{from{opacity:0}to{opacity:1}}"]
    for number, (_, at_s) in enumerate(shown):
        part = f'clip-path="url(#deepseek-line-{number})"'
        svg = svg.replace(part, f'{part} data-line="{number}"')
        rules.append(f'[data-line="{number}"]{{opacity:0;animation:appear .1s {at_s:.1f}s forwards}}')
    rules.append("@media (prefers-reduced-motion:reduce){[data-line]{opacity:1;animation:none}}")
    return svg.replace("<style>", f"<style>{''.join(rules)}", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a session in a terminal as an animated drawing.")
    parser.add_argument("--work", type=Path, help="folder for the bundle (default: one that is removed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sessions = [(command, run(command, folder)) for command in COMMANDS]
    PICTURE.write_text(draw(timeline(sessions)), encoding="utf-8")
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
