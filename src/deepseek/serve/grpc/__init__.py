"""The Open Inference Protocol over gRPC, in the event loop of the HTTP server: infer, streams, metadata and health.

server = await start_grpc(app, "127.0.0.1", 8001)
server.port
await server.stop(grace_s=30)
"""

from __future__ import annotations

from deepseek.extras import need

need("grpc", extra="grpc")
need("google.protobuf", extra="grpc")

from deepseek.serve.core.tls import TlsCertificate  # noqa: E402
from deepseek.serve.grpc.server import GrpcServer, start_grpc  # noqa: E402  (after the check)

__all__ = ["GrpcServer", "TlsCertificate", "start_grpc"]
