"""Bundle to answers over HTTP: app, protocols, scheduler and limits. Knows no Prometheus and no explainer of its own.

    app = create_app({"cancer": runtime}, sinks=[...], explainer_for=..., settings=Settings())
    run(app, bind("127.0.0.1", 8000))     # deepseek.serve.run

app.py adds every HTTP route, core/config.py has the settings and limits, batching/scheduler.py makes batches.
What it emits and whom it asks for explanations is wired by cli/serve.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes, need

for module in ("msgspec", "orjson"):
    need(module, extra="serve")

from deepseek.serve.app import App, create_app  # noqa: E402  (after the check, so that its message is the one seen)
from deepseek.serve.console.routes import Pages  # noqa: E402
from deepseek.serve.core.config import Settings  # noqa: E402

if TYPE_CHECKING:
    from deepseek.client import AsyncClient, Client

__all__ = ["App", "AsyncClient", "Client", "Pages", "Settings", "create_app"]

__getattr__ = lazy_attributes(__name__, {"AsyncClient": "client", "Client": "client"})  # a server needs no client
