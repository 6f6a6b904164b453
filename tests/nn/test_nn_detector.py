"""Parts of the detector that can be checked by hand: overlaps, suppression, tiles, differences, assignment, the
trunk."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from deepseek.engines.detector.views import join_heat, make_views
from deepseek.errors import ExtraError, InputError
from deepseek.extras import is_installed
from deepseek.nn.detector.alignment import align
from deepseek.nn.detector.boxes import BoxSet, overlaps, select, suppress
from deepseek.nn.detector.difference import apply_deltas, check_sizes, cut_crops, propose, to_deltas

if TYPE_CHECKING:
    from deepseek.nn.detector.onnx_trunk import PretrainedFile

pytest.importorskip("PIL")


def box_set(*rows: tuple[float, ...]) -> BoxSet:
    """Rows of left, top, right, bottom, score, class, by falling score."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return BoxSet(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_overlaps_are_shares_of_the_union() -> None:
    shared = overlaps(np.array([[0, 0, 4, 4]], np.float32), np.array([[2, 0, 6, 4], [4, 4, 8, 8]], np.float32))
    np.testing.assert_allclose(shared, [[8 / 24, 0]])


def test_doubles_of_a_class_are_suppressed_and_vote_for_the_border() -> None:
    detections = box_set(
        (0, 0, 10, 10, 0.8, 0), (0, 0, 10, 8, 0.4, 0), (0, 0, 10, 10, 0.3, 1), (50, 50, 60, 60, 0.2, 0)
    )
    kept = suppress(detections, 0.5)
    assert kept.classes.tolist() == [0, 1, 0]
    weight = np.array([0.8 * 1.0, 0.4 * 0.8])  # score by overlap
    np.testing.assert_allclose(kept.boxes[0, 3], (weight * [10, 8]).sum() / weight.sum(), rtol=1e-6)
    np.testing.assert_allclose(suppress(detections, 0.5, vote=False).boxes[0], [0, 0, 10, 10])


def test_a_place_may_answer_with_several_classes_and_no_box_is_no_error() -> None:
    boxes = np.array([[0, 0, 4, 4], [8, 8, 9, 9]], np.float32)
    detections = select(np.array([[0.9, 0.5], [0.1, 0.0]], np.float32), boxes, least_score=0.2, max_overlap=0.5)
    assert detections.classes.tolist() == [0, 1]
    assert len(select(np.zeros((2, 2), np.float32), boxes, least_score=0.2, max_overlap=0.5)) == 0


