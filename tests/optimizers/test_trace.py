"""A trace holds what the optimizer did, and TensorBoard and the picture show the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.look.palette import LIGHT
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers import trace as module
from deepseek.optimizers.trace import Trace, TraceRow
from deepseek.optimizers.trace_image import Panel, draw_panels


def train(num_steps: int, **options: Any) -> tuple[Trace, list[TraceRow]]:
    """A trace, and the same told from outside."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = AdaptiveOptimizer(model.parameters(), weight_decay=0.1)
    trace, expected = Trace(optimizer, **options), []
    inputs = torch.randn(32, 3)
    for step in range(1, num_steps + 1):
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 3:
            optimizer.report(train_loss=1.0, val_loss=1.0)
            optimizer.report(train_loss=0.5, val_loss=2.0)  # level 0.1: weight decay times 1.9
        trace.record(loss)
        head = optimizer.param_groups[0]
        unbounded_lr = head["lr"] * head["control"][0].exp().item()
        trust = 1 / (1 + step / 50)
        decay = 0.1 / (1 + (step / 400) ** 4) + (0.0 if step < 3 else 0.09)  # what `report` added does not fade
        row = (optimizer.get_current_lr(), decay, loss.item(), unbounded_lr, head["limits"].max().item(), 0.1 * trust)
        expected.append(TraceRow(step, *row))
    return trace, expected


def test_rows_are_what_the_optimizer_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_STEPS", 4)
    trace, expected = train(10)
    np.testing.assert_allclose(trace.rows, expected, rtol=1e-6)
    assert trace.rows[-1].lr != trace.rows[0].lr
    assert [row.step for row in train(10, every=4)[0].rows] == [4, 8]


def test_tensorboard_reads_back_the_rows(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trace, expected = train(6)
    trace.write(tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in ("lr", "weight_decay", "loss", "unbounded_lr", "max_lr", "trust"):
        shown = events.Scalars(f"optimizer/{name}")
        assert [each.step for each in shown] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([each.value for each in shown], [getattr(row, name) for row in expected], rtol=1e-5)


def blue(image: Any) -> Any:
    """(height, width) of where the picture has the colour of the lines."""
    colour = [int(LIGHT["accent"][at : at + 2], 16) for at in (1, 3, 5)]
    return (np.abs(np.asarray(image).astype(int) - colour) < 8).all(-1)


def test_the_picture_is_a_png_with_five_lines(tmp_path: Path) -> None:
    from PIL import Image

    path = train(20)[0].draw(tmp_path / "trace.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        rows = blue(image).any(1)
        height = len(rows)
    for fifth in range(5):  # each panel has its line
        assert rows[height * fifth // 5 : height * (fifth + 1) // 5].any()


def test_a_line_that_rises_is_drawn_rising_and_what_is_not_finite_leaves_a_gap() -> None:
    steps = list(range(1, 101))
    values = [float("nan") if 40 < step < 60 else float(step) for step in steps]
    drawn = blue(draw_panels("", steps, [Panel("a", values)]))
    columns = np.flatnonzero(drawn.any(0))
    middles = [np.flatnonzero(drawn[:, column]).mean() for column in columns]
    assert middles[0] > middles[-1] + 200  # rows of pixels count from the top
    gap = np.diff(columns).max()
    assert 0.15 * (columns[-1] - columns[0]) < gap < 0.25 * (columns[-1] - columns[0])


def test_a_loss_that_was_never_finite_gives_a_picture_all_the_same(tmp_path: Path) -> None:
    optimizer = AdaptiveOptimizer([nn.Parameter(torch.ones(2))])
    trace = Trace(optimizer)
    trace.record(float("nan"))
    assert trace.draw(tmp_path / "trace.png").stat().st_size > 1000


def test_bad_input_says_what_to_do(tmp_path: Path) -> None:
    param = nn.Parameter(torch.ones(2))
    with pytest.raises(InputError, match="a trace of SGD cannot be kept"):
        Trace(torch.optim.SGD([param]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="every is 0"):
        Trace(AdaptiveOptimizer([param]), every=0)
    trace = Trace(AdaptiveOptimizer([param]))
    with pytest.raises(InputError, match="nothing was recorded"):
        trace.draw(tmp_path / "trace.png")
    with pytest.raises(InputError, match=r"give loss\.mean"):
        trace.record(torch.ones(3))
    trace.record(1.0)
    with pytest.raises(InputError, match="there is no such folder"):
        trace.draw(tmp_path / "missing" / "trace.png")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be written"):
        trace.write(tmp_path / "file")
