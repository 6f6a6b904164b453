"""What the pages of the learning path are made of: the map, the matrix, the text of a lab."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

from deepseek import look
from deepseek.learn.definition.catalog import Catalog
from deepseek.learn.definition.lab import LAYERS, MODULES, Lab, Language
from deepseek.learn.definition.matrix import Cell, Matrix
from deepseek.look import Column, Html, Text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

STATUS = {
    "passed": Text("passed", "已通过"), "begun": Text("begun", "进行中"), "open": Text("not begun", "未开始"),
}  # fmt: skip


NO_LAB = Text("No lab proves this in this version.", "此版本尚无实验可证明。")


def matrix_table(matrix: Matrix, catalog: Catalog, passed: Collection[str]) -> Html:
    """Modules down, layers across; each cell with what one can do and the labs that prove it."""
    columns = [Column(Text("Module", "模块"), "text")]
    columns += [Column(matrix.layers[layer].text, "text") for layer in LAYERS]
    rows: list[tuple[Text | Html, ...]] = [
        (
            matrix.modules[module].text,
            *(_cell(matrix.cell(module, layer), catalog, passed) for layer in LAYERS),
        )
        for module in MODULES
    ]
    return look.table(columns, rows)


def _cell(cell: Cell, catalog: Catalog, passed: Collection[str]) -> Html:
    proofs = [
        look.verdict("good", catalog.lab(lab).table.title.text)
        if lab in passed
        else Html(f'<span class="sign soft">·</span> {look.inline(catalog.lab(lab).table.title.text)}')
        for lab in cell.labs
    ]
    listed = look.bullet_list(proofs, plain=True) if proofs else look.paragraph(NO_LAB, note=True)
    return Html(look.inline(cell.can.text) + listed)


def matrix_summary(matrix: Matrix, passed: Collection[str]) -> Text:
    """How many cells are proved, of how many that can be."""
    full = sum(cell.share(passed) == 1.0 for cell in matrix.cells)
    provable = sum(bool(cell.labs) for cell in matrix.cells)
    return Text(
        f"{full} of {len(matrix.cells)} skills are proved; {provable} can be by the labs of this version.",
        f"{len(matrix.cells)} 项技能中已证明 {full} 项；此版本的实验可证明其中 {provable} 项。",
    )


def task_html(lab: Lab) -> Html:
    """The task in both languages, as the switch shows them, without its title."""
    languages: tuple[Language, ...] = ("en", "zh")
    bodies = {language: render_markdown(lab.task(language).partition("\n")[2]) for language in languages}
    parts = (f'<div class="{name} task" lang="{name}">{body}</div>' for name, body in bodies.items())
    return Html("".join(parts))


def render_markdown(text: str) -> Html:
    """Markdown as markup, its own HTML escaped and its headings below those of the page."""
    tokens = _parser().parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        if token.type in ("fence", "code_block"):
            token.attrSet("tabindex", "0")
    return Html(_parser().renderer.render(tokens, _parser().options, {}))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")
