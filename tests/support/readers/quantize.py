"""A folder of MiniLM's kind, a net with its batches, and what is measured on it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from deepseek.train import ArrayStream
from support.nets.textfolders import make_text_folder
from support.readers.reader import Reader


class Net(nn.Module):
    """16 numbers to 4 scores, its layers named as the guide names one."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.encoder[1](self.encoder[0](x).relu())
        return answer


def prepare(stack: ExitStack) -> Reader:
    make_text_folder(Path("minilm"))
    torch.manual_seed(0)
    x = torch.randn(400, 16)
    y = x[:, :4].argmax(1)

    def batches(rows: slice) -> ArrayStream:
        return ArrayStream((x[rows], y[rows]), 50, torch.Generator().manual_seed(0))

    def accuracy(net: nn.Module) -> float:
        return float((net(x[300:]).argmax(1) == y[300:]).float().mean())

    names = {"module": Net(), "batches": batches(slice(300)), "held_out": batches(slice(300, 400))}
    return Reader({**names, "loss": functional.cross_entropy, "accuracy_on_validation_rows": accuracy})
