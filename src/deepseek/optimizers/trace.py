"""What AdaptiveOptimizer did: learning rate, weight decay and loss by step, for TensorBoard and as an image.

    trace = Trace(optimizer)
    ... loss.backward(); optimizer.step(); trace.record(loss)
    trace.draw("trace.png"); trace.write("runs/first")

Recording waits for nothing: figures stay on the device and are fetched FETCH_STEPS steps at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from deepseek import files
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.look import numbers
from deepseek.optimizers.adaptive import AdaptiveOptimizer
from deepseek.optimizers.config import max_relative_step
from deepseek.optimizers.schedules import effective_rate, schedule_share, scheduled_rate
from deepseek.optimizers.trace_image import Panel, draw_panels

FETCH_STEPS = 256


class TraceRow(NamedTuple):
    """How things stood after a step, in the first parameter group."""

    step: int
    lr: float  # of the next step
    weight_decay: float  # of this step, per unit of rate, with what `report` made of it
    loss: float
    unbounded_lr: float  # what `lr` would be without the bounds per tensor
    max_lr: float  # the rate that trust allows the tensor with the widest bound
    trust: float  # the largest step of a tensor relative to its size


class Trace:
    """The recorder of one optimizer; `every` so many steps. InputError for an optimizer of another kind."""

    def __init__(self, optimizer: AdaptiveOptimizer, *, every: int = 1) -> None:
        if not isinstance(optimizer, AdaptiveOptimizer):
            raise InputError(
                f"a trace of {type(optimizer).__name__} cannot be kept",
                expected="an AdaptiveOptimizer",
                fix="of the Keras optimizer, give optimizer.torch_optimizer",
            )
        if every < 1:
            raise InputError(f"every is {every}", expected="a number of steps, at least 1", fix="leave it out")
        self._optimizer, self._every = optimizer, every
        self._rows: list[TraceRow] = []
        self._waiting: list[tuple[int, float, float, Tensor]] = []

    def record(self, loss: Tensor | float) -> None:
        """After a step, with its loss. InputError when that is not one number."""
        head = self._optimizer.param_groups[0]
        control: Tensor = head["control"]
        value = torch.as_tensor(loss).detach()
        if value.numel() != 1:
            raise InputError(
                f"the loss has the shape {tuple(value.shape)}", expected="one number", fix="give loss.mean()"
            )
        if head["step"] % self._every:
            return
        share, step = schedule_share(head), head["step"]
        figures = torch.stack(
            [effective_rate(head), value.reshape(()).to(control.device, control.dtype), scheduled_rate(head),
             head["limits"].max().to(control.device) * share]
        )  # fmt: skip
        decay = float(self._optimizer.weight_decay_of(head, torch.tensor(float(step), dtype=torch.float64)))
        trust = max_relative_step(step, head["trust_steps"], head["total_steps"]) * share
        self._waiting.append((step, decay, trust, figures))
        if len(self._waiting) == FETCH_STEPS:
            self._fetch()

    @property
    def rows(self) -> tuple[TraceRow, ...]:
        """All that was recorded, in order."""
        self._fetch()
        return tuple(self._rows)

    def write(self, folder: str | Path) -> None:
        """Event files for `tensorboard --logdir FOLDER`.

        InputError where no folder can be made; ExtraError without tensorboard.
        """
        need("tensorboard", extra="track")
        try:
            writer = need("torch.utils.tensorboard", extra="train").SummaryWriter(str(folder))
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written: {error.strerror}", expected="a folder", fix="choose another place"
            ) from error
        with writer:
            for row in self.rows:
                for name in TraceRow._fields[1:]:
                    writer.add_scalar(f"optimizer/{name}", getattr(row, name), row.step)

    def draw(self, path: str | Path) -> Path:
        """A PNG of rate, found rate, trust, weight decay and loss over the steps.

        InputError before the first record or where no file can be written; ExtraError without pillow.
        """
        if not (rows := self.rows):
            raise InputError("nothing was recorded", expected="at least one step", fix="call record(loss) in the loop")
        out = Path(path)
        files.check_writable(out)
        last = rows[-1]
        title = (
            f"After {numbers.count(last.step)} steps: loss {numbers.number(last.loss)}, "
            f"learning rate {numbers.number(last.lr)}"
        )
        steps = [row.step for row in rows]
        panels = [
            Panel("learning rate", [row.lr for row in rows], log=True),
            Panel("rate found, before the bound", [row.unbounded_lr for row in rows], log=True),
            Panel("trust: largest step of a tensor over its size", [row.trust for row in rows], log=True),
            Panel("weight decay, per unit of learning rate", [row.weight_decay for row in rows]),
            Panel("loss", [row.loss for row in rows]),
        ]
        with files.atomic_file(out) as part:
            draw_panels(title, steps, panels).save(part, format="PNG")
        return out

    def _fetch(self) -> None:
        if not self._waiting:
            return
        values = torch.stack([figures for *_, figures in self._waiting]).tolist()
        for (step, decay, trust, _), (lr, loss, unbounded_lr, max_lr) in zip(self._waiting, values, strict=True):
            self._rows.append(TraceRow(step, lr, decay, loss, unbounded_lr, max_lr, trust))
        self._waiting.clear()
