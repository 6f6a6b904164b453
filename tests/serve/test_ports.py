"""A port is free again as soon as its server has ended, whoever had it; while somebody holds it nobody else gets it."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack

import pytest

from deepseek.errors import InputError
from deepseek.serve.run import bind, listen

HOST = "127.0.0.1"
KINDS = pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])


def taken(stack: ExitStack, port: int, *, group: bool, listens: bool = True) -> tuple[int, list[socket.socket]]:
    """The port, and the sockets that listen at it: of one server, or of the two front ends of a group."""
    if not group:
        listeners = [stack.enter_context(bind(HOST, port))]
        port = listeners[0].getsockname()[1]
    else:
        port = stack.enter_context(bind(HOST, port, shared=True)).getsockname()[1]
        listeners = [stack.enter_context(bind(HOST, port, shared=True, first=False)) for _ in range(2)]
    for listener in listeners if listens else ():
        listen(listener, HOST)
    return port, listeners


def serve_and_end(port: int, *, group: bool) -> int:
    """The port of a server that has closed connections itself, as one does that stops: the kernel remembers them."""
    with ExitStack() as stack:
        port, listeners = taken(stack, port, group=group)
        clients = [stack.enter_context(socket.create_connection((HOST, port))) for _ in range(4)]
        for _ in clients:
            ready, _, _ = select.select(listeners, [], [], 10)
            ready[0].accept()[0].close()
        for client in clients:
            assert client.recv(1) == b""
    return port


@pytest.mark.parametrize("before", [False, True], ids=["after-alone", "after-group"])
@KINDS
def test_a_server_starts_again_at_once_at_the_same_port(before: bool, group: bool) -> None:
    port = serve_and_end(0, group=before)
    assert serve_and_end(port, group=group) == port


@pytest.mark.parametrize("second", [False, True], ids=["by-one-alone", "by-a-group"])
@pytest.mark.parametrize("listens", [False, True], ids=["starting", "listening"])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used-by-a-group"])
def test_a_second_server_is_refused_the_port_of_a_group(used: bool, listens: bool, second: bool) -> None:
    port = serve_and_end(0, group=True) if used else 0
    with ExitStack() as stack:
        port, _ = taken(stack, port, group=True, listens=listens)
        with pytest.raises(InputError, match=f"port {port} on {HOST} is in use"):
            taken(stack, port, group=second)


def test_a_group_is_refused_the_port_of_a_server() -> None:
    with ExitStack() as stack:
        port, _ = taken(stack, 0, group=False)
        with pytest.raises(InputError, match=f"port {port} on {HOST} is in use"):
            taken(stack, port, group=True)
