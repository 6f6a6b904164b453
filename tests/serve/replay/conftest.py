"""A bundle that scores payments."""

from support.servers.cards import cards

__all__ = ["cards"]
