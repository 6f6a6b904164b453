"""The eigenbases of a matrix's gradients, in which Adam's moments are closer to independent (SOAP, arXiv 2409.11321).

    L <- b L + (1 - b) G G^T,   R <- b R + (1 - b) G^T G            (algorithm 3 there, lines 5 and 6)
    Q_L, Q_R: eigenvectors of L and R, refreshed by one power iteration and QR (algorithm 4)

A tensor of more than two axes counts as a matrix of its first axis by the rest (a convolution's kernels). States,
gradients and matrices are those of one matrix (m, n) or of a stack of them (k, m, n), which cost as many calls.
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


def make_factors(state: ParameterState) -> None:
    """Give a new state of a matrix (m, n) its factors and bases, which the first gradient fills."""
    moment = state["exp_avg"]
    for axis, side in eigenbasis_sides(*moment.shape):
        for name in (side, f"{side}_basis"):
            if name not in state:
                state[name] = moment.new_zeros(moment.shape[axis], moment.shape[axis])


def update_factors(state: ParameterState, grad: Tensor, step: int) -> None:
    """Add gradients to the factors, and refresh the bases when it is time. `step` counts from 1."""
    share = 1 - min(BETA_FACTORS, 1 - 1 / (step + 1))
    for axis, side in eigenbasis_sides(*grad.shape[-2:]):
        turned = grad if axis == 0 else grad.mT
        if step == 1:
            state[side].copy_(turned @ turned.mT)
            state[f"{side}_basis"].copy_(_eigenvectors(turned))
        elif grad.ndim == 2:
            state[side].addmm_(turned, turned.mT, beta=1 - share, alpha=share)
        else:
            state[side].baddbmm_(turned, turned.mT, beta=1 - share, alpha=share)
    if 1 < step < EAGER_STEPS or step % REFRESH_PERIOD_STEPS == 0:
        _refresh_bases(state)


def _refresh_bases(state: ParameterState) -> None:
    """Turn the bases towards the eigenvectors, and with them the moments, which lie in them."""
    mean, square = from_eigenbasis(state, state["exp_avg"]), state["exp_avg_sq"]
    for axis, side in eigenbasis_sides(*mean.shape[-2:]):
        # The shift leaves eigenvectors as they are, and directions without a gradient to themselves: else QR would fill
        # them with rounding errors.
        basis, factor = state[f"{side}_basis"], state[side]
        trace = factor.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True).unsqueeze(-1)
        turned = (factor @ basis).addcmul_(basis, trace * (SPECTRUM_SHIFT / basis.shape[-1]))
        order = (basis * turned).sum(-2, keepdim=True).argsort(-1, descending=True)  # (..., 1, side)
        square.copy_(square.gather(axis - 2, (order.mT if axis == 0 else order).expand_as(square)))
        turned = turned.gather(-1, order.expand_as(turned))
        basis.copy_(torch.linalg.householder_product(*torch.geqrf(turned)))  # Q of its QR alone
    state["exp_avg"].copy_(to_eigenbasis(state, mean))


def to_eigenbasis(state: ParameterState, matrix: Tensor) -> Tensor:
    """Matrices of the parameters' shape in their eigenbases; the axes without one stay."""
    if "left" in state:
        matrix = state["left_basis"].mT @ matrix
    return matrix @ state["right_basis"] if "right" in state else matrix


def from_eigenbasis(state: ParameterState, matrix: Tensor, out: Tensor | None = None) -> Tensor:
    """Matrices of the eigenbases in the parameters' own axes, in `out` where it is there: undoes to_eigenbasis()."""
    if "right" in state:
        if "left" in state:
            matrix = state["left_basis"] @ matrix
        return torch.matmul(matrix, state["right_basis"].mT, out=out)
    if "left" in state:
        return torch.matmul(state["left_basis"], matrix, out=out)
    return matrix if out is None else out.copy_(matrix)


def _eigenvectors(grad: Tensor) -> Tensor:
    """Of G G^T (..., n, n) for gradients G (..., n, m), largest first.

    In float64 from the product on, and with a ramp on the diagonal: one gradient leaves many eigenvalues of 0, on whose
    equality LAPACK fails, and a product in float32 would let rounding choose among their eigenvectors.
    """
    exact = grad.double() @ grad.double().mT
    length = exact.shape[-1]
    ramp = torch.linspace(2.0, 1.0, length, dtype=exact.dtype, device=exact.device)
    trace = exact.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    exact = exact + torch.diag_embed(ramp * (1e-6 * trace / length + 1e-30))
    vectors: Tensor = torch.linalg.eigh(exact)[1].flip(-1)
    return vectors.to(grad.dtype)
