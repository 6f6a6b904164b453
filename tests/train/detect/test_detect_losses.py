"""Which place answers for which box, held against a slow twin; and a loss that falls to where the labels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors  # noqa: E402

from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet  # noqa: E402
from deepseek.errors import InputError  # noqa: E402
from deepseek.nn.detector.detector import Detector, DetectorShape  # noqa: E402
from deepseek.nn.detector.trunk import ResidualTrunk, TrunkShape  # noqa: E402
from deepseek.train.detect.augment import AugmentConfig, PictureSampler, cut_window  # noqa: E402
from deepseek.train.detect.loop import FitConfig, train_detector  # noqa: E402
from deepseek.train.detect.losses import (  # noqa: E402
    OVERLAP_POWER,
    SCORE_POWER,
    TOP_PLACES,
    Targets,
    assign,
    detection_loss,
    generalized_iou,
    pairwise_iou,
)


def make_targets(boxes: list[list[float]], classes: list[int], num_classes: int) -> Targets:
    return Targets(
        torch.tensor([boxes]).reshape(1, -1, 4), torch.tensor([classes], dtype=torch.int64),
        torch.ones(1, len(classes), dtype=torch.bool), torch.zeros(1, num_classes), torch.zeros(1, 1, 4, 4),
    )  # fmt: skip


def test_assignment_is_that_of_the_slow_twin() -> None:
    rng = np.random.default_rng(0)
    centers = torch.tensor([[x + 4.0, y + 4.0] for y in range(0, 64, 8) for x in range(0, 64, 8)])
    boxes = torch.cat([centers - 10, centers + 10], 1) + torch.tensor(rng.normal(0, 3, (64, 4)), dtype=torch.float32)
    scores = torch.tensor(rng.random((1, 64, 2)), dtype=torch.float32)
    targets = make_targets([[2, 3, 40, 44], [20, 18, 60, 58]], [0, 1], 2)
    assigned = assign(scores, boxes[None], centers, targets)
    align = np.zeros((2, 64))
    iou = pairwise_iou(targets.boxes, boxes[None])[0].numpy()
    for row, (left, top, right, bottom) in enumerate(targets.boxes[0].tolist()):
        for place, (x, y) in enumerate(centers.tolist()):
            if left < x < right and top < y < bottom:
                align[row, place] = float(scores[0, place, row]) ** SCORE_POWER * iou[row, place] ** OVERLAP_POWER
    chosen = np.zeros((2, 64), bool)
    for row in range(2):
        chosen[row, np.argsort(-align[row])[:TOP_PLACES]] = True
    for place in np.flatnonzero(chosen.sum(0) > 1):
        chosen[:, place] = np.arange(2) == iou[:, place].argmax()
    assert (assigned.answers[0].numpy() == chosen.any(0)).all()
    for row in range(2):
        own = align[row] * chosen[row]
        expected = own / own.max() * (iou[row] * chosen[row]).max()
        np.testing.assert_allclose(assigned.scores[0, :, row].numpy(), expected, atol=1e-4)


def test_a_box_between_all_centers_has_a_place_and_no_box_costs_nothing_but_scores() -> None:
    centers = torch.tensor([[4.0, 4.0], [12.0, 4.0]])
    boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0]]])
    small = assign(torch.full((1, 2, 1), 0.5), boxes, centers, make_targets([[5.0, 5.0, 6.5, 6.5]], [0], 1))
    assert small.answers.tolist() == [[True, False]]
    none = assign(torch.full((1, 2, 1), 0.5), boxes, centers, make_targets([], [], 1))
    assert not none.answers.any()
    assert none.scores.sum() == 0


def test_a_small_box_that_first_guesses_hardly_overlap_is_learned_from_at_once() -> None:
    """The sixth power of such an overlap is below any number that is added to be safe."""
    centers = torch.tensor([[12.0, 12.0], [60.0, 60.0]])
    guesses = torch.cat([centers - 16, centers + 16], 1)[None]
    targets = make_targets([[9.0, 9.0, 15.0, 15.0]], [0], 1)
    assigned = assign(torch.full((1, 2, 1), 0.01), guesses, centers, targets)
    overlap = float(pairwise_iou(targets.boxes, guesses)[0, 0, 0])
    assert 0.01 < overlap < 0.1
    assert assigned.scores[0, :, 0].tolist() == pytest.approx([overlap, 0.0])


def test_generalized_iou_is_one_for_equal_boxes_and_negative_far_away() -> None:
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert float(generalized_iou(box, box)) == pytest.approx(1.0, abs=1e-5)
    assert float(generalized_iou(box, box + 8)) == pytest.approx(-(100 - 8) / 100, abs=1e-5)  # hull 10 x 10, union 8


def test_windows_keep_boxes_on_what_they_mark() -> None:
    """A white square on black: after scaling, cutting, mirroring and mosaics its box still holds white alone."""
    picture = np.zeros((1, 80, 60), np.uint8)
    picture[:, 30:50, 20:36] = 255
    labels = LabelSet((LabeledPicture("a", 60, 80, np.array([[20, 30, 36, 50]], np.float32), ("pit",)),), ("pit",))
    config = AugmentConfig(brightness=0, contrast=0, quarter_turns=True)
    sampler = PictureSampler(lambda _name: picture, labels, 96, config)
    for mosaic in (0.0, 1.0):
        pixels, targets = sampler.batch([0] * 20, np.random.default_rng(1), mosaic=mosaic)
        assert pixels.shape == (20, 1, 96, 96)
        assert targets.exist.any()
        for image, boxes, exist in zip(pixels.numpy()[:, 0], targets.boxes.numpy(), targets.exist.numpy(), strict=True):
            for left, top, right, bottom in boxes[exist]:
                inner = image[int(np.ceil(top)) + 2 : int(bottom) - 2, int(np.ceil(left)) + 2 : int(right) - 2]
                assert inner.size == 0 or inner.min() > 200


def test_pictures_are_changed_by_the_generator_of_their_batch() -> None:
    """So that a training that goes on draws what it would have drawn."""
    picture = np.zeros((2, 64, 64), np.uint8)
    labels = LabelSet((LabeledPicture("a", 64, 64, np.array([[20, 30, 36, 50]], np.float32), ("pit",)),), ("pit",))

    def change(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert pixels is picture
        return np.full((3, 64, 64), rng.integers(1, 256), np.uint8)

    config = AugmentConfig(brightness=0, contrast=0, scale=(1.0, 1.0))
    sampler = PictureSampler(lambda _name: picture, labels, 64, config, change=change)
    first, again, other = (sampler.batch([0] * 8, np.random.default_rng(seed), mosaic=0.0)[0] for seed in (1, 1, 2))
    assert first.shape == (8, 3, 64, 64)
    assert len(first.unique()) > 4
    assert (first == again).all()
    assert not (first == other).all()


def test_a_window_beyond_the_picture_is_gray() -> None:
    window = cut_window(np.full((3, 10, 10), 200, np.uint8), (-4, 0), 1.0, 16, 10)
    assert (window[:, :, :4] == 114).all()
    assert (window[:, :, 4:14] == 200).all()
    assert (window[:, :, 14:] == 114).all()


def test_the_loss_of_one_batch_falls_and_the_net_finds_its_boxes() -> None:
    torch.manual_seed(0)
    shape = TrunkShape(8, (16, 16, 24, 24), (0, 0, 0, 0))
    net = Detector(DetectorShape(2, 1, width=24, num_head_layers=1), ResidualTrunk(shape))
    pixels = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    pixels[0, :, 8:30, 10:40] = 255
    pixels[1, :, 30:60, 20:52] = 120
    boxes = torch.tensor([[[10.0, 8, 40, 30]], [[20.0, 30, 52, 60]]])
    targets = Targets(
        boxes, torch.tensor([[0], [1]]), torch.ones(2, 1, dtype=torch.bool), torch.eye(2), torch.zeros(2, 1, 8, 8)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    losses = []
    for _ in range(60):
        loss = detection_loss(net.raw(pixels), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        scores, detections, _, _ = net(pixels)
    for row in range(2):
        best = int(scores[row].max(1).values.argmax())
        assert float(pairwise_iou(boxes[row][None], detections[row, best][None, None])) > 0.5
        assert int(scores[row, best].argmax()) == row


def test_a_training_that_was_stopped_goes_on_and_another_net_is_refused(tmp_path: Path) -> None:
    """It counts on from the step that it had reached."""
    picture = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    labels = LabelSet((LabeledPicture("a", 64, 64, np.array([[10, 10, 40, 40]], np.float32), ("pit",)),), ("pit",))
    sampler = PictureSampler(lambda _name: picture, labels, 64, AugmentConfig())

    def build(width: int = 16) -> Detector:
        torch.manual_seed(0)
        shape = DetectorShape(1, 1, width=width, num_head_layers=1)
        return Detector(shape, ResidualTrunk(TrunkShape(8, (8, 8, 8, 8), (0, 0, 0, 0))))

    def train(num_steps: int, checkpoint: Path | None, width: int = 16) -> Detector:
        config = FitConfig(budget_s=1e9, max_steps=num_steps, batch_size=1)
        return train_detector(build(width), sampler, 1, config, checkpoint=checkpoint).net

    path = tmp_path / "run.safetensors"
    train(2, path)
    with safetensors.safe_open(str(path), "pt") as file:
        assert '"step", 2]' in file.metadata()["state"]
    twice = train(4, path)
    with safetensors.safe_open(str(path), "pt") as file:
        assert '"step", 4]' in file.metadata()["state"]
    assert all(bool(torch.isfinite(value).all()) for value in twice.parameters())
    with pytest.raises(InputError, match="the checkpoint of another training"):
        train(4, path, width=24)
