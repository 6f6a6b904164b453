"""A program of torch.export (.pt2) to ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what torch raises where it reads none
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.loaded import FRAMEWORK_ERRORS, Export, LoadedModel
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need

CALL_ROWS = 16


def load(path: Path) -> LoadedModel:
    """The program of an archive that check_pt2_file() has passed. InputError in torch's words."""
    torch = need("torch", extra="compress")
    torch.set_num_threads(1)
    program = _load_program(torch, path)
    module = program.module()
    inputs = _input_specs(torch, program)
    outputs = tuple(f"output_{place}" for place in range(len(program.graph_signature.user_outputs)))

    def answer(arrays: Arrays) -> Arrays:
        total, parts = len(next(iter(arrays.values()))), []
        size = CALL_ROWS if _has_free_rows(inputs) else 1
        with torch.inference_mode():
            for start in range(0, total, size):
                tensors = [torch.from_numpy(arrays[spec.name][start : start + size].copy()) for spec in inputs]
                parts.append([each.numpy() for each in _flatten(torch, module(*tensors))])
        return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(outputs)}

    def write(out: Path, arrays: Arrays) -> None:
        rows = 2 if _has_free_rows(inputs) else 1
        examples = tuple(torch.from_numpy(np.concatenate([arrays[spec.name]] * 2)[:rows].copy()) for spec in inputs)
        dynamic = tuple(
            {place: torch.export.Dim.DYNAMIC for place, dim in enumerate(spec.shape) if dim is None} for spec in inputs
        )
        with torch.no_grad():
            proto = export_torch_module(
                module, examples, input_names=[spec.name for spec in inputs], output_names=outputs,
                dynamic_shapes=dynamic,
            )  # fmt: skip
        need("onnx", extra="compress").save(proto, out)

    return LoadedModel(inputs, outputs, answer, (Export("torch.export", write),), {"torch": torch.__version__})


def _load_program(torch: Any, path: Path) -> Any:
    try:
        with _tensors_alone(torch):
            return torch.export.load(path)
    except (*FRAMEWORK_ERRORS, UnpicklingError) as error:
        raise InputError(
            f"torch does not load {path.name}: {' '.join(str(error).split())[:300]}",
            expected=f"what torch.export.save wrote, of tensors alone, for torch {torch.__version__}",
            fix="export the module anew with this release of torch",
        ) from error


@contextmanager
def _tensors_alone(torch: Any) -> Iterator[None]:
    """Within it, torch reads pickles as tensors or not at all: torch.export.load would unpickle whatever it finds."""
    read = torch.load

    def read_tensors(*arguments: Any, **options: Any) -> Any:
        return read(*arguments, **options | {"weights_only": True})

    setattr(torch, "load", read_tensors)  # noqa: B010 - the name may not be used here
    try:
        yield
    finally:
        setattr(torch, "load", read)  # noqa: B010


def _input_specs(torch: Any, program: Any) -> tuple[TensorSpec, ...]:
    """The tensors that the program takes. InputError for arguments that are none, or have no rows."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    specs = []
    for name in program.graph_signature.user_inputs:
        value = values.get(name)
        if not isinstance(value, torch.Tensor) or not value.ndim:
            raise InputError(
                f"the program takes {name!r}, which is no tensor with rows",
                expected="tensors whose first axis is the rows",
                fix="export a module of tensors alone",
            )  # fmt: skip
        shape = tuple(size if isinstance(size, int) else None for size in value.shape)
        if shape[0] not in (None, 1):
            raise InputError(
                f"the program takes {shape[0]} rows of {name!r} at a time", expected="any number of rows",
                fix='export it with dynamic_shapes={"x": {0: torch.export.Dim("rows")}}',
            )  # fmt: skip
        specs.append(TensorSpec(name, str(value.dtype).removeprefix("torch."), shape))
    return tuple(specs)


def _has_free_rows(inputs: tuple[TensorSpec, ...]) -> bool:
    return all(spec.shape[0] is None for spec in inputs)


def _flatten(torch: Any, answer: Any) -> list[Any]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(answer)
    return leaves