@pytest.mark.parametrize(("width", "height"), [(100, 60), (300, 100), (1_000, 700)])
def test_tiles_cover_a_picture_and_heat_is_joined_where_it_belongs(width: int, height: int) -> None:
    picture = np.zeros((1, height, width), np.uint8)
    seen = np.zeros((height, width), bool)
    views = make_views(picture, size=256, scale=1.0, overlap=0.25)
    for view in views:
        x, y = view.offset
        seen[y : y + view.inner[0], x : x + view.inner[1]] = True
        assert view.pixels.shape[1] % 32 == view.pixels.shape[2] % 32 == 0
    assert seen.all()
    hot = max(views, key=lambda view: view.offset)
    parts = [
        (view, np.full((view.pixels.shape[1] // 8, view.pixels.shape[2] // 8), float(view is hot), np.float32))
        for view in views
    ]
    heat = join_heat(parts)
    assert heat.shape == (-(-height // 8), -(-width // 8))
    assert heat[-1, -1] == 1
    assert heat[0, 0] == float(len(views) == 1)


def test_a_part_that_lies_beside_its_reference_is_moved_onto_it() -> None:
    rng = np.random.default_rng(0)
    reference = np.kron(rng.integers(0, 2, (20, 20)), np.ones((8, 8))).astype(np.uint8)[None] * 255
    part = np.roll(reference, (3, -5), axis=(1, 2))
    moved, _, shift = align(part, reference)
    assert shift == (-5, 3)
    assert (moved[:, 10:-10, 10:-10] == reference[:, 10:-10, 10:-10]).all()
    assert align(reference, reference)[2] == (0, 0)


def test_a_reference_is_bent_onto_a_part_that_lies_askew_and_bowed_and_a_defect_stays() -> None:
    """The part is the reference turned, stretched and bowed by up to five pixels, and a pixel to the side, with two
    defects: as it lies, each of its edges is a candidate."""
    rng = np.random.default_rng(1)
    reference = np.kron(rng.integers(0, 2, (24, 24)), np.ones((12, 12))).astype(np.uint8)[None] * 255
    rows, columns = np.meshgrid(np.arange(288), np.arange(288), indexing="ij")
    x, y = (columns - 143.5) / 143.5, (rows - 143.5) / 143.5
    from_rows = np.clip(np.rint(rows + 3 * x - 1.5 * x * x), 0, 287).astype(int)
    from_columns = np.clip(np.rint(columns + 1 - 2 * y + x), 0, 287).astype(int)
    part = reference[:, from_rows, from_columns]
    for top, left in ((100, 40), (200, 220)):
        part[:, top : top + 8, left : left + 8] = 255 - part[:, top : top + 8, left : left + 8]
    moved, bent, shift = align(part, reference)
    boxes = propose(moved, bent) + np.array(shift * 2)
    for spot in ((44, 104), (224, 204)):
        assert any(left <= spot[0] < right and top <= spot[1] < bottom for left, top, right, bottom in boxes.tolist())
    inner = boxes[(boxes.min(1) > 8) & (boxes.max(1) < 280)]  # what comes in at the border is new
    assert len(inner) <= 4
    assert len(propose(part, reference)) > 10 * len(inner)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 200), (3, 40, 40), (1, 256, 256)])
def test_pictures_without_edges_are_laid_onto_each_other_as_they_are(shape: tuple[int, ...]) -> None:
    black, white = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    for part, reference in ((black, white), (white, black), (black, black)):
        _, bent, shift = align(part, reference)
        assert shift == (0, 0)
        np.testing.assert_array_equal(bent, reference)


def test_candidates_are_what_differs_by_more_than_an_edge() -> None:
    reference = np.zeros((1, 128, 128), np.uint8)
    reference[:, :, 40:60] = 255
    part = reference.copy()
    part[:, :, 60:61] = 255  # an edge that lies one pixel off is none
    part[:, 20:30, 80:95] = 255
    boxes = propose(part, reference)
    np.testing.assert_array_equal(boxes, [[80, 20, 95, 30]])
    crops = cut_crops(part, reference, boxes)
    assert crops.shape == (1, 2, 64, 64)
    assert (crops[0, 0] > 0).sum() > (crops[0, 1] > 0).sum()
    target = np.array([[78, 18, 97, 33]], np.float32)
    np.testing.assert_allclose(apply_deltas(boxes, to_deltas(boxes, target)), target, atol=1e-4)
    assert len(propose(reference, reference)) == 0


def test_a_reference_must_be_there_and_of_the_same_size() -> None:
    part = np.zeros((1, 8, 8), np.uint8)
    with pytest.raises(InputError, match="there is none"):
        check_sizes(part, None)
    with pytest.raises(InputError, match="8 x 8 pixels and its reference 9 x 8"):
        check_sizes(part, np.zeros((1, 8, 9), np.uint8))


def test_good_parts_that_are_all_black_are_learned_and_a_spot_is_unlike_them() -> None:
    """Their patches do not vary at all: dividing by that was no number."""
    torch = pytest.importorskip("torch")
    from deepseek.nn.detector.patch_net import GaborTrunk, PatchNet, to_relative

    net = PatchNet(GaborTrunk(), num_channels=1).eval()
    black, spot = torch.zeros(1, 1, 64, 64, dtype=torch.uint8), torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    spot[:, :, 24:40, 24:40] = 255
    with torch.no_grad():
        features = net.features(black)
        net.fit_good(*(each[0].flatten(1).T.numpy() for each in (features, to_relative(features))))
        assert torch.isfinite(net(spot)).all()
        assert float(net(black).max()) < 0.01 * float(net(spot).max())


def test_patches_are_compared_as_they_are_and_relative_to_their_picture() -> None:
    """Each bank counts in units of what other good parts have there; a part that is strange all over, of which nothing
    stands out, is hot."""
    torch = pytest.importorskip("torch")
    from deepseek.nn.detector.patch_net import GaborTrunk, PatchNet, PatchShape, to_relative

    rng = np.random.default_rng(0)

    def draw(light: float, grain: float = 2.0) -> Any:
        gray = light + grain * rng.normal(size=(1, 1, 96, 96))
        return torch.from_numpy(gray.clip(0, 255).astype(np.uint8))

    net = PatchNet(GaborTrunk(), 1, PatchShape(num_directions=16, bank_size=200)).eval()
    others = [draw(light) for light in (70, 100, 130, 160)]
    with torch.no_grad():
        features = net.features(torch.cat([draw(light) for light in np.linspace(60, 190, 12)]))
        good = [each.permute(0, 2, 3, 1).flatten(0, 2).numpy() for each in (features, to_relative(features))]
        net.fit_good(*good)
        net.fit_units(others)
        seen = net.features(torch.cat(others))
        squares = net.plain(seen), net.relative(to_relative(seen))
        assert [float(each.mean()) for each in squares] == pytest.approx([1, 1], rel=1e-3)
        torch.testing.assert_close(net(torch.cat(others)), (squares[0] + squares[1]).sqrt())
        usual, rough = net(draw(125)), net(draw(125, grain=25))
        assert float(rough.median()) > 2 * float(usual.max())
        torch.testing.assert_close(to_relative(3 * features + 1), to_relative(features), rtol=1e-3, atol=1e-3)


def test_heat_is_told_in_what_good_parts_show_as_near_to_the_border() -> None:
    from deepseek.engines.detector.patches import cell_units

    units = cell_units((5, 6), (8.0, 4.0))
    assert (units[[0, -1]] == 8).all()
    assert (units[:, [0, -1]] == 8).all()
    assert (units[1:-1, 1:-1] == 4).all()
    assert (cell_units((2, 3), ()) == 1).all()


def test_units_come_from_the_hottest_cells_of_good_parts_and_pictures_may_be_too_small_for_some() -> None:
    pytest.importorskip("torch")
    from deepseek.automl.detection.patch_fit import LEAST_UNIT, _fit_units

    edge, inner = np.ones((7, 7), np.float32), np.zeros((3, 3), np.float32)
    edge[1:-1, 1:-1] = 0.5
    edge[3, 3] = 0.25
    assert _fit_units([edge]) == (1.0, 0.5, 0.5, 0.25)  # the fourth cell from the border is the middle
    assert _fit_units([inner]) == (LEAST_UNIT, LEAST_UNIT)


def write_trunk() -> tuple[bytes, PretrainedFile]:
    """A graph of one convolution a stage, strides 4, 8, 16 and 32, and the names of the convolutions that read them."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from deepseek.nn.detector.onnx_trunk import PretrainedFile

    rng = np.random.default_rng(0)
    nodes, weights, source, inputs = [], [], "x", 3
    for stage, stride in enumerate((4, 2, 2, 2)):
        outputs = 4 * (stage + 1)
        for name, shape in ((f"s{stage}", (outputs, inputs, stride, stride)), (f"l{stage}", (2, outputs, 1, 1))):
            weights.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), f"{name}_w"))
        nodes.append(onnx.helper.make_node(
            "Conv", [source, f"s{stage}_w"], [f"s{stage}"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ))  # fmt: skip
        nodes.append(onnx.helper.make_node("Conv", [f"s{stage}", f"l{stage}_w"], [f"l{stage}"], kernel_shape=[1, 1]))
        source, inputs = f"s{stage}", outputs
    ends = [onnx.helper.make_tensor_value_info(f"l{stage}", 1, None) for stage in range(4)]
    graph = onnx.helper.make_graph(nodes, "trunk", [onnx.helper.make_tensor_value_info("x", 1, None)], ends, weights)
    known = PretrainedFile("package", "trunk.onnx", tuple(f"l{stage}" for stage in range(4)), "MIT")
    return onnx.helper.make_model(graph).SerializeToString(), known


def test_the_first_stage_of_a_trained_trunk_is_kept_as_it_is() -> None:
    torch = pytest.importorskip("torch")
    from deepseek.nn.detector.detector import Detector, DetectorShape
    from deepseek.nn.detector.onnx_trunk import OnnxTrunk
    from deepseek.train.detect.loop import FitConfig, _groups

    trunk = OnnxTrunk.read(*write_trunk())
    trunk.freeze_first_stage()
    assert [value.requires_grad for value in trunk.parameters()] == [False, True, True, True]
    net = Detector(DetectorShape(num_channels=1), trunk)
    trained = {id(value) for group in _groups(net, FitConfig()) for value in group["params"]}
    assert trained == {id(value) for value in net.parameters() if value.requires_grad}
    net.raw(torch.zeros(2, 1, 64, 64, dtype=torch.uint8)).logits.sum().backward()
    assert [value.grad is None for value in trunk.parameters()] == [True, False, False, False]


def draw_good(rng: np.random.Generator, height: int = 96, width: int = 80) -> np.ndarray:
    """Streaks and noise under a light of its own."""
    streaks = rng.normal(0, 4, width).cumsum() * 0.5
    light = rng.uniform(0.5, 1.6)
    return np.clip(light * (100 + streaks - streaks.mean() + rng.normal(0, 5, (height, width))), 0, 255)


def test_a_dark_spot_and_a_brighter_half_are_unlike_good_pictures_whatever_their_light() -> None:
    pytest.importorskip("scipy")
    from deepseek.nn.detector.whole_picture import PictureNorm, describe

    rng = np.random.default_rng(0)

    def tell(pixels: np.ndarray) -> np.ndarray:
        description = describe(pixels[None].astype(np.uint8))
        assert description is not None
        return description

    norm = PictureNorm.fit([tell(draw_good(rng)) for _ in range(60)])
    held = [norm.distance(tell(draw_good(rng))) for _ in range(20)]
    for _ in range(5):
        spot, half = draw_good(rng), draw_good(rng)
        spot[40:50, 30:40] *= 0.4
        half[:48] *= 1.25
        assert min(norm.distance(tell(each)) for each in (spot, half)) > max(held)
    again = PictureNorm.from_bytes(norm.to_bytes())
    assert again.distance(tell(half)) == pytest.approx(norm.distance(tell(half)), rel=1e-4)
    assert describe(np.zeros((1, 63, 200), np.uint8)) is None
    assert np.isfinite(tell(np.zeros((64, 900)))).all()


def test_a_trunk_that_wants_colors_from_0_to_255_gets_them_in_its_order_and_halves_of_rows_are_read() -> None:
    """As YOLOX's begins: every second row and column, stacked, and blue first."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from dataclasses import replace

    from deepseek.nn.detector.onnx_trunk import MEAN, STD, OnnxTrunk

    data, known = write_trunk()
    bgr_mean = (104.0, 117.0, 123.0)
    pictures = torch.randint(0, 256, (2, 3, 64, 64)).float()
    normalized = (pictures / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    plain = OnnxTrunk.read(data, known)
    blue_first = OnnxTrunk.read(data, replace(known, bgr_mean=bgr_mean))
    shifted = pictures.flip(1) - torch.tensor(bgr_mean).view(1, 3, 1, 1)
    for one, other in zip(blue_first(normalized), plain(shifted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)

    model = onnx.load_from_string(data)
    graph = model.graph
    for name, value in (("start", [1]), ("end", [2**63 - 1]), ("axis", [3]), ("step", [2])):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.int64), name))
    half = onnx.helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["half"])
    first = graph.node[0]
    first.input[0] = "half"
    first.attribute[1].ints[:] = [4, 2]  # of what is half as wide
    first.attribute.append(onnx.helper.make_attribute("pads", [0, 1, 0, 1]))
    graph.node.insert(0, half)
    sliced = OnnxTrunk.read(model.SerializeToString(), known)
    odd = normalized[:, :, :, 1::2]
    expected = torch.nn.functional.conv2d(odd, sliced._weight("s0_w"), stride=(4, 2), padding=(0, 1))
    torch.testing.assert_close(sliced(normalized)[0], expected)


