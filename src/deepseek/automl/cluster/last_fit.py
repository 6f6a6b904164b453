"""The last fit of boosted trees over all workers, by XGBoost's own distributed training under Ray Train.

    fit = DistributedFit(workers, rest)
    fitted = fit(XGBoost(), data, params, seed)      # a FittedCandidate, as family.fit() gives it

Rows are blocks in Ray's object store, which spills to the disks of the machines: those that are in memory here, and
those of the rest of a file that is larger (rest_rows.py). Every worker has its blocks, the same in each run, and passes
over them one at a time: in its memory are one block and a byte for each value. Ray Data's own splits are not used: they
leave rows out to make shares equal, and hand blocks to whoever asks first. A worker that dies ends the round of all;
Ray Train then begins again, with the same blocks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepseek.automl.cluster.rest_rows import RestRows
from deepseek.automl.cluster.workers import MAX_RETRIES, Workers, get_results
from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.serve.cluster.connection import ClusterError
from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import XGBoost, without_rounds, xgboost_settings
from deepseek.train.tabular.convert import from_xgboost

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class DistributedFit:
    """Fits a family for the last time: xgboost over all workers, any other here."""

    workers: Workers
    rest: RestRows | None = None  # rows that are not in memory
    has_test_rows: bool = True  # some rows of the file are tested on, and not fitted on
    packed: list[Any] = field(default_factory=list)  # references to all blocks, once they were made

    def __call__(self, family: Candidate, data: FitData, params: Params, seed: int) -> FittedCandidate:
        """The family fitted on `data`, and xgboost on the rest as well. ClusterError where workers die again and
        again."""
        if not isinstance(family, XGBoost):
            return family.fit(data, params, seed=seed)
        if not self.packed:  # a blend may have two of them, on the same rows
            self.packed.extend(self._pack(data))
        settings = {**xgboost_settings(data, params, seed), "nthread": 1}
        booster = _train(self.packed, settings, int(params["rounds"]), self.workers)
        num_margins = data.num_margins

        def margin(features: Float32) -> Float64:
            matrix = need("xgboost", extra="tabular").DMatrix(features)
            return np.asarray(booster.predict(matrix, output_margin=True), np.float64).reshape(len(features), -1)

        def weights() -> list[Any]:
            return [from_xgboost(booster, num_margins=num_margins)]

        return FittedCandidate(margin, weights, {**without_rounds(params), "rounds": int(params["rounds"])})

    def _pack(self, data: FitData) -> list[Any]:
        """References to the blocks of the rows in memory, then of the rest."""
        import ray

        num_rows, step = len(data.target), block_rows(data, self.workers)
        parts = [data.rows(np.arange(start, min(start + step, num_rows))) for start in range(0, num_rows, step)]
        self.workers.last_fit_rows = num_rows
        blocks = [ray.put(pack_block(part)) for part in parts]
        if self.rest is not None:
            blocks += self.rest.blocks(self.workers, has_test_rows=self.has_test_rows)
        return blocks


def block_rows(data: FitData, workers: Workers) -> int:
    """Rows of a block: a share for each worker where there are few."""
    return int(np.clip(-(-len(data.target) // workers.num_workers), 1, BLOCK_ROWS))


def pack_block(data: FitData) -> Float32:
    """Rows (N, F) with their target and weight as two more columns, in the precision that xgboost keeps of them."""
    return np.column_stack([data.features, data.target, data.weight]).astype(np.float32)


def _train(blocks: Sequence[Any], settings: Params, rounds: int, workers: Workers) -> Any:
    """The booster of all blocks (references), grown by as many workers as have some."""
    import ray

    train, boost = need("ray.train", extra="ray"), need("ray.train.xgboost", extra="ray")
    num_workers = min(workers.num_workers, len(blocks))
    slot = ray.remote(num_cpus=0)(_Slot).remote()
    shares = [list(blocks[rank::num_workers]) for rank in range(num_workers)]
    with tempfile.TemporaryDirectory(prefix="deepseek-ray-train-") as folder:
        trainer = boost.XGBoostTrainer(
            _train_on_worker,
            train_loop_config={"task": _Task(shares, settings, rounds, slot)},
            scaling_config=train.ScalingConfig(num_workers=num_workers, resources_per_worker={"CPU": 1}),
            run_config=train.RunConfig(
                storage_path=folder, failure_config=train.FailureConfig(max_failures=MAX_RETRIES)
            ),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise ClusterError(
                f"the last fit on {num_workers} workers failed: {str(error).strip().splitlines()[-1]}",
                expected=f"workers that live through it; it was tried {1 + MAX_RETRIES} times",
                fix="see the logs of Ray, and whether the machines have memory enough for their share of the rows",
            ) from error
    (grown,) = get_results([slot.get.remote()], "the last fit")
    workers.spent_s += sum(each.cpu_s for each in grown)
    booster = need("xgboost", extra="tabular").Booster()
    booster.load_model(bytearray(grown[0].model))
    return booster


@dataclass(frozen=True)
class _Task:
    """What the workers of a fit are given."""

    shares: Sequence[Sequence[Any]]  # references to the blocks of each
    settings: Params
    rounds: int
    slot: Any  # the _Slot


@dataclass(frozen=True)
class _Grown:
    """What a worker gives back; the model is the same in all."""

    model: bytes
    cpu_s: float


class _Slot:
    """An actor that keeps what the workers give back: machines of a cluster need no folder in common."""

    def __init__(self) -> None:
        self._grown: dict[int, _Grown] = {}

    def set(self, rank: int, grown: _Grown) -> None:
        self._grown[rank] = grown

    def get(self) -> list[_Grown]:
        return [self._grown[rank] for rank in sorted(self._grown)]


def _train_on_worker(config: Mapping[str, _Task]) -> None:
    """In each worker of Ray Train, which has connected them: grow the same trees from all shares."""
    import ray
    import xgboost as xgb

    start_s, task = time.process_time(), config["task"]
    rank = need("ray.train", extra="ray").get_context().get_world_rank()
    share, settings = task.shares[rank], task.settings

    class Blocks(xgb.DataIter):  # type: ignore[misc]
        """One block of this worker after the other, as often as xgboost asks."""

        def __init__(self) -> None:
            self.place = 0
            super().__init__()

        def next(self, input_data: Any) -> bool:
            if self.place == len(share):
                return False
            block = ray.get(share[self.place])
            input_data(data=block[:, :-2], label=block[:, -2], weight=block[:, -1])
            self.place += 1
            return True

        def reset(self) -> None:
            self.place = 0

    matrix = xgb.QuantileDMatrix(Blocks(), max_bin=settings["max_bin"], nthread=settings["nthread"])
    booster = xgb.train(settings, matrix, num_boost_round=task.rounds, verbose_eval=False)
    model = bytes(booster.save_raw("ubj")) if rank == 0 else b""
    ray.get(task.slot.set.remote(rank, _Grown(model, time.process_time() - start_s)))
