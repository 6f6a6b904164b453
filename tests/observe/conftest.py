"""Small real bundles and a real server: see support/servers/fixtures.py."""

from support.servers.fixtures import client, loan, loans, prices, runtimes, server, start

__all__ = ["client", "loan", "loans", "prices", "runtimes", "server", "start"]
