"""Averaging gradients over ranks in fewer bytes: PowerSGD, ACP-SGD, and casts to 16 and 8 bits, with error feedback.

    reduce_gradients: gradient + memory -> few bytes -> torch.distributed -> mean over ranks; memory = what was not sent

Sources: PowerSGD, Vogels et al., arXiv 1905.13727, algorithm 1 (power iteration with a warm start) and algorithm 2
(error feedback); ACP-SGD, Zhang et al., arXiv 2306.08881 (its two sides in turn); error feedback, Karimireddy et al.,
arXiv 1901.09847; an exchange in two halves that sums in float32, as in 1-bit Adam, Tang et al., arXiv 2102.02888,
section 4. Nothing is lost, only late: at any time

    sum of what was given out + mean over ranks of the memories = sum of the true means.

Every collective is called in a fixed order by the thread that calls it. That is what torch's own PowerSGD hook
lacks: it starts its second and third all-reduce of a bucket when the one before has ended, so with several buckets two
ranks may start them in different orders, and gloo, which pairs them by order, adds up different things or aborts.
"""

from __future__ import annotations

import itertools
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from deepseek.errors import InputError

Kind = Literal["auto", "none", "fp16", "bf16", "int8", "powersgd", "acpsgd"]
NamedGradients = Mapping[str, Tensor]  # gradients by name of the parameter; changed in place
INT8_BLOCK_ELEMENTS = 256  # elements of int8 that share one scale: 1.6 % more bytes
MAX_RELAY_BYTES = 2**22  # of all ranks' messages together: more never goes through one rank
ROW_FACTOR_PREFIX = "rows of "  # marks a factor of ACP-SGD that stands for the rows of its matrix
ALIGNMENT_ELEMENTS = (
    16  # elements: matrices start where a cache line does, else the bits of a product depend on the bucket's layout
)


@dataclass(frozen=True)
class Compression:
    """How gradients travel between ranks.

    `auto` measures, for each bucket, and sends it as it is where the link is fast, else in 8 bits or by PowerSGD.

    >>> Compression(kind="zip")
    Traceback (most recent call last):
        ...
    deepseek.errors.InputError: compression.kind is 'zip'. Expected: one of auto, none, fp16, bf16, int8, powersgd, ...
    """

    kind: Kind = "auto"
    rank: int = 8  # of the SGDs: bytes and fidelity grow with it; 1 to 4 for images, 16 to 32 for language; at least 1
    warm_start_steps: int = 10  # first steps that are sent as they are, at least 0
    remeasure_steps: int = 2000  # of auto: steps from one measurement to the next, at least 10
    min_gain: float = 2.0  # of auto: how many times faster a lossier way must be, at least 1

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("kind", self.kind in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
            ("rank", self.rank >= 1, "at least 1"),
            ("warm_start_steps", self.warm_start_steps >= 0, "at least 0"),
            ("remeasure_steps", self.remeasure_steps >= 10, "at least 10"),
            ("min_gain", self.min_gain >= 1, "at least 1"),
        ):
            if not good:
                raise InputError(
                    f"compression.{name} is {getattr(self, name)!r}", expected=expected, fix="give such a value"
                )


