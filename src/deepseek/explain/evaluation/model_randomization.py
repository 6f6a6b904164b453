"""The same model with weights in other places: an explanation that does not change with it explained something else.

    layers = text_model_layers(folder)                     [("head", ("classifier.weight", ...)), ("layer 5", ...), ...]
    engine = randomize_text_model(folder, layers[0][1])    a TextEngine
    graph_layers(model); randomize_graph(model, names)     of a graph in ONNX, as bytes

From the answer down, and cascading: who shuffles a layer has shuffled all before it (Adebayo et al. 2018). A tensor's
numbers stay the same, so that nothing grows; where they go depends on seed and name alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.text.serve.converted_engine import ConvertedBackend
from deepseek.engines.text.serve.engine import TextEngine
from deepseek.engines.text.serve.openvino_backend import OpenVinoBackend
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.converted_folder import GRAPH_FILE, is_converted
from deepseek.engines.text.source.weights import Weights
from deepseek.extras import need

MAX_RANDOMIZATION_STEPS = 8
_MODULE_NAME_DEPTH = 3  # of a module's name, as "net.encoders.note"
MAX_WEIGHT_BYTES = 2 << 30  # of weights: a copy of them is held in memory
LayerTensors = tuple[str, tuple[str, ...]]  # its name, and its tensors


def shuffle_values(array: NDArray[Any], name: str, seed: int) -> NDArray[Any]:
    """The array with its numbers permuted, by `seed` and `name` alone."""
    rng = np.random.default_rng((seed, crc32(name.encode())))
    return rng.permutation(array.ravel()).reshape(array.shape)


def group_layers(layers: Sequence[LayerTensors], most: int) -> list[LayerTensors]:
    """Neighboring layers joined into at most `most` groups.

    >>> group_layers([("head", ("h",)), ("layer 1", ("b",)), ("layer 0", ("a",))], 2)
    [('head to layer 1', ('h', 'b')), ('layer 0', ('a',))]
    """
    if not layers:
        return []
    groups = []
    for places in np.array_split(np.arange(len(layers)), min(most, len(layers))):
        some = [layers[place] for place in places.tolist()]
        name = some[0][0] if len(some) == 1 else f"{some[0][0]} to {some[-1][0]}"
        groups.append((name, tuple(tensor for _, tensors in some for tensor in tensors)))
    return groups


def text_model_layers(folder: Path) -> list[LayerTensors]:
    """Layers of the text model in a folder, the head first; [] where a copy of its weights is larger than
    MAX_WEIGHT_BYTES."""
    if is_converted(folder):
        return graph_layers(_load_graph(folder)) if (folder / GRAPH_FILE).stat().st_size <= MAX_WEIGHT_BYTES else []
    architecture, weights = Architecture.read(folder), Weights.open(folder)
    names = TensorNames.find(architecture, weights)
    shapes = dict(names.shapes(architecture))
    if 4 * sum(int(np.prod(shape)) for shape in shapes.values()) > MAX_WEIGHT_BYTES:
        return []
    starts = [(f"layer {at}", names.layer.format(at)) for at in reversed(range(architecture.num_layers))]
    starts.append(("embeddings", names.embeddings))
    inner_layers = [(name, tuple(each for each in shapes if each.startswith(start))) for name, start in starts]
    inner = {tensor for _, tensors in inner_layers for tensor in tensors}
    head = tuple(each for each in shapes if each not in inner)
    return [("head", head), *inner_layers] if head else inner_layers


class _ShuffledWeights(Weights):
    """The weights of a folder, some of them permuted."""

    def __init__(self, weights: Weights, names: Sequence[str], seed: int) -> None:
        super().__init__(weights.folder, weights._tensors)
        self._names, self._seed = frozenset(names), seed
        self._made: list[Float32] = []  # OpenVINO shares their memory

    def array(self, name: str, shape: tuple[int, ...]) -> Float32:
        values = super().array(name, shape)
        if name not in self._names:
            return values
        self._made.append(np.asarray(shuffle_values(values, name, self._seed), np.float32))
        return self._made[-1]


def randomize_text_model(folder: Path, names: Sequence[str], *, seed: int = 0) -> TextEngine:
    """An engine of the model in a folder, with these tensors shuffled."""
    if is_converted(folder):
        graph = randomize_graph(_load_graph(folder), names, seed=seed)
        return TextEngine(ConvertedBackend(folder, graph=graph))
    return TextEngine(OpenVinoBackend(folder, weights=_ShuffledWeights(Weights.open(folder), names, seed)))


def _load_graph(folder: Path) -> Any:
    return need("onnx", extra="compress").load(str(folder / GRAPH_FILE))


def graph_layers(model: Any) -> list[LayerTensors]:
    """Layers of an ONNX graph, the module whose weights are read last first. Single numbers are settings, no weights.
    What an exporter has made of weights has no module in its name ("val_12"): it counts to what is read next to it."""
    floats = {1, 10, 11, 16}  # onnx.TensorProto: FLOAT, FLOAT16, DOUBLE, BFLOAT16
    weights = {
        each.name for each in model.graph.initializer if each.data_type in floats and int(np.prod(each.dims)) > 1
    }
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input if name in weights}
    modules: dict[str, list[str]] = {}
    module = ""
    for name in sorted(last, key=lambda name: -last[name]):
        module = ".".join(name.split(".")[:-1][:_MODULE_NAME_DEPTH]) or module or name
        modules.setdefault(module, []).append(name)
    return [(module, tuple(names)) for module, names in modules.items()]


def randomize_graph(model: Any, names: Sequence[str], *, seed: int = 0) -> bytes:
    """The graph with these initializers shuffled; `model` stays as it is."""
    onnx = need("onnx", extra="compress")
    from onnx import numpy_helper

    other, wanted = onnx.ModelProto(), frozenset(names)
    other.CopyFrom(model)
    for each in other.graph.initializer:
        if each.name in wanted:
            each.CopyFrom(
                numpy_helper.from_array(shuffle_values(numpy_helper.to_array(each), each.name, seed), each.name)
            )
    data: bytes = other.SerializeToString()
    return data
