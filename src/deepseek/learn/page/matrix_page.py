"""The skill matrix as a page in one file."""

from __future__ import annotations

from collections.abc import Collection

from deepseek import look
from deepseek.learn.definition.catalog import Catalog
from deepseek.learn.definition.matrix import Matrix
from deepseek.learn.page.parts import MATRIX_STYLE, RINGS, matrix_summary, matrix_table
from deepseek.learn.page.radar import skill_radar
from deepseek.look import Section, Text
from deepseek.version import __version__

STYLE = f"body{{max-width:1080px}}{MATRIX_STYLE}"


def matrix_page(matrix: Matrix, catalog: Catalog, passed: Collection[str]) -> str:
    """Skills by layers, and as a radar."""
    name = Text("Skills by module", "各模块技能")
    sections = [
        Section(Text("Radar", "雷达图"), look.figure(skill_radar, matrix, passed, title=name, caption=RINGS)),
        Section(Text("Matrix", "矩阵"), matrix_table(matrix, catalog, passed)),
    ]
    return look.page(
        Text("Skill matrix", "技能矩阵"), matrix_summary(matrix, passed), sections, style=STYLE,
        provenance={"deepseek": __version__, Text("Labs", "实验数"): str(len(catalog.labs))},
    )  # fmt: skip
