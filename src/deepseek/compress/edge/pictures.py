"""A bundle that finds defects, for a device: pixels of one view in, one row of numbers out.

    rows = read_picture_rows(Path("line3"), Path("pictures"))
    rows.graph                    # "pixels" (1, C, H, W) float32, 0 to 255 -> "answer" (1, M)

The answer begins with K scores of the classes and the threshold from which on a part is defective, so that the largest
of the K + 1 is the decision. Of a detector the scores (A, K) and boxes (A, 4) of all places follow, from which
model_boxes() of c/boxes.c makes boxes as the bundle does; of a bundle of good parts the heat map (h, w).
A device has one camera, so H and W are fixed: those of the views of the pictures that it is compared on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.compress.edge import ctext
from deepseek.contracts import Float32, JsonObject
from deepseek.data.labels.pictures import PictureStore, list_pictures
from deepseek.engines.detector.config import GRAPH, DetectorConfig
from deepseek.engines.detector.patches import TOP_CELLS, TOP_SHARE, cell_units
from deepseek.engines.detector.runtime import DetectorRuntime
from deepseek.engines.detector.views import HEAT_STRIDE, View
from deepseek.engines.onnx import open_session
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.detector.boxes import MAX_CANDIDATES

ENDS = ("pixels", "answer")
MAX_BYTES = 2**28  # of the rows
GOOD = "good"


@dataclass(frozen=True, slots=True)
class PictureAnswer:
    """What the numbers of an answer stand for."""

    config: DetectorConfig
    num_places: int  # A of a detector; 0 of a bundle of good parts
    heat_shape: tuple[int, int] | None = None  # of a bundle of good parts

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the first K + 1 numbers."""
        return (*self.config.classes, GOOD)

    def decide(self, outputs: Float32) -> NDArray[np.int64]:
        """(N, M) answers -> (N,) the class, or the number of classes for a good part; as model_decide() does."""
        num = len(self.config.classes)
        scores = outputs[:, :num]
        return np.where(scores.max(1) >= outputs[:, num], scores.argmax(1), num).astype(np.int64)

    def describe(self, size: int) -> JsonObject:
        """The object "outputs" of edge.json."""
        num = len(self.config.classes)
        layout: list[JsonObject] = [{"what": "scores of the labels; the largest is the decision", "shape": [num + 1]}]
        if self.heat_shape is not None:
            layout.append({"what": "heat map", "shape": list(self.heat_shape)})
        else:
            layout.append({"what": "scores of the classes at each place", "shape": [self.num_places, num]})
            layout.append({"what": "left, top, right, bottom of each place, in pixels of the input",
                           "shape": [self.num_places, 4]})  # fmt: skip
        return {"name": ENDS[1], "size": size, "labels": list(self.labels), "layout": layout,
                "box_threshold": self.config.box_threshold}  # fmt: skip

    def header(self) -> str:
        """Declarations for model.h."""
        lines = [
            f"#define MODEL_NUM_CLASSES {len(self.config.classes)}",
            "extern const char *const model_labels[MODEL_NUM_CLASSES + 1]; /* UTF-8; the last is a good part */",
        ]
        if self.num_places:
            lines += [
                "typedef struct {",
                "    float left, top, right, bottom; /* pixels of the input */",
                "    float score;",
                "    int category;",
                "} model_box;",
                "/* At most `limit` boxes, the highest score first; returns how many. */",
                "int model_boxes(const float *output, model_box *boxes, int limit);",
            ]
        return "\n".join([*lines, "", ""])

    def source(self) -> str:
        """Definitions for model.c: model_decide() among the first K + 1 numbers, and model_boxes()."""
        config = self.config
        parts = [ctext.string_array("model_labels", self.labels, public=True), DECIDE]
        if self.num_places:
            parts += [
                f"\nenum {{ NUM_PLACES = {self.num_places}, MAX_CANDIDATES = {MAX_CANDIDATES} }};\n",
                f"#define LEAST_SCORE {ctext.float_literal(config.least_score)}\n",
                f"#define BOX_SCORE {ctext.float_literal(max(config.box_threshold, config.least_score))}\n",
                f"#define MAX_OVERLAP {ctext.float_literal(config.max_overlap)}\n\n",
                ctext.read_source("boxes.c"),
            ]
        return "".join(parts)


