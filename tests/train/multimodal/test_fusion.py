"""Training of a fused net on samples of pictures, texts and numbers."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.data.media.image import ImageReader
from deepseek.data.samples.preparer import MediaColumn, SamplePreparer, Samples, fit_samples
from deepseek.data.stream.shards import open_folder
from deepseek.data.stream.stream import ShardStream, StreamConfig
from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.nn.fusion import MultimodalShape, multimodal_loss
from deepseek.nn.multimodal import NetShape, multimodal_net
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import resume
from deepseek.train.multimodal.align import text_media_pairs
from deepseek.train.multimodal.fusion import (
    MultimodalConfig,
    SampleStream,
    ShardSamples,
    fit_multimodal,
    make_batch,
    predict_margins,
)

Image = pytest.importorskip("PIL.Image")
NUM = 160
SMALL = MultimodalConfig(epochs=6, batch_size=16, fusion=MultimodalShape(width=32, num_queries=2, num_layers=1))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def prepared() -> tuple[SamplePreparer, Samples, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A picture that is bright above or below, a word, a number: the class is said by picture and word."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, NUM)
    records = []
    for label in labels:
        pixels = draw.integers(0, 80, (16, 16), np.uint8)
        pixels[8 * int(label) : 8 * int(label) + 8] += 90
        word = ("calm night", "bad cough")[int(label)] if draw.random() < 0.8 else "nothing told"
        records.append({"scan": png(pixels), "note": word, "age": float(draw.normal(50, 10))})
    table = Table(
        {"note": np.array([r["note"] for r in records], object), "age": np.array([r["age"] for r in records]),
         "scan": np.array(["0.png"] * NUM, object), "ill": labels.astype(float)},
        {"note": "text", "age": "number", "scan": "text", "ill": "number"},
    )  # fmt: skip
    preparer = fit_samples(
        table, {"scan": "image", "note": "text", "age": "numeric"}, target="ill", root=None,
        readers={"scan": ImageReader(size=(16, 16), channels=1)},
    )  # fmt: skip
    return preparer, preparer.rows(records), labels, np.arange(NUM)


def test_a_batch_holds_its_rows_in_the_order_asked(prepared: Any) -> None:
    _, samples, _, _ = prepared
    rows = np.array([7, 3, 99, 3])
    values, there = make_batch(samples.arrays, rows)
    for name, value in values.items():
        np.testing.assert_array_equal(value.numpy(), samples.arrays[name][rows])
    assert set(values) == set(there) == {"scan", "note", "table"}


def test_a_pass_gives_each_row_once_and_the_next_another_order(prepared: Any) -> None:
    _, samples, labels, rows = prepared
    stream = SampleStream(samples.arrays, np.arange(NUM), rows[:35], 8, torch.Generator().manual_seed(0))
    first, second = ([int(x) for _, truth in stream for x in truth] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(35))
    assert first != second
    assert len(stream) == 5
    assert len(SampleStream(samples.arrays, labels, rows[:33], 8, torch.Generator())) == 4  # a batch of one is left out
    assert len(SampleStream(samples.arrays, labels, rows[:33], 8)) == 5


@pytest.mark.slow
def test_it_learns_and_is_the_same_for_the_same_seed(prepared: Any) -> None:
    preparer, samples, labels, rows = prepared
    progress: list[tuple[int, float]] = []
    outcome = [
        fit_multimodal(
            preparer, samples.arrays, labels, num_outputs=2, rows=rows[:120], held=rows[120:], config=SMALL,
            validated=lambda *each: progress.append(each),
        )
        for _ in range(2)
    ]  # fmt: skip
    answers = [predict_margins(each.net, samples.arrays, rows[120:]) for each in outcome]
    np.testing.assert_array_equal(*answers)
    assert (answers[0].argmax(1) == labels[120:]).mean() > 0.95
    assert [epoch for epoch, _ in progress[:6]] == [1, 2, 3, 4, 5, 6]
    assert progress[5][1] < progress[0][1]


@pytest.mark.slow
def test_a_value_is_learned_too(prepared: Any) -> None:
    preparer, samples, labels, rows = prepared
    values = labels * 2.0 - 1
    outcome = fit_multimodal(preparer, samples.arrays, values, num_outputs=1, rows=rows[:120], config=SMALL)
    answers = predict_margins(outcome.net, samples.arrays, rows[120:])
    assert answers.shape == (40, 1)
    assert np.corrcoef(answers[:, 0], values[120:])[0, 1] > 0.8


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(prepared: Any, tmp_path: Path) -> None:
    preparer, samples, labels, rows = prepared

    class CutError(Exception):
        pass

    def stop(epoch: int, loss: float) -> None:
        if epoch == 3:
            raise CutError

    arguments: dict[str, Any] = {"num_outputs": 2, "rows": rows[:120], "held": rows[120:], "config": SMALL}
    whole = fit_multimodal(preparer, samples.arrays, labels, **arguments)
    with pytest.raises(CutError):
        fit_multimodal(preparer, samples.arrays, labels, **arguments, checkpoints=tmp_path / "c", validated=stop)
    again = fit_multimodal(preparer, samples.arrays, labels, **arguments, checkpoints=tmp_path / "c")
    for one, other in zip(whole.net.state_dict().values(), again.net.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_pairs_are_aligned_before_the_fusion_where_it_is_asked_for(prepared: Any) -> None:
    preparer, samples, labels, rows = prepared
    assert text_media_pairs(preparer) == [("note", "scan")]
    nets = [
        fit_multimodal(
            preparer, samples.arrays, labels, num_outputs=2, rows=rows[:32],
            config=replace(SMALL, epochs=1, lr=1e-9, weight_decay=0.0, prealign_epochs=epochs),
        ).net
        for epochs in (0, 1)
    ]  # fmt: skip
    moved = {
        name for (name, one), other in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True)
        if float((one - other).detach().abs().max()) > 1e-5
    }  # fmt: skip
    assert {name.split(".")[1] for name in moved} == {"m_note", "m_scan"}
    assert all(name.startswith("encoders.") for name in moved)


def test_a_mirrored_twin_is_answered_too(prepared: Any) -> None:
    preparer, samples, labels, rows = prepared
    net = fit_multimodal(
        preparer, samples.arrays, labels, num_outputs=2, rows=rows[:32], config=replace(SMALL, epochs=1)
    ).net
    turned = {**samples.arrays, "scan": samples.arrays["scan"][..., ::-1]}
    each = [predict_margins(net, arrays, rows[:4]) for arrays in (samples.arrays, turned)]
    np.testing.assert_allclose(
        predict_margins(net, samples.arrays, rows[:4], mirror=["scan"]), np.mean(each, 0), atol=1e-6
    )


def test_a_streamed_training_that_is_cut_off_in_an_epoch_ends_as_a_whole_one(tmp_path: Path) -> None:
    """Its loss raises at step 7 of 12; the last checkpoint is of step 6, the second batch of the second epoch."""
    draw = np.random.default_rng(1)
    for place in range(30):
        folder = tmp_path / "data" / str(place % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.png").write_bytes(png(draw.integers(0, 200, (8, 8), np.uint8)))
    shards = open_folder(tmp_path / "data", column="scan", target="ill", suffixes=(".png",))
    preparer = SamplePreparer((MediaColumn("scan", "image", ImageReader(size=(8, 8), channels=1)),))
    steps = []

    def loss(outcome: Any, truth: torch.Tensor) -> torch.Tensor:
        if len(steps) == 6:
            raise KeyboardInterrupt
        steps.append(1)
        return multimodal_loss(outcome, truth)

    def train(name: str, loss: Any) -> list[torch.Tensor]:
        config = StreamConfig(batch_size=8, buffer=4)
        data = ShardSamples(ShardStream(shards, preparer, target="ill", labels=shards.labels, config=config))
        torch.manual_seed(0)
        net = multimodal_net(preparer, NetShape(2, SMALL.fusion))
        resume(
            net, data, TrainConfig(epochs=3, checkpoint_every=3), checkpoints=tmp_path / name, loss=loss, progress=False
        )
        return list(net.state_dict().values())

    with pytest.raises(KeyboardInterrupt):
        train("cut", loss)
    torch.testing.assert_close(train("cut", multimodal_loss), train("whole", multimodal_loss), rtol=0, atol=0)


def test_too_few_rows_are_refused(prepared: Any) -> None:
    preparer, samples, labels, rows = prepared
    with pytest.raises(InputError, match="1 rows to train on"):
        fit_multimodal(preparer, samples.arrays, labels, num_outputs=2, rows=rows[:1])


@pytest.mark.parametrize("knobs", [{"batch_size": 1}, {"alone": -1.0}])
def test_a_knob_out_of_range_is_named(knobs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(knobs))):
        MultimodalConfig(**knobs)
