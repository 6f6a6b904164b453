"""A multimodal net trained by several ranks as one process would: the same statistics, the same order of messages.

    with spread(net, shards=1) as model:         # data parallel; shards=4: FSDP2, each copy of the net on 4 ranks
        fit(model, ...)
        state = collected(net)                   # of an ordinary net again, whole on every rank

A batch norm that saw a rank's own rows alone would make another net of the same global batch, and a rank of which no
row has an image would have nothing to normalize. So norms add up their sums over the ranks, counting the rows that
have a value; and a rank without one encodes a stand-in that counts nowhere, because the others wait for its part of
each message, forward and backward. Which way a modality is encoded follows from its count over all ranks.

Price: two small messages for each norm and pass. Source: synchronized batch normalization, as torch's SyncBatchNorm has
it for GPUs; that one has no CPU kernel and no row that does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.nn.fusion import MultimodalNet
from deepseek.train.distributed import ranks
from deepseek.train.distributed.data_parallel import wrap
from deepseek.train.distributed.gradient_compression import Compression
from deepseek.train.distributed.shard import make_mesh, shard


class SharedNorm(nn.modules.batchnorm._BatchNorm):
    """(N, C, ...) -> the same, normalized by mean and variance over the rows of all ranks."""

    group: Any = None
    is_absent = False  # this rank's rows are stand-ins

    def _check_input_dim(self, _: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            normalized: Tensor = super().forward(x)
            return normalized
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        wide = x.float()
        count = wide.new_tensor([0 if self.is_absent else x.numel() // x.shape[1]])
        sums = torch.cat([self._zero_if_absent(wide.sum(dims)), count])
        sums = _AllReduceSum.apply(sums, self.group)  # type: ignore[no-untyped-call]
        mean, num = sums[:-1] / sums[-1], sums[-1].detach()
        centred = wide - mean.view(shape)
        squares = _AllReduceSum.apply(self._zero_if_absent(centred.square().sum(dims)), self.group)  # type: ignore[no-untyped-call]
        variance = squares / num
        self._update_running_statistics(mean.detach(), variance.detach() * num / (num - 1))
        y: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def _zero_if_absent(self, sums: Tensor) -> Tensor:
        """The sums of this rank's rows; 0 where these are stand-ins."""
        return 0 * sums if self.is_absent else sums

    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _AllReduceSum(torch.autograd.Function):
    """The sum over all ranks; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(context: Any, x: Tensor, group: Any) -> Tensor:
        context.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=context.group)
        return total, None


class RankTotals:
    """What a MultimodalNet asks of the others (nn.fusion.Together)."""

    def __init__(self, group: Any, device: torch.device) -> None:
        self.group, self.device = group, device

    def totals(self, counts: list[int]) -> list[int]:
        """Each count added up over all ranks."""
        added = torch.tensor(counts, device=self.device)
        dist.all_reduce(added, group=self.group)
        return [int(each) for each in added.tolist()]

    def stand_in(self, encoder: nn.Module, values: Tensor) -> Tensor:
        """Zeros in the shape of the encoder's output, with gradients of zero: for a rank without a row that counts."""
        norms = [part for part in encoder.modules() if isinstance(part, SharedNorm)]
        for norm in norms:
            norm.is_absent = True
        encoded: Tensor = encoder(values[:1])
        for norm in norms:
            norm.is_absent = False
        return (
            encoded.new_zeros(len(values), *encoded.shape[1:]) + 0 * encoded.sum()
        )  # the backward pass goes through it


@contextmanager
def distribute_net(net: MultimodalNet, shards: int) -> Iterator[nn.Module]:
    """The net over all ranks, changed in place: `shards` ranks hold one copy (FSDP2), 1: each has its own. One process:
    the net as it is. InputError where the ranks do not divide so."""
    num_ranks = ranks.num_ranks()
    if num_ranks == 1:
        if shards > 1:
            raise InputError(
                f"fusion.shards is {shards}, and there is one process", expected=f"{shards} ranks or a multiple",
                fix=f"start {shards} with torchrun or train.launch, or set shards to 1",
            )  # fmt: skip
        yield net
        return
    device = next(net.parameters()).device
    mesh = make_mesh(num_ranks // shards, shards, device.type) if shards > 1 else None
    group = dist.new_group()  # its own: a norm's message must not meet a gradient's
    replace_norms(net, group)
    net.distributed = RankTotals(group, device)
    plain = Compression(kind="none")
    try:
        # The norms' statistics are equal already: nothing to send before each forward pass.
        yield wrap(net, plain, broadcast_buffers=False) if mesh is None else shard(net, mesh, plain)
    finally:
        net.distributed = None
        dist.destroy_process_group(group)


def replace_norms(module: nn.Module, group: Any) -> None:
    """Put a SharedNorm in the place of each batch norm below `module`, with its parameters, statistics and names."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SharedNorm):
            shared = SharedNorm(child.num_features, child.eps, child.momentum)
            shared._parameters, shared._buffers, shared.group = child._parameters, child._buffers, group
            setattr(module, name, shared.train(child.training))
        else:
            replace_norms(child, group)


def full_state_dict(net: nn.Module) -> dict[str, Tensor]:
    """The state of a net whose parameters may be sharded, whole and on the CPU of every rank. All ranks call it."""
    return {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().cpu().clone()
        for name, value in net.state_dict().items()
    }
