"""The eigenbases of a matrix's gradients, in which Adam's moments are closer to independent (SOAP, arXiv 2409.11321).

    L <- b L + (1 - b) G G^T,   R <- b R + (1 - b) G^T G            (algorithm 3 there, lines 5 and 6)
    Q_L, Q_R: eigenvectors of L and R, refreshed by one power iteration and QR (algorithm 4)

A tensor of more than two axes counts as a matrix of its first axis by the rest (a convolution's kernels).
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepseek.optimizers.config import (
    BETA_FACTORS,
    EAGER_STEPS,
    REFRESH_PERIOD_STEPS,
    SPECTRUM_SHIFT,
    ParameterState,
    eigenbasis_sides,
)


def has_eigenbasis(param: Tensor) -> bool:
    """Whether a parameter gets eigenbases: a matrix of full precision with a side that can be turned."""
    if param.ndim < 2 or param.dtype not in (torch.float32, torch.float64):
        return False
    rows = param.shape[0]
    return bool(eigenbasis_sides(rows, param.numel() // max(rows, 1)))


def update_factors(state: ParameterState, grad: Tensor, step: int) -> None:
    """Add a gradient (m, n) to the factors, and refresh the bases when it is time. `step` counts from 1."""
    share = 1 - min(BETA_FACTORS, 1 - 1 / (step + 1))
    for axis, side in eigenbasis_sides(*grad.shape):
        product = grad @ grad.T if axis == 0 else grad.T @ grad
        if step == 1:
            state[side] = product
            state[f"{side}_basis"] = _eigenvectors(grad if axis == 0 else grad.T)
        else:
            state[side].lerp_(product, share)
    if 1 < step < EAGER_STEPS or step % REFRESH_PERIOD_STEPS == 0:
        _refresh_bases(state)


def _refresh_bases(state: ParameterState) -> None:
    """Turn the bases towards the eigenvectors, and with them the moments, which lie in them."""
    mean = from_eigenbasis(state, state["exp_avg"])
    for axis, side in eigenbasis_sides(*mean.shape):
        # The shift leaves eigenvectors as they are, and directions without a gradient to themselves: else QR would fill
        # them with rounding errors.
        basis = state[f"{side}_basis"]
        turned = state[side] @ basis + basis * (SPECTRUM_SHIFT * state[side].trace() / len(basis))
        order = (basis * turned).sum(0).argsort(descending=True)
        state["exp_avg_sq"].copy_(state["exp_avg_sq"].index_select(axis, order))
        state[f"{side}_basis"] = torch.linalg.qr(turned[:, order])[0].contiguous()
    state["exp_avg"].copy_(to_eigenbasis(state, mean))


def to_eigenbasis(state: ParameterState, matrix: Tensor) -> Tensor:
    """A matrix of the parameter's shape in its eigenbases; the axes without one stay."""
    if "left" in state:
        matrix = state["left_basis"].T @ matrix
    return matrix @ state["right_basis"] if "right" in state else matrix


def from_eigenbasis(state: ParameterState, matrix: Tensor) -> Tensor:
    """A matrix of the eigenbases in the parameter's own axes: the inverse of to_eigenbasis()."""
    if "left" in state:
        matrix = state["left_basis"] @ matrix
    return matrix @ state["right_basis"].T if "right" in state else matrix


def _eigenvectors(grad: Tensor) -> Tensor:
    """Of G G^T (n, n) for a gradient G (n, m), largest first.

    In float64 from the product on, and with a ramp on the diagonal: one gradient leaves many eigenvalues of 0, on whose
    equality LAPACK fails, and a product in float32 would let rounding choose among their eigenvectors.
    """
    exact = grad.double() @ grad.double().T
    ramp = torch.linspace(2.0, 1.0, len(exact), dtype=exact.dtype, device=exact.device)
    exact = exact + torch.diag(ramp * (1e-6 * exact.trace() / len(exact) + 1e-30))
    vectors: Tensor = torch.linalg.eigh(exact)[1].flip(1).contiguous()  # as a checkpoint brings it back
    return vectors.to(grad.dtype)
