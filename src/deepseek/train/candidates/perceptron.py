"""The perceptron candidate: a few members trained side by side by train.fit, categories through embeddings.

Numbers are scaled by their quartiles and clipped smoothly, and a class is learned as 98 % certain (both from RealMLP:
Holzmüller et al. 2024, "Better by Default"). Rates and sizes were chosen on the tables of benchmarks/development.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.dense import signed_log
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params

NUM_MEMBERS = 4
MIN_SKEW = 0.8
MAX_SCALED_VALUE = 3.0  # scaled numbers end here, three distances between the quartiles from the median
SMOOTHING = 0.02  # share of a class's target that goes to all classes by their frequency
FEW_ROWS = 2000  # below it a narrower network is as good and half the size


class PerceptronModel:
    """No early stopping: the number of epochs is a setting, and the rate falls to zero by the last of them."""

    name = "mlp"
    needs: tuple[str, ...] = ("torch",)

    def supports(self, data: FitData) -> bool:
        return not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        return 0.5 + 5e-4 * min(len(data.target), 2_000) + 1e-4 * len(data.target)

    def defaults(self, data: FitData) -> Params:
        return {
            "width": 64 if len(data.target) < FEW_ROWS else 96,
            "depth": 2,
            "dropout": 0.15,
            "lr": self._rate(data),
            "weight_decay": 0.2,
            "epochs": self._epochs(data),
        }

    def suggest(self, trial: Any, data: FitData) -> Params:
        rate = self._rate(data)
        return {
            "width": trial.suggest_int("width", 32, 128, step=32),
            "depth": trial.suggest_int("depth", 1, 2),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            "lr": trial.suggest_float("lr", 0.3 * rate, 3 * rate, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.06, 0.6, log=True),
            "epochs": max(2, round(self._epochs(data) * trial.suggest_float("epoch_share", 0.4, 1.6, log=True))),
        }

    def _rate(self, data: FitData) -> float:
        return 3e-2 if data.task == "regression" else 1e-2

    def _epochs(self, data: FitData) -> int:
        """About 700 steps, whatever the number of rows, within 4 to 40 passes."""
        return int(np.clip(700 * self._batch_size(data) / len(data.target), 4, 40))

    def _batch_size(self, data: FitData) -> int:
        return int(np.clip(2 ** round(np.log2(max(1, len(data.target) / 12))), 16, 512))

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        torch = need("torch", extra="train")
        torch.set_num_threads(1)  # the products are small; more threads cost time and make sums differ
        torch.manual_seed(seed)
        from deepseek.train import ArrayStream, TrainConfig, fit
        from deepseek.train.loop.optimizer import EagerAdamW

        mean, scale = _target_scale(data)
        model = _build_mlp(data, params)
        target = (data.target - mean) / scale if data.task == "regression" else soft_targets(data)
        inputs, targets, weight = (
            torch.as_tensor(x, dtype=torch.float32) for x in (data.features, target, data.weight)
        )
        order = torch.Generator().manual_seed(seed)
        stream = ArrayStream((inputs, targets, weight), self._batch_size(data), order)
        config = TrainConfig(params["epochs"], params["lr"], params["weight_decay"], schedule="cosine", seed=seed)
        fit(
            model, stream, config, loss=_weighted_loss(data.task), progress=False,
            optimizer=lambda weights: EagerAdamW(weights, config.lr, config.weight_decay),
        )  # fmt: skip
        members = model.members(data.features, target_scale=scale, target_mean=mean)

        def margin(features: Float32) -> Float64:
            return np.asarray(np.mean([member.margin(features) for member in members], axis=0))

        def weights() -> list[PartWeights]:
            return list(members)

        num_weights = sum(parameter.numel() for parameter in model.parameters())
        return FittedCandidate(margin, weights, params, size_bytes=4 * num_weights)  # twice in float16


def _target_scale(data: FitData) -> tuple[float, float]:
    if data.task != "regression":
        return 0.0, 1.0
    return float(data.target.mean()), float(data.target.std()) or 1.0


def soft_targets(data: FitData) -> Float64:
    """Chances (N,) of class 1 or (N, C) of all classes, (1 - SMOOTHING) of them the row's own class and the rest the
    classes' shares by weight, which stay as they are (label smoothing with a prior: Szegedy et al. 2016, section 7)."""
    shares = np.bincount(data.target, data.weight, data.num_classes) / data.weight.sum()
    chances: Float64 = (1 - SMOOTHING) * np.eye(data.num_classes)[data.target] + SMOOTHING * shares
    return chances[:, 1] if data.task == "binary" else chances


def robust_scale(columns: Float64) -> tuple[Float32, Float32]:
    """Medians (Q,) of columns (N, Q), and what to divide by: the distance between the quartiles; half the range where
    they coincide, as in columns that are mostly zero; for a constant so much that its other values, of which nothing
    is known, read as no difference."""
    low, first, median, third, high = np.quantile(columns, [0, 0.25, 0.5, 0.75, 1], axis=0)
    most = np.finfo(np.float32).max
    scale = np.where(third > first, third - first, (high - low) / 2)
    scale = np.where(high > low, scale, most).clip(np.finfo(np.float32).tiny, most)
    return median.astype(np.float32), scale.astype(np.float32)


def _build_mlp(data: FitData, params: Params) -> Any:
    from deepseek.nn.mlp import MLP

    codes = [
        i
        for i, (kind, levels) in enumerate(zip(data.kinds, data.num_levels, strict=True))
        if kind == "code" and levels > 2
    ]
    embedded = set(codes)
    numeric = [i for i, kind in enumerate(data.kinds) if i not in embedded and kind != "onehot"]
    skewed = [i for i in numeric if is_skewed(data.features[:, i])]
    logged = np.array([False] * len(numeric) + [True] * len(skewed), np.bool_)
    numeric = numeric + skewed
    columns = signed_log(data.features[:, numeric], logged).astype(np.float64)
    centre, scale = robust_scale(columns)
    return MLP(
        numeric=numeric,
        logged=logged.tolist(),
        centre=centre,
        scale=scale,
        clip=MAX_SCALED_VALUE,
        codes=codes,
        num_levels=[data.num_levels[i] for i in codes],
        widths=[params["width"]] * params["depth"],
        num_margins=data.num_margins,
        num_members=NUM_MEMBERS,
        dropout=params["dropout"],
    )


def is_skewed(values: Float32) -> bool:
    """More than MIN_SKEW, and more than two values: its logarithm spreads what lies close together."""
    centred = values.astype(np.float64) - values.mean(dtype=np.float64)
    spread = centred.std()
    if spread == 0 or np.unique(values[:1000]).size < 3:
        return False
    return bool(abs(np.mean(centred**3)) / spread**3 > MIN_SKEW)


def _weighted_loss(task: str) -> Any:
    """Weighted mean loss of a batch; each member (E, B, K) is trained on its own loss."""
    import torch
    from torch.nn import functional

    def binary(margin: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wanted = target.expand(margin.shape[:2])
        each = functional.binary_cross_entropy_with_logits(margin[..., 0], wanted, reduction="none")
        return (each * weight).mean() * len(margin)

    def multiclass(margin: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(margin.flatten(0, 1), target.repeat(len(margin), 1), reduction="none")
        return (each.view(margin.shape[:2]) * weight).mean() * len(margin)

    def regression(margin: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (((margin[..., 0] - target) ** 2) * weight).mean() * len(margin)

    return {"binary": binary, "multiclass": multiclass, "regression": regression}[task]
