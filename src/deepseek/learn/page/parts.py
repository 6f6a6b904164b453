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


#: On a phone a row of the matrix stands as blocks, each with the name of its layer.
MATRIX_STYLE = """
.matrix .layer{display:none}
@media (max-width:700px){.matrix :is(table,tbody,tr,th,td){display:block}.matrix thead{display:none}
.matrix tbody th{font-size:18px;padding-top:16px}.matrix tbody :is(th,td){border:0}
.matrix .layer{display:block;font-size:14px}}
"""
RINGS = Text(
    "Three rings: foundation, advanced, expert. An axis reaches a ring when all labs of that layer are passed.",
    "三圈依次为基础、进阶、专家。某层的实验全部通过时，该轴到达对应的圈。",
)
NO_LAB = Text("No lab proves this in this version.", "此版本尚无实验可证明。")


def matrix_table(matrix: Matrix, catalog: Catalog, passed: Collection[str]) -> Html:
    """Modules down, layers across; each cell with what one can do and the labs that prove it."""
    columns = [Column(Text("Module", "模块"), "text")]
    columns += [Column(matrix.layers[layer].text, "text") for layer in LAYERS]
    rows: list[tuple[Text | Html, ...]] = [
        (
            matrix.modules[module].text,
            *(_cell(matrix.cell(module, layer), matrix, catalog, passed) for layer in LAYERS),
        )
        for module in MODULES
    ]
    return Html(f'<div class="matrix">{look.table(columns, rows)}</div>')


def _cell(cell: Cell, matrix: Matrix, catalog: Catalog, passed: Collection[str]) -> Html:
    proofs = [
        look.verdict("good", catalog.lab(lab).table.title.text)
        if lab in passed
        else Html(f'<span class="sign soft">·</span> {look.inline(catalog.lab(lab).table.title.text)}')
        for lab in cell.labs
    ]
    listed = look.bullet_list(proofs, plain=True) if proofs else look.paragraph(NO_LAB, note=True)
    layer = look.inline(matrix.layers[cell.layer].text)
    return Html(f'<span class="layer soft">{layer}</span>{look.inline(cell.can.text)}{listed}')


def matrix_summary(matrix: Matrix, passed: Collection[str]) -> Text:
    """How many cells are proved, of how many that can be."""
    full = sum(cell.share(passed) == 1.0 for cell in matrix.cells)
    provable = sum(bool(cell.labs) for cell in matrix.cells)
    total = len(matrix.cells)
    if provable == total:
        return Text(f"{full} of {total} skills are proved.", f"{total} 项技能中已证明 {full} 项。")
    return Text(
        f"{full} of {total} skills are proved; {provable} can be by the labs of this version.",
        f"{total} 项技能中已证明 {full} 项；此版本的实验可证明其中 {provable} 项。",
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
