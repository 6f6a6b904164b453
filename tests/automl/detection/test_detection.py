"""From pictures to a bundle that finds defects, and what is refused on the way."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # what they share takes ten seconds to make

for module in ("torch", "onnxscript", "PIL", "scipy", "pycocotools"):
    pytest.importorskip(module)

from PIL import Image  # noqa: E402

from deepseek.automl.detection.fit import DetectionResult, _balance_threshold, fit_detection  # noqa: E402
from deepseek.automl.detection.folder import evaluate_detector, predict_folder, write_results  # noqa: E402
from deepseek.automl.detection.options import DetectionOptions  # noqa: E402
from deepseek.automl.detection.patch_fit import fit_good_parts  # noqa: E402
from deepseek.automl.detection.split import split_labels  # noqa: E402
from deepseek.bundle import open_bundle, verify_bundle  # noqa: E402
from deepseek.compress.edge.pictures import device_graph  # noqa: E402
from deepseek.data.labels import LabelSet, read_labels  # noqa: E402
from deepseek.data.labels.labeled_picture import LabeledPicture  # noqa: E402
from deepseek.data.media.source import BrokenError  # noqa: E402
from deepseek.engines.detector.config import GRAPH  # noqa: E402
from deepseek.engines.detector.runtime import DetectorRuntime, open_model  # noqa: E402
from deepseek.engines.detector.served import ServedDetector, pack_pictures  # noqa: E402
from deepseek.engines.onnx import open_session  # noqa: E402
from deepseek.errors import CheckError, InputError  # noqa: E402
from deepseek.recipes.defects.example import draw_surface, write_example  # noqa: E402
from deepseek.recipes.defects.page import render_page  # noqa: E402


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_example(tmp_path_factory.mktemp("surface"), num_defective=24, num_good=8)


@pytest.fixture(scope="module")
def fitted(example: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> DetectionResult:
    """A net of two steps: what it finds is of no worth, the bundle is whole."""
    out = tmp_path_factory.mktemp("bundle") / "surface"
    options = DetectionOptions(out=out, max_steps=2, trunk="random", max_miss=0.6, confidence=0.9, size=64)
    return fit_detection(example[0], options, labels=example[1])


def test_the_bundle_is_whole_and_says_what_it_promises(fitted: DetectionResult) -> None:
    bundle = open_bundle(fitted.bundle.path)
    assert verify_bundle(fitted.bundle.path) == []
    assert (bundle.manifest.task, bundle.manifest.labels) == ("detection", ("pit", "scratch"))
    assert fitted.bound is not None
    assert fitted.bound.upper <= 0.6
    evidence = json.loads(bundle.read("evidence/metrics.json"))
    assert evidence["miss_bound"] == fitted.bound.to_dict()
    assert fitted.figures.num_missed == fitted.bound.num_missed
    json.dumps(fitted.to_dict(), allow_nan=False)


def test_a_folder_gives_coco_results_of_every_picture(
    fitted: DetectionResult, example: tuple[Path, Path], tmp_path: Path
) -> None:
    predictions = predict_folder(fitted.bundle.path, example[0])
    parts = write_results(predictions, tmp_path / "found.json")
    rows = json.loads((tmp_path / "found.json").read_text())
    assert all({"image_id", "category_id", "file_name", "category", "bbox", "score"} == set(row) for row in rows)
    assert all(row["bbox"][0] >= 0 and row["bbox"][0] + row["bbox"][2] <= 96.01 for row in rows)
    assert len(parts.read_text().splitlines()) == 1 + 32
    assert predictions.warnings == ()


def test_evaluate_takes_the_labels_of_training(fitted: DetectionResult, example: tuple[Path, Path]) -> None:
    result = evaluate_detector(fitted.bundle.path, example[1], example[0])
    assert (result.figures.num_pictures, result.figures.num_defective) == (32, 24)
    assert set(result.figures.metrics()) == {"map50", "part_auc"}
    assert not any("knows only" in text for text in result.warnings)


def test_a_labelled_class_that_the_model_does_not_know_is_told(
    fitted: DetectionResult, example: tuple[Path, Path], tmp_path: Path
) -> None:
    """Else its average precision of nought looks like a fault of the model."""
    renamed = tmp_path / "boxes.csv"
    renamed.write_text(example[1].read_text().replace(",pit,", ",Pit,"))
    result = evaluate_detector(fitted.bundle.path, renamed, example[0])
    assert any("the labels name 'Pit', and the model knows only pit, scratch" in text for text in result.warnings)


def test_other_sizes_depths_and_black_pictures_are_answered_and_other_light_is_told(
    fitted: DetectionResult, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(tmp_path / "black.png")
    Image.fromarray(np.full((50, 700), 130, np.uint8)).save(tmp_path / "wide.png")
    Image.fromarray(np.full((40, 40, 3), 130, np.uint8)).save(tmp_path / "color.png")
    Image.fromarray(np.full((96, 96), 33_000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((1, 1), 130, np.uint8)).save(tmp_path / "one.png")
    predictions = predict_folder(fitted.bundle.path, tmp_path)
    assert len(predictions.results) == 5
    assert all(np.isfinite(each.inspection.score) for each in predictions.results)
    assert "1 of 5 pictures are darker than those of training" in predictions.warnings[0]


def test_a_broken_picture_is_named_or_skipped(fitted: DetectionResult, tmp_path: Path) -> None:
    Image.fromarray(np.full((96, 96), 130, np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    with pytest.raises(BrokenError, match=r"^cut\.png cannot be decoded"):
        predict_folder(fitted.bundle.path, tmp_path)
    predictions = predict_folder(fitted.bundle.path, tmp_path, skip_broken=True)
    assert [name for name, _ in predictions.skipped] == ["cut.png"]
    assert len(predictions.results) == 1


def test_a_served_picture_gets_boxes_score_and_mask_and_a_broken_one_its_reason(
    fitted: DetectionResult, example: tuple[Path, Path]
) -> None:
    picture = next(iter(sorted(example[0].iterdir()))).read_bytes()
    with DetectorRuntime.open(fitted.bundle.path) as runtime:
        outputs = ServedDetector(runtime).run(pack_pictures([(picture, None), (b"no picture", None)]))
    answer = json.loads(outputs["answers"][0])
    assert set(answer) == {"defective", "score", "boxes", "mask"}
    assert (answer["mask"]["height"], answer["mask"]["width"]) == (8, 8)
    assert outputs["answers"][1] == b""
    assert json.loads(outputs["faults"][1])["kind"] == "BrokenError"


def test_the_adapter_of_a_server_answers_a_request(fitted: DetectionResult, example: tuple[Path, Path]) -> None:
    pytest.importorskip("msgspec")
    from deepseek.serve.models.detector import DetectorAdapter
    from deepseek.serve.protocols.records import prediction_rows

    picture = base64.b64encode(next(iter(sorted(example[0].iterdir()))).read_bytes()).decode()
    adapter = DetectorAdapter(DetectorRuntime.open(fitted.bundle.path, lazy=True))
    rows = adapter.prepare([{"picture": {"b64": picture}}, adapter.example]).features
    outputs = adapter.run(adapter.join([rows]))
    assert adapter.fault(outputs) is None
    answers = prediction_rows(adapter.decide(outputs, rows, ()))
    assert [set(answer) for answer in answers] == [{"defective", "score", "boxes", "mask"}] * 2
    broken = adapter.run(adapter.join([adapter.prepare([{"picture": {"b64": "AAAA"}}]).features]))
    assert isinstance(adapter.fault(broken), BrokenError)
    for record in ({}, {"picture": None}, {"picture": {"b64": picture}, "other": 1}):
        with pytest.raises(InputError, match="row 0"):
            adapter.prepare([record])


def test_compression_keeps_the_bundle_and_takes_back_the_promise(
    fitted: DetectionResult, example: tuple[Path, Path], tmp_path: Path
) -> None:
    from deepseek.bundle import write_bundle
    from deepseek.compress.targets.detector import DetectorTarget

    labels = example[0] / "boxes.csv"
    labels.write_bytes(example[1].read_bytes())
    target = DetectorTarget.open(fitted.bundle.path, labels)
    calibrated, weights_alone = target.plans(target.methods())
    assert (calibrated.name, calibrated.spares, weights_alone.spares) == ("int8", "", "int8")
    for plan in (calibrated, weights_alone):
        folder = tmp_path / plan.name
        folder.mkdir()
        variant = target.make(plan, folder)
        assert variant.size_bytes < 0.5 * target.original.size_bytes
        assert target.outputs(target.backends(variant)[0], 3).shape == (3, 3)
    labels.unlink()
    bundle = write_bundle(tmp_path / "small", *target.describe(variant, "onnxruntime"))
    with DetectorRuntime.open(bundle.path) as runtime:
        assert runtime.config.max_miss is None
        assert np.isfinite(runtime.inspect(np.zeros((1, 64, 64), np.uint8)).score)


def test_what_makes_boxes_of_the_last_convolutions_is_not_rounded(fitted: DetectionResult) -> None:
    import onnx

    from deepseek.compress.targets.detector import last_nodes

    graph = open_bundle(fitted.bundle.path).read(GRAPH)
    nodes = onnx.load_from_string(graph).graph.node
    last = set(last_nodes(graph))
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert {output for node in nodes if node.name in last for output in node.output} >= {"scores", "boxes", "heat"}
    assert 0 < sum(node.name in last for node in convolutions) < len(convolutions) / 2
    first = {name for node in nodes if node.name not in last for name in node.input}
    assert not first & {output for node in nodes if node.name in last for output in node.output}


def test_the_page_shows_the_promise_and_no_request(fitted: DetectionResult) -> None:
    page = render_page(fitted, "surface")
    assert "At most 60 % of defective parts are missed, at a confidence of 90 %" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 2_000_000


def test_a_model_that_tells_nothing_apart_says_so(fitted: DetectionResult) -> None:
    """After two steps all scores are nought, and so is the threshold: every part is at it."""
    assert fitted.figures.num_false_alarms == fitted.figures.num_pictures - fitted.figures.num_defective
    assert any("are called defective, too" in text for text in fitted.warnings)


def test_the_threshold_above_scores_of_nought_is_no_number_that_processors_flush() -> None:
    threshold = _balance_threshold(np.zeros(3), np.zeros(3, bool))
    assert threshold >= np.finfo(np.float32).tiny
    assert _balance_threshold(np.array([0.2, 0.4]), np.zeros(2, bool)) == pytest.approx(0.4, abs=1e-12)


def test_a_part_on_which_nothing_was_seen_is_not_called_defective() -> None:
    """One held defect that is missed altogether would make every part defective."""
    assert _balance_threshold(np.array([0.0, 0.4]), np.ones(2, bool)) > 0
    assert _balance_threshold(np.zeros(4), np.array([True, True, False, False])) > 0


def test_a_claim_that_the_held_parts_cannot_support_is_refused_before_training(
    example: tuple[Path, Path], tmp_path: Path
) -> None:
    options = DetectionOptions(out=tmp_path / "out", max_miss=0.003, budget_s=1e9)
    with pytest.raises(CheckError, match=r"4 held defective parts cannot support at most 0\.3 % missed") as caught:
        fit_detection(example[0], options, labels=example[1])
    assert "998" in caught.value.expected
    assert not (tmp_path / "out").exists()


def test_labels_without_any_box_are_refused(example: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("image,class,xmin,ymin,xmax,ymax\n0000.png,,,,,\n")
    with pytest.raises(InputError, match="hold no box"):
        fit_detection(example[0], DetectionOptions(out=tmp_path / "out"), labels=path)


def test_a_class_with_two_examples_trains_and_judges_and_is_warned_of() -> None:
    box = np.array([[1, 1, 5, 5]], np.float32)
    many = [LabeledPicture(f"{place}", 9, 9, box, ("pit",)) for place in range(20)]
    few = [LabeledPicture(f"few{place}", 9, 9, box, ("dent",)) for place in range(2)]
    split = split_labels(LabelSet((*many, *few), ("dent", "pit")), held_share=0.2, seed=0)
    assert sum(each.classes == ("dent",) for each in split.train.pictures) == 1
    assert sum(each.classes == ("dent",) for each in split.held.pictures) == 1
    assert "'dent' has 1 pictures to learn from and 1 that judge" in split.warnings[0]
    assert "rate of false alarms is not known" in split.warnings[1]


def test_labels_that_keep_a_part_back_are_followed() -> None:
    box = np.array([[1, 1, 5, 5]], np.float32)
    parts = ["train"] * 4 + ["test"] * 2
    pictures = tuple(LabeledPicture(f"{n}", 9, 9, box, ("pit",), part) for n, part in enumerate(parts))
    split = split_labels(LabelSet(pictures, ("pit",)), held_share=0.5, seed=0)
    assert [each.file for each in split.held.pictures] == ["4", "5"]


@pytest.mark.slow
def test_good_parts_smaller_than_what_the_net_takes_are_padded(tmp_path: Path) -> None:
    """The exporter would have made their one size the only one."""
    for number in range(4):
        Image.fromarray(np.full((8, 9), 100 + number, np.uint8)).save(tmp_path / f"{number}.png")
    result = fit_good_parts(tmp_path, DetectionOptions(out=tmp_path / "out", trunk="random"))
    assert result.training["cpu_s"] > 0
    with DetectorRuntime.open(result.bundle.path) as runtime:
        assert np.isfinite(runtime.inspect(np.full((1, 70, 40), 101, np.uint8)).score)


def test_good_parts_alone_promise_nothing(example: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="good parts alone say nothing"):
        fit_good_parts(example[0], DetectionOptions(out=tmp_path / "out", max_miss=0.1))


@pytest.mark.slow
def test_good_parts_teach_what_is_unlike_them(tmp_path: Path) -> None:
    """A pit of another brightness lies farther from good patches than any held good part."""
    good, _ = write_example(tmp_path / "good", num_defective=0, num_good=30, seed=1)
    bad, labels = write_example(tmp_path / "bad", num_defective=12, num_good=12, seed=2)
    result = fit_good_parts(good, DetectionOptions(out=tmp_path / "out", trunk="random"))
    assert result.config.method == "patches"
    evaluation = evaluate_detector(tmp_path / "out", labels, bad)
    assert evaluation.figures.parts is not None
    assert evaluation.figures.parts.auc.value > 0.9
    assert "how many defects would be missed is not known" in result.warnings[0]
    assert result.training["trunk"] == "fixed filters (as asked)"
    assert result.config.score_units is not None  # whole pictures count, too: there are enough good parts
    answer = device_graph(open_bundle(tmp_path / "out").read(GRAPH), result.config, result.config.views(
        np.full((1, 96, 96), 120, np.uint8))[0])  # fmt: skip
    assert answer[1].heat_shape == (12, 12)
    assert not any(len(each.inspection.boxes.above(result.config.box_threshold)) for each in result.results)
    page = render_page(result, "good")
    assert "misses are not known" in page
    assert "Defects that were found" not in page  # there are none: they are good parts


def test_a_surface_is_drawn_the_same_for_a_seed() -> None:
    one, other = (draw_surface(np.random.default_rng(3)) for _ in range(2))
    assert (one == other).all()


def test_the_example_has_labels_that_fit_its_pictures(example: tuple[Path, Path]) -> None:
    labels = read_labels(example[1], example[0])
    assert labels.warnings == ()
    assert labels.num_boxes == 24


@pytest.mark.slow
def test_a_detector_runs_on_a_device_and_answers_as_its_bundle(
    fitted: DetectionResult, example: tuple[Path, Path], tmp_path: Path
) -> None:
    from deepseek.compress.edge import export_edge

    done = export_edge(fitted.bundle.path, tmp_path / "edge", data=example[0])
    assert done.kept.parity.passes
    assert done.target.shape == (1, 64, 64)
    document = json.loads((tmp_path / "edge" / "edge.json").read_text())
    assert document["outputs"]["labels"] == ["pit", "scratch", "good"]
    sizes = [int(np.prod(part["shape"])) for part in document["outputs"]["layout"]]
    assert sum(sizes) == document["outputs"]["size"] == done.target.expected.shape[1]


@pytest.mark.parametrize("least_score", [0.5, 1e-4])
def test_scores_on_a_device_are_those_of_the_bundle(
    least_score: float, fitted: DetectionResult, example: tuple[Path, Path]
) -> None:
    """Two steps of training leave scores of about .01: below the first limit, above the second."""
    config = replace(fitted.config, least_score=least_score)
    with DetectorRuntime.open(fitted.bundle.path) as runtime:
        picture = runtime.read(sorted(example[0].iterdir())[0])
        graph = runtime.bundle.read(GRAPH)
    (view,) = config.views(picture)
    device, _ = device_graph(graph, config, view)
    (row,) = open_session(device, "device", num_threads=1).run(None, {"pixels": view.pixels[None].astype(np.float32)})
    seen = open_model({GRAPH: graph}.__getitem__, config).inspect(picture)
    np.testing.assert_allclose(row[0, :2], seen.class_scores, atol=1e-5)
    assert (seen.score > 0) == (least_score < 0.01)
    assert row[0, 2] == np.float32(config.threshold)


def test_test_time_augmentation_answers_alike_for_a_mirrored_picture_here_and_on_a_device(
    example: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = DetectionOptions(
        out=tmp_path / "plain", max_steps=2, trunk="random", size=64, checkpoint=tmp_path / "run.safetensors"
    )
    trained = fit_detection(example[0], plain, labels=example[1])
    result = fit_detection(example[0], replace(plain, out=tmp_path / "mirrored", tta=True), labels=example[1])
    assert result.training == {**trained.training, "tta": True}  # the training at its end is not done again
    config = replace(result.config, least_score=1e-4)  # two steps of training leave scores of about .01
    with DetectorRuntime.open(result.bundle.path) as runtime:
        picture, graph = runtime.read(sorted(example[0].iterdir())[0]), runtime.bundle.read(GRAPH)
    model = open_model({GRAPH: graph}.__getitem__, config)
    seen, mirrored = (model.inspect(each) for each in (picture, np.ascontiguousarray(picture[:, :, ::-1])))
    assert seen.score > 0
    np.testing.assert_allclose(seen.class_scores, mirrored.class_scores, rtol=1e-3)
    (view,) = config.views(picture)
    device, _ = device_graph(graph, config, view)
    (row,) = open_session(device, "device", num_threads=1).run(None, {"pixels": view.pixels[None].astype(np.float32)})
    np.testing.assert_allclose(row[0, :2], seen.class_scores, atol=1e-5)


def test_an_ensemble_goes_on_from_the_checkpoints_of_its_nets_and_averages_them(
    example: tuple[Path, Path], tmp_path: Path
) -> None:
    single = DetectionOptions(
        out=tmp_path / "first", max_steps=2, trunk="random", size=64, checkpoint=tmp_path / "run.safetensors"
    )
    second = replace(single, out=tmp_path / "second", seed=1, checkpoint=tmp_path / "run-2.safetensors")
    trained = [fit_detection(example[0], each, labels=example[1]) for each in (single, second)]
    both = fit_detection(example[0], replace(single, out=tmp_path / "both", ensemble=2), labels=example[1])
    assert (both.training["ensemble"], both.training["num_steps"]) == (2, 4)
    assert both.training["cpu_s"] == pytest.approx(sum(each.training["cpu_s"] for each in trained))  # none done again
    assert "Nets that answer together" in render_page(both, "both")
    assert "Nets that answer together" not in render_page(trained[0], "first")
    answers = []
    for result in (*trained, both):
        with DetectorRuntime.open(result.bundle.path) as runtime:
            graph, picture = runtime.bundle.read(GRAPH), runtime.read(sorted(example[0].iterdir())[0])
        (view,) = result.config.views(picture)
        session = open_session(graph, GRAPH, num_threads=1)
        scores, _, presence, _ = session.run(None, {"pictures": view.pixels[None]})
        answers.append((scores, presence))
    for one, other, averaged in zip(*answers, strict=True):
        np.testing.assert_allclose(averaged, (one + other) / 2, rtol=5e-4)
        assert np.abs(one / other - 1).max() > 2e-3


@pytest.mark.parametrize("ensemble", [0, 6])
def test_an_ensemble_has_one_to_five_nets(ensemble: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"ensemble is {ensemble}"):
        DetectionOptions(out=tmp_path / "out", ensemble=ensemble)


def test_what_is_for_detectors_of_boxes_is_refused_for_good_parts(example: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--ensemble is for a detector"):
        fit_good_parts(example[0], DetectionOptions(out=tmp_path / "out", ensemble=2))
    assert not (tmp_path / "out").exists()


def test_test_time_augmentation_is_refused_where_it_does_nothing(example: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mirrored anyway"):
        DetectionOptions(out=tmp_path / "out", tta=True, template=("_test", "_temp"))
    with pytest.raises(InputError, match="learns from boxes"):
        fit_good_parts(example[0], DetectionOptions(out=tmp_path / "out", tta=True))
    assert not (tmp_path / "out").exists()


def test_a_device_needs_pictures_of_one_size(fitted: DetectionResult, tmp_path: Path) -> None:
    from deepseek.compress.edge.pictures import read_picture_rows

    for name, shape in (("wide", (40, 90)), ("high", (90, 40))):
        Image.fromarray(np.full(shape, 130, np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="several sizes"):
        read_picture_rows(fitted.bundle.path, tmp_path, 10)
    with pytest.raises(InputError, match="real pictures"):
        read_picture_rows(fitted.bundle.path, None, 10)
