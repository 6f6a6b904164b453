"""AdaptiveOptimizer once more, slow and to be read: one tensor after the other, plain numbers for what is global.

    reference = AdaptiveReference([weight, bias], AdaptiveConfig())
    reference.step([grad_of_weight, grad_of_bias])          # changes weight and bias in place

The steps are numbered as in adaptive.py. Not for training: tests hold the two equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepseek.optimizers import config as k
from deepseek.optimizers.config import (
    AdaptiveConfig,
    cooldown_share,
    decay_share,
    max_log_rate_change,
    max_relative_step,
    noise_share,
    slow_share,
    slow_weight,
    square_share,
    threshold_at,
)


@dataclass
class TensorState:
    """One parameter and its state, as tensors of its shape (a matrix of its first axis by the rest)."""

    param: Tensor
    mean: Tensor  # m
    square: Tensor  # v, in the eigenbases
    direction: Tensor  # u of the last step
    factors: dict[int, Tensor] = field(default_factory=dict)  # axis -> L or R
    bases: dict[int, Tensor] = field(default_factory=dict)  # axis -> Q_L or Q_R
    bound: float = math.inf
    limit: float = 0.0  # the rate that trust allows
    slow: Tensor | None = None  # the slow mean of u
    free_steps: float = 0.0  # steps that the bound did not cut, less those that it did


class AdaptiveReference:
    """Parameters of one group, all with a gradient in every step."""

    def __init__(self, params: list[Tensor], config: AdaptiveConfig, total_steps: int | None = None) -> None:
        self.config, self.total_steps = config, total_steps
        self.num_steps = self.num_skipped_steps = self.num_calls = 0
        self.log_scale = self.alignment = self.square = self.usual_norm = self.peak_norm = 0.0
        self.tensors = []
        for param in params:
            zeros = torch.zeros_like(param).reshape(param.shape[0], -1) if is_matrix(param) else torch.zeros_like(param)
            self.tensors.append(TensorState(param, zeros, zeros.clone(), zeros.clone()))

    @property
    def rate(self) -> float:
        """What was found."""
        return self.config.initial_lr * math.exp(self.log_scale)

    @property
    def effective_rate(self) -> float:
        """The largest rate that a tensor would take."""
        return self.end_share * min(self.rate, max(one.limit for one in self.tensors) or math.inf)

    @property
    def end_share(self) -> float:
        """What the end of the training leaves of the next step's rate."""
        return cooldown_share(self.num_calls, self.total_steps)

    def step(self, grads: list[Tensor]) -> None:
        shaped = [grad.reshape(one.mean.shape) for grad, one in zip(grads, self.tensors, strict=True)]
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in shaped))
        end_share = self.end_share
        self.num_calls += 1
        if not math.isfinite(norm):
            self.num_skipped_steps += 1
            return
        if norm == 0:
            return
        self.num_steps += 1
        clip = self._find_clip(norm)
        self._find_rate(shaped, norm, end_share)
        for one, grad in zip(self.tensors, shaped, strict=True):
            one.direction = self._direction(one, grad * clip)
            if one.free_steps > 0 and self.total_steps is None:
                self._add_slow(one)
        for one in self.tensors:
            self._move(one, end_share)

    def _find_rate(self, grads: list[Tensor], norm: float, end_share: float) -> None:
        """1. How far was the last step? 2. The rate. After 3, whose norm it takes."""
        if self.num_steps == 1:
            return
        dot = sum(float((grad * one.direction).sum()) for grad, one in zip(grads, self.tensors, strict=True))
        length = math.sqrt(sum(float(one.direction.square().sum()) for one in self.tensors))
        cosine, beta = dot / (norm * length), k.BETA_ALIGNMENT
        self.alignment = beta * self.alignment + (1 - beta) * cosine
        self.square = beta * self.square + (1 - beta) * cosine**2
        correction = 1 - beta ** (self.num_steps - 1)
        ratio = 1 + (self.alignment / correction) / math.sqrt(self.square / correction)
        free_steps = max(one.free_steps for one in self.tensors)
        threshold = threshold_at(
            self.num_steps,
            self.config.dynamic_threshold,
            self.total_steps,
            free_steps,
            noise_share(self.usual_norm, self.peak_norm),
        )
        change = min(max(ratio - threshold, -1.0), 1.0)
        if end_share < k.FREE_SHARE and change >= k.HELD_CUT:
            change = 0.0  # else a falling rate would be answered by a larger factor
        if change > 0 and self.rate >= k.RATE_ROOM * max(one.limit for one in self.tensors):
            change = 0.0  # no tensor would take a longer step
        self.log_scale += max_log_rate_change(self.num_steps, self.config.lr_decay_rate) * change
        self.log_scale = min(self.log_scale, math.log(max(k.MAX_RATE / self.config.initial_lr, 1.0)))

    def _find_clip(self, norm: float) -> float:
        """3. The clipping norm."""
        clip = min(1.0, k.CLIP_RATIO * self.usual_norm / norm) if self.num_steps > k.CLIP_FROM_STEP else 1.0
        if self.num_steps == 1:
            self.usual_norm = norm
        else:
            self.usual_norm = k.BETA_NORM * self.usual_norm + (1 - k.BETA_NORM) * norm * clip
        self.peak_norm = max(self.peak_norm, self.usual_norm)
        return clip

    def _direction(self, one: TensorState, grad: Tensor) -> Tensor:
        """4. Adam with a look ahead, in the eigenbases."""
        t, (beta1, beta2) = self.num_steps, self.config.betas
        if is_matrix(one.param):
            self._turn_bases(one, grad)
        one.mean = beta1 * one.mean + (1 - beta1) * grad
        share = square_share(t, beta2)
        one.square = (1 - share) * one.square + share * _to_eigenbasis(one, grad) ** 2
        ahead = beta1 * one.mean / (1 - beta1 ** (t + 1)) + (1 - beta1) * grad / (1 - beta1**t)
        square = one.square / (1 - beta2**t)
        least = k.MIN_SCALE * math.sqrt(float(square.mean())) if is_matrix(one.param) else 0.0
        return _from_eigenbasis(one, _to_eigenbasis(one, ahead) / (square.sqrt() + least + k.EPS))

    def _add_slow(self, one: TensorState) -> None:
        """The slow mean of the directions joins them (directions.py)."""
        before = torch.zeros_like(one.direction) if one.slow is None else one.slow
        one.slow = before + slow_share(self.num_steps) * (one.direction - before)
        one.direction = one.direction + slow_weight(one.free_steps) * one.slow

    def _turn_bases(self, one: TensorState, grad: Tensor) -> None:
        t = self.num_steps
        beta = min(k.BETA_FACTORS, 1 - 1 / (t + 1))
        for axis in eigenbasis_axes(one.param):
            product = grad @ grad.T if axis == 0 else grad.T @ grad
            if t == 1:
                one.factors[axis] = product
                exact = grad.double() @ grad.double().T if axis == 0 else grad.double().T @ grad.double()
                ramp = torch.linspace(2.0, 1.0, len(exact), dtype=torch.float64)
                ramp = ramp * (1e-6 * exact.trace() / len(exact) + 1e-30)
                one.bases[axis] = torch.linalg.eigh(exact + ramp.diag())[1].flip(1).to(product.dtype)
                continue
            one.factors[axis] = beta * one.factors[axis] + (1 - beta) * product
            if t < k.EAGER_STEPS or t % k.REFRESH_PERIOD_STEPS == 0:
                shift = k.SPECTRUM_SHIFT * one.factors[axis].trace() / len(product)
                turned = one.factors[axis] @ one.bases[axis] + shift * one.bases[axis]
                order = (one.bases[axis] * turned).sum(0).argsort(descending=True)
                one.square = one.square.index_select(axis, order)
                one.bases[axis] = torch.linalg.qr(turned[:, order])[0]

    def _move(self, one: TensorState, end_share: float) -> None:
        """5. The bounds."""
        weight = float(one.param.square().mean().sqrt())
        length = float(one.direction.square().mean().sqrt())
        trust = max_relative_step(self.num_steps, self.config.trust_steps, self.total_steps)
        one.limit = trust * max(weight, k.MIN_RMS) / max(length, k.MIN_LENGTH)
        rate = end_share * min(self.rate, one.limit)
        if self.num_steps >= k.SLOW_FROM_STEP and self.total_steps is None:
            change = -1 if one.limit < self.rate else 1
            one.free_steps = min(max(one.free_steps + change, 0), k.SLOW_RAMP_STEPS)
        keep = 1 - rate * self.config.weight_decay * decay_share(self.num_steps)
        if self.num_steps >= k.BOUND_FROM_STEP:
            is_settled = self.alignment <= 0 or one.limit < self.rate
            if one.param.ndim > 1 and is_settled and one.bound == math.inf:
                one.bound = k.BOUND_RATIO * weight
            one.bound *= 1 + k.BOUND_GROWTH
            if one.bound < weight:
                keep *= 1 - k.BOUND_PULL * (1 - one.bound / weight)
        one.param.mul_(keep).sub_(one.direction.reshape(one.param.shape) * rate)


def is_matrix(param: Tensor) -> bool:
    """Whether a parameter gets an eigenbasis."""
    return param.ndim >= 2 and bool(eigenbasis_axes(param))


def eigenbasis_axes(param: Tensor) -> list[int]:
    """Which axes of a parameter, as a matrix, get an eigenbasis."""
    rows = param.shape[0]
    sides = (rows, param.numel() // rows)
    return [axis for axis in (0, 1) if 1 < sides[axis] <= min(k.MAX_SIDE_LENGTH, k.MAX_ASPECT * sides[1 - axis])]


def _to_eigenbasis(one: TensorState, matrix: Tensor) -> Tensor:
    if 0 in one.bases:
        matrix = one.bases[0].T @ matrix
    return matrix @ one.bases[1] if 1 in one.bases else matrix


def _from_eigenbasis(one: TensorState, matrix: Tensor) -> Tensor:
    if 0 in one.bases:
        matrix = one.bases[0] @ matrix
    return matrix @ one.bases[1].T if 1 in one.bases else matrix
