"""Hands over the metrics of a server under the names of other projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deepseek.contracts import Event
from deepseek.observe.compat import kserve, triton, vllm
from deepseek.observe.compat.names import Project
from deepseek.observe.metrics import Metrics

if TYPE_CHECKING:
    from deepseek.serve.status import ServerStatus


class CompatMetrics(Collector):
    """A collector, and a sink that counts completions. What else it tells, `metrics` has counted."""

    def __init__(self, projects: Sequence[Project], metrics: Metrics, status: Callable[[], ServerStatus]) -> None:
        """`metrics` with steps, where KServe's names are wanted; `status`: of the server, read at each scrape."""
        self._projects = frozenset(projects)
        self._metrics = metrics
        self._status = status
        self._completions: dict[str, vllm.CompletionCounts] = {}
        self._machine = triton.MachineFigures() if "triton" in self._projects else None

    def emit(self, event: Event) -> None:
        if event.kind == "generation":
            counts = self._completions.setdefault(event.model_name, vllm.CompletionCounts())
            counts.add(event.fields["completions"])

    def describe(self) -> Iterator[Metric]:
        """Nothing: the server is not there yet when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        models = self._metrics.model_counts()
        if "kserve" in self._projects:
            yield from kserve.step_families(models)
            yield kserve.explain_family(self._metrics.explain_duration)
        if self._machine is not None:
            yield from triton.model_families(models)
            yield from self._machine.collect()
        if "vllm" in self._projects:
            yield from vllm.completion_families(self._completions)
            yield from vllm.generator_families(self._status().generators)
