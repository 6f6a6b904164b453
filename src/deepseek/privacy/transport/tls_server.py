"""A server of TLS 1.3 that takes no client without a certificate of the study: uvicorn around an app."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.extras import need
from deepseek.privacy.listening import open_server
from deepseek.privacy.transport.certificates import make_certificate


@dataclass(frozen=True, slots=True)
class OpenServer:
    """A server that answers."""

    url: str
    _http: Any

    @property
    def is_stopping(self) -> bool:
        """Whether somebody has asked it to stop."""
        return bool(self._http.should_exit)


@asynccontextmanager
async def open_tls_server(
    app: Any, key: Path, trusted: Mapping[str, bytes], host: str, port: int
) -> AsyncIterator[OpenServer]:
    """Serve an app by a private key to clients with the trusted certificates (PEM, by party). InputError where the
    address is taken."""
    uvicorn = need("uvicorn", extra="privacy")
    with tempfile.TemporaryDirectory(prefix="deepseek-federate-") as scratch:
        own, anchors = Path(scratch) / "own.pem", Path(scratch) / "parties.pem"
        own.write_bytes(make_certificate(key, "coordinator"))
        anchors.write_bytes(b"".join(trusted.values()))
        config = uvicorn.Config(
            app, host=host, port=port, ssl_certfile=own, ssl_keyfile=key, ssl_ca_certs=str(anchors),
            ssl_cert_reqs=ssl.CERT_REQUIRED, log_level="critical", access_log=False, lifespan="off",
            server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        config.load()
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    http = uvicorn.Server(config)
    async with open_server(http):
        yield OpenServer(f"https://{host}:{http.servers[0].sockets[0].getsockname()[1]}", http)
