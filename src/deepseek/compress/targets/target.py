"""What may be compressed, behind one protocol: an ONNX file, a module of the user's, a bundle, a Hugging Face folder.

target = open_target("resnet.onnx", "validation.npz")
variant = target.make(Plan(("int8",)), folder)          # files, as they would be served
for backend in target.backends(variant): backend.run(target.rows(0, 16))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from deepseek.bundle import Manifest, check_name
from deepseek.compress.quantize.graph_weights import quantize_graph_weights
from deepseek.compress.targets.evaluator import Evaluator
from deepseek.errors import InputError

GIVEN = "given"  # name of the original model among the variants


@dataclass(frozen=True, slots=True)
class Plan:
    """Compression steps that are applied one after the other, such as ("prune-30", "int8")."""

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
        """Name of the plan that this one is a more careful form of, or "": it is skipped where that one scores enough.

        >>> Plan(("int8-but-4",)).spares, Plan(("int8",)).spares
        ('int8', '')
        """
        return self.name.partition("-but-")[0] if "-but-" in self.name else ""


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as files on disk."""

    name: str
    folder: Path  # its files, by the names that they have in a bundle
    size_bytes: int  # of all files needed to answer
    notes: tuple[str, ...] = ()  # remarks for the report, such as layers that stayed exact


def make_int8_variant(plan: Plan, folder: Path, graph: bytes, file_name: str) -> Variant:
    """The ONNX graph of a bundle with the weights in int8, written into `folder` as `file_name`."""
    quantized = quantize_graph_weights(graph)
    (folder / file_name).write_bytes(quantized)
    return Variant(plan.name, folder, len(quantized), ("weights alone are int8",))


@dataclass(frozen=True, slots=True)
class Backend:
    """A variant opened in one engine, ready to run."""

    engine: str
    exact: bool  # whether the engine itself rounds nothing
    run: Callable[[Any], Any]  # inputs of rows to outputs (N, ...)
    close: Callable[[], None]


class CompressionTarget(Protocol):
    """A model to compress, with the data that its variants are evaluated on."""

    kind: str
    name: str
    seed: int
    digest: str  # of the model and the data: the key of cached measurements
    evaluator: Evaluator
    original: Variant

    def methods(self) -> tuple[str, ...]:
        """Names of the compression methods that apply to this model."""
        ...

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        """Plans to try for these methods, the cheapest first."""
        ...

    def make(self, plan: Plan, folder: Path) -> Variant:
        """Build the plan's variant in `folder`, which is empty. InputError when the plan cannot be applied."""
        ...

    def backends(self, variant: Variant) -> list[Backend]:
        """The variant opened in every engine that can run it on this machine."""
        ...

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        """Outputs (N, ...) for the evaluation rows, or for the first `num_rows` of them."""
        ...

    def rows(self, number: int, batch: int) -> Any:
        """Inputs of `batch` rows for timing; each `number` selects other rows."""
        ...

    def close(self) -> None:
        """Release files and engines."""
        ...

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        """Manifest and files of the bundle to write for a variant, without the evidence files."""
        ...


def bundle_name(name: str, fallback: str) -> str:
    """`name` where a bundle may have it, else `fallback`: neither a route nor a folder can hold every name."""
    try:
        check_name(name)
    except InputError:
        return fallback
    return name
