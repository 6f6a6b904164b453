"""A trained module as a bundle answers: rows in its own form -> margins, and for pictures all outputs of their graph.

task = task_of(num_outputs, labels)             # binary of one or two outputs, multiclass, regression
TableAnswers(module, task)(features)            # (N, F) -> margins (N, K)
PictureNet(module, task, ...)                   # what nn.multimodal.CalibratedNet takes

Margins: log-odds of the second of two classes, logits of more, or the value. Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deepseek.compress.targets.export_module import first_line
from deepseek.contracts import Task
from deepseek.errors import InputError
from deepseek.nn.fusion import MultimodalOutput
from deepseek.train.loop.object_loader import USER_CODE_ERRORS

TEST_ROWS = 2  # that a module is asked for before it is exported


def count_outputs(module: nn.Module, rows: Tensor) -> int:
    """How many numbers the module gives for each of `rows`. InputError for one that does not take them, or gives
    something else than floats (N, K) or (N,)."""
    shape = "x".join(map(str, rows.shape[1:]))
    try:
        with torch.inference_mode():
            answer = module(rows[:TEST_ROWS])
    except USER_CODE_ERRORS as error:
        raise InputError(
            f"the module does not take rows of {shape}: {first_line(error)}",
            expected="a forward() of one tensor of that shape", fix="give --input the shape that it was trained on",
        ) from error  # fmt: skip
    is_tensor = isinstance(answer, Tensor) and answer.is_floating_point()
    if not is_tensor or answer.ndim not in (1, 2) or len(answer) != len(rows[:TEST_ROWS]):
        what = f"{answer.dtype} {list(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(
            f"the module answers {TEST_ROWS} rows with {what}", expected="floats (rows, outputs), one row each",
            fix="wrap it in a module whose forward() gives its logits, or its value, alone",
        )  # fmt: skip
    return int(answer.shape[1]) if answer.ndim == 2 else 1


def task_of(num_outputs: int, labels: Sequence[str]) -> Task:
    """What a module of that many outputs predicts. InputError for labels of another number."""
    if not labels:
        if num_outputs == 1:
            return "regression"
        raise InputError(
            f"the module gives {num_outputs} numbers a row, and there are no labels",
            expected=f"{num_outputs} labels in the order of the outputs", fix="--labels A,B,...",
        )  # fmt: skip
    fitting = 2 if num_outputs == 1 else num_outputs
    if len(labels) != fitting:
        raise InputError(
            f"there are {len(labels)} labels ({', '.join(labels)[:100]}), and the module gives {num_outputs} "
            f"{'number' if num_outputs == 1 else 'numbers'} a row",
            expected=f"{fitting} labels" + (", or none for a value" if num_outputs == 1 else ""),
            fix="name each class once, in the order of the module's outputs",
        )  # fmt: skip
    return "binary" if fitting == 2 else "multiclass"


class TableAnswers(nn.Module):
    """Features (N, F) float32 -> margins (N, K)."""

    low: Tensor
    high: Tensor

    def __init__(self, module: nn.Module, task: Task, training: Tensor) -> None:
        """training: (N, F) rows in the module's own type. Whole numbers, such as levels for an embedding, are kept
        within those of training: an embedding has no others."""
        super().__init__()
        self.module, self.task, self.is_whole = module, task, not training.is_floating_point()
        self.register_buffer("low", training.amin(0).float())
        self.register_buffer("high", training.amax(0).float())

    def forward(self, features: Tensor) -> Tensor:
        rows = torch.clamp(features, self.low, self.high).long() if self.is_whole else features
        logits = as_columns(self.module(rows))
        return logits[:, 1:] - logits[:, :1] if self.task == "binary" and logits.shape[1] == 2 else logits


class PictureNet(nn.Module):
    """Pictures (N, C, H, W) uint8 and which are there (N,) -> MultimodalOutput, by the name of their column. A picture
    that is missing is answered with `bias`, the logits of what is known without one."""

    mean: Tensor
    std: Tensor
    bias: Tensor

    def __init__(
        self, module: nn.Module, name: str, bias: Tensor, *, scale: float | None, mean: Tensor, std: Tensor
    ) -> None:
        """bias: (K,) logits, or the value. scale: by which bytes are divided; None where the module takes bytes
        themselves. mean, std: (C, 1, 1) or one number, of the pixels then."""
        super().__init__()
        self.module, self.names, self.scale = module, (name,), scale
        self.register_buffer("bias", bias)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def prepare(self, pixels: Tensor) -> Tensor:
        """What the module takes, from bytes (N, C, H, W)."""
        return pixels if self.scale is None else (pixels.float() / self.scale - self.mean) / self.std

    def forward(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> MultimodalOutput:
        (name,) = self.names
        there = present[name][:, None]
        logits = as_columns(self.module(self.prepare(values[name])))
        if logits.shape[1] == 1 and len(self.bias) == 2:  # one logit of two classes
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        logits = torch.where(there, logits, self.bias)
        alone = torch.where(there, logits - self.bias, torch.zeros_like(logits))
        gates = there.float()
        return MultimodalOutput(logits, alone[:, None], gates, torch.zeros_like(gates)[:, :, None], there)


def as_columns(answer: Tensor) -> Tensor:
    """Answers (N,) or (N, K) as (N, K)."""
    return answer[:, None] if answer.ndim == 1 else answer
