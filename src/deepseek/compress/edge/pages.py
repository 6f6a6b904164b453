"""Texts of the exported folder: README.md, and the descriptions of inputs and outputs in edge.json."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.compress.edge.target import EdgeTarget
from deepseek.contracts import JsonObject
from deepseek.data.features.categories import CategoryEncoder

_INPUT_TEXTS = {
    "float64": "the number, NaN where it is missing",
    "str": "the code of its level, 0 for an unknown one, NaN where it is missing",
    "bool": "0 or 1, NaN where it is missing",
    "datetime64[ms]": "milliseconds since 1970 in UTC, NaN where it is missing",
}
_TIER_TEXTS = {
    "c": """\
`model.c` and `model.h` are portable C99: no malloc, no threads, nothing of libc but math.h; every buffer is static and
its size is known when it is compiled. Compile them into your program with `-lm`.""",
    "onnxruntime": """\
`lib` holds onnxruntime as it comes in its Python package for this kind of machine, with its licences; `model.onnx` is
the model. `model.c` calls the library's C API. For another kind of machine, put its `libonnxruntime.so` in the place of
this one and compile again.""",
}


_EXECUTORCH_README = """\
# A model for ExecuTorch

`model.pte` is a program for ExecuTorch's runtime, which is built for each device from its own sources. It takes one
float32 tensor. `edge.json` says its shape, how far the answers may differ from the module's and the sha256 of the file;
`measured.json` what was measured where the folder was made.
"""


def readme(target: EdgeTarget, tier: str) -> str:
    """Text of README.md. It holds none of the user's names; those are in edge.json."""
    if tier == "executorch":
        return _EXECUTORCH_README
    what = "raw columns, which are prepared in C" if target.is_raw else (
        "PREPARED features, not raw columns: this model has columns that C does not prepare"
        if target.runtime is not None
        else "the numbers of one input tensor, in its order"
    )  # fmt: skip
    boxes = ""
    if target.pictures is not None and target.pictures.num_places:
        boxes = "    model_boxes(out, boxes, 100);  /* boxes in pixels of the input; returns how many */\n"
    return f"""\
# A model for the device

{_TIER_TEXTS[tier]}

    make
    ./model < rows.csv      # numbers, {target.inputs.shape[1]} a row; "nan" is missing

It prints the {target.expected.shape[1]} output(s) of each row and the number of its class.

    model_open(".");        /* once */
    model_run(row, out);    /* row: {what} */
    model_decide(out);      /* the class, counted from 0 */
{boxes}
One caller at a time: the buffers are static. `edge.json` says what each input and output is, how far the answers may
differ from the model's and on which rows that was measured, and the sha256 of each file; `measured.json` what was
measured where the folder was made.
"""


@dataclass(frozen=True, slots=True)
class DeviceInput:
    """One number of a row, or one tensor, that a device sends."""

    name: str
    sends: str  # meaning of the number, for people
    kind: str | None = None  # of a raw column
    shape: tuple[int, ...] | None = None  # of a tensor's row
    levels: tuple[str, ...] | None = None  # of a category, whose numbers count from 1

    def to_dict(self) -> JsonObject:
        """An entry of "inputs" in edge.json."""
        levels = None if self.levels is None else {level: number for number, level in enumerate(self.levels, 1)}
        shape = None if self.shape is None else list(self.shape)
        entry = {"name": self.name, "kind": self.kind, "shape": shape, "sends": self.sends, "levels": levels}
        return {key: value for key, value in entry.items() if value is not None}


def describe_inputs(target: EdgeTarget) -> list[DeviceInput]:
    """The inputs of a row: one for each number, or one for a tensor."""
    if target.pictures is not None:
        return [DeviceInput(target.ends[0], "pixels from 0 to 255, channel by channel, row by row", shape=target.shape)]
    if target.runtime is None:
        return [DeviceInput(target.ends[0], "float32 numbers in C order", shape=target.shape)]
    preprocessor = target.runtime.preprocessor
    if not target.is_raw:
        return [DeviceInput(name, "a prepared feature") for name in preprocessor.feature_names]
    return [
        DeviceInput(
            column.name, _INPUT_TEXTS[column.coder.dtype], kind=column.kind,
            levels=tuple(column.coder.levels) if isinstance(column.coder, CategoryEncoder) else None,
        )
        for column in preprocessor.columns
    ]  # fmt: skip


def describe_outputs(target: EdgeTarget) -> JsonObject:
    """The object "outputs" of edge.json: a tensor's size, a value's interval, or the labels of probabilities."""
    if target.pictures is not None:
        return target.pictures.describe(int(target.expected.shape[1]))
    if target.runtime is None:
        return {"name": target.ends[1], "size": int(target.expected.shape[1])}
    decision = target.runtime.decision
    if not decision.labels:
        groups = [
            {"start": start, "half_width": width}
            for start, width in zip((None, *decision.group_starts), decision.group_half_widths, strict=False)
        ]
        ends: JsonObject = {"groups": groups} if groups else {}
        ends |= {} if decision.interval_floor is None else {"floor": decision.interval_floor}
        return {"value": target.runtime.manifest.target, "half_width": decision.half_width, **ends}
    return {"chances": list(decision.labels), "threshold": decision.threshold}
