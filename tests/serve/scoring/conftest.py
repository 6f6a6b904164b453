"""A bundle that scores payments, and servers for it."""

from support.servers.cards import cards
from support.servers.fixtures import start

__all__ = ["cards", "start"]
