"""How long a multimodal net is trained within a budget: the epochs that it buys, by the time that a few steps take, and
where it does not buy one, as many of the rows as it does.

    plan = plan_training(samples, fit_rows, num_held=400, num_test=500, options=options, budget=budget)
    fit_multimodal(..., rows=plan.rows, config=plan.config)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.options import ShipOptions
from deepseek.automl.search import Budget
from deepseek.contracts import Arrays
from deepseek.data.samples.preparer import SamplePreparer

if TYPE_CHECKING:
    from deepseek.nn.pretrained import PretrainedEncoders
    from deepseek.train.multimodal.fusion import MultimodalConfig

MAX_EPOCHS = 60
MAX_BATCH_ROWS = 32
PILOT_BATCHES = 2  # of each trial epoch
BUDGET_SHARE = 0.82  # of the budget that is planned with: a few steps tell the cost of the others to 15 %
EXPORT_S = 8.0  # CPU seconds of the export, its parity check, the figures and the files, of a small net
ENOUGH_EPOCHS = 4  # that a warning speaks of
ANSWER_COST = 0.35  # of a row that is answered, in rows that are learned from


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSamples:
    """Decoded rows, and what is learned of them."""

    preparer: SamplePreparer
    arrays: Arrays
    target: NDArray[Any]  # (N,) class numbers, or standardized values
    num_outputs: int
    towers: PretrainedEncoders | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPlan:
    """What to train on, and for how long."""

    config: MultimodalConfig
    rows: NDArray[np.int64]  # to learn from
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowCost:
    """CPU seconds of a row in the first epoch, which runs frozen encoders, and in each later one."""

    first_s: float
    later_s: float

    def epochs(self, left_s: float, num_rows: float) -> float:
        """How many epochs of `num_rows` rows take `left_s`; below 1, the share of one."""
        first = self.first_s * num_rows
        return left_s / first if left_s < first else 1 + (left_s - first) / (self.later_s * num_rows)


def plan_training(
    samples: TrainingSamples, fit_rows: NDArray[np.int64], *, num_held: int, num_test: int, options: ShipOptions,
    budget: Budget,
) -> TrainingPlan:  # fmt: skip
    """As many epochs over `fit_rows` as the rest of the budget buys; exactly `trials` where they are given. `num_held`
    rows are judged after each epoch, `num_test` at the end."""
    from deepseek.train.multimodal.fusion import MultimodalConfig

    config = MultimodalConfig(batch_size=min(MAX_BATCH_ROWS, max(2, len(fit_rows) // 8)))
    if options.trials:
        return TrainingPlan(replace(config, epochs=options.trials), fit_rows)
    cost = _measure_row_cost(samples, fit_rows, config, is_frozen=bool(options.encoders))
    reserve_s = EXPORT_S + ANSWER_COST * (num_held + num_test) * cost.first_s
    left_s = max(0.0, BUDGET_SHARE * options.budget_s - budget.used_s() - reserve_s)
    epochs = cost.epochs(left_s, len(fit_rows) + ANSWER_COST * num_held)
    random = np.random.default_rng(options.seed)
    if epochs >= 1:
        num_epochs = min(MAX_EPOCHS, int(epochs))
        rows = _add_rows(fit_rows, epochs / num_epochs - 1, random) if num_epochs < MAX_EPOCHS else fit_rows
        return TrainingPlan(replace(config, epochs=num_epochs), rows)
    num_rows = min(len(fit_rows), max(2 * config.batch_size, int(epochs * len(fit_rows))))
    if num_rows == len(fit_rows):
        return TrainingPlan(replace(config, epochs=1), fit_rows)
    rows = np.sort(random.choice(fit_rows, num_rows, replace=False))
    enough_s = options.budget_s - left_s + ENOUGH_EPOCHS * cost.first_s * len(fit_rows)
    warning = (
        f"the budget was enough to learn from {num_rows:,} of {len(fit_rows):,} rows, each once; "
        f"{ENOUGH_EPOCHS} passes over all would take about {enough_s:,.0f} s"
    )
    return TrainingPlan(replace(config, epochs=1), rows, (warning,))


def _add_rows(rows: NDArray[np.int64], share: float, random: np.random.Generator) -> NDArray[np.int64]:
    """The rows, a `share` (0..1) of them twice: what a budget buys beyond whole passes.

    >>> _add_rows(np.arange(10), 0.25, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 9]
    """
    twice = random.choice(rows, int(share * len(rows)), replace=False)
    return np.sort(np.concatenate([rows, twice]))


def _measure_row_cost(
    samples: TrainingSamples, fit_rows: NDArray[np.int64], config: MultimodalConfig, *, is_frozen: bool
) -> RowCost:
    """By three epochs of a few rows. What the first step alone takes counts only where encoders are frozen, whose
    outputs the later epochs read again: then it is mostly theirs."""
    from deepseek.train.multimodal.fusion import fit_multimodal

    few = fit_rows[: PILOT_BATCHES * config.batch_size]
    ends_s = [time.process_time()]

    def note_end(_epoch: int, _loss: float) -> None:
        ends_s.append(time.process_time())

    fit_multimodal(
        samples.preparer, samples.arrays, samples.target, num_outputs=samples.num_outputs, rows=few, held=few[:2],
        config=replace(config, epochs=3), towers=samples.towers, validated=note_end,
    )  # fmt: skip
    first_s, _, later_s = np.diff(ends_s) / len(few)
    return RowCost(max(first_s, later_s) if is_frozen else later_s, max(later_s, 1e-6))
