"""What stands in two files of a bundle says the same in both, or the bundle is refused.

    contradictions(manifest, read)      # ["decision.json: threshold is 0.9, but bundle.json says 0.5", ...]

A bundle whose manifest names the labels in another order than its model answers with the wrong one, and nothing else
would tell. Compared is what can change an answer or what a caller sends: threshold, labels, task, inputs, outputs,
positive class, the sizes of the calibration, the files of the model's parts. What a file does not say contradicts
nothing; whether it is complete is for who reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.manifest import PLAIN_TASKS, THRESHOLD_RANGE, Manifest, is_threshold
from deepseek.bundle.paths import MANIFEST

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

DECISION, MODEL, PREPROCESS, SAMPLES = "decision.json", "model.json", "preprocess.json", "samples.json"
EXAMPLE, CONFIG = "example.json", "config.json"
#: An example may stand for a missing number so, and other tools write what they like.
_MAY_HOLD_NAN = frozenset([EXAMPLE, CONFIG])
_ABSENT = object()


def find_contradictions(manifest: Manifest, read: Callable[[str], bytes]) -> list[str]:
    """In words, each naming both files, what the manifest and the files that it lists say differently.

    `read` gives the bytes of a file by its name. IntegrityError for a file that is no JSON object.
    """
    checks = _PLAIN_CHECKS if manifest.task in PLAIN_TASKS else _CHECKS
    problems = [*_check_outputs(manifest), *_check_positive_class(manifest)]
    for name, check in checks.items():
        if name in manifest.files:
            problems += check(manifest, parse_json_object(read(name), name, finite=name not in _MAY_HOLD_NAN))
    return problems


def _mismatch(name: str, what: str, stated: object, expected: object) -> str:
    return f"{name}: {what} is {repr(stated)[:100]}, but {MANIFEST} says {repr(expected)[:100]}"


def _check_outputs(manifest: Manifest) -> Iterator[str]:
    """The answers that bundle.json promises, against its own labels."""
    if manifest.task in PLAIN_TASKS:
        return
    num_labels = len(manifest.labels)
    promised = {"label": ("str", ()), "probabilities": ("float32", (num_labels,))}
    other = {"value": ("float32", ()), "interval": ("float32", (2,))}
    if not num_labels:
        promised, other = other, promised
    for output in manifest.outputs:
        declared = (output.dtype, output.shape)
        if output.name in other or declared != promised.get(output.name, declared):
            shown = f"{output.name!r} ({output.dtype}, shape {list(output.shape)})"
            yield f"{MANIFEST}: the output {shown[:200]} does not fit its {num_labels} labels"


def _check_positive_class(manifest: Manifest) -> Iterator[str]:
    """The class that thresholds speak of is the second; the options of ship name it where they were asked to."""
    positive = manifest.lineage.config.get("positive")
    if manifest.task == "binary" and isinstance(positive, str) and positive != manifest.labels[1]:
        yield (
            f"{MANIFEST}: the positive class, labels[1], is {manifest.labels[1][:100]!r}, "
            f"but lineage.config.positive is {positive[:100]!r}"
        )


def _check_decision(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    threshold = document.get("threshold")
    if not (threshold is None or (_is_number(threshold) and is_threshold(threshold))):
        yield f"{DECISION}: threshold is {repr(threshold)[:100]}, where {THRESHOLD_RANGE} was expected"
    elif manifest.task != "binary":
        if threshold is not None:
            yield _mismatch(DECISION, "threshold", threshold, manifest.threshold)
    elif _threshold_or_half(threshold) != _threshold_or_half(manifest.threshold):
        yield _mismatch(DECISION, "threshold", threshold, manifest.threshold)
    rule = document.get("threshold_rule")
    if isinstance(rule, dict) and (stated := rule.get("value", _ABSENT)) is not _ABSENT and stated != threshold:
        yield f"{DECISION}: threshold_rule.value is {repr(stated)[:100]}, but threshold is {repr(threshold)[:100]}"
    costs, size = document.get("costs"), len(manifest.labels)
    if isinstance(costs, list) and [_row_length(row) for row in costs] != [size] * max(size, 1):
        yield f"{DECISION}: costs is not a table of {size} rows and columns, one for each label in {MANIFEST}"
    if document.get("interval") and manifest.task != "regression":
        yield f"{DECISION}: interval is given, but {MANIFEST} says {manifest.task!r}, which has none"


def _check_model(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    for what, expected in (("task", manifest.task), ("labels", list(manifest.labels))):
        if (stated := document.get(what, _ABSENT)) is not _ABSENT and stated != expected:
            yield _mismatch(MODEL, what, stated, expected)
    calibration = document.get("calibration")
    num_margins = len(manifest.labels) if manifest.task == "multiclass" else 1
    if isinstance(calibration, dict) and isinstance(bias := calibration.get("bias"), list) and len(bias) != num_margins:
        yield f"{MODEL}: calibration.bias has {len(bias)} numbers, but {MANIFEST} names {len(manifest.labels)} labels"
    parts = document.get("parts")
    files = [part.get("file") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    for index, file in enumerate(files):
        if file not in manifest.files:
            yield f"{MODEL}: parts[{index}].file is {repr(file)[:100]}, which {MANIFEST} does not list"
        elif file in files[:index]:
            yield f"{MODEL}: parts[{index}].file is {repr(file)[:100]}, which another part reads, too"


def _check_preprocess(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    if SAMPLES not in manifest.files:
        yield from _check_inputs(PREPROCESS, manifest, document.get("columns"))


def _check_samples(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    media, table = document.get("media"), document.get("table")
    columns = table.get("columns") if isinstance(table, dict) else []
    if isinstance(media, list) and isinstance(columns, list):
        yield from _check_inputs(SAMPLES, manifest, [*media, *columns])


def _check_inputs(name: str, manifest: Manifest, columns: object) -> Iterator[str]:
    """The columns of the preprocessing against the inputs that callers are told of."""
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        return
    stated = [column.get("name") for column in columns]
    expected = [column.name for column in manifest.inputs]
    if stated != expected:
        yield _mismatch(name, "the list of columns", stated, expected)
        return
    for column, promised in zip(columns, manifest.inputs, strict=True):
        if column.get("kind", promised.modality) != promised.modality:
            yield _mismatch(name, f"the kind of {promised.name!r}", column["kind"], promised.modality)


def _check_example(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    unknown = sorted(document.keys() - {column.name for column in manifest.inputs})
    if unknown:
        yield f"{EXAMPLE}: it has a value for {unknown[0][:100]!r}, which is none of the inputs in {MANIFEST}"


def _check_config(manifest: Manifest, document: JsonObject) -> Iterator[str]:
    """The labels of a text model, as its own tools write them."""
    names = document.get("id2label")
    if manifest.labels and isinstance(names, dict):
        stated = [names.get(str(index)) for index in range(len(names))]
        if stated != list(manifest.labels):
            yield _mismatch(CONFIG, "id2label", stated, list(manifest.labels))


def _threshold_or_half(threshold: float | None) -> float:
    """The threshold, or the half by which is decided where none is stated."""
    return 0.5 if threshold is None else threshold


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _row_length(row: object) -> int:
    return len(row) if isinstance(row, list) else -1


_CHECKS: Mapping[str, Callable[[Manifest, JsonObject], Iterator[str]]] = {
    DECISION: _check_decision,
    MODEL: _check_model,
    PREPROCESS: _check_preprocess,
    SAMPLES: _check_samples,
    EXAMPLE: _check_example,
}
_PLAIN_CHECKS = {CONFIG: _check_config}
