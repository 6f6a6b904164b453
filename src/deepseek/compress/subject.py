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
from deepseek.compress.given_module import is_module
from deepseek.compress.judge import Judge
from deepseek.errors import InputError, MissingError


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
class Way:
    """A variant opened in one engine."""

    engine: str
    exact: bool  # whether the engine itself rounds nothing
    run: Callable[[Any], Any]  # inputs of rows to outputs (N, ...)
    close: Callable[[], None]


class Subject(Protocol):
    """A model with the data that it is judged on."""

    kind: str
    name: str
    seed: int
    digest: str  # of the model and the data: what measurements hold for
    judge: Judge
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

    def ways(self, variant: Variant) -> list[Way]:
        """The engines that run it here."""
        ...

    def outputs(self, way: Way, num_rows: int | None = None) -> NDArray[Any]:
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


def open_subject(
    model: str | Path,
    data: str | Path | None,
    *,
    seed: int = 0,
    train: str | Path | None = None,
    student: str | None = None,
) -> Subject:
    """The model at a path, or `FILE.py:NAME` of a function that builds a torch module. `train`: rows to train on;
    `student`: `FILE.py:NAME` of a smaller module that may learn on them.

    MissingError for what is not there; InputError for what cannot be compressed, or data that does not fit it.
    """
    if data is None:
        raise InputError(
            "there is no data to judge on",
            expected="rows that the model has not been trained on",
            fix="--data VALIDATION: .npz for tensors, a table for texts and bundles",
        )
    path, text = Path(model), str(model)
    place, lesson = Path(data), None if train is None else Path(train)
    if lesson is not None and not is_module(text) and not (path.is_dir() and not (path / "bundle.json").exists()):
        raise InputError(
            f"{text} is not trained while it is compressed",
            expected="rows to train on for a Hugging Face folder or a module", fix="leave --train out",
        )  # fmt: skip
    if student is not None and (lesson is None or not is_module(text)):
        raise InputError(
            "a student is given" + ("" if is_module(text) else f", and {text} is no torch module"),
            expected="a module as its teacher, and rows to learn on: FILE.py:NAME --train TRAIN.npz",
            fix="give --train, or leave --student out: a Hugging Face folder makes a student of its own",
        )
    if is_module(text):
        from deepseek.compress.module_subject import ModuleSubject

        return ModuleSubject.open(text, place, seed=seed, train=lesson, student=student)
    if not path.exists():
        raise MissingError(
            f"there is no model at {text}",
            expected="a bundle, an ONNX file, a Hugging Face folder, or FILE.py:NAME",
            fix="check the path",
        )
    if path.suffix == ".onnx":
        from deepseek.compress.onnx_subject import OnnxSubject

        return OnnxSubject.open(path, place, seed=seed)
    if (path / "bundle.json").is_file():
        from deepseek.compress.bundle_subject import BundleSubject

        return BundleSubject.open(path, place, seed=seed)
    if (path / "config.json").is_file():
        from deepseek.compress.text_subject import TextSubject

        return TextSubject.open(path, place, seed=seed, train=lesson)
    raise InputError(
        f"{path} is nothing that can be compressed",
        expected="a bundle, an ONNX file, a Hugging Face folder, or FILE.py:NAME of a function that builds a module",
        fix="give one of these",
    )
