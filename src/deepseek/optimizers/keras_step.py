"""One step of AdaptiveOptimizer in Keras' own operations, for backends that compile it: TensorFlow and JAX.

    new_params, new_state = take_step(settings, params, grads, state, rates)

Nothing is assigned here: state goes in and comes out, so that a compiled branch may hold it. The steps are numbered as
in adaptive.py; tests hold the two equal. Shapes: n tensors; a matrix is a tensor of its first axis by the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepseek.extras import need
from deepseek.optimizers import config as k
from deepseek.optimizers.config import AdaptiveConfig, decay_share, eigenbasis_sides
from deepseek.optimizers.keras_backend import import_keras

Tensor = Any  # of Keras' backend
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class TensorState:
    """What is kept of one parameter. A matrix's moments lie in its eigenbases."""

    mean: Tensor
    square: Tensor
    direction: Tensor  # taken last
    step: Tensor  # () of its own, from 0
    factors: tuple[Tensor, ...] = ()  # of each side that is turned, in the order of eigenbasis_sides()
    bases: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class StepState:
    """The state of all n parameters."""

    tensors: tuple[TensorState, ...]
    control: Tensor  # (4,) log of the rate's factor, mean and mean square of the cosine, mean norm of the gradient
    bounds: Tensor  # (n,)
    norms: Tensor  # (n,) of the directions taken last
    step: Tensor  # ()
    num_skipped: Tensor  # ()
    limits: Tensor  # (n,) rates that the trust in each allows, 0 before its first step


@dataclass(frozen=True, slots=True)
class StepRates:
    """What Keras and `report` set for a step."""

    lr: Tensor  # ()
    peak_lr: float  # of a schedule
    weight_decays: Tensor  # (n,)
    extra_decay: Tensor  # () what `report` adds to the decays, in shares of them


