"""Who may open a conversation: the API key that began it, and every key that may do more than chat.

>>> from deepseek.dialogue.conversation import Conversation
>>> web, other, staff = Asker("a1", only_chats=True), Asker("b2", only_chats=True), Asker("c3")
>>> begun = Conversation("c1", owner=web.key_id)
>>> [each.may_open(begun) for each in (web, other, staff)]
[True, False, True]

The id of a conversation is random and opens it, but an id can leak: into a page's address, a log of a proxy, a ticket.
A key that stands in one web page then opens nothing that was said through another. A conversation that began without a
key, on a server that asked for none, is opened by its id alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.dialogue.conversation import Conversation
from deepseek.serve.core.request import Request


@dataclass(frozen=True, slots=True)
class Asker:
    """The API key of a request, as far as conversations go by it."""

    key_id: str = ""  # a digest that tells no key; "" where none is asked for
    only_chats: bool = False  # may=chat

    def may_open(self, conversation: Conversation) -> bool:
        """Whether its messages are read, written and forgotten by this key."""
        return not self.only_chats or conversation.owner in ("", self.key_id)


#: A server without keys, and the server itself.
ANYBODY = Asker()


def read_asker(request: Request) -> Asker:
    """The asker of a request."""
    client = request.client
    return ANYBODY if client is None else Asker(client.key_id, client.only_chats)
