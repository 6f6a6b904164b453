"""Parts compared with good ones, patch by patch: a heat map, its regions as boxes, a score of the part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.detector.config import GRAPH, DetectorConfig
from deepseek.engines.detector.inspection import Inspection, Picture
from deepseek.engines.detector.views import View, join_heat
from deepseek.engines.onnx import compute_error, open_session, runtime_errors
from deepseek.extras import need
from deepseek.nn.detector.boxes import BoxSet
from deepseek.nn.detector.whole_picture import PictureNorm, describe

USUAL = 1.645  # standard deviations, below which 95 % of a normal distribution lie
SLOPE, MOST = 4.0, 30.0  # so far above scores still differ in float64
SMALLEST = 1e-6  # distance whose logarithm is taken
TOP_SHARE, TOP_CELLS = 0.01, 3  # of the cells of a part: the mean of the hottest is its score


class PatchModel:
    """nn.detector.PatchNet, exported: pictures -> distances to good patches."""

    def __init__(
        self, graph: bytes, config: DetectorConfig, norm: PictureNorm | None = None, *, num_threads: int = 1
    ) -> None:
        self.config, self._norm = config, norm
        self._session = open_session(graph, GRAPH, num_threads=num_threads)
        self._refusals = runtime_errors(need("onnxruntime", extra="serve"))

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection:
        """Heat and scores are distances d, in units of how far good parts go so near to the border, squeezed to 0 to 1
        by d / (1 + d): 0.5 is as far as the farthest patch there of most good parts. Where the config has score_units,
        the score also counts how unlike the whole picture is."""
        config = self.config
        parts: list[tuple[View, Float32]] = []
        views = config.views(picture)
        for view in views:
            try:
                (heat,) = self._session.run(None, {"pictures": view.pixels[None]})
            except self._refusals as error:
                raise compute_error(GRAPH, error) from error
            parts.append((view, heat[0, 0]))
        heat = join_heat(parts)
        heat = heat / cell_units(heat.shape, config.heat_units)
        score = part_score(heat)
        if self._norm is not None and config.score_units is not None:
            description = describe(picture)
            distance = None if description is None else self._norm.distance(description)
            score = joint_score(hottest_mean(heat), distance, config.score_units)
        heat = heat / (1 + heat)
        least = config.threshold if config.heat_threshold is None else config.heat_threshold
        boxes = regions(heat, least, picture.shape[2], picture.shape[1])
        return Inspection(boxes, score, np.array([score], np.float32), heat)


def border_distance(shape: tuple[int, ...], most: int) -> NDArray[np.int64]:
    """(h, w) cells between each cell and the nearest border, at most `most`.

    >>> border_distance((3, 4), 4).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    rows, columns = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in shape)
    distance: NDArray[np.int64] = np.minimum(np.minimum(rows[:, None], columns[None]), most)
    return distance


def cell_units(shape: tuple[int, ...], units: Sequence[float]) -> Float32:
    """(h, w) the distance that is called 1 at each cell: units[d] at d cells from the border, the last from there on.
    Near its border a part varies most: its edge, what lies behind it, and the net's own padding."""
    if not units:
        return np.ones(shape, np.float32)
    per_cell: Float32 = np.array(units, np.float32)[border_distance(shape, len(units) - 1)]
    return per_cell


def part_score(heat: Float32) -> float:
    """The mean of the hottest cells, squeezed.

    >>> part_score(np.array([[0.0, 1.0], [1.0, 1.0]], np.float32))
    0.5
    """
    hottest = hottest_mean(heat)
    return hottest / (1 + hottest)


def hottest_mean(heat: Float32) -> float:
    """The mean of the hottest cells."""
    num = max(TOP_CELLS, round(TOP_SHARE * heat.size))
    return float(np.sort(heat, axis=None)[-num:].mean())


def joint_score(hottest: float, distance: float | None, units: tuple[float, float, float, float]) -> float:
    """0 to 1: what the map says and how unlike the whole picture is (None: too small to say), each by how many standard
    deviations its logarithm lies above that of good parts; 0.5 where 95 % of good parts would lie below, if they were
    normal and the two independent.

    >>> joint_score(1.0, 1.0, (0.0, 1.0, 0.0, 1.0)) < 0.5 < joint_score(9.0, 9.0, (0.0, 1.0, 0.0, 1.0))
    True
    """
    above = (math.log(max(hottest, SMALLEST)) - units[0]) / units[1]
    if distance is not None:
        above = (above + (math.log(max(distance, SMALLEST)) - units[2]) / units[3]) / math.sqrt(2)
    return 1 / (1 + math.exp(-min(max((above - USUAL) / SLOPE, -MOST), MOST)))


def regions(heat: Float32, threshold: float, width: int, height: int) -> BoxSet:
    """Connected cells from the threshold on as boxes in pixels, each with its largest value as score."""
    ndimage = need("scipy.ndimage", extra="tabular")
    labels, num = ndimage.label(heat >= threshold, np.ones((3, 3)))
    if not num:
        return BoxSet.empty()
    down, across = height / heat.shape[0], width / heat.shape[1]
    boxes = [
        (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
        for rows, columns in ndimage.find_objects(labels)
    ]
    scores = np.asarray(ndimage.maximum(heat, labels, np.arange(1, num + 1)), np.float32)
    order = np.argsort(-scores, kind="stable")
    return BoxSet(np.array(boxes, np.float32)[order], scores[order], np.zeros(num, np.int64))
