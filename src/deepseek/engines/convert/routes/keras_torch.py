"""Keras on its torch backend to ONNX, by torch.export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.keras_averages import check_averages
from deepseek.engines.convert.routes.keras_model import answer_by, in_structure, input_specs, load_keras, output_names
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.export_torch import export_torch_module
from deepseek.errors import InputError
from deepseek.extras import need

MIN_EXAMPLE_ROWS = 2  # an axis of 1 is taken for one that is always 1


def load(path: Path) -> LoadedModel:
    """The model of a .keras file. ExtraError without torch, InputError in Keras' words."""
    torch = need("torch", extra="keras-convert")
    keras = need("keras", extra="keras-convert")
    torch.set_num_threads(1)
    model = load_keras(path).to("cpu")
    model.eval()
    inputs, outputs = input_specs(model), output_names(model)
    texts = [spec.name for spec in inputs if spec.dtype == "str"]
    if texts:
        raise InputError(
            f"the input {texts[0]!r} takes texts, which torch has not", expected="numbers",
            fix="convert it with TensorFlow: --python PYTHON_WITH_TENSORFLOW",
        )  # fmt: skip

    check_averages(model)

    def to_array(tensor: Any) -> Any:
        return tensor.detach().cpu().numpy()

    ask = answer_by(model, outputs, torch.from_numpy, to_array)

    def answer(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return ask(arrays)

    def write(path: Path, arrays: Arrays, *, fixed_rows: bool) -> None:
        module = _flat_module(torch, keras, model)
        rows = 1 if fixed_rows else MIN_EXAMPLE_ROWS
        examples = tuple(torch.from_numpy(np.concatenate([arrays[spec.name]] * rows)[:rows].copy()) for spec in inputs)
        dynamic = tuple(_free_axes(torch, spec.shape, fixed_rows=fixed_rows) for spec in inputs)
        with torch.no_grad():
            proto = export_torch_module(
                module, examples, input_names=[spec.name for spec in inputs], output_names=outputs,
                dynamic_shapes=(dynamic,),
            )  # fmt: skip
        need("onnx", extra="keras-convert").save(proto, path)

    versions = {"keras": keras.__version__, "torch": torch.__version__}
    exports = (
        Export("keras on torch", lambda path, arrays: write(path, arrays, fixed_rows=False)),
        Export("keras on torch, a row at a time", lambda path, arrays: write(path, arrays, fixed_rows=True)),
    )
    return LoadedModel(inputs, outputs, answer, exports, versions)


def _flat_module(torch: Any, keras: Any, model: Any) -> Any:
    """A module of as many tensors as the model has inputs, and a tuple of its outputs."""

    class FlatModel(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return tuple(keras.tree.flatten(self.model(in_structure(self.model, list(tensors)), training=False)))

    return FlatModel().eval()


def _free_axes(torch: Any, shape: tuple[Any, ...], *, fixed_rows: bool) -> dict[int, Any]:
    axes = {place: torch.export.Dim.DYNAMIC for place, dim in enumerate(shape) if place and dim is None}
    return axes if fixed_rows else {0: torch.export.Dim("rows"), **axes}
