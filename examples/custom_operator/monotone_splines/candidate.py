"""The candidate: trains the curves and their coefficients together, through the operator, by deepseek.train.fit()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.train.candidates import FitData, FittedCandidate, Params
from deepseek.train.candidates.perceptron import robust_scale
from monotone_splines.part import MonotoneSplines

if TYPE_CHECKING:
    from monotone_splines.module import SplineModule

STEPS = 600  # of the optimizer, whatever the number of rows
BATCH_SIZE = 64


class MonotoneSplineModel:
    """A score card of curves. Free features may rise or fall, whichever fits; constrained ones as the user says."""

    name = "monotone_splines"
    needs: tuple[str, ...] = ("torch",)

    def supports(self, data: FitData) -> bool:
        """Not many classes under a constraint: a margin that rises does not make its chance rise."""
        return not (data.is_constrained and data.task == "multiclass") and len(_read(data)) > 0

    def cost_s(self, data: FitData) -> float:
        return 1.0 + 2e-5 * STEPS * len(_read(data)) + 1e-6 * data.features.size

    def defaults(self, data: FitData) -> Params:
        return {"lr": 2e-2, "weight_decay": 0.1}

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            "lr": trial.suggest_float("lr", 5e-3, 8e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-2, 1.0, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        torch = need("torch", extra="train")
        torch.set_num_threads(1)  # the batches are small, and sums do not differ between runs
        torch.manual_seed(seed)
        from deepseek.train import ArrayStream, TrainConfig, fit
        from monotone_splines.module import SplineModule, loss_of

        mean, spread = _target_scale(data)
        target = (data.target - mean) / spread if data.task == "regression" else data.target
        read = _read(data)
        centre, scale = robust_scale(data.features[:, read].astype(np.float64))
        signs = np.array(data.monotone)[read]
        module = SplineModule(read, centre, scale, signs=signs, num_margins=data.num_margins)
        arrays = (
            torch.as_tensor(data.features),
            torch.as_tensor(target, dtype=torch.int64 if data.task == "multiclass" else torch.float32),
            torch.as_tensor(data.weight, dtype=torch.float32),
        )
        stream = ArrayStream(arrays, BATCH_SIZE, torch.Generator().manual_seed(seed))
        config = TrainConfig(
            epochs=max(1, round(STEPS / len(stream))), lr=params["lr"], weight_decay=params["weight_decay"], seed=seed
        )
        fit(module, stream, config, loss=loss_of(data.task), progress=False)
        part = to_part(module, data.features, spread=spread, mean=mean)
        return FittedCandidate(part.margin, lambda: [part], params, size_bytes=4 * part.slopes.size)


CANDIDATE = MonotoneSplineModel()


def to_part(module: SplineModule, features: Float32, *, spread: float = 1.0, mean: float = 0.0) -> MonotoneSplines:
    """The arrays of a trained module, in the units of the target; `features` (training rows) set the baseline."""

    def array(tensor: Any) -> Float32:
        return np.ascontiguousarray(tensor.detach().numpy(), np.float32)

    part = MonotoneSplines(
        read=module.read.numpy().astype(np.int32), centre=array(module.centre), scale=array(module.scale),
        knots=module.knots, slopes=array(module.slopes()), coef=array(module.coef()) * np.float32(spread),
        bias=(array(module.bias) * spread + mean).astype(np.float32), mean=np.zeros(len(module.read), np.float32),
    )  # fmt: skip
    part.mean[:] = part.curves(features).mean(axis=0, dtype=np.float64)
    return part


def _read(data: FitData) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Features with an order: not the codes of more than two levels."""
    ordered = [kind != "code" or levels == 2 for kind, levels in zip(data.kinds, data.num_levels, strict=True)]
    return np.flatnonzero(ordered)


def _target_scale(data: FitData) -> tuple[float, float]:
    if data.task != "regression":
        return 0.0, 1.0
    target: Float64 = data.target
    return float(target.mean()), float(target.std()) or 1.0
