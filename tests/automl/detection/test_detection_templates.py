"""Parts that are compared with their reference pictures: by their differences, and by a detector that sees both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

for module in ("torch", "onnxscript", "PIL", "scipy", "pycocotools"):
    pytest.importorskip(module)

from PIL import Image  # noqa: E402

from deepseek.automl.detection.fit import LEAST_DETECTOR_S, choose_method, fit_detection  # noqa: E402
from deepseek.automl.detection.folder import evaluate_detector, predict_folder  # noqa: E402
from deepseek.automl.detection.options import DetectionOptions  # noqa: E402
from deepseek.automl.detection.references import parse_template, reference_name  # noqa: E402
from deepseek.data.labels.pictures import PictureStore  # noqa: E402
from deepseek.data.media.image import ImageReader  # noqa: E402
from deepseek.engines.detector.config import DetectorConfig  # noqa: E402
from deepseek.engines.detector.inspection import Inspection  # noqa: E402
from deepseek.engines.detector.templates import TemplateDetectorModel  # noqa: E402
from deepseek.errors import InputError  # noqa: E402
from deepseek.nn.detector.boxes import BoxSet  # noqa: E402
from deepseek.nn.detector.difference import stack  # noqa: E402

TEMPLATE = ("_test", "_temp")


def test_templates_are_found_by_their_names() -> None:
    template = parse_template("_test=_temp")
    assert reference_name("a/7_test.png", template) == "a/7_temp.png"
    with pytest.raises(InputError, match="--template"):
        parse_template("_test")
    with pytest.raises(InputError, match="has no '_test' in its name"):
        reference_name("a/7.png", template)


def write_boards(folder: Path, num: int, rng: np.random.Generator) -> Path:
    """Boards of random lines with a blob more or a hole on each, beside their templates."""
    rows = ["image,class,xmin,ymin,xmax,ymax"]
    for number in range(num):
        template = np.kron(rng.integers(0, 2, (8, 8)), np.ones((16, 16))).astype(np.uint8) * 255
        part = template.copy()
        x, y = rng.integers(8, 110, 2)
        kind = "hole" if part[y + 4, x + 4] else "blob"
        part[y : y + 8, x : x + 8] = 255 - part[y + 4, x + 4]
        rows.append(f"{number}_test.png,{kind},{x - 3},{y - 3},{x + 11},{y + 11}")
        Image.fromarray(part).save(folder / f"{number}_test.png")
        Image.fromarray(template).save(folder / f"{number}_temp.png")
    path = folder.parent / f"{folder.name}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_a_mirrored_difference_gets_the_same_name_and_a_mirrored_box() -> None:
    """A net that was never trained sees left and right as two things; its mean over mirrors does not."""
    import torch

    from deepseek.automl.detection.pair_fit import _export
    from deepseek.engines.detector.templates import MIRRORS, PairModel
    from deepseek.nn.detector.pair_net import PairNet

    torch.manual_seed(0)
    crops = np.random.default_rng(0).integers(0, 256, (3, 2, 64, 64), dtype=np.uint8)
    graph, _ = _export(PairNet(2, 1).eval(), crops)
    model = PairModel(graph, DetectorConfig("template", ("hole", "blob"), 1, 64, template=TEMPLATE))
    chances, deltas = model._answer(crops)
    for axes, order, signs in MIRRORS:
        own, moved = model._answer(np.ascontiguousarray(np.flip(crops, axes)))
        np.testing.assert_allclose(own, chances, atol=1e-5)
        np.testing.assert_allclose(moved[:, order] * signs, deltas, atol=1e-5)
    assert np.abs(model._run(crops)[1] - deltas).max() > 1e-4


@pytest.mark.slow
def test_boards_are_compared_with_their_templates(tmp_path: Path) -> None:
    train, test = write_two_folders(tmp_path)
    options = DetectionOptions(out=tmp_path / "out", template=TEMPLATE, max_steps=150, trunk="random")
    result = fit_detection(tmp_path / "train", options, labels=train)
    assert any("--trunk changed nothing" in text for text in result.warnings)
    assert result.training["num_labels_without_candidate"] == 0
    figures = evaluate_detector(tmp_path / "out", test, tmp_path / "test").figures
    assert figures.precision is not None
    assert figures.precision.mean.value > 0.8
    predictions = predict_folder(tmp_path / "out", tmp_path / "test")
    assert all("_test" in each.file for each in predictions.results)
    check_broken_references(tmp_path / "out", tmp_path / "test")


def write_two_folders(base: Path) -> list[Path]:
    """Labels of the boards in `base`/train and `base`/test."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        (base / name).mkdir()
    return [write_boards(base / name, 60, rng) for name in ("train", "test")]


