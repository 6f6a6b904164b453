"""Classes of whole pictures by a linear classifier on a trunk that was not trained on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for module in ("onnxscript", "PIL", "sklearn", "pycocotools"):
    pytest.importorskip(module)

from deepseek.automl.detection import net as net_module  # noqa: E402
from deepseek.automl.detection.class_fit import (  # noqa: E402
    INVERSE_REGULARIZATION,
    can_classify,
    classes_shown,
    fit_frozen_classifier,
    fit_logits,
)
from deepseek.automl.detection.fit import fit_detection  # noqa: E402
from deepseek.automl.detection.options import DetectionOptions  # noqa: E402
from deepseek.compress.edge.pictures import device_graph  # noqa: E402
from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet  # noqa: E402
from deepseek.engines.detector.config import GRAPH  # noqa: E402
from deepseek.engines.detector.runtime import DetectorRuntime, open_model  # noqa: E402
from deepseek.engines.onnx import open_session  # noqa: E402
from deepseek.nn.detector.averaged import AveragedDetector  # noqa: E402
from deepseek.nn.detector.detector import Detector, DetectorShape  # noqa: E402
from deepseek.nn.detector.frozen_classifier import FrozenClassifier, pool_maps  # noqa: E402
from deepseek.nn.detector.trunk import ResidualTrunk, Trunk, TrunkShape  # noqa: E402
from deepseek.recipes.defects.example import write_example  # noqa: E402
from deepseek.recipes.defects.page import render_page  # noqa: E402


def make_trunk(seed: int = 5) -> Trunk:
    torch.manual_seed(seed)
    return ResidualTrunk(TrunkShape()).eval()


def make_net(num_classes: int = 2) -> Detector:
    torch.manual_seed(0)
    return Detector(DetectorShape(num_classes=num_classes, num_channels=1), make_trunk()).eval()


def labels_of(*classes: tuple[str, ...]) -> LabelSet:
    pictures = tuple(
        LabeledPicture(f"{place}.png", 64, 64, np.tile(np.float32([0, 0, 9, 9]), (len(own), 1)), own)
        for place, own in enumerate(classes)
    )
    return LabelSet(pictures, tuple(sorted({name for own in classes for name in own})))


def test_a_picture_shows_every_class_of_its_boxes_once() -> None:
    shown = classes_shown(labels_of(("b", "a", "b"), (), ("b",)))
    assert shown.tolist() == [[True, True], [False, False], [False, True]]


@pytest.mark.parametrize(("num_shown", "num_other", "fits"), [(10, 10, True), (9, 50, False), (50, 9, False)])
def test_each_class_must_be_on_ten_pictures_and_missing_on_ten(num_shown: int, num_other: int, fits: bool) -> None:
    assert can_classify(classes_shown(labels_of(*[("a",)] * num_shown, *[()] * num_other))) is fits


def test_pooled_maps_are_each_channels_mean_deviation_and_maximum() -> None:
    maps = [np.random.default_rng(k).normal(size=(3, 4, 6 - k, 5)).astype(np.float32) for k in (0, 1)]
    pooled = pool_maps([torch.from_numpy(each) for each in maps]).numpy()
    expected = [part for each in maps for part in (each.mean((2, 3)), each.std((2, 3)), each.max((2, 3)))]
    np.testing.assert_allclose(pooled, np.concatenate(expected, 1), atol=1e-5)
    assert pool_maps([torch.zeros(1, 2, 1, 1)]).isfinite().all()  # a black picture has no deviation


def test_logits_are_those_of_a_standardized_logistic_regression_by_class() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = rng.normal(5, 3, (80, 12))
    features[:, 3] = 7  # says nothing
    shown = np.stack([features[:, 0] + rng.normal(size=80) > 5, rng.random(80) < 0.4], 1)
    weight, bias = fit_logits(features, shown)
    for place, column in enumerate(shown.T):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_REGULARIZATION)).fit(features, column)
        np.testing.assert_allclose(features @ weight[place] + bias[place], model.decision_function(features), atol=1e-2)
    assert np.abs(weight[:, 3]).max() == 0


def test_the_classifier_learns_what_pictures_show() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(90, 110, (40, 1, 64, 64), dtype=np.uint8)
    pictures[::2, :, 20:30, 10:50] = 220
    shown = (np.arange(40) % 2 == 0)[:, None]
    net, trunk, said = make_net(1), make_trunk(), []
    classifier = fit_frozen_classifier(trunk, net, pictures, shown, lambda message, _share: said.append(message))
    with torch.no_grad():
        probabilities = classifier(net.normalize(torch.from_numpy(pictures))).numpy()
    assert ((probabilities > 0.5) == shown).all()
    assert said[-1] == "classes: 40 of 40 pictures seen by the frozen trunk"
    assert not any(each.requires_grad for each in classifier.parameters())


def test_presence_is_the_geometric_mean_of_what_both_say() -> None:
    net, trunk = make_net(), make_trunk(7)
    num_features = 3 * sum(trunk.widths)
    generator = torch.Generator().manual_seed(0)
    classifier = FrozenClassifier(trunk, torch.randn(2, num_features, generator=generator) / 10, torch.zeros(2))
    pictures = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        plain, joined = (
            AveragedDetector([net], mirrored=True, classifier=each)(pictures) for each in (None, classifier)
        )
        own = classifier((pictures.float().expand(-1, 3, -1, -1) - net.mean) / net.std)
    np.testing.assert_allclose(joined[2], (plain[2] * own).sqrt(), rtol=1e-5)
    assert np.ptp(own.numpy()) > 0.1
    for place in (0, 1, 3):  # scores, boxes, heat
        assert torch.equal(joined[place], plain[place])


@pytest.mark.slow
def test_a_bundle_has_it_with_a_packages_weights_here_on_a_device_and_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trunk of random weights stands in for a package's: what it sees is of no worth, but it is another's."""
    pictures, labels = write_example(tmp_path, num_defective=32, num_good=12)
    options = DetectionOptions(out=tmp_path / "random", max_steps=2, trunk="random", size=64, tta=True)
    checkpoint = tmp_path / "run.safetensors"
    without = fit_detection(pictures, options, labels=labels)
    assert without.training["frozen_classifier"] is False
    monkeypatch.setattr(net_module, "find_weights", lambda *_: (Path("a"), None))
    monkeypatch.setattr(net_module, "build_trunk", lambda _: (make_trunk(), "a package"))
    own = replace(options, out=tmp_path / "own", trunk="auto", checkpoint=checkpoint)
    result = fit_detection(pictures, own, labels=labels)
    assert result.training["frozen_classifier"] is True
    assert "Classes of pictures" in render_page(result, "own")
    assert "Classes of pictures" not in render_page(without, "random")
    plain_bundle = fit_detection(pictures, replace(own, out=tmp_path / "plain", tta=False), labels=labels)
    assert plain_bundle.training["frozen_classifier"] is False
    config = replace(result.config, least_score=1e-4)  # two steps of training leave scores of about .01
    with DetectorRuntime.open(result.bundle.path) as runtime:
        picture, graph = runtime.read(sorted(pictures.iterdir())[0]), runtime.bundle.read(GRAPH)
    seen = open_model({GRAPH: graph}.__getitem__, config).inspect(picture)
    assert seen.score > 0
    (view,) = config.views(picture)
    device, _ = device_graph(graph, config, view)
    (row,) = open_session(device, "device", num_threads=1).run(None, {"pixels": view.pixels[None].astype(np.float32)})
    np.testing.assert_allclose(row[0, :2], seen.class_scores, atol=1e-5)
