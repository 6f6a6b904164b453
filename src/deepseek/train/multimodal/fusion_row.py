"""A fused net as a row of blocks that a pipeline can cut: an encoder after the other, then what joins them.

    row, loss = pipeline_blocks(net), pipeline_loss(alone=0.3)
    example = (pipeline_inputs(values, there, net.names), labels)
    pipe = parallelize(row, stages=2, micro_batches=4, example=example, loss=loss)
    pipe.step(*example)
    row.load_state_dict(pipe.whole_state_dict())     # on rank 0: `net` itself is trained, they share their parameters

What passes from block to block: the tokens and masks of the modalities that were encoded, the values of those that were
not, and which rows have what. So an encoder may stand in another process than the next, and the joining in a third.

A pipeline is not `fit`: the steps are the caller's. Norms see one micro-batch, so the gradients are those of one
process that adds up the same micro-batches, not those of the whole batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.extras import renamed_attributes
from deepseek.nn.fusion import MultimodalNet, MultimodalOutput, multimodal_loss

Values = tuple[Tensor, ...]


class EncoderBlock(nn.Module):
    """Takes (2 * at tensors of tokens and masks, the values from `at` on, given (N, M)), and encodes the modality `at`.
    `net` has that encoder alone."""

    def __init__(self, net: MultimodalNet, at: int) -> None:
        super().__init__()
        self.net, self.at = net, at

    def forward(self, passed: Values) -> Values:
        encoded, values, rest = passed[: 2 * self.at], passed[2 * self.at], passed[2 * self.at + 1 :]
        is_present = passed[-1][:, self.at]
        count = int(is_present.sum())
        counts = (count, count) if self.training else ()
        return *encoded, *self.net.encode(self.net.names[self.at], values, is_present, *counts), *rest


class FusionBlock(nn.Module):
    """(tokens and masks of all modalities, given) -> logits, voices and which modalities were used. `net` has no
    encoder."""

    def __init__(self, net: MultimodalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, passed: Values) -> Values:
        output = self.net.join(passed[:-1:2], passed[1:-1:2], passed[-1])
        return output.logits, output.unimodal_logits, output.present


def pipeline_blocks(net: MultimodalNet) -> nn.Sequential:
    """The blocks; they share their parameters with `net`. InputError where it mixes rows: the loss would have to know
    the partners."""
    if net.shape.mixup:
        raise InputError(
            f"fusion.mixup is {net.shape.mixup}, and a pipeline passes no partners to the loss", expected="0",
            fix="set it to 0, or train data parallel or with shards",
        )  # fmt: skip
    encoders = dict(net.encoders.named_children())
    blocks: list[nn.Module] = [
        EncoderBlock(_part(net, {"encoders": nn.ModuleDict({key: encoder})}, keeps_own=False), at)
        for at, (key, encoder) in enumerate(encoders.items())
    ]
    rest = {name: module for name, module in net.named_children() if name != "encoders"}
    return nn.Sequential(*blocks, FusionBlock(_part(net, rest, keeps_own=True)))


def pipeline_inputs(values: Mapping[str, Tensor], present: Mapping[str, Tensor], names: Sequence[str]) -> Values:
    """A batch of train.fusion.batch_of as the first block takes it."""
    return *(values[name] for name in names), torch.stack([present[name] for name in names], 1)


def pipeline_loss(alone: float = 0.3) -> Callable[[Values, Tensor], Tensor]:
    """fusion_loss of what the last block gives."""

    def loss(block_output: Values, labels: Tensor) -> Tensor:
        logits, voices, present = block_output
        return multimodal_loss(MultimodalOutput(logits, voices, voices, voices, present), labels, alone=alone)

    return loss


def _part(net: MultimodalNet, modules: Mapping[str, nn.Module], *, keeps_own: bool) -> MultimodalNet:
    """The same net with these of its modules alone, and its own parameters or none."""
    part = copy.copy(net)
    part._modules = dict(modules)
    part._parameters = dict(net._parameters) if keeps_own else {}
    return part


__getattr__ = renamed_attributes(
    __name__, {"fusion_row": "pipeline_blocks", "row_inputs": "pipeline_inputs", "row_loss": "pipeline_loss"}
)
