"""Runs a plan on Ray Serve until a signal, from a cluster of its own or on one that is there.

    run(plan, application, address=None)     # the first line on stdout: {"event": "ready", ...}

Without an address Ray is started on this machine and ends with us (connection.py). A cluster that is there is left as
it was.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from deepseek.cores import num_cores
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.serve.cluster.connection import ClusterError, connect_to_ray, prepare_environment
from deepseek.serve.cluster.plan import APPLICATION, ClusterPlan
from deepseek.serve.core.ready_line import ReadyLine
from deepseek.serve.run import bind, listener_url, print_ready_line


def run(plan: ClusterPlan, application: Callable[[], Any], address: str | None) -> None:
    """Serve until a signal. `application` makes the Ray Serve application; it is called once Ray runs."""
    if address is None:
        prepare_own_cluster(plan)
    need("ray.serve", extra="ray")
    signals = StopSignals()
    signals.take()
    try:
        with connect_to_ray(address):
            signals.take()  # Ray has replaced the handlers
            serve_until_signal(signals, plan, application, own=address is None)
    except KeyboardInterrupt:
        if signals.num > 1:
            raise
    except SystemExit:
        return  # by Ray's own handler, for a signal that came while Ray started


def serve_until_signal(signals: StopSignals, plan: ClusterPlan, application: Callable[[], Any], *, own: bool) -> None:
    """Start the application, and stop it after a signal. `own`: Ray itself ends afterwards."""
    from ray import serve

    if serve.status().proxies:
        raise InputError(
            "Ray Serve runs on this cluster already, at an address and with limits that somebody else chose",
            expected="a cluster without it",
            fix="end it with `serve shutdown`, or write the configuration with --config-out and deploy that",
        )
    try:
        start_ray_serve(plan, application)
        print_ready_line(ready_line(plan))
        signals.wait()
    finally:
        if signals.serving or not own:  # actors that are being started are slow to end in order
            stop_ray_serve()


def stop_ray_serve() -> None:
    """Stop Ray Serve: first the application, so that each replica answers what it has accepted."""
    from ray import serve
    from ray.exceptions import RayError

    try:
        if APPLICATION in serve.status().applications:
            serve.delete(APPLICATION)
        serve.shutdown()
    except (RayError, TimeoutError) as error:
        raise ClusterError(
            f"Ray Serve did not stop as it should: {_last_line(str(error))}",
            expected="a cluster that answers",
            fix="see that nothing runs any more: `serve status`, `serve shutdown`",
        ) from error


class StopSignals:
    """Handles SIGTERM and SIGINT. One before anything is served, and a second one, end the process at once."""

    def __init__(self) -> None:
        self.num = 0
        self.serving = False
        self._has_come = threading.Event()

    def take(self) -> None:
        """Install the handlers."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def wait(self) -> None:
        """Return after the first signal."""
        self.serving = True
        self._has_come.wait()

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self.num += 1
        self._has_come.set()
        if self.num > 1 or not self.serving:
            raise KeyboardInterrupt


def prepare_own_cluster(plan: ClusterPlan) -> None:
    """Set Ray's environment, before it is imported. InputError where the address is not free, or where the least number
    of replicas needs more cores than this machine has: Ray would wait for them without an end and without a word."""
    num_engines, num_replicas, most = max(1, plan.settings.workers), plan.replicas.least, num_cores()
    if num_replicas * num_engines > most:
        raise InputError(
            f"--replicas {num_replicas} with --workers {num_engines} need {num_replicas * num_engines} cores, and this "
            f"machine has {most}",
            expected=f"at most {most} workers in all", fix="ask for fewer, or give the --address of a larger cluster",
        )  # fmt: skip
    os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "0"  # it would listen at every interface
    prepare_environment()
    bind(plan.settings.host, plan.settings.port).close()


def start_ray_serve(plan: ClusterPlan, application: Callable[[], Any]) -> None:
    """Start Ray Serve and the application. Returns when the least number of replicas answers."""
    from ray import serve
    from ray.exceptions import RayError

    try:
        serve.start(proxy_location=plan.proxies, http_options=plan.http())
    except (RayError, RuntimeError) as error:
        raise ClusterError(
            f"Ray Serve did not start: {_last_line(str(error))}",
            expected="nodes with room for a proxy that are not busy: Ray ends one that does not start in time",
            fix="see the logs of Ray, and try again when the machines are less busy",
        ) from error
    try:
        serve.run(application(), name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        application_status = serve.status().applications.get(APPLICATION)
        deployments = application_status.deployments.values() if application_status is not None else ()
        reasons = [deployment.message for deployment in deployments if deployment.message] or [str(error)]
        raise ClusterError(
            f"the replicas did not start: {_last_line(reasons[0])}",
            expected="the models at the same place on every node, and room for the replicas there",
            fix="see the logs of Ray, and that every node has the files and this package",
        ) from error


def ready_line(plan: ClusterPlan) -> ReadyLine:
    """The same ready line that a server on one machine prints."""
    settings = plan.settings
    with bind(settings.host, 0) as probe:
        url = listener_url(probe, settings.host).rpartition(":")[0] + f":{settings.port}"
    return ReadyLine(url=url, models=[model.name for model in plan.models], pid=os.getpid())


def _last_line(text: str) -> str:
    """The last line of a traceback, which names the error."""
    return (text.strip().splitlines() or ["no reason was told"])[-1]
