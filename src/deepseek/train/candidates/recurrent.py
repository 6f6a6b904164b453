"""Nets over a course in time as candidates: an LSTM with attention, and a TCN, of nn/recurrent.

    RecurrentModel(LSTM_ATTENTION, places, extra)       # places (T, S): which prepared features are the course

They are no built-ins: which features are a course in time only a recipe knows. Neighboring moments tell nearly the
same, so the number of steps is set and not that of epochs; the rate rises and falls once (Smith and Topin 2018,
"Super-convergence", section 3). Few machines leave a net much to chance: NUM_NETS of them, which start elsewhere and
draw other rows, answer by their mean (Hansen and Salamon 1990, "Neural network ensembles", section III).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.extras import need
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params

LSTM_ATTENTION: Final = "lstm_attention"
TCN: Final = "tcn"
NUM_STEPS, BATCH, NUM_NETS = 600, 128, 4
BATCH_S = 4e-4  # CPU seconds of a training step, for each step of the course
NET_SEEDS = 64  # between two seeds of a search
MAX_NORM = 1.0  # of the gradient
WARM_SHARE = 0.15  # of the training steps, in which the rate rises


@dataclass(frozen=True)
class RecurrentModel:
    """Meets Candidate. Regression alone."""

    name: Literal["lstm_attention", "tcn"]
    places: NDArray[np.int32]  # (T, S) prepared features, oldest step first
    extra: NDArray[np.int32]  # (E,) further features that the head reads
    needs: tuple[str, ...] = ("torch",)

    def supports(self, data: FitData) -> bool:
        return data.task == "regression" and not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        defaults = self.defaults(data)
        num_steps = float(defaults["steps"]) * float(defaults["nets"])
        return BATCH_S * num_steps * len(self.places) * (1.0 if self.name == LSTM_ATTENTION else 1.5)

    def defaults(self, data: FitData) -> Params:
        return {"width": 32, "dropout": 0.1, "lr": 5e-3, "weight_decay": 1e-3, "steps": NUM_STEPS, "batch": BATCH,
                "nets": NUM_NETS}  # fmt: skip

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            **self.defaults(data),
            "width": trial.suggest_int("width", 16, 48, step=16),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            "lr": trial.suggest_float("lr", 2e-3, 1e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        from deepseek.nn.recurrent.weights import Course

        extras = data.features[:, self.extra].astype(np.float64)
        spread = extras.std(axis=0)
        course = Course(
            self.places, self.extra, extras.mean(axis=0).astype(np.float32),
            np.where(spread > 0, spread, 1.0).astype(np.float32),
        )  # fmt: skip
        mean, scale = float(data.target.mean()), float(data.target.std()) or 1.0
        target, weight = (data.target - mean) / scale, data.weight
        arrays = (course.steps(data.features), course.extras(data.features), target, weight)
        tensors = [np.asarray(array, np.float32) for array in arrays]
        baseline = data.features.mean(axis=0, dtype=np.float64).astype(np.float32)
        trained: list[PartWeights] = []
        for number in range(params["nets"]):
            net = self._build(params, NET_SEEDS * seed + number)
            _train(net, tensors, params, seed=NET_SEEDS * seed + number)
            trained.append(net.to_weights(course, baseline, scale=scale, mean=mean))
        num_weights = params["nets"] * sum(parameter.numel() for parameter in net.parameters())
        return FittedCandidate(
            lambda features: np.mean([each.margin(features) for each in trained], axis=0),
            lambda: trained,
            params,
            size_bytes=8 * num_weights,
        )  # fmt: skip; arrays and graph

    def _build(self, params: Params, seed: int) -> Any:
        torch = need("torch", extra="train")
        torch.set_num_threads(1)  # the products are small; more threads cost time and make sums differ
        torch.manual_seed(seed)
        from deepseek.nn.recurrent.modules import LstmAttentionNet, TcnNet

        kind = LstmAttentionNet if self.name == LSTM_ATTENTION else TcnNet
        return kind(
            num_signals=self.places.shape[1], num_extras=len(self.extra), width=params["width"],
            dropout=params["dropout"],
        )  # fmt: skip


def _train(net: Any, arrays: list[Float32], params: Params, *, seed: int) -> None:
    """Train the net on course, extras, target and weight of N rows; rows are drawn by `seed`, each pass anew. Leaves it
    ready to answer."""
    torch = need("torch", extra="train")
    steps, extras, target, weight = (torch.as_tensor(array) for array in arrays)
    rng = np.random.default_rng(seed)
    batch = min(params["batch"], len(target))
    optimizer = torch.optim.AdamW(net.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params["lr"], total_steps=params["steps"], pct_start=WARM_SHARE
    )
    order = np.empty(0, np.int64)
    for _ in range(params["steps"]):
        if len(order) < batch:
            order = rng.permutation(len(target))
        rows, order = torch.as_tensor(order[:batch]), order[batch:]
        loss = (weight[rows] * (net(steps[rows], extras[rows]) - target[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), MAX_NORM)
        optimizer.step()
        rate.step()
    net.eval()