@dataclass
class ErrorFeedbackMemory:
    """What a rank keeps from one step to the next, by name of the parameter."""

    errors: dict[str, Tensor] = field(default_factory=dict)  # not yet sent; each rank has its own
    # Q' (rank, columns) of PowerSGD, equal on all ranks. Rows: a product with few columns is up to 6 times slower.
    factors: dict[str, Tensor] = field(default_factory=dict)
    relayed: dict[str, bool] = field(
        default_factory=dict
    )  # by the bits of a message's length: see `small_message_mean`
    scratch: Tensor | None = None  # room for the matrices of one call; not a part of the state

    def error(self, name: str, like: Tensor) -> Tensor:
        """The error memory of a gradient, in the gradient's shape; zeros at first."""
        if name not in self.errors or self.errors[name].shape != like.shape:
            self.errors[name] = torch.zeros_like(like)
        return self.errors[name]

    def room(self, shapes: Sequence[Sequence[int]], like: Tensor) -> list[Tensor]:
        """Tensors of those shapes with any content, valid until the next call."""
        size = sum(map(padded_size, shapes))
        if self.scratch is None or self.scratch.numel() < size or self.scratch.dtype != like.dtype:
            self.scratch = like.new_empty(size)
        return split_views(self.scratch, shapes)

    def factor(self, name: str, columns: int, rank: int, like: Tensor) -> Tensor:
        """Q' of the step before; at first normal numbers that are equal on all ranks, as the name is."""
        if name not in self.factors or self.factors[name].shape != (rank, columns):
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            self.factors[name] = torch.randn(rank, columns, generator=generator).to(like)
        return self.factors[name]

    def turn(self, name: str, matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """For ACP-SGD: the matrix or its transpose, as it stands in this step, and the factor of its left side."""
        rows = self.factors.get(ROW_FACTOR_PREFIX + name)
        if rows is not None and rows.shape == (rank, len(matrix)):
            return matrix, rows
        return matrix.mT, self.factor(name, matrix.shape[1], rank, matrix)

    def turn_round(self, name: str, factor: Tensor) -> None:
        """Keep what has become the factor of the other side in place of this step's."""
        other = name if self.factors.pop(ROW_FACTOR_PREFIX + name, None) is not None else ROW_FACTOR_PREFIX + name
        self.factors.pop(name, None)
        self.factors[other] = factor.clone()


def all_reduce_mean(flat: Tensor, group: dist.ProcessGroup) -> None:
    """The mean over ranks, in place and as it is."""
    dist.all_reduce(flat.div_(group.size()), group=group)


def relayed_mean(flat: Tensor, group: dist.ProcessGroup) -> None:
    """The same through the first rank: a gather and a broadcast."""
    parts = [torch.empty_like(flat) for _ in range(group.size())] if group.rank() == 0 else None
    dist.gather(flat, parts, group=group, group_dst=0)
    if parts:
        torch.mean(torch.stack(parts), 0, out=flat)
    dist.broadcast(flat, group=group, group_src=0)


def small_message_mean(flat: Tensor, memory: ErrorFeedbackMemory, group: dist.ProcessGroup) -> None:
    """The mean over ranks, in place, of a message that is mostly small; the faster way, measured once for each size.

    gloo's ring wakes a rank some four times for each other rank, which is what a small message costs where ranks share
    processors; through one rank it is two messages. On few ranks or a slow link the ring is as fast or faster.
    """
    size = str(flat.numel().bit_length())
    if flat.is_cuda or group.size() * flat.nbytes > MAX_RELAY_BYTES:
        memory.relayed[size] = False
    elif size not in memory.relayed:
        ring_s, relay_s = (slowest_rank_s(way, flat, group) for way in (all_reduce_mean, relayed_mean))
        memory.relayed[size] = 1.5 * relay_s <= ring_s
    (relayed_mean if memory.relayed[size] else all_reduce_mean)(flat, group)


def slowest_rank_s(way: Callable[[Tensor, dist.ProcessGroup], None], flat: Tensor, group: dist.ProcessGroup) -> float:
    """The best of three runs on copies, on the slowest rank; equal on all ranks."""
    best_s = float("inf")
    for _ in range(3):
        copied = flat.clone()
        dist.barrier(group=group)
        start_s = time.perf_counter()
        way(copied, group)
        best_s = min(best_s, time.perf_counter() - start_s)
    slowest = torch.tensor(best_s)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX, group=group)
    return float(slowest)


def are_all_finite(flat: Tensor) -> bool:
    """Whether all numbers are finite, in one pass: the sum of finite gradients does not overflow."""
    return bool(torch.isfinite(flat.sum()))


