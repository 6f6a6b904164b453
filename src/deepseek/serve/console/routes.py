"""What stands beside the protocols: the console at /, /docs, /openapi.json, /metrics and /v1/stats.

Metrics and statistics are kept elsewhere (observe); here they are two callables.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.errors import MissingError
from deepseek.serve.core.request import HTML, Answer
from deepseek.serve.models.registry import Models
from deepseek.serve.openapi.document import openapi

#: Prometheus text exposition format, version 0.0.4.
EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"
_SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pages:
    """`metrics` gives the exposition for Prometheus, `stats` an object with the figures of the last minutes."""

    metrics: Callable[[], bytes] | None = None
    stats: Callable[[], Mapping[str, Any]] | None = None

    def routes(self, models: Models, writers: Collection[str] = ()) -> dict[str, Callable[[], Answer]]:
        """What answers a GET, by path. `writers`: names of the models that write."""
        return {
            "/": console,
            "/docs": lambda: docs(models, writers),
            "/openapi.json": lambda: Answer.json(openapi(models, writers)),
            "/metrics": self._metrics,
            "/v1/stats": self._stats,
        }

    def _metrics(self) -> Answer:
        if self.metrics is None:
            raise _not_kept("metrics")
        return Answer(self.metrics(), media_type=EXPOSITION)

    def _stats(self) -> Answer:
        if self.stats is None:
            raise _not_kept("statistics")
        return Answer.json(self.stats())


def _not_kept(what: str) -> MissingError:
    return MissingError(
        f"this server keeps no {what}",
        expected="a server that was made with them",
        fix="start it with `deepseek serve`, or give create_app its `pages`",
    )


def console() -> Answer:
    """The page at /."""
    from deepseek.serve.console.page import page

    return html(page())


def docs(models: Models, writers: Collection[str] = ()) -> Answer:
    """The OpenAPI document as a page to read."""
    from deepseek.serve.console.page import docs_page

    return html(docs_page(openapi(models, writers)))


def html(text: str) -> Answer:
    """A page that may run its own scripts, named by their hash, and reach this server; nothing else."""
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in _SCRIPT.findall(text))
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors 'none'; script-src {scripts}"
    )
    return Answer(text.encode(), media_type=HTML, headers=((b"content-security-policy", policy.encode()),))
