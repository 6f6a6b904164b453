"""Small real bundles."""

from support.servers.fixtures import loan, loans

__all__ = ["loan", "loans"]