def sides_of(shape: Sequence[int]) -> list[tuple[int, str]]:
    """The axes of a parameter, as a matrix, that get an eigenbasis.

    >>> sides_of((6, 4)), sides_of((4,)), sides_of((1000, 8))
    ([(0, 'left'), (1, 'right')], [], [(1, 'right')])
    """
    return eigenbasis_sides(shape[0], math.prod(shape) // max(shape[0], 1)) if len(shape) >= 2 else []


def matrix_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a parameter's moments."""
    return (shape[0], math.prod(shape) // max(shape[0], 1)) if sides_of(shape) else tuple(shape)


def take_step(
    settings: AdaptiveConfig, params: Sequence[Tensor], grads: Sequence[Tensor], state: StepState, rates: StepRates
) -> tuple[tuple[Tensor, ...], StepState]:
    """The parameters and the state after a step; as they were, with one more skipped, for gradients that are not
    finite, and as they were where all are 0."""
    ops = import_keras().ops
    shaped = [ops.reshape(grad, one.mean.shape) for grad, one in zip(grads, state.tensors, strict=True)]
    dot = sum(_dot(grad, one.direction) for grad, one in zip(shaped, state.tensors, strict=True))
    square = sum(_sum_of_squares(grad) for grad in shaped)
    is_finite = ops.logical_and(ops.isfinite(dot), ops.isfinite(square))

    def move() -> tuple[Tensor, ...]:
        moved, after = _move(settings, params, shaped, state, rates, dot, ops.sqrt(square))
        return (*moved, *flatten_state(after))

    def stay() -> tuple[Tensor, ...]:
        skipped = replace(state, num_skipped=state.num_skipped + 1 - ops.cast(is_finite, "int32"))
        return (*(ops.convert_to_tensor(param) for param in params), *flatten_state(skipped))

    leaves = ops.cond(ops.logical_and(is_finite, square > 0), move, stay)
    return tuple(leaves[: len(params)]), rebuild_state(state, list(leaves[len(params) :]))


def _move(
    settings: AdaptiveConfig, params: Sequence[Tensor], grads: Sequence[Tensor], state: StepState, rates: StepRates,
    dot: Tensor, norm: Tensor,
) -> tuple[list[Tensor], StepState]:  # fmt: skip
    ops = import_keras().ops
    step = state.step + 1
    share = ops.minimum(rates.lr / rates.peak_lr, 1.0)
    clip, control = _control(settings, state, rates, share, dot, norm, ops.cast(step, "float32"))
    tensors = tuple(
        _update_direction(settings, one, grad, clip) for one, grad in zip(state.tensors, grads, strict=True)
    )
    squares = ops.stack([_sum_of_squares(one.direction) for one in tensors])
    sizes = np.array([math.prod(param.shape) for param in params], np.float32)
    weights = ops.sqrt(ops.stack([_sum_of_squares(param) for param in params]) / sizes)
    lengths = ops.sqrt(squares / sizes)
    rate = rates.lr * ops.exp(control[0])
    own_steps = ops.cast(ops.stack([one.step for one in tensors]), "float32")
    trust = 1 / (1 + own_steps / settings.trust_steps)
    limits = k.MAX_STEP_RATIO * trust * ops.maximum(weights, k.MIN_RMS) / ops.maximum(lengths, k.MIN_LENGTH)
    paces = ops.minimum(rate, limits * share)
    keeps = 1 - paces * rates.weight_decays * (decay_share(own_steps) + rates.extra_decay)
    bounds, pulls = _bounds(params, state.bounds, weights, control[1], paces < rate)
    is_bounded = step >= k.BOUND_FROM_STEP
    keeps = ops.where(is_bounded, keeps * pulls, keeps)
    moved = [
        param * keeps[place] - ops.reshape(one.direction, param.shape) * paces[place]
        for place, (param, one) in enumerate(zip(params, tensors, strict=True))
    ]
    after = StepState(
        tensors, control, ops.where(is_bounded, bounds, state.bounds), ops.sqrt(squares), step, state.num_skipped,
        limits,
    )  # fmt: skip
    return moved, after


def _control(
    settings: AdaptiveConfig, state: StepState, rates: StepRates, share: Tensor, dot: Tensor, norm: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """1. How far was the last step? 2. The rate. 3. The clipping norm: by how much gradients are scaled, and the
    control (4,)."""
    ops = import_keras().ops
    before = state.control
    clip = ops.where(
        step > k.CLIP_FROM_STEP, ops.minimum(k.CLIP_RATIO * before[3] / ops.maximum(norm, _TINY), 1.0), 1.0
    )
    usual = ops.where(step <= 1, norm, before[3] + (norm * clip - before[3]) * (1 - k.BETA_NORM))
    length = ops.sqrt(ops.sum(state.norms * state.norms))
    cosine = dot / ops.maximum(norm * length, _TINY)
    means = before[1:3] + (ops.stack([cosine, cosine * cosine]) - before[1:3]) * (1 - k.BETA_ALIGNMENT)
    corrected = means / (1 - k.BETA_ALIGNMENT ** ops.maximum(step - 1, 1.0))
    ratio = 1 + corrected[0] / ops.maximum(ops.sqrt(corrected[1]), _TINY)
    change = ops.clip(ratio - settings.dynamic_threshold, -1.0, 1.0)
    change = ops.where(ops.logical_or(share >= k.FREE_SHARE, change < k.HELD_CUT), change, 0.0)
    is_felt = before[0] < ops.log(k.RATE_ROOM * ops.max(state.limits) / rates.peak_lr)
    change = ops.where(ops.logical_or(change < 0, is_felt), change, 0.0)
    pace = -math.log(settings.lr_decay_rate) * (1 + k.BOOST * ops.power(2.0, -step / k.BOOST_STEPS))
    top = ops.log(ops.maximum(k.MAX_RATE / ops.maximum(settings.initial_lr, rates.lr), 1.0))
    log_rate = ops.minimum(before[0] + pace * change, top)
    moved = ops.stack([log_rate, means[0], means[1]])
    return clip, ops.concatenate([ops.where(step <= 1, before[:3], moved), ops.reshape(usual, (1,))])


def _bounds(
    params: Sequence[Tensor], before: Tensor, weights: Tensor, alignment: Tensor, are_slowed: Tensor
) -> tuple[Tensor, Tensor]:
    """5. The bounds of matrices (n,), and what is kept of those that have outgrown them."""
    ops = import_keras().ops
    are_matrices = np.array([len(param.shape) > 1 for param in params])
    is_new = ops.logical_and(
        ops.logical_and(are_matrices, ops.logical_or(alignment <= 0, are_slowed)), ops.isinf(before)
    )
    bounds = ops.where(is_new, weights * k.BOUND_RATIO, before) * (1 + k.BOUND_GROWTH)
    excess = ops.maximum(1 - bounds / ops.maximum(weights, _TINY), 0.0)
    return bounds, 1 - k.BOUND_PULL * excess


def _update_direction(settings: AdaptiveConfig, one: TensorState, grad: Tensor, clip: Tensor) -> TensorState:
    """4. Adam with a look ahead, in the eigenbases. What is one number is multiplied before it meets a tensor: each
    pass over the tensors is what a step costs."""
    ops = import_keras().ops
    step = one.step + 1
    if one.bases:
        grad, clip = grad * clip, 1.0
        one = _turn_bases(one, grad, step)
        grad = _to_eigenbasis(one, one.bases, grad)
    t, (beta1, beta2) = ops.cast(step, "float32"), settings.betas
    mean = one.mean * beta1 + grad * (clip * (1 - beta1))
    share = ops.minimum(1 - beta2, k.SQUARE_SHARE / t)  # config.square_share, of a tensor
    square = one.square * (1 - share) + (grad * grad) * (clip * clip * share)
    root = ops.sqrt(1 - beta2**t)
    ahead = mean * (root * beta1 / (1 - beta1 ** (t + 1))) + grad * (clip * root * (1 - beta1) / (1 - beta1**t))
    least = ops.sqrt(ops.mean(square)) * k.MIN_SCALE if one.bases else 0.0
    direction = _from_eigenbasis(one, one.bases, ahead / (ops.sqrt(square) + (least + k.EPS * root)))
    return replace(one, mean=mean, square=square, direction=direction, step=step)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """The sum of the products of two tensors' elements. TensorFlow's own dot of vectors takes three times as long."""
    return import_keras().ops.sum(first * second)


def _sum_of_squares(tensor: Tensor) -> Tensor:
    """() of a tensor's elements. TensorFlow writes no product for it: one pass instead of two."""
    if import_keras().backend.backend() != "tensorflow":
        return _dot(tensor, tensor)
    return 2 * need("tensorflow", extra="tensorflow").nn.l2_loss(tensor)


def _turn_bases(one: TensorState, grad: Tensor, step: Tensor) -> TensorState:
    """Add a gradient to the factors, and refresh the bases when it is time."""
    ops = import_keras().ops
    t = ops.cast(step, "float32")
    share = 1 - ops.minimum(k.BETA_FACTORS, 1 - 1 / (t + 1))
    factors = []
    for (axis, _), factor in zip(sides_of(grad.shape), one.factors, strict=True):
        product = grad @ ops.transpose(grad) if axis == 0 else ops.transpose(grad) @ grad
        factors.append(ops.where(step <= 1, product, factor + (product - factor) * share))
    is_due = ops.logical_or(step < k.EAGER_STEPS, ops.equal(step % k.REFRESH_PERIOD_STEPS, 0))

    def first() -> tuple[Tensor, ...]:
        return (one.mean, one.square, *(_eigenvectors(grad, axis) for axis, _ in sides_of(grad.shape)))

    def refresh() -> tuple[Tensor, ...]:
        mean, square, bases = _from_eigenbasis(one, one.bases, one.mean), one.square, []
        for (axis, _), factor, basis in zip(sides_of(grad.shape), factors, one.bases, strict=True):
            turned = factor @ basis + basis * (k.SPECTRUM_SHIFT * ops.trace(factor) / basis.shape[0])
            order = ops.flip(ops.argsort(ops.sum(basis * turned, axis=0)))
            square = ops.take(square, order, axis=axis)
            bases.append(ops.qr(ops.take(turned, order, axis=1))[0])
        return (_to_eigenbasis(one, bases, mean), square, *bases)

    def keep() -> tuple[Tensor, ...]:
        return (one.mean, one.square, *one.bases)

    mean, square, *bases = ops.cond(step <= 1, first, lambda: ops.cond(is_due, refresh, keep))
    return replace(one, mean=mean, square=square, factors=tuple(factors), bases=tuple(bases))


def _to_eigenbasis(one: TensorState, bases: Sequence[Tensor], matrix: Tensor) -> Tensor:
    ops = import_keras().ops
    for (axis, _), basis in zip(sides_of(one.mean.shape) if bases else (), bases, strict=True):
        matrix = ops.transpose(basis) @ matrix if axis == 0 else matrix @ basis
    return matrix


def _from_eigenbasis(one: TensorState, bases: Sequence[Tensor], matrix: Tensor) -> Tensor:
    ops = import_keras().ops
    for (axis, _), basis in zip(sides_of(one.mean.shape) if bases else (), bases, strict=True):
        matrix = basis @ matrix if axis == 0 else matrix @ ops.transpose(basis)
    return matrix


def eigenvectors(grad: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of G G^T (n, n) for a gradient G (n, m), largest first, as kronecker.py has them: in float64."""
    exact = np.asarray(grad, np.float64)  # JAX hands over an array of its own, which has no float64
    exact = exact @ exact.T
    ramp = np.linspace(2.0, 1.0, len(exact)) * (1e-6 * exact.trace() / len(exact) + 1e-30)
    return np.ascontiguousarray(np.linalg.eigh(exact + np.diag(ramp))[1][:, ::-1]).astype(grad.dtype)


def _eigenvectors(grad: Tensor, axis: int) -> Tensor:
    """The same in a compiled step. JAX has no float64 unless all of it is: numpy is called, once in a training."""
    keras = import_keras()
    turned, size = (grad if axis == 0 else keras.ops.transpose(grad)), grad.shape[axis]
    if keras.backend.backend() == "jax":
        jax = need("jax", extra="jax")
        return jax.pure_callback(eigenvectors, jax.ShapeDtypeStruct((size, size), grad.dtype), turned)
    tf = need("tensorflow", extra="tensorflow")
    exact = tf.cast(turned, tf.float64)
    exact = tf.matmul(exact, exact, transpose_b=True)
    ramp = np.linspace(2.0, 1.0, size) * (1e-6 * tf.linalg.trace(exact) / size + 1e-30)
    vectors = tf.linalg.eigh(exact + tf.linalg.diag(ramp))[1]
    return tf.cast(tf.reverse(vectors, [1]), grad.dtype)


def flatten_state(state: StepState) -> tuple[Tensor, ...]:
    """All of a state's tensors, in one order."""
    ops = import_keras().ops
    leaves: list[Tensor] = []
    for one in state.tensors:
        leaves += [one.mean, one.square, one.direction, one.step, *one.factors, *one.bases]
    leaves += [state.control, state.bounds, state.norms, state.step, state.num_skipped, state.limits]
    return tuple(map(ops.convert_to_tensor, leaves))


def rebuild_state(like: StepState, leaves: list[Tensor]) -> StepState:
    """A state of the form of `like` out of what flatten_state() gave."""
    tensors = []
    for one in like.tensors:
        num_sides = len(one.bases)
        mean, square, direction, step, *rest = leaves[: 4 + 2 * num_sides]
        tensors.append(TensorState(mean, square, direction, step, tuple(rest[:num_sides]), tuple(rest[num_sides:])))
        del leaves[: 4 + 2 * num_sides]
    return StepState(tuple(tensors), *leaves)