def reduce_powersgd(grads: NamedGradients, memory: ErrorFeedbackMemory, rank: int, group: dist.ProcessGroup) -> None:
    """Replace each matrix by the mean over ranks of its best sum of `rank` outer products, roughly; vectors go as is.

    Two all-reduces: P = M Q beside the vectors, then Q' = P' M. A gradient that is not finite comes out as NaN on all
    ranks, and leaves the memory as it was.
    """
    low = {name: as_matrix(grad) for name, grad in grads.items() if is_compressible(grad, rank)}
    plain = {name: grad for name, grad in grads.items() if name not in low}
    flush_errors(plain, memory)
    plain_flat = [grad.view(-1) for grad in plain.values()]
    errors = {name: memory.error(name, grads[name]).view(matrix.shape) for name, matrix in low.items()}
    ranks = {name: min(rank, *matrix.shape) for name, matrix in low.items()}
    qs = {name: memory.factor(name, matrix.shape[1], ranks[name], matrix) for name, matrix in low.items()}
    like = next(iter(grads.values()))
    first, views = flat_views([part.shape for part in plain_flat] + [(len(m), ranks[n]) for n, m in low.items()], like)
    plain_views, ps = views[: len(plain_flat)], views[len(plain_flat) :]
    for part, grad in zip(plain_views, plain_flat, strict=True):
        part.copy_(grad)
    sums = memory.room([matrix.shape for matrix in low.values()], like)
    for (name, matrix), total, p in zip(low.items(), sums, ps, strict=True):
        torch.add(matrix, errors[name], out=total)
        torch.mm(total, qs[name].mT, out=p)
    small_message_mean(first, memory, group)
    for part, grad in zip(plain_views, plain_flat, strict=True):
        grad.copy_(part)
    if not low:
        return
    if not are_all_finite(first):
        for matrix in low.values():
            matrix.fill_(torch.nan)
        return
    bases = [orthonormal_basis(p) for p in ps]
    second, new_qs = flat_views([q.shape for q in qs.values()], like)
    for total, p, q in zip(sums, bases, new_qs, strict=True):
        torch.mm(p.mT, total, out=q)
    small_message_mean(second, memory, group)
    for (name, matrix), total, p, q in zip(low.items(), sums, bases, new_qs, strict=True):
        torch.addmm(total, p, q, alpha=-1, out=errors[name])
        torch.mm(p, q, out=matrix)
        qs[name].copy_(q)


def reduce_acpsgd(grads: NamedGradients, memory: ErrorFeedbackMemory, rank: int, group: dist.ProcessGroup) -> None:
    """As PowerSGD with half of its bytes and one exchange: the two sides of each matrix take turns.

    One factor B is fixed, orthonormal, equal on all ranks; the other, C = B M, is averaged, and is the B of the next
    step, with M turned round. The memory is what B cannot say of this rank's own matrix: M - B' C.
    """
    low = {name: as_matrix(grad) for name, grad in grads.items() if is_compressible(grad, rank)}
    plain = {name: grad for name, grad in grads.items() if name not in low}
    flush_errors(plain, memory)
    oriented, bases = {}, {}
    for name, matrix in low.items():
        matrix.add_(memory.error(name, grads[name]).view(matrix.shape))
        oriented[name], factor = memory.turn(name, matrix, min(rank, *matrix.shape))
        bases[name] = orthonormal_basis(factor.mT).mT
    shapes = [grad.shape for grad in plain.values()] + [(len(b), oriented[n].shape[1]) for n, b in bases.items()]
    flat, views = flat_views(shapes, next(iter(grads.values())))
    plain_views, parts = views[: len(plain)], views[len(plain) :]
    copy_tensors(plain_views, plain.values())
    for name, part in zip(low, parts, strict=True):
        torch.mm(bases[name], oriented[name], out=part)
    own_products = [part.clone() for part in parts]
    small_message_mean(flat, memory, group)
    copy_tensors(plain.values(), plain_views)
    if not are_all_finite(flat):
        for matrix in low.values():
            matrix.fill_(torch.nan)
        return
    for (name, matrix), own_product, part in zip(oriented.items(), own_products, parts, strict=True):
        error = memory.errors[name].view(low[name].shape)
        torch.addmm(matrix, bases[name].mT, own_product, alpha=-1, out=error if matrix.is_contiguous() else error.mT)
        torch.mm(bases[name].mT, part, out=matrix)
        memory.turn_round(name, part)


