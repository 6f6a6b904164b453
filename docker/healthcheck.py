"""The health check of the container: exits 0 while the server is ready, 1 with the reason when it is not.

It asks for /v2/health/ready, so a server whose engines are all dead is unhealthy, and speaks TLS where the server does.
The certificate is not checked: it is made for the name that clients use, not for this machine's loopback.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4.0  # below the timeout of HEALTHCHECK


def problem(port: int) -> str:
    """What keeps the server at this port from taking requests; empty when nothing does."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    found = ""
    for connection in (
        http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S / 2),
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S / 2, context=unchecked),
    ):
        try:
            connection.request("GET", "/v2/health/ready")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            found = found or f"port {port} does not answer: {error}"
        else:
            return "" if status == http.client.OK else f"it is not ready: {status}"
        finally:
            connection.close()
    return found


if __name__ == "__main__":
    sys.exit(problem(int(os.environ.get("PORT") or 8000)) or 0)
