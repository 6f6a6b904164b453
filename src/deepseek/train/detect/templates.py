"""Teaches nn.detector.PairNet: candidates of labelled pairs, what each is, and the training under a budget. What a
detector of whole pairs learns from is made worse by the same chances.

    examples = collect(pairs, classes)              # pairs: part, reference, boxes and class numbers of each
    net = train_pair_net(examples, config)

A candidate is the label that it overlaps most, or that its middle lies in; else "no defect". A label that no candidate
meets cannot be found by this method: collect() counts them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.detector.alignment import align
from deepseek.nn.detector.boxes import overlaps
from deepseek.nn.detector.difference import check_sizes, cut_crops, propose, stack, to_deltas
from deepseek.nn.detector.pair_net import PairNet
from deepseek.train.detect.bf16 import is_bf16_faster

Picture = NDArray[np.uint8]
LEAST_OVERLAP = 0.1
NUM_SHIFTS = 3  # crops of each labelled candidate, moved by chance
MAX_OTHERS = 24  # candidates of a pair that are no defect, by chance: noise of edges would fill the memory
MAX_MOVE = 0.15  # of a candidate's own size
MAX_SLIP_PX = 3  # by which the reference of a pair is moved once more, so that edges lie apart
WORSE_SHARE = 0.4  # of the pictures that a detector learns from are seen beside a worse reference
NUM_SLIPS, MAX_CROP_SLIP_PX = 8, 1  # parts of a batch whose references are moved alike, and how far
BOX_WEIGHT, BOX_SCALE = 4.0, 0.05  # of the error of a side; as a share of the crop, where it counts linearly
BATCH = 64
MEASURED_STEPS = 100  # a longer training first measures whether bfloat16 is faster


@dataclass(frozen=True, slots=True, eq=False)
class PairExample:
    """One part with its reference and labels."""

    part: Picture
    reference: Picture
    boxes: Float32  # (G, 4)
    classes: NDArray[np.int64]  # (G,)


@dataclass(frozen=True, slots=True, eq=False)
class CandidateSet:
    """Candidates of many pairs."""

    crops: NDArray[np.uint8]  # (N, 2 C, 64, 64)
    classes: NDArray[np.int64]  # (N,) num_classes: no defect
    deltas: Float32  # (N, 4), zeros where there is no defect
    num_labels: int
    num_without_candidate: int


@dataclass(frozen=True, slots=True)
class PairFitConfig:
    budget_s: float = 120.0  # CPU time
    max_steps: int = 6_000
    learning_rate: float = 2e-3
    seed: int = 0


def collect(pairs: Iterable[PairExample], num_classes: int, *, seed: int = 0) -> CandidateSet:
    """Candidates of all pairs, moved by chance, labelled ones NUM_SHIFTS times; then those that there would be beside a
    worse reference, for parts of other products fit theirs less. InputError where no label has a candidate."""
    rng = np.random.default_rng(seed)
    crops, classes, deltas = [], [], []
    num_labels = missed = 0
    for pair in pairs:
        part, reference, shift = align(pair.part, check_sizes(pair.part, pair.reference))
        truth = pair.boxes - np.array(shift * 2, np.float32)
        num_labels += len(truth)
        for worse, copies in ((False, NUM_SHIFTS), (True, 1)):
            other = _worsen(reference, rng) if worse else reference
            boxes = propose(part, other)
            label_of = match_candidates(boxes, truth)
            if not worse:
                missed += len(set(range(len(truth))) - set(label_of.tolist()))
            real, others = np.flatnonzero(label_of >= 0), np.flatnonzero(label_of < 0)
            places = np.concatenate([np.tile(real, copies), rng.permutation(others)[:MAX_OTHERS]])
            moved, label = _move(boxes[places], rng), label_of[places]
            crops.append(cut_crops(part, other, moved))
            is_real = label >= 0
            target = np.where(is_real[:, None], truth[label] if len(truth) else moved, moved).astype(np.float32)
            deltas.append(to_deltas(moved, target))
            classes.append(np.where(is_real, pair.classes[label] if len(truth) else 0, num_classes))
    if missed == num_labels:
        raise InputError(
            "no part differs from its reference where a label says so", expected="differences at the labels",
            fix="check that parts and references are not the same pictures, and that the labels are theirs",
        )  # fmt: skip
    return CandidateSet(np.concatenate(crops), np.concatenate(classes), np.concatenate(deltas), num_labels, missed)


def _worsen(reference: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A reference that lies up to MAX_SLIP_PX off, and in two of three cases is etched a pixel wider or narrower."""
    ndimage = need("scipy.ndimage", extra="tabular")
    etch = (None, ndimage.minimum_filter, ndimage.maximum_filter)[int(rng.integers(3))]
    etched = reference if etch is None else etch(reference, (1, 3, 3))
    return _slip(etched, MAX_SLIP_PX, rng)


