"""Folds of the search as tasks of Ray: each is fitted by a worker, and its loss is judged here.

    folds = RayFolds(data, folds, seed, workers)
    search = Search(data, ..., fitter=folds)

Rows lie once on each machine, in Ray's object store; back comes what was fitted, without rows. A fold is fitted by one
thread. What the workers' CPUs took counts against the budget; what a worker took that was killed, nobody can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

from deepseek.automl.cluster.fitter import Fold, FoldRows, fit_fold, import_needs
from deepseek.automl.cluster.workers import MAX_RETRIES, Workers, get_results
from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params


class RayFolds:
    """The FoldFitter of a search whose folds are fitted on a cluster."""

    def __init__(
        self, data: FitData, folds: Sequence[Fold], seed: int, workers: Workers, *, orders_levels: bool = False
    ) -> None:
        import ray

        self._orders_levels = orders_levels
        self._rows, self._folds, self._seed, self._workers = ray.put(data), ray.put(tuple(folds)), seed, workers
        self._task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_fit_on_worker)
        self._running: dict[tuple[str, str, int], Any] = {}  # references of what was begun and not fetched, by _key()

    @property
    def spent_s(self) -> float:
        """CPU seconds of the workers, for all that was fetched."""
        return self._workers.spent_s

    @property
    def num_idle(self) -> int:
        """Workers for which there is no fold."""
        return max(0, self._workers.num_workers - len(self._running))

    def begin(self, family: Candidate, params: Params, folds: Sequence[int]) -> None:
        """Give out folds, and do not wait for them."""
        for fold in folds:
            key = _key(family, params, fold)
            if key not in self._running:
                task = self._task.options(name=f"{family.name}, fold {fold}")
                self._running[key] = task.remote(
                    self._rows, self._folds, family, dict(params), fold, self._seed, self._orders_levels
                )

    def fit(self, family: Candidate, params: Params, folds: Sequence[int]) -> list[FittedCandidate]:
        """What was fitted on each of these folds."""
        self.begin(family, params, folds)
        references = [self._running.pop(_key(family, params, fold)) for fold in folds]
        fits: list[_WorkerFit] = get_results(references, f"a fit of {family.name}")
        self._workers.spent_s += sum(fit.cpu_s for fit in fits)
        return [fit.fitted for fit in fits]

    def close(self) -> None:
        """End what was begun and is not needed any more."""
        import ray

        for reference in self._running.values():
            ray.cancel(reference, force=True)
        self._running.clear()


@dataclass(frozen=True)
class _WorkerFit:
    fitted: FittedCandidate
    cpu_s: float


class _OneThread(FitData):
    """Rows for a worker that has one CPU."""

    def num_threads(self, *, worth_cells: int = 300_000) -> int:
        return 1


def _key(family: Candidate, params: Params, fold: int) -> tuple[str, str, int]:
    return family.name, repr(sorted(params.items())), fold


def _fit_on_worker(
    data: FitData,
    folds: Sequence[Fold],
    family: Candidate,
    params: Params,
    fold: int,
    seed: int,
    orders_levels: bool = False,
) -> _WorkerFit:
    """In a worker: fit one fold, and say what CPU that took."""
    import_needs(family)
    start_s = time.process_time()
    rows = _OneThread(**{each.name: getattr(data, each.name) for each in fields(FitData)})
    fitted = fit_fold(FoldRows(rows, folds, orders_levels), family, params, fold, seed)
    return _WorkerFit(_without_weights(fitted), time.process_time() - start_s)


def _without_weights(fitted: FittedCandidate) -> FittedCandidate:
    """To be judged alone: taking weights out may need the rows, which stay where they are."""
    return replace(fitted, weights=_no_weights, cut=None if fitted.cut is None else _cut_without_weights(fitted.cut))


def _cut_without_weights(cut: Callable[[int], FittedCandidate]) -> Callable[[int], FittedCandidate]:
    return lambda rounds: _without_weights(cut(rounds))


def _no_weights() -> NoReturn:
    raise RuntimeError("a fold fitted on a worker is judged, and not shipped")
