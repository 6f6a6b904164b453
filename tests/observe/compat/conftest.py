"""Small real bundles and a real server."""

from support.servers.fixtures import loan, loans

__all__ = ["loan", "loans"]