def test_a_trunk_that_takes_its_channels_last_gets_pictures_as_they_are_here() -> None:
    """TensorFlow's graphs begin with a transposition to (N, C, H, W), which is what pictures have already."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from deepseek.nn.detector.onnx_trunk import OnnxTrunk

    data, known = write_trunk()
    pictures = torch.randn(1, 3, 64, 96)
    expected = OnnxTrunk.read(data, known)(pictures)
    model = onnx.load_from_string(data)
    model.graph.node[0].input[0] = "first"
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
    for one, other in zip(OnnxTrunk.read(model.SerializeToString(), known)(pictures), expected, strict=True):
        torch.testing.assert_close(one, other)
    model.graph.node[0].attribute[0].ints[:] = [0, 1, 3, 2]  # rows and columns change places: that cannot be left out
    with pytest.raises(InputError, match="has a node Transpose"):
        OnnxTrunk.read(model.SerializeToString(), known)


@pytest.mark.parametrize(("num_nets", "mirrored"), [(1, True), (2, True), (2, False)])
def test_answers_of_nets_and_of_mirrors_are_averaged_place_by_place(num_nets: int, mirrored: bool) -> None:
    torch = pytest.importorskip("torch")
    from deepseek.nn.detector.averaged import AveragedDetector
    from deepseek.nn.detector.detector import Detector, DetectorShape
    from deepseek.nn.detector.trunk import ResidualTrunk, TrunkShape

    torch.manual_seed(0)
    shape = DetectorShape(num_classes=2, num_channels=1)
    nets = [Detector(shape, ResidualTrunk(TrunkShape())).eval() for _ in range(num_nets)]
    pictures = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)
    sizes = [(8, 12), (4, 6), (2, 3)]
    mirrors = ((), (3,), (2,), (2, 3)) if mirrored else ((),)
    with torch.no_grad():
        averaged = AveragedDetector(nets, mirrored=mirrored)
        scores, boxes, presence, heat = (each.numpy() for each in averaged(pictures))
        plain = []
        for net, axes in product(nets, mirrors):  # a net on a mirrored picture, its answers mirrored by hand
            own, corners, present, hot = (each.numpy() for each in net(pictures.flip(axes) if axes else pictures))
            for axis, (low, high), side in ((3, (0, 2), 96), (2, (1, 3), 64)):
                if axis in axes:
                    corners = corners.copy()
                    corners[..., [low, high]] = side - corners[..., [high, low]]
            turned = tuple(axis - 1 for axis in axes)  # of (N, h, w, C)
            rows = np.split(np.concatenate([own, corners], -1), np.cumsum([h * w for h, w in sizes])[:-1], axis=1)
            levels = [
                np.flip(row.reshape(2, *size, 6), turned).reshape(2, -1, 6)
                for row, size in zip(rows, sizes, strict=True)
            ]
            plain.append((np.concatenate(levels, 1), present, np.flip(hot, axes)))
    answers = np.stack([each for each, _, _ in plain])
    weight = answers[..., :2].max(-1, keepdims=True)
    np.testing.assert_allclose(scores, answers[..., :2].mean(0), atol=1e-6)
    np.testing.assert_allclose(boxes, (answers[..., 2:] * weight).sum(0) / weight.sum(0), atol=0.05)
    np.testing.assert_allclose(presence, np.mean([each for _, each, _ in plain], 0), atol=1e-6)
    np.testing.assert_allclose(heat, np.mean([each for _, _, each in plain], 0), atol=1e-6)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3  # the views do differ


@pytest.mark.skipif(is_installed("ddddocr"), reason="ddddocr is installed")
def test_weights_of_a_package_that_is_not_there_are_asked_for_in_vain() -> None:
    pytest.importorskip("torch")
    from deepseek.automl.detection.net import build_trunk
    from deepseek.automl.detection.patch_fit import patch_trunk

    for choose in (build_trunk, patch_trunk):
        with pytest.raises(ExtraError, match="ddddocr is not installed"):
            choose("ddddocr")
