"""What a person reads in the folder: README.md, and the inputs and outputs in edge.json."""

from __future__ import annotations

from typing import Any

from deepseek.compress.edge.subject import EdgeTarget
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


def readme(subject: EdgeTarget, tier: str) -> str:
    """README.md. No name of the user's stands in it: those are in edge.json."""
    if tier == "executorch":
        return _EXECUTORCH_README
    what = "raw columns, which are prepared in C" if subject.is_raw else (
        "PREPARED features, not raw columns: this model has columns that C does not prepare"
        if subject.runtime is not None
        else "the numbers of one input tensor, in its order"
    )  # fmt: skip
    return f"""\
# A model for the device

{_TIER_TEXTS[tier]}

    make
    ./model < rows.csv      # numbers, {subject.inputs.shape[1]} a row; "nan" is missing

It prints the {subject.expected.shape[1]} output(s) of each row and the number of its class.

    model_open(".");        /* once */
    model_run(row, out);    /* row: {what} */
    model_decide(out);      /* the class, counted from 0 */

One caller at a time: the buffers are static. `edge.json` says what each input and output is, how far the answers may
differ from the model's and on which rows that was measured, and the sha256 of each file; `measured.json` what was
measured where the folder was made.
"""


def describe_inputs(subject: EdgeTarget) -> list[dict[str, Any]]:
    """One entry for each number of a row, or one for a tensor."""
    if subject.runtime is None:
        return [{"name": subject.ends[0], "shape": list(subject.shape), "sends": "float32 numbers in C order"}]
    preprocessor = subject.runtime.preprocessor
    if not subject.is_raw:
        return [{"name": name, "sends": "a prepared feature"} for name in preprocessor.feature_names]
    found = []
    for column in preprocessor.columns:
        entry: dict[str, Any] = {"name": column.name, "kind": column.kind, "sends": _INPUT_TEXTS[column.coder.dtype]}
        if isinstance(column.coder, CategoryEncoder):
            entry["levels"] = {level: code for code, level in enumerate(column.coder.levels, 1)}
        found.append(entry)
    return found


def describe_outputs(subject: EdgeTarget) -> dict[str, Any]:
    """What the numbers that come out are."""
    if subject.runtime is None:
        return {"name": subject.ends[1], "size": int(subject.expected.shape[1])}
    decision = subject.runtime.decision
    if not decision.labels:
        return {"value": subject.runtime.manifest.target, "half_width": decision.half_width}
    return {"chances": list(decision.labels), "threshold": decision.threshold}
