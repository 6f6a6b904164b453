"""Explanations of one served model: made in a thread of their own, because they are slow and must not stand before
predictions; bounded like them.

    body = await explanations.make(call.deadline_s, batch.features, targets, render)

How to explain comes from outside (create_app): this room knows no explainer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Attribution, Explainer, Float32, Record
from deepseek.errors import ExtraError
from deepseek.serve.limits import Gate, late

Result = TypeVar("Result")
Explained = Sequence[tuple[Attribution, int]]  # for each row the attribution that holds it, and its row there


class ReasonCodes(Protocol):
    """Sentences on the largest contributions to a row, largest first, none on those that contribute nothing."""

    def __call__(
        self, attribution: Attribution, record: Record, num_reasons: int, *, row: int, outcome: str
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Explaining:
    """How answers are explained."""

    explainer_for: Callable[[Any], Explainer] | None = None  # of a loaded model
    reason_codes: ReasonCodes | None = None


def _no_texts(_: Any) -> Explainer:
    raise ExtraError(
        "text models cannot be explained yet",
        expected="a model of columns",
        fix="ask this one for predictions alone",
    )


#: For models that no explainer here knows.
UNEXPLAINED = Explaining(explainer_for=_no_texts)


class Explanations:
    """Explains the rows of one model, a request at a time."""

    def __init__(
        self, runtime: Any, explaining: Explaining, *, max_queued_rows: int, emit: Callable[[int, float], None]
    ) -> None:
        """`emit` is told the rows and the seconds of every request that was explained."""
        self._runtime = runtime
        self._explaining = explaining
        self._emit = emit
        self._gate = Gate(max_queued_rows)
        self._thread = ThreadPoolExecutor(1, "explain")
        self._explainer: Explainer | None = None

    async def make(
        self,
        deadline_s: float,
        features: Float32,
        targets: Sequence[str | None],
        render: Callable[[Explained], Result],
    ) -> Result:
        """What `render` makes of the explained rows (N, F). `targets` names the class of each row, None the default.

        BusyError, DeadlineError; ExtraError when this server has no explainer.
        """
        self._gate.enter(len(features))
        try:
            result, duration_s = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._work, deadline_s, features, targets, render
            )
            self._gate.learn(len(features), duration_s)
        finally:
            self._gate.leave(len(features))
        self._emit(len(features), duration_s)
        return result

    def sentences(self, attribution: Attribution, row: int, record: Record, num_reasons: int) -> list[str]:
        """Why row `row` got its answer, in words. ExtraError when this server cannot say so."""
        if self._explaining.reason_codes is None:
            raise ExtraError(
                "this server was started without reason codes",
                expected='a request without "reasons"',
                fix="POST to :explain instead",
            )
        target = self._runtime.manifest.target
        return self._explaining.reason_codes(attribution, record, num_reasons, row=row, outcome=target)

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()

    def _work(
        self,
        deadline_s: float,
        features: Float32,
        targets: Sequence[str | None],
        render: Callable[[Explained], Result],
    ) -> tuple[Result, float]:
        started_s = perf_counter()
        if started_s > deadline_s:
            raise late()
        result = render(explain_rows(self._opened(), features, targets))
        return result, perf_counter() - started_s

    def _opened(self) -> Explainer:
        """The explainer, made on first use."""
        if self._explainer is None:
            if self._explaining.explainer_for is None:
                raise ExtraError(
                    "this server was started without an explainer",
                    expected="a server that can explain",
                    fix="start it with `deepseek serve`, or give create_app an `explainer_for`",
                )
            self._explainer = self._explaining.explainer_for(self._runtime)
        return self._explainer


def explain_rows(explainer: Explainer, features: Float32, targets: Sequence[str | None]) -> Explained:
    """Explain each row for its own target; rows of one target go together."""
    found: dict[int, tuple[Attribution, int]] = {}
    for target in dict.fromkeys(targets):
        rows: NDArray[np.intp] = np.flatnonzero([item == target for item in targets])
        attribution = explainer.explain(features[rows], target=target)
        found |= {row: (attribution, at) for at, row in enumerate(rows.tolist())}
    return [found[row] for row in range(len(features))]
