"""A connection to a Ray cluster: one that is there, or one that is started on this machine and ends with us.

    prepare_environment()           # before Ray is imported, where a cluster is started
    with connect_to_ray(None): ...  # an address: HOST:PORT of a cluster that is there, or auto

Whoever works on a cluster comes in here: what serves (run.py), what searches and what scores. Ray's own ports cannot be
kept to the loopback address; so a cluster of our own is started with a token, without which they answer nobody.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deepseek.contracts import JsonObject
from deepseek.cores import num_cores
from deepseek.errors import CheckError, InputError
from deepseek.extras import is_installed, need

KNOCK_S = 10.0  # in which a head node takes a connection
OWN_CLUSTER = "ray"  # as an option: one on this machine, that ends with the run
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
OBJECT_STORE_BYTES = 100 << 20  # of Ray's object store, which requests do not pass through
_ADDRESS = re.compile(r"auto|[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}")


class ClusterError(CheckError):
    """The cluster is not there, or did not do what it was given."""

    code = "cluster"


def check_address(address: str) -> None:
    """InputError for an address that Ray would take for something else."""
    if not _ADDRESS.fullmatch(address):
        raise InputError(
            f"{address[:100]!r} is no address of a Ray cluster",
            expected="auto, or HOST:PORT of its head node",
            fix="run this on a node of the cluster, with the address auto",
        )


def check_cluster(cluster: str) -> None:
    """InputError for what is neither OWN_CLUSTER nor an address; ExtraError where Ray is not installed."""
    if cluster != OWN_CLUSTER:
        try:
            check_address(cluster)
        except InputError as error:
            raise InputError(
                f"cluster is {cluster[:100]!r}, which is no address of a Ray cluster",
                expected="ray (one on this machine), auto, or HOST:PORT of a head node",
                fix="give it one of these",
            ) from error
    if not is_installed("ray"):  # imported later: it reads its environment when it is
        need("ray", extra="ray")


def prepare_environment() -> None:
    """Set Ray's environment, before it is imported: a cluster of our own answers those who know its token, and its
    workers come in their turn like this process. By default they have a niceness of 15, and starve beside others."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_worker_niceness", "0")


@contextmanager
def connect_to_ray(address: str | None, object_store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[None]:
    """A connection to the cluster at the address, or to a new one on this machine, whose object store gets so many
    bytes. ClusterError where there is none."""
    import ray

    options: JsonObject = {"logging_level": logging.WARNING, "log_to_driver": False}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if address is None:
        options |= {"num_cpus": num_cores(), "include_dashboard": False, "object_store_memory": object_store_bytes}
    try:
        try:
            if address not in (None, "auto"):
                _knock(address)
            ray.init("local" if address is None else address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise no_cluster_error(address, error) from error
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """ConnectionError where nobody listens at HOST:PORT: Ray itself would wait for minutes before it says so."""
    from ray.util import get_node_ip_address

    host, _, port = address.rpartition(":")
    hosts = [host.strip("[]")]
    hosts += [get_node_ip_address()] if hosts[0] in _LOOPBACK else []  # what Ray takes such a name for
    for place, each in enumerate(hosts):
        try:
            socket.create_connection((each, int(port)), KNOCK_S).close()
        except (OSError, OverflowError) as error:
            if place == len(hosts) - 1:
                raise ConnectionError(f"nobody listens there ({error})") from error
        else:
            return


def no_cluster_error(address: str | None, error: Exception) -> ClusterError:
    """The error when Ray was not started, or not found."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if address is None:
        return ClusterError(
            f"Ray did not start: {reason}",
            expected="memory, and room in /tmp and /dev/shm",
            fix="see the logs in /tmp/ray/session_latest/logs",
        )
    return ClusterError(
        f"there is no Ray cluster at {address}: {reason}",
        expected="one that runs, of the same versions of Ray and Python, whose token stands in RAY_AUTH_TOKEN",
        fix="ray start --head, on a machine of the cluster; or use one on this machine, which needs no address",
    )
