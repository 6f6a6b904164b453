"""The workers of a Ray cluster, for as long as a run lasts.

    with open_workers("ray") as workers:            # started on this machine; or an address: HOST:PORT, auto
        results = get_results([task.remote(part) for part in parts], "a part")

A task whose worker dies is run again, MAX_RETRIES times; so every task here gives the same for the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any

from deepseek.contracts import JsonObject
from deepseek.extras import need
from deepseek.serve.cluster.connection import (
    OWN_CLUSTER,
    ClusterError,
    check_cluster,
    connect_to_ray,
    prepare_environment,
)

#: Of the object store of a cluster of our own, which holds the rows and what was fitted; Ray spills more to the disk.
OBJECT_STORE_BYTES = 512 << 20
MAX_RETRIES = 3  # of a task whose worker has died


@dataclass(slots=True)
class Workers:
    """What a cluster has, and what it has done for a run."""

    num_workers: int  # CPUs, each of which runs a task
    num_nodes: int
    ray: str  # the version
    spent_s: float = 0.0  # CPU seconds of the workers, for all that came back
    last_fit_rows: int = 0  # that boosted trees were last fitted on, over all workers; 0: they were fitted as elsewhere

    def to_dict(self) -> JsonObject:
        """The entry "cluster" of a bundle's evidence, and of what verbs print."""
        last_fit = {"last_fit_rows": self.last_fit_rows} if self.last_fit_rows else {}
        return {"num_workers": self.num_workers, "num_nodes": self.num_nodes, "ray": self.ray, **last_fit}


@contextmanager
def open_workers(cluster: str) -> Iterator[Workers]:
    """The workers of a cluster that is there, or of a new one on this machine. ClusterError where there is none."""
    check_cluster(cluster)
    if cluster == OWN_CLUSTER:
        prepare_environment()
    ray = need("ray", extra="ray")
    is_there = ray.is_initialized()  # a notebook's own connection, which is left as it is
    address = None if cluster == OWN_CLUSTER else cluster
    with (
        redirect_stdout(sys.stderr),  # where Ray says that a worker has died: stdout is for what a verb was asked for
        nullcontext() if is_there else connect_to_ray(address, OBJECT_STORE_BYTES),
    ):
        num_nodes = sum(node["Alive"] for node in ray.nodes())
        yield Workers(max(1, int(ray.cluster_resources().get("CPU", 1))), num_nodes, ray.__version__)


def get_results(references: Sequence[Any], what: str) -> list[Any]:
    """The results of tasks, in their order. The error of a task as the task has raised it; ClusterError where workers
    die again and again at `what`."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        results: list[Any] = ray.get(list(references))
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise ClusterError(
            f"workers of the cluster died at {what}: {(str(error).strip().splitlines() or ['no reason was told'])[0]}",
            expected=f"a worker that lives through it; it was tried {1 + MAX_RETRIES} times",
            fix="see the logs of Ray, and whether the machines have memory enough for the rows",
        ) from error
    return results