def stack_by_chance(pair: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A gray part on its reference (2, H, W) -> as a detector sees them (3, H, W), the reference made worse by
    chance."""
    part, reference = pair[:1], pair[1:]
    return stack(part, _worsen(reference, rng) if rng.random() < WORSE_SHARE else reference)


def _slip(pictures: NDArray[np.uint8], most_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures (..., H, W) moved by up to `most_px` each way; the edge is repeated."""
    x, y = rng.integers(-most_px, most_px + 1, 2).tolist()
    height, width = pictures.shape[-2:]
    rows, columns = np.clip(np.arange(height) + y, 0, height - 1), np.clip(np.arange(width) + x, 0, width - 1)
    return np.ascontiguousarray(pictures[..., rows[:, None], columns[None]])


def match_candidates(boxes: Float32, truth: Float32) -> NDArray[np.int64]:
    """(N,) the label of each candidate, -1 where it is none."""
    if not len(boxes) or not len(truth):
        return np.full(len(boxes), -1, np.int64)
    shared = overlaps(boxes, truth)
    best = shared.argmax(1)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    past_start, before_end = middle[:, None] > truth[None, :, :2], middle[:, None] < truth[None, :, 2:]
    inside: NDArray[np.bool_] = np.logical_and.reduce(np.concatenate([past_start, before_end], -1), -1)
    fits = shared.max(1) > LEAST_OVERLAP
    return np.where(fits, best, np.where(inside.any(1), inside.argmax(1), -1)).astype(np.int64)


def _move(boxes: Float32, rng: np.random.Generator) -> Float32:
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    noise = rng.uniform(-MAX_MOVE, MAX_MOVE, boxes.shape) * sides
    moved: Float32 = (boxes + noise).astype(np.float32)
    return moved


def train_pair_net(
    examples: CandidateSet, num_classes: int, config: PairFitConfig,
    report: Callable[[str, float], object] = lambda _message, _share: None,
) -> PairNet:  # fmt: skip
    """The net in eval mode. Mirrored and turned crops are drawn anew each time."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    net = PairNet(num_classes, examples.crops.shape[1] // 2)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trial, first = copy.deepcopy(net), _draw(examples, np.random.default_rng(config.seed))
    bf16 = config.max_steps > MEASURED_STEPS and is_bf16_faster(
        lambda fast: _loss(trial, *first, num_classes, bf16=fast).backward()  # type: ignore[no-untyped-call]
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.02, fused=True)
    start = time.process_time()
    for step in range(config.max_steps):
        share = max(step / config.max_steps, (time.process_time() - start) / config.budget_s)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        loss = _loss(net, *_draw(examples, rng), num_classes, bf16=bf16)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(f"step {step + 1:,}, loss {float(loss.detach()):.3f}", share)
    net.eval()
    return net


def _draw(examples: CandidateSet, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch by chance, turned: crops (B, 2 C, 64, 64), classes (B,), deltas (B, 4)."""
    rows = rng.integers(0, len(examples.crops), min(BATCH, len(examples.crops)))
    crops, deltas = _turn(examples.crops[rows], examples.deltas[rows], rng)
    half = crops.shape[1] // 2
    for few in np.array_split(np.arange(len(crops)), NUM_SLIPS):
        crops[few, half:] = _slip(crops[few, half:], MAX_CROP_SLIP_PX, rng)
    pixels = torch.from_numpy(crops).contiguous(memory_format=torch.channels_last)
    return pixels, torch.from_numpy(examples.classes[rows]), torch.from_numpy(deltas)


def _loss(net: PairNet, crops: Tensor, classes: Tensor, deltas: Tensor, num_classes: int, *, bf16: bool) -> Tensor:
    """Of the classes, and of the boxes where there is a defect."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits, moved = net.raw(crops)
    loss = functional.cross_entropy(logits, classes, label_smoothing=0.02)
    real = classes < num_classes
    if real.any():
        error = functional.smooth_l1_loss(moved[real], deltas[real], beta=BOX_SCALE)
        loss = loss + BOX_WEIGHT * error
    return loss


def _turn(crops: NDArray[np.uint8], deltas: Float32, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Float32]:
    """A batch mirrored and turned as a whole; deltas are left, top, right, bottom."""
    if rng.random() < 0.5:
        crops, deltas = crops[:, :, :, ::-1], deltas[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
    if rng.random() < 0.5:
        crops, deltas = crops[:, :, ::-1], deltas[:, [0, 3, 2, 1]] * np.array([1, -1, 1, -1], np.float32)
    if rng.random() < 0.5:
        crops, deltas = crops.transpose(0, 1, 3, 2), deltas[:, [1, 0, 3, 2]]
    return np.ascontiguousarray(crops), np.ascontiguousarray(deltas, dtype=np.float32)
