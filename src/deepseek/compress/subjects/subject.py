"""What may be compressed, behind one protocol: an ONNX file, a module of the user's, a bundle, a Hugging Face folder.

subject = open_subject("resnet.onnx", "validation.npz")
variant = subject.make(Plan(("int8",)), folder)          # files, as they would be served
for way in subject.ways(variant): way.run(subject.rows(0, 16))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from deepseek.bundle import Manifest
from deepseek.compress.subjects.evaluator import Evaluator


@dataclass(frozen=True, slots=True)
class Plan:
    """Methods, one after the other."""

    steps: tuple[str, ...]

    @property
    def name(self) -> str:
        """
        >>> Plan(("prune", "int8")).name
        'prune+int8'
        """
        return "+".join(self.steps)

    @property
    def spares(self) -> str:
        """The plan that this one is a more careful form of: there is no need of it where that one keeps enough.

        >>> Plan(("int8-but-4",)).spares, Plan(("int8",)).spares
        ('int8', '')
        """
        return self.name.partition("-but-")[0] if "-but-" in self.name else ""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as files."""

    name: str
    folder: Path  # its files, by the names that they have in a bundle
    size_bytes: int  # of all files that are needed to answer
    notes: tuple[str, ...] = ()  # what a reader should know, such as layers that stayed exact


@dataclass(frozen=True, slots=True)
class Backend:
    """A variant opened in one engine."""

    engine: str
    exact: bool  # whether the engine itself rounds nothing
    run: Callable[[Any], Any]  # inputs of rows to outputs (N, ...)
    close: Callable[[], None]


class CompressionTarget(Protocol):
    """A model with the data that it is judged on."""

    kind: str
    name: str
    seed: int
    digest: str  # of the model and the data: what measurements hold for
    judge: Evaluator
    given: Variant

    def methods(self) -> tuple[str, ...]:
        """What can be done to it."""
        ...

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        """What to try, the cheapest first."""
        ...

    def make(self, plan: Plan, folder: Path) -> Variant:
        """The files of a plan, in an empty folder. InputError when this model cannot take it, in words."""
        ...

    def ways(self, variant: Variant) -> list[Backend]:
        """The engines that run it here."""
        ...

    def outputs(self, way: Backend, num_rows: int | None = None) -> NDArray[Any]:
        """On the judged rows, or on the first of them."""
        ...

    def rows(self, number: int, batch: int) -> Any:
        """Inputs of `batch` rows for timing, others for each number."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        """The manifest and the files of the bundle that is written, without evidence."""
        ...
