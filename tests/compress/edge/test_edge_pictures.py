"""Bundles that find defects, on a device: the answer of the graph, and boxes in C that are those of the bundle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from deepseek.compress.edge.build import find_compiler  # noqa: E402
from deepseek.compress.edge.pictures import PictureAnswer, device_graph  # noqa: E402
from deepseek.contracts import Float32  # noqa: E402
from deepseek.engines.detector.config import DetectorConfig  # noqa: E402
from deepseek.engines.detector.patches import part_score  # noqa: E402
from deepseek.engines.detector.views import View  # noqa: E402
from deepseek.engines.onnx import open_session  # noqa: E402
from deepseek.nn.detector.boxes import BoxSet, select  # noqa: E402

CLASSES = ("pit", "scratch", 'a "quoted" name')
MAIN = """
#include <stdio.h>
int main(void)
{
    static float numbers[COUNT];
    static model_box boxes[300];
    int num, row;
    if (fread(numbers, sizeof(float), COUNT, stdin) != COUNT)
        return 1;
    num = model_boxes(numbers, boxes, 300);
    printf("%d\\n", model_decide(numbers));
    for (row = 0; row < num; row++)
        printf("%.9g %.9g %.9g %.9g %.9g %d\\n", boxes[row].left, boxes[row].top, boxes[row].right, boxes[row].bottom,
               boxes[row].score, boxes[row].category);
    return 0;
}
"""


def boxes_in_c(answer: PictureAnswer, numbers: Float32, folder: Path) -> tuple[int, BoxSet]:
    """What the C of a detector says of one answer: its decision, and its boxes."""
    text = f"#define COUNT {len(numbers)}\n{answer.header()}{answer.source()}{MAIN}"
    (folder / "boxes.c").write_text(text, encoding="utf-8")
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=undefined"]
    subprocess.run([find_compiler(), *flags, "-o", "boxes", "boxes.c", "-lm"], cwd=folder, check=True)
    ran = subprocess.run([folder / "boxes"], input=numbers.tobytes(), capture_output=True, check=True)
    decision, *lines = ran.stdout.decode().splitlines()
    rows = np.array([line.split() for line in lines], np.float32).reshape(-1, 6)
    return int(decision), BoxSet(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def test_boxes_in_c_are_those_of_the_bundle(tmp_path: Path) -> None:
    config = DetectorConfig("boxes", CLASSES, 1, 64, threshold=0.6, box_threshold=0.2)
    rng = np.random.default_rng(0)
    num_places = 700  # more answers above least_score than are looked at
    scores = rng.random((num_places, 3)).astype(np.float32) ** 2
    corners = rng.uniform(0, 40, (num_places, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 24, (num_places, 2))], 1).astype(np.float32)
    expected = select(scores, boxes, least_score=config.least_score, max_overlap=config.max_overlap)
    expected = expected.above(config.box_threshold)
    head = np.array([0.1, 0.7, 0.65, config.threshold], np.float32)
    numbers = np.concatenate([head, scores.ravel(), boxes.ravel()])
    answer = PictureAnswer(config, num_places)
    decision, own = boxes_in_c(answer, numbers, tmp_path)
    assert decision == 1 == answer.decide(numbers[None])[0]
    assert len(own) == len(expected) > 50
    np.testing.assert_array_equal(own.classes, expected.classes)
    np.testing.assert_array_equal(own.scores, expected.scores)
    np.testing.assert_allclose(own.boxes, expected.boxes, atol=1e-3)


def test_the_answer_of_good_parts_is_the_score_of_the_bundle_and_its_map_without_padding() -> None:
    """The graph here gives back its picture, eight times smaller, as heat."""
    helper, kinds = onnx.helper, onnx.TensorProto
    sides = [1, 1, "high", "wide"]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["pictures"], ["x"], to=kinds.FLOAT),
         helper.make_node("MaxPool", ["x"], ["heat"], kernel_shape=[8, 8], strides=[8, 8])],
        "heat", [helper.make_tensor_value_info("pictures", kinds.UINT8, sides)],
        [helper.make_tensor_value_info("heat", kinds.FLOAT, sides)],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    config = DetectorConfig("patches", ("anomaly",), 1, 64, scale=1.0, threshold=0.97, heat_units=(2.0, 1.0))
    pixels = np.random.default_rng(0).integers(0, 200, (1, 64, 96)).astype(np.uint8)
    pixels[0, :, 80:] = 255  # padding
    device, answer = device_graph(data, config, View(pixels, (60, 76), (0, 0), (1.0, 1.0)))
    session = open_session(device, "device", num_threads=1)
    (row,) = session.run(None, {"pixels": pixels[None].astype(np.float32)})
    heat = pixels[0].reshape(8, 8, 12, 8).max((1, 3))[:, :10].astype(np.float32)
    heat[[0, -1]], heat[1:-1, [0, -1]] = heat[[0, -1]] / 2, heat[1:-1, [0, -1]] / 2  # good parts vary more there
    assert answer.heat_shape == (8, 10)
    assert row.shape == (1, 2 + 80)
    np.testing.assert_allclose(row[0, :2], [part_score(heat), 0.97], rtol=1e-5)
    np.testing.assert_allclose(row[0, 2:], (heat / (1 + heat)).ravel(), rtol=1e-5)
    assert answer.decide(row)[0] == 0  # above 0.97
    assert answer.labels == ("anomaly", "good")
