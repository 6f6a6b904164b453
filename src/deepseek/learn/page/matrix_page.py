"""The skill matrix as a page in one file."""

from __future__ import annotations

from collections.abc import Collection

from deepseek import look
from deepseek.learn.definition.catalog import Catalog
from deepseek.learn.definition.matrix import Matrix
from deepseek.learn.page.parts import matrix_summary, matrix_table
from deepseek.learn.page.radar import skill_radar
from deepseek.look import Section, Text
from deepseek.version import __version__

STYLE = "body{max-width:1080px}"


def matrix_page(matrix: Matrix, catalog: Catalog, passed: Collection[str]) -> str:
    """Skills by layers, and as a radar."""
    name = Text("Skills by module", "各模块技能")
    caption = Text(
        "Three rings: foundation, advanced, expert. An axis reaches a ring when all labs of that layer are passed.",
        "三圈依次为基础、进阶、专家。某层的实验全部通过时，该轴到达对应的圈。",
    )
    sections = [
        Section(Text("Radar", "雷达图"), look.figure(skill_radar, matrix, passed, title=name, caption=caption)),
        Section(Text("Matrix", "矩阵"), matrix_table(matrix, catalog, passed)),
    ]
    return look.page(
        Text("Skill matrix", "技能矩阵"), matrix_summary(matrix, passed), sections, style=STYLE,
        provenance={"deepseek": __version__, Text("Labs", "实验数"): str(len(catalog.labs))},
    )  # fmt: skip