DECIDE = """
int model_decide(const float *output)
{
    int i, best = MODEL_NUM_CLASSES;
    for (i = 0; i < MODEL_NUM_CLASSES; i++)
        if (output[i] >= output[MODEL_NUM_CLASSES] && (best == MODEL_NUM_CLASSES || output[i] > output[best]))
            best = i;
    return best;
}
"""


@dataclass(frozen=True, slots=True)
class PictureRows:
    """The graph of a device, and views that it is compared on."""

    name: str
    digest: str
    graph: bytes = field(repr=False)
    shape: tuple[int, int, int]  # C, H, W
    inputs: Float32 = field(repr=False)  # (N, C H W)
    expected: Float32 = field(repr=False)  # (N, M)
    rows_from: str
    answer: PictureAnswer


def read_picture_rows(path: Path, data: Path | None, max_rows: int) -> PictureRows:
    """`data`: a folder of pictures. InputError without one, for a bundle that compares parts with references, and for
    pictures whose views have several sizes."""
    with DetectorRuntime.open(path) as runtime:
        config = runtime.config
        if config.template is not None:
            raise InputError(
                f"{path} compares parts with reference pictures: what differs is looked for outside of its graph",
                expected="a detector or a bundle of good parts", fix="run it with deepseek serve",
            )  # fmt: skip
        if data is None or not data.is_dir():
            raise InputError(
                "a device is compared on real pictures", expected="--data FOLDER of the pictures of its camera",
                fix="give some, 200 or more for int8",
            )  # fmt: skip
        views, num_pictures = _read_views(PictureStore(data, runtime.image_reader), list_pictures(data), config)
        views = views[: max(1, min(max_rows, MAX_BYTES // (4 * views[0].pixels.size)))]
        graph, answer = device_graph(runtime.bundle.read(GRAPH), config, views[0])
        inputs = np.stack([view.pixels for view in views]).astype(np.float32)
        session = open_session(graph, GRAPH, num_threads=1)
        expected = np.concatenate([session.run([ENDS[1]], {ENDS[0]: each[None]})[0] for each in inputs])
        channels, height, width = inputs.shape[1:]
        return PictureRows(
            runtime.name, runtime.bundle.digest, graph, (channels, height, width), inputs.reshape(len(inputs), -1),
            expected.astype(np.float32), f"{len(views)} views of {num_pictures} pictures", answer,
        )  # fmt: skip


def _read_views(store: PictureStore, files: list[str], config: DetectorConfig) -> tuple[list[View], int]:
    """Views of all pictures, which must be of one size, and the number of pictures."""
    views = [view for file in files for view in config.views(store.read(file))]
    sizes = Counter((view.pixels.shape, view.inner) for view in views)
    if len(sizes) > 1:
        shown = ", ".join(f"{inner[1]} x {inner[0]}" for (_, inner), _ in sizes.most_common(3))
        raise InputError(
            f"the pictures in {store.folder} are seen in several sizes: {shown}",
            expected="pictures of one camera, all of one size", fix="give a folder of pictures of the device's camera",
        )  # fmt: skip
    return views, len(files)


def device_graph(graph: bytes, config: DetectorConfig, view: View) -> tuple[bytes, PictureAnswer]:
    """The bundle's graph with one float input of the view's size and one output (1, M). Of good parts a device knows
    what the map says, with a threshold of its own: the whole picture is described outside of the graph."""
    onnx = need("onnx", extra="compress")
    model = onnx.load_from_string(graph)
    helper, body = onnx.helper, model.graph
    shape = (1, *view.pixels.shape)
    name = body.input[0].name
    nodes = [helper.make_node("Cast", [ENDS[0]], [name], to=onnx.TensorProto.UINT8), *body.node]
    threshold = config.threshold if config.heat_threshold is None else config.heat_threshold
    constants = {"threshold": np.array([[threshold]], np.float32), "row": np.array([1, -1], np.int64)}
    if config.method == "patches":
        answer = PictureAnswer(config, 0, tuple(-(-side // HEAT_STRIDE) for side in view.inner))  # type: ignore[arg-type]
        more, own = _heat_nodes(helper, body.output[0].name, answer.heat_shape or (1, 1), config.heat_units)
    else:
        num_places = sum(shape[2] // stride * (shape[3] // stride) for stride in (8, 16, 32))
        answer = PictureAnswer(config, num_places)
        more, own = _box_nodes(helper, config.least_score), {}
    initializers = [
        onnx.numpy_helper.from_array(value, f"device_{key}") for key, value in (constants | own).items()
    ]  # fmt: skip
    del body.node[:], body.value_info[:], body.input[:], body.output[:]
    body.node.extend([*nodes, *more])
    body.initializer.extend(initializers)
    body.input.append(helper.make_tensor_value_info(ENDS[0], onnx.TensorProto.FLOAT, shape))
    size = len(answer.labels) + (
        int(np.prod(answer.heat_shape)) if answer.heat_shape else answer.num_places * (len(config.classes) + 4)
    )
    body.output.append(helper.make_tensor_value_info(ENDS[1], onnx.TensorProto.FLOAT, (1, size)))
    data: bytes = model.SerializeToString()
    return data, answer


def _box_nodes(helper: Any, least_score: float) -> list[Any]:
    """scores (1, A, K), boxes (1, A, 4), presence (1, K) -> answer. A class whose best place is not above `least_score`
    scores 0, as in the bundle, which looks at no such box."""
    return [
        helper.make_node("Transpose", ["scores"], ["device_by_class"], perm=[0, 2, 1]),
        helper.make_node("GlobalMaxPool", ["device_by_class"], ["device_best"]),
        helper.make_node("Reshape", ["device_best", "device_row"], ["device_best_row"]),
        helper.make_node("ThresholdedRelu", ["device_best_row"], ["device_seen"], alpha=least_score),
        helper.make_node("Mul", ["device_seen", "presence"], ["device_product"]),
        helper.make_node("Sqrt", ["device_product"], ["device_classes"]),
        helper.make_node("Reshape", ["scores", "device_row"], ["device_scores"]),
        helper.make_node("Reshape", ["boxes", "device_row"], ["device_boxes"]),
        helper.make_node("Concat", ["device_classes", "device_threshold", "device_scores", "device_boxes"], [ENDS[1]],
                         axis=1),
    ]  # fmt: skip


def _heat_nodes(
    helper: Any, name: str, shape: tuple[int, int], units: Sequence[float]
) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """heat (1, 1, h, w) -> answer: the mean of the hottest cells that are no padding, and the map, both in units of
    good parts and squeezed."""
    num = min(shape[0] * shape[1], max(TOP_CELLS, round(TOP_SHARE * shape[0] * shape[1])))
    nodes = [
        helper.make_node("Slice", [name, "device_begin", "device_end", "device_axes"], ["device_inner"]),
        helper.make_node("Reshape", ["device_inner", "device_row"], ["device_distances"]),
        helper.make_node("Div", ["device_distances", "device_units"], ["device_cells"]),
        helper.make_node("TopK", ["device_cells", "device_num"], ["device_hottest", "device_places"], axis=1),
        helper.make_node("Reshape", ["device_hottest", "device_cube"], ["device_hottest_cube"]),
        helper.make_node("GlobalAveragePool", ["device_hottest_cube"], ["device_mean"]),
        helper.make_node("Reshape", ["device_mean", "device_row"], ["device_mean_row"]),
        helper.make_node("Add", ["device_mean_row", "device_one"], ["device_mean_more"]),
        helper.make_node("Div", ["device_mean_row", "device_mean_more"], ["device_score"]),
        helper.make_node("Add", ["device_cells", "device_one"], ["device_cells_more"]),
        helper.make_node("Div", ["device_cells", "device_cells_more"], ["device_heat"]),
        helper.make_node("Concat", ["device_score", "device_threshold", "device_heat"], [ENDS[1]], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "begin": np.array([0, 0], np.int64), "end": np.array(shape, np.int64), "axes": np.array([2, 3], np.int64),
        "num": np.array([num], np.int64), "cube": np.array([1, 1, num], np.int64),
        "one": np.array([[1.0]], np.float32), "units": cell_units(shape, units).reshape(1, -1),
    }  # fmt: skip
    return nodes, constants
