"""A replica of Ray Serve: one front end with its engine processes, in an actor.

    application = build_application(open_app, args)      # for serve.run, or returned by the builder of a configuration

`open_app(args)` is called in the replica's own process and makes the App. Ray Serve decides where replicas live and how
many there are, asks each whether it is well, and replaces one that is not, or that died.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepseek.contracts import JsonObject
from deepseek.errors import DrainingError
from deepseek.serve.app import App
from deepseek.serve.cluster.asgi import AsgiApp
from deepseek.serve.cluster.plan import DEPLOYMENT

OpenApp = Callable[[JsonObject], App]


class Replica:
    """Opens the models when it is made: Ray Serve shows errors of that in the deployment's status."""

    def __init__(self, open_app: OpenApp, args: JsonObject) -> None:
        self._app = open_app(args)

    async def __serve_build_asgi_app__(self) -> AsgiApp:
        """The ASGI application of this replica; Ray Serve calls this once the replica is made."""
        await self._app.start()
        return AsgiApp(self._app)

    def check_health(self) -> None:
        """Raise while this replica cannot answer. Three times in a row, and Ray Serve replaces it."""
        if self._app.processes is not None and not self._app.pool.num_workers:
            raise DrainingError("no engine process of this replica lives", expected="at least one", fix="wait")


def build_application(open_app: OpenApp, args: JsonObject, options: JsonObject) -> Any:
    """The application for serve.run. `options` are those of the deployment."""
    from ray import serve

    deployment = serve.deployment(name=DEPLOYMENT, **options)(serve.ingress()(Replica))
    return deployment.bind(open_app, dict(args))
