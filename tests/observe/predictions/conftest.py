"""Two small real bundles and a real server, for every test here: see support/servers/fixtures.py."""

from support.servers.fixtures import client, loan, loans, prices, runtimes, server, start

__all__ = ["client", "loan", "loans", "prices", "runtimes", "server", "start"]
