"""A Hugging Face folder of a text model as a compression target.

    target = TextTarget.open(Path("./all-MiniLM"), Path("texts.csv"))     # columns text and, for classes, label

Embeddings are compared with the original model's by cosine; classes with the labels, or without labels with the
original model's outputs. A quarter of the texts calibrates int8 ranges; the others evaluate. Each variant is a
Hugging Face folder again:

    fp8            8-bit floats with a scale per channel, computed in bfloat16 where the CPU can
    int8-weights   whole numbers of 8 bits with a scale per channel, computed so, too
    int8           the same file, its dense layers computed in int8 by the ranges in int8.safetensors
    int8-but-K     the same, but for the K dense layers that a scan says lose most; those are computed as above
    distill        a student of a ninth of the parameters, where there are texts to train on (text_student.py), and
    distill+int8-weights    the same in whole numbers of 8 bits
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, now
from deepseek.bundle.manifest import PlainTask
from deepseek.compress.distilling.config import UNLABELED
from deepseek.compress.distilling.vocabulary import check_distillable
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant, bundle_name
from deepseek.compress.targets.text_scan import worst_layers
from deepseek.compress.targets.text_student import DISTILL_PLANS, DISTILL_STEP, TextStudent
from deepseek.contracts import Arrays
from deepseek.data import read_table
from deepseek.engines.openvino import has_bf16
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.serve.backend import Precision
from deepseek.engines.text.serve.calibrate import calibrate
from deepseek.engines.text.serve.quantize import ActivationRange, ranges_from_bytes, ranges_to_bytes
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.tokens import TokenRow
from deepseek.engines.text.source.weights import Weights
from deepseek.engines.text.tuning.gate import read_texts
from deepseek.errors import InputError
from deepseek.extras import is_installed

StoredDtype = Literal["e4m3fn", "int8"]
TEXT_COLUMN, LABEL_COLUMN = "text", "label"
RANGES_FILE = "int8.safetensors"
TEXTS_PER_BATCH = 32
#: Plan name -> (dtype of the stored weights, number of layers that int8 leaves out; None: not computed in int8).
PLANS: dict[str, tuple[StoredDtype, int | None]] = {
    "fp8": ("e4m3fn", None), "int8-weights": ("int8", None), "int8": ("int8", 0),
    **{f"int8-but-{count}": ("int8", count) for count in (1, 2, 4, 8)},
}  # fmt: skip
METHODS = {method: tuple(name for name in PLANS if name.startswith(method)) for method in ("fp8", "int8")}
#: Tensors that stay exact: they are small and added to every token, and in 8 bits cost a fifth of the whole loss.
_ADDED_TENSORS = ("position_embeddings.weight", "token_type_embeddings.weight")
#: Tensors that no answer needs, by task.
_UNUSED_TENSORS: Mapping[str, tuple[str, ...]] = {
    "embedding": ("pooler.dense.weight", "pooler.dense.bias", "position_ids"),
    "sequence-classification": ("position_ids",),
}  # fmt: skip
#: Endings of files in a folder that are not needed to answer.
_UNNEEDED_SUFFIXES = (".md", ".txt", ".gitattributes", "data_config.json")


@dataclass(frozen=True, slots=True)
class _TextData:
    """Texts of a file, with their labels where these are known ("" for a missing one)."""

    texts: list[str]
    labels: list[str] | None
    digest: str


class TextTarget:
    """CompressionTarget of a Hugging Face folder. Engines compute on one thread."""

    kind = "text"

    def __init__(self, model: TextModel, data: _TextData, seed: int, train: _TextData | None = None) -> None:
        self.model, self.seed, self.name = model, seed, model.name
        self.digest = f"{model.digest} {data.digest} {seed}" + (f" {train.digest}" if train else "")
        self.data_digest = data.digest
        calibration, evaluation = split_rows(len(data.texts), seed)
        self._calibration_texts = [data.texts[row] for row in calibration]
        self._evaluation_texts = [data.texts[row] for row in evaluation]
        self._student = None if train is None else _open_student(model, train, seed, evaluation_texts=data.texts)
        #: (model, evaluation texts in its tokens) by name: a student has a tokenizer of its own.
        self._readers: dict[str, tuple[TextModel, list[TokenRow]]] = {
            GIVEN: (model, list(model.prepare(self._evaluation_texts)))
        }
        self._rows_by_length = np.argsort([len(row) for row in self._readers[GIVEN][1]], kind="stable")
        self.original = Variant(GIVEN, model.path, _needed_bytes(model.path))
        target = None if data.labels is None else class_numbers([data.labels[row] for row in evaluation], model.labels)
        self.evaluator = self._evaluator(target)

    @classmethod
    def open(cls, path: Path, data: Path, *, seed: int = 0, train: Path | None = None) -> TextTarget:
        """Open a folder and the texts `data`. Errors as of TextModel.open(); InputError for a model that cannot be
        compressed, and for texts that cannot be used."""
        model = TextModel.open(path)
        if is_converted(path) or model.task == "token-classification":
            what = "was converted" if is_converted(path) else "gives labels to tokens"
            raise InputError(
                f"{path} {what}, and such models are not compressed here",
                expected="a folder of an encoder that embeds or classifies texts, as Hugging Face writes it",
                fix="serve it with --lossy instead",
            )
        text_data = read_text_rows(data)
        if model.task == "embedding" and text_data.labels is not None:
            text_data = _TextData(text_data.texts, None, text_data.digest)
        return cls(model, text_data, seed, None if train is None else read_text_rows(train))

    def methods(self) -> tuple[str, ...]:
        return (*METHODS, DISTILL_STEP) if self._student else tuple(METHODS)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        quantize_plans = [Plan((name,)) for method in methods if method in METHODS for name in METHODS[method]]
        distill_plans = [
            Plan(steps) for steps in DISTILL_PLANS if DISTILL_STEP in methods and (len(steps) == 1 or "int8" in methods)
        ]
        return quantize_plans + distill_plans

    def make(self, plan: Plan, folder: Path) -> Variant:
        if plan.steps[0] != DISTILL_STEP:
            return self._pack(plan, self.model.path, folder, ())
        assert self._student is not None  # noqa: S101 - else there is no such plan
        source, notes = self._student.folder(), (self._student.note(),)
        if len(plan.steps) > 1:
            return self._pack(plan, source, folder, notes)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return Variant(plan.name, folder, _needed_bytes(folder), notes)

    def _pack(self, plan: Plan, source: Path, folder: Path, notes: tuple[str, ...]) -> Variant:
        from deepseek.compress.quantize import pack

        stored, num_exact = PLANS[plan.steps[-1]]
        added, unused = (_tensors_ending(source, ends) for ends in (_ADDED_TENSORS, _UNUSED_TENSORS[self.model.task]))
        pack(source, folder, dtype=stored, keep=added, drop=unused)
        if num_exact is not None:
            ranges = self._ranges
            left_out = self._worst_layers[:num_exact] if num_exact else []
            in_int8 = {layer: ranges[layer] for layer in ranges if layer not in left_out}
            (folder / RANGES_FILE).write_bytes(ranges_to_bytes(in_int8))
            notes = (f"not in int8: {', '.join(left_out) or 'none'} of {len(ranges)} dense layers",)
        return Variant(plan.name, folder, _needed_bytes(folder), notes)

    def backends(self, variant: Variant) -> list[Backend]:
        if variant.name == GIVEN:
            eager = [_torch_backend(self.model)] if is_installed("torch") and is_installed("transformers") else []
            return [self._backend("openvino-f32", variant.folder, "f32"), *eager]
        first, _, last = variant.name.rpartition("+")
        reader = DISTILL_STEP if DISTILL_STEP in (first, last) else GIVEN
        if reader == DISTILL_STEP:
            model = TextModel.open(variant.folder)
            self._readers[DISTILL_STEP] = model, list(model.prepare(self._evaluation_texts))
        if last != DISTILL_STEP and PLANS[last][1] is not None:
            return [self._backend("openvino-int8", variant.folder, "int8")]
        if last != DISTILL_STEP and has_bf16(extra="text"):
            return [self._backend("openvino-bf16", variant.folder, "bf16", reader)]
        return [self._backend("openvino-f32", variant.folder, "f32", reader)]

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        size = len(self._evaluation_texts) if num_rows is None else num_rows
        chosen = [row for row in self._rows_by_length if row < size]
        parts = [
            backend.run(self._batch(chosen[start : start + TEXTS_PER_BATCH]))
            for start in range(0, size, TEXTS_PER_BATCH)
        ]
        outputs: NDArray[Any] = np.concatenate([next(iter(part.values())) for part in parts])
        return outputs[np.argsort(chosen)]

    def rows(self, number: int, batch: int) -> dict[str, Arrays]:
        """Texts of similar length, as in a server's batches."""
        start = (number * batch * 7) % max(1, len(self._rows_by_length) - batch + 1)
        return self._batch(self._rows_by_length[start : start + batch].tolist())

    def _batch(self, chosen_rows: Sequence[int]) -> dict[str, Arrays]:
        """Evaluation texts by their numbers, as the arrays of each reader."""
        return {name: model.join([rows[row] for row in chosen_rows]) for name, (model, rows) in self._readers.items()}

    def close(self) -> None:
        if self._student:
            self._student.close()

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        size = self.model.size
        output = Output("embedding", "float32", (size,)) if self.model.task == "embedding" else Output("label", "str")
        paths = [path for path in sorted(variant.folder.rglob("*")) if path.is_file() and _is_needed(path)]
        files = {path.relative_to(variant.folder).as_posix(): path.read_bytes() for path in paths}
        manifest = Manifest(
            name=bundle_name(self.name, "text"), version="1", created=now(), task=cast("PlainTask", self.model.task),
            target=output.name, inputs=(Input(TEXT_COLUMN, "text", "str"),), outputs=(output,),
            labels=self.model.labels,
            engines=(EngineEntry(engine, "model.safetensors", 0.0, len(self._evaluation_texts)),),
            lineage=Lineage(
                parent=self.model.digest, data=self.data_digest, seed=self.seed, config={"compress": variant.name}
            ),
        )  # fmt: skip
        return manifest, files

    @cached_property
    def _ranges(self) -> dict[str, ActivationRange]:
        return calibrate(self.model.path, self._calibration_texts)

    @cached_property
    def _worst_layers(self) -> list[str]:
        return worst_layers(self.model, self._ranges, self._calibration_texts)

    def _backend(self, engine: str, folder: Path, precision: Precision, reader: str = GIVEN) -> Backend:
        ranges = ranges_from_bytes((folder / RANGES_FILE).read_bytes()) if precision == "int8" else None
        text_engine = TextEngine.open(folder, precision=precision, ranges=ranges)
        return Backend(engine, precision == "f32", lambda inputs: text_engine.run(inputs[reader]), text_engine.close)

    def _evaluator(self, target: NDArray[np.int64] | None) -> Evaluator:
        if target is not None:
            return Evaluator.labels(target, self.seed)
        backend = self._backend("openvino-f32", self.model.path, "f32")
        original_outputs = self.outputs(backend)
        backend.close()
        return Evaluator.fidelity(original_outputs, are_classes=self.model.task != "embedding", seed=self.seed)