def check_broken_references(bundle: Path, folder: Path) -> None:
    """Parts whose reference is broken, gone or of another size are left out, each with its reason, where that is
    asked for; else the first of them is named."""
    (folder / "0_temp.png").write_bytes(b"no picture")
    (folder / "1_temp.png").unlink()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(folder / "2_temp.png")
    predictions = predict_folder(bundle, folder, skip_broken=True)
    assert [file for file, _ in predictions.skipped] == ["0_test.png", "1_test.png", "2_test.png"]
    assert len(predictions.results) == 57
    for (_, reason), said in zip(
        predictions.skipped, ("0_temp.png", "no reference", "2_temp.png 30 x 40"), strict=True
    ):
        assert said in reason
    with pytest.raises(InputError, match="0_temp"):
        predict_folder(bundle, folder)


def test_a_long_training_on_gray_parts_is_a_detector(tmp_path: Path) -> None:
    long = DetectionOptions(out=tmp_path, template=TEMPLATE, budget_s=LEAST_DETECTOR_S)
    gray, color = (PictureStore(tmp_path, ImageReader(channels=channels)) for channels in (1, 3))
    assert choose_method(gray, long) == "template_detector"
    assert choose_method(gray, replace(long, budget_s=LEAST_DETECTOR_S - 1)) == "template"
    assert choose_method(color, long) == "template"
    assert choose_method(gray, replace(long, template=None)) == "boxes"


def test_masks_are_refused_where_boxes_make_the_heat_map(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of --masks and --template"):
        DetectionOptions(out=tmp_path, template=TEMPLATE, masks=tmp_path)


def test_the_difference_of_a_stack_has_no_sign() -> None:
    part, reference = np.array([[[0, 255, 10]]], np.uint8), np.array([[[255, 0, 30]]], np.uint8)
    np.testing.assert_array_equal(stack(part, reference), [[[0, 255, 10]], [[255, 0, 30]], [[255, 255, 20]]])


class DifferenceModel:
    """In place of a net: one box around what differs."""

    def inspect(self, picture: np.ndarray) -> Inspection:
        assert picture.shape == (3, 128, 128)
        rows, columns = np.nonzero(picture[2])
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        boxes = BoxSet(box, np.array([0.75], np.float32), np.array([1]))
        return Inspection(boxes, 0.1, np.array([0.1, 0.1], np.float32), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(("right", "down"), [(0, 0), (6, -4), (-8, 10)])
def test_boxes_lie_on_the_part_and_not_on_its_reference(right: int, down: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part lies so many pixels right of its reference and below, and has a spot that the reference has not."""
    monkeypatch.setattr("deepseek.engines.detector.templates.BoxModel", lambda *_, **__: DifferenceModel())
    config = DetectorConfig("template_detector", ("hole", "blob"), 1, 128, scale=1.0, template=TEMPLATE)
    model = TemplateDetectorModel(b"", config)
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (9, 9)), np.ones((8, 8))).astype(np.uint8) * 255
    reference = np.pad(blocks, 28)[None]
    part = np.roll(reference, (down, right), (1, 2))
    part[0, 60:70, 50:64] = np.where(part[0, 60:70, 50:64], 0, 255)
    seen = model.inspect(part, reference)
    assert seen.boxes.boxes.tolist() == [[50, 60, 64, 70]]
    assert seen.score == seen.class_scores[1] == 0.75  # what is said of the whole picture is not used
    assert (seen.heat[8, 7], seen.heat[2, 2]) == (0.75, 0)
    with pytest.raises(InputError, match="there is none"):
        model.inspect(part)


@pytest.mark.slow
def test_a_detector_learns_what_differs(tmp_path: Path) -> None:
    train, test = write_two_folders(tmp_path)
    options = DetectionOptions(
        out=tmp_path / "out", template=TEMPLATE, max_steps=80, size=96, budget_s=LEAST_DETECTOR_S
    )
    result = fit_detection(tmp_path / "train", options, labels=train)
    assert (result.config.method, result.config.scale, result.training["tta"]) == ("template_detector", 1.0, True)
    figures = evaluate_detector(tmp_path / "out", test, tmp_path / "test").figures
    assert figures.precision is not None
    assert figures.precision.mean.value > 0.8
    assert [each.name for each in result.bundle.manifest.inputs] == ["picture", "reference"]
    check_broken_references(tmp_path / "out", tmp_path / "test")
