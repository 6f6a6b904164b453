"""A bundle of machines, and servers for it."""

from support.machines.engines import engines
from support.servers.fixtures import start

__all__ = ["engines", "start"]