def read_text_rows(path: Path) -> _TextData:
    """Texts and their labels: a table with the columns text and, where known, label; or a text on each line of a .txt.

    InputError for a table without texts.
    """
    if path.suffix == ".txt":
        texts = read_texts(path)
        return _TextData(texts, None, _texts_digest(texts))
    table = read_table(path)
    if TEXT_COLUMN not in table.names:
        raise InputError(
            f"{path} has no column {TEXT_COLUMN!r}",
            expected=f"a column {TEXT_COLUMN!r} and, where the answers are known, {LABEL_COLUMN!r}",
            fix="rename the columns",
        )
    texts = [value if isinstance(value, str) else "" for value in table.column(TEXT_COLUMN).tolist()]
    empty = next((row for row, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise InputError(f"{path}: row {empty} has no text", expected="a text in each row", fix="drop that row")
    labels = None
    if LABEL_COLUMN in table.names:
        labels = [_label_text(value) for value in table.column(LABEL_COLUMN).tolist()]
    return _TextData(texts, labels, table.digest())


def _open_student(model: TextModel, train: _TextData, seed: int, *, evaluation_texts: Sequence[str]) -> TextStudent:
    """A student for `model`, trained on texts that are not evaluation texts. InputError for a model that no student
    can be made of, for unknown labels, and where no training text is left."""
    check_distillable(model)
    excluded = set(evaluation_texts)
    training_rows = [row for row, text in enumerate(train.texts) if text not in excluded]
    if not training_rows:
        raise InputError(
            "every text to train on is one to judge on, too",
            expected="other texts; their labels may be missing", fix="give --train a file of its own",
        )  # fmt: skip
    texts = [train.texts[row] for row in training_rows]
    if train.labels is None:
        return TextStudent(model, texts, None, seed)
    labeled_rows = [row for row in training_rows if train.labels[row]]
    labels = class_numbers([train.labels[row] for row in labeled_rows], model.labels)
    numbers = dict(zip(labeled_rows, labels.tolist(), strict=True))
    return TextStudent(model, texts, [numbers.get(row, UNLABELED) for row in training_rows], seed)


def class_numbers(labels: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Labels by name, or by number where no name fits. InputError for one that the model does not have.

    >>> class_numbers(["no", "yes"], ["no", "yes"]).tolist(), class_numbers(["1", "0"], ["no", "yes"]).tolist()
    ([0, 1], [1, 0])
    """
    number_of_label = {name: number for number, name in enumerate(known)}
    if not set(labels) <= set(number_of_label) and all(label.isdigit() for label in labels):
        number_of_label = {str(number): number for number in range(len(known))}
    unknown = next((label for label in labels if label not in number_of_label), None)
    if unknown is not None:
        raise InputError(
            f"the label {unknown[:60]!r} is none of the model's",
            expected=", ".join(known[:20]),
            fix="give labels by the names in its config.json (id2label), or by their numbers",
        )
    return np.array([number_of_label[label] for label in labels], np.int64)


def _torch_backend(model: TextModel) -> Backend:
    """The folder as transformers runs it: the baseline that users know. Never runs code of the folder."""
    import torch
    import transformers

    kind = "AutoModel" if model.task == "embedding" else "AutoModelForSequenceClassification"
    # BERT's pooler, which no embedding reads, may be missing from the file: transformers would make one up
    model_in_torch = getattr(transformers, kind).from_pretrained(
        model.path, trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    model_in_torch.eval()

    @torch.inference_mode()
    def run(inputs: Mapping[str, Arrays]) -> Arrays:
        ids, mask = (torch.from_numpy(inputs[GIVEN][name]) for name in ("input_ids", "attention_mask"))
        outputs = model_in_torch(input_ids=ids, attention_mask=mask)
        if model.task != "embedding":
            return {"logits": outputs.logits.numpy()}
        weight = mask.unsqueeze(-1).float()
        pooled = (outputs.last_hidden_state * weight).sum(1) / weight.sum(1)
        return {"embedding": torch.nn.functional.normalize(pooled, dim=1).numpy()}

    return Backend("torch", True, run, lambda: None)


def _tensors_ending(folder: Path, ends: Sequence[str]) -> list[str]:
    """Names of the folder's tensors with one of these endings."""
    return [name for name in Weights.open(folder).names if name.endswith(tuple(ends))]


def _needed_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and _is_needed(path))


def _is_needed(path: Path) -> bool:
    return not path.name.endswith(_UNNEEDED_SUFFIXES) and not path.name.startswith(".")


def _texts_digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _label_text(value: Any) -> str:
    """A table cell as a label; "" for a missing one. A whole float such as 1.0 becomes "1"."""
    if value is None or value != value:  # noqa: PLR0124 - NaN alone is not itself
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
