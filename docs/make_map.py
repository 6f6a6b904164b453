"""Draws the map in docs/architecture.md and its picture: `python docs/make_map.py`. tests/test_docs.py holds both."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from studio.rooms import draw

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "deepseek"
PAGE = Path(__file__).with_name("architecture.md")
PICTURE = Path(__file__).with_name("pictures") / "architecture.svg"
BEGIN, END = "<!-- map: begin -->\n", "<!-- map: end -->\n"


def first_line(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".:")


def statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """All statements below some, in functions and classes, too. Imports are among them; ast.walk would look at each
    expression as well, which takes ten times as long."""
    for node in body:
        if isinstance(node, ast.stmt):
            yield node
        for field in ("body", "handlers", "orelse", "finalbody", "cases"):
            below = getattr(node, field, None)
            if isinstance(below, list):
                yield from statements(below)


@cache
def rooms_used(room: Path) -> set[str]:
    """Which other rooms a room imports, in functions and for types, too."""
    found = set()
    for path in room.rglob("*.py"):
        for node in statements(ast.parse(path.read_text("utf-8")).body):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("deepseek."):
                other = node.module.split(".")[1]
                if (SRC / other).is_dir() and other != room.name:
                    found.add(other)
    return found


def map_text() -> str:
    """Rooms with their groups, and which rooms each imports."""
    lines = ["| Room | What it does | Imports |", "| --- | --- | --- |"]
    rooms = sorted(path for path in SRC.iterdir() if (path / "__init__.py").is_file())
    used = {room.name: rooms_used(room) for room in rooms}
    rooms.sort(key=lambda room: (len(_below(room.name, used)), room.name))
    for room in rooms:
        others = ", ".join(sorted(used[room.name])) or "none"
        lines.append(f"| `{room.name}` | {first_line(room / '__init__.py')} | {others} |")
    for room in rooms:
        groups = sorted(path for path in room.iterdir() if (path / "__init__.py").is_file())
        if groups:
            lines += ["", f"### {room.name}", ""]
            lines += [f"- `{group.name}/`: {first_line(group / '__init__.py')}" for group in groups]
            alone = sorted(path.stem for path in room.glob("*.py") if path.stem not in ("__init__", "__main__"))
            if alone:
                lines.append(f"- beside them: {', '.join(f'`{name}`' for name in alone)}")
    return "\n".join(lines) + "\n"


def _below(room: str, used: dict[str, set[str]]) -> set[str]:
    reached, waiting = set(), [room]
    while waiting:
        for other in used[waiting.pop()]:
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


def page() -> str:
    """The whole page: what is written by hand, with the map of today in its place."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return before + BEGIN + "\n" + map_text() + "\n" + END + rest.partition(END)[2]


def picture() -> str:
    """The rooms and who imports whom, as SVG."""
    rooms = sorted(path for path in SRC.iterdir() if (path / "__init__.py").is_file())
    sentences = {room.name: first_line(room / "__init__.py") for room in rooms}
    return draw({room.name: rooms_used(room) for room in rooms}, sentences)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
