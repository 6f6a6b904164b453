"""The skill matrix: eight modules by three layers, each cell with what one can do and the labs that prove it.

    matrix = read_matrix(catalog)
    matrix.cell("data", "foundation").labs          # ids, from the labs themselves
    matrix.without_labs()                           # cells that nothing proves yet, said as such

The words stand in labs/skills.toml; which lab proves what, in the lab.toml of each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from deepseek.config import build_dataclass, read_toml
from deepseek.errors import InputError
from deepseek.learn.definition.catalog import BUILT_IN, Catalog
from deepseek.learn.definition.lab import LAYERS, MODULES, Layer, Module, Translated

SKILLS_FILE = "skills.toml"


@dataclass(frozen=True, slots=True)
class _ModuleTable:
    title: Translated
    foundation: Translated
    advanced: Translated
    expert: Translated


@dataclass(frozen=True, slots=True)
class _SkillsFile:
    layers: dict[str, Translated]
    modules: dict[str, _ModuleTable]


@dataclass(frozen=True, slots=True)
class Cell:
    """One skill."""

    module: Module
    layer: Layer
    can: Translated  # what one can do
    labs: tuple[str, ...]  # that prove it, in their order; empty: none does yet

    @property
    def name(self) -> str:
        return f"{self.module}.{self.layer}"

    def share(self, passed: Collection[str]) -> float:
        """The share of its labs that were passed, 0 where it has none."""
        return sum(lab in passed for lab in self.labs) / len(self.labs) if self.labs else 0.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, module by module."""

    modules: dict[Module, Translated]
    layers: dict[Layer, Translated]
    cells: tuple[Cell, ...]

    def cell(self, module: Module, layer: Layer) -> Cell:
        return next(cell for cell in self.cells if (cell.module, cell.layer) == (module, layer))

    def without_labs(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if not cell.labs)


def read_matrix(catalog: Catalog) -> Matrix:
    """The matrix of a catalog. InputError for a file that lacks a cell."""
    path = BUILT_IN / SKILLS_FILE
    file = build_dataclass(_SkillsFile, read_toml(path))
    if tuple(file.modules) != MODULES or tuple(file.layers) != LAYERS:
        raise InputError(
            f"{path} has other modules or layers than the labs", expected=", ".join((*MODULES, *LAYERS)), fix="mend it"
        )
    cells = [
        Cell(module, layer, getattr(file.modules[module], layer), _proving(catalog, f"{module}.{layer}"))
        for module in MODULES
        for layer in LAYERS
    ]
    return Matrix(
        {module: file.modules[module].title for module in MODULES}, {layer: file.layers[layer] for layer in LAYERS},
        tuple(cells),
    )  # fmt: skip


def _proving(catalog: Catalog, name: str) -> tuple[str, ...]:
    return tuple(lab.id for lab in catalog.labs if name in lab.table.skills)