def copy_tensors(to: Iterable[Tensor], source: Iterable[Tensor]) -> None:
    """Many small copies in one call."""
    if targets := list(to):
        torch._foreach_copy_(targets, list(source))


def is_compressible(grad: Tensor, rank: int) -> bool:
    """Whether PowerSGD halves a gradient's bytes at least. Vectors never."""
    if grad.dim() < 2 or not grad.numel():
        return False
    rows, columns = len(grad), grad.numel() // len(grad)
    return 2 * min(rank, rows, columns) * (rows + columns) <= rows * columns


def as_matrix(grad: Tensor) -> Tensor:
    """(rows, all else): a kernel (out, in, h, w) becomes (out, in * h * w), as in the paper."""
    return grad.view(len(grad), -1)


def flat_views(shapes: Sequence[Sequence[int]], like: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One new flat tensor of zeros, and a view into it for each shape."""
    flat = like.new_zeros(sum(map(padded_size, shapes)))
    return flat, split_views(flat, shapes)


def split_views(flat: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Views of those shapes, one after the other."""
    starts = itertools.accumulate(map(padded_size, shapes), initial=0)
    return [flat[start : start + math.prod(shape)].view(*shape) for start, shape in zip(starts, shapes, strict=False)]


def padded_size(shape: Sequence[int]) -> int:
    """Elements, rounded up to whole lines.

    >>> padded_size((3, 7)), padded_size(()), padded_size((0, 2))
    (32, 16, 0)
    """
    return -(-math.prod(shape) // ALIGNMENT_ELEMENTS) * ALIGNMENT_ELEMENTS


def orthonormal_basis(matrix: Tensor) -> Tensor:
    """Orthonormal columns that span those of `matrix`. Householder: a column of zeros becomes some unit vector."""
    basis: Tensor = torch.linalg.qr(matrix)[0]
    return basis


def reduce_cast(grads: NamedGradients, memory: ErrorFeedbackMemory, kind: Kind, group: dist.ProcessGroup) -> None:
    """The mean over ranks, sent in 16 or 8 bits and summed in float32; vectors go as they are.

    Each rank sums one share of the elements: an all-to-all, then an all-gather, 2 (n - 1) / n of the packed bytes, as
    a ring does. What the second packing loses is added, n-fold, to the memory of the rank that has packed it. Gradients
    that are not finite come out so on all ranks, and leave the memory as it was.
    """
    reduce_plain({name: grad for name, grad in grads.items() if grad.dim() < 2}, memory, group)
    wide = {name: grad for name, grad in grads.items() if grad.dim() >= 2}
    if not wide:
        return
    rank, world = group.rank(), group.size()
    shapes = [grad.shape for grad in wide.values()]
    share = (
        -(-sum(map(padded_size, shapes)) // (world * INT8_BLOCK_ELEMENTS)) * INT8_BLOCK_ELEMENTS
    )  # elements that each rank sums
    rows = next(iter(wide.values())).new_zeros(world, share)
    for part, (name, grad) in zip(split_views(rows.view(-1), shapes), wide.items(), strict=True):
        torch.add(grad, memory.error(name, grad), out=part)
    encode, decode = CASTS[kind]
    packed = encode(rows)
    received = torch.empty_like(packed)
    dist.all_to_all_single(received, packed, group=group)
    mean = decode(received).mean(0, keepdim=True)
    own = encode(mean)
    dist.all_gather(list(torch.split(received, 1)), own, group=group)
    result = decode(received)
    if are_all_finite(result):
        rows.sub_(decode(packed))
        rows[rank].add_(mean[0] - decode(own)[0], alpha=world)
        for part, name in zip(split_views(rows.view(-1), shapes), wide, strict=True):
            memory.errors[name].copy_(part)
    for part, grad in zip(split_views(result.view(-1), shapes), wide.values(), strict=True):
        grad.copy_(part)


def reduce_plain(grads: NamedGradients, memory: ErrorFeedbackMemory, group: dist.ProcessGroup) -> None:
    """The mean over ranks, sent as it is, with what another way has left in the memory."""
    flush_errors(grads, memory)
    flat, views = flat_views([grad.shape for grad in grads.values()], next(iter(grads.values()), torch.empty(0)))
    for part, grad in zip(views, grads.values(), strict=True):
        part.copy_(grad)
    if flat.numel():
        all_reduce_mean(flat, group)
    for part, grad in zip(views, grads.values(), strict=True):
        grad.copy_(part)


def _to_half(rows: Tensor) -> Tensor:
    # A finite number beyond float16 is clamped: the rest of it stays in the memory. An infinite one stays infinite.
    largest = torch.finfo(torch.float16).max
    return (rows.clamp(-largest, largest) if are_all_finite(rows) else rows).half().view(torch.uint8)


def _to_int8(rows: Tensor) -> Tensor:
    blocks = rows.float().view(len(rows), -1, INT8_BLOCK_ELEMENTS)
    scale = blocks.abs().amax(-1, keepdim=True).div_(127)
    codes = (blocks / scale.clamp_min(1e-30)).round_().to(torch.int8)
    return torch.cat([codes.view(torch.uint8).flatten(1), scale.view(torch.uint8).flatten(1)], 1)


def _from_int8(packed: Tensor) -> Tensor:
    num_blocks = packed.shape[1] // (INT8_BLOCK_ELEMENTS + 4)
    codes, scale = packed[:, : num_blocks * INT8_BLOCK_ELEMENTS], packed[:, num_blocks * INT8_BLOCK_ELEMENTS :]
    scales = scale.contiguous().view(torch.float32).unsqueeze(-1)
    return (codes.reshape(len(packed), num_blocks, INT8_BLOCK_ELEMENTS).view(torch.int8) * scales).flatten(1)


#: Kind -> (rows, elements) of floats to (rows, bytes), and back to float32. Bytes: gloo moves any, and sums few types.
CASTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "fp16": (_to_half, lambda packed: packed.view(torch.float16).float()),
    "bf16": (lambda rows: rows.bfloat16().view(torch.uint8), lambda packed: packed.view(torch.bfloat16).float()),
    "int8": (_to_int8, _from_int8),
}


def reduce_gradients(
    grads: NamedGradients, memory: ErrorFeedbackMemory, kind: Kind, rank: int, group: dist.ProcessGroup
) -> None:
    """Replace each gradient by its mean over the ranks of `group`, sent in the way of `kind` (not auto).

    A memory left by another way is sent along, so nothing is lost when the way changes. All ranks get equal bits.
    """
    if group.size() == 1:
        return
    if kind == "powersgd":
        reduce_powersgd(grads, memory, rank, group)
    elif kind == "acpsgd":
        reduce_acpsgd(grads, memory, rank, group)
    elif kind in CASTS:
        reduce_cast(grads, memory, kind, group)
    else:
        reduce_plain(grads, memory, group)


def flush_errors(grads: NamedGradients, memory: ErrorFeedbackMemory) -> None:
    """Add to each gradient what is left of it in the memory, and forget that."""
    for name, grad in grads.items():
        if name in memory.errors:
            grad.add_(memory.errors.pop(name).view(grad.shape))
