"""The gRPC server: in the event loop that it is started in, beside the HTTP server.

server = await start_grpc(app, "127.0.0.1", 0)
server.port
server.renew(tls)                    # a new certificate, for new connections
await server.stop(grace_s=30)        # no new calls; those in work get so long
"""

from __future__ import annotations

import grpc

from deepseek.errors import InputError
from deepseek.serve.app import App
from deepseek.serve.core.tls import TlsCertificate
from deepseek.serve.grpc.service import InferenceService

MAX_STREAMS = 1_024  # calls at a time on one connection
MAX_METADATA_BYTES = 64 * 1024
#: Responses are limited by the length of a message alone: they hold what was requested.
MAX_RESPONSE_BYTES = 2**31 - 1


class GrpcServer:
    """A running gRPC server that listens at `port`."""

    def __init__(self, server: grpc.aio.Server, port: int, secret: _CertificateSource | None = None) -> None:
        self._server = server
        self.port = port
        self._certificates = secret

    def renew(self, tls: TlsCertificate) -> None:
        """Use another certificate for new connections, if this server uses one."""
        if self._certificates is not None:
            self._certificates.tls = tls

    async def stop(self, grace_s: float) -> None:
        """Accept no new calls, and return when the running ones have ended, after `grace_s` at the latest."""
        await self._server.stop(grace_s)


class _CertificateSource:
    """The current certificate: gRPC calls configuration() before each handshake, in a thread of its own."""

    def __init__(self, tls: TlsCertificate) -> None:
        self.tls = tls

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.tls.key, self.tls.certificate)])


async def start_grpc(app: App, host: str, port: int, *, tls: TlsCertificate | None = None) -> GrpcServer:
    """Listen at `host` and `port` (0 picks a free one), encrypted when there is a certificate.

    InputError for an address that cannot be had.
    """
    options = (
        ("grpc.so_reuseport", 0),  # else a second server would share the port without a word
        ("grpc.max_receive_message_length", app.settings.max_body_bytes),
        ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    )
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(InferenceService(app).handlers())
    shown = f"[{host}]" if ":" in host else host
    secret = _CertificateSource(tls) if tls is not None else None
    try:
        if secret is None:
            bound_port = server.add_insecure_port(f"{shown}:{port}")
        else:
            credentials = grpc.dynamic_ssl_server_credentials(secret.configuration(), secret.configuration)
            bound_port = server.add_secure_port(f"{shown}:{port}", credentials)
    except RuntimeError as error:
        raise _bind_error(host, port) from error
    if not bound_port:
        raise _bind_error(host, port)
    await server.start()
    return GrpcServer(server, bound_port, secret)


def _bind_error(host: str, port: int) -> InputError:
    return InputError(
        f"gRPC cannot listen at {host} port {port}",
        expected="an address of this machine, and a port that is free",
        fix="take another port; 0 picks a free one",
    )
