"""Which names a server answers to, so that no web page reads it by a name of its own (DNS rebinding).

    hosts = AllowedHosts.of(settings)
    hosts.allows(b"model.bank.com:8000")

A page of evil.com may let its name stand for 127.0.0.1 once it is loaded; the browser then takes this server for
evil.com, and the page reads all that it answers. The header Host still says evil.com. What cannot be rebound is
answered: an address, for which no name is looked up, and a name that nobody can register. So probes (Host is the
address of a pod), scrapes, services of a compose file and of a cluster are let through without being named.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from deepseek.errors import InputError

ANY_HOST = "*"
LOOPBACK_NAMES = frozenset(["localhost"])
#: Ends of names that are looked up in no public DNS (RFC 6761, 6762, 8375; ICANN's .internal; those of Kubernetes).
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local", ".home.arpa", ".localdomain")
_NAME = re.compile(r"(\*?\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{0,5})?")


class ListenSettings(Protocol):
    """The settings of where a server listens and which clients it trusts: see core.config.Settings."""

    @property
    def host(self) -> str: ...
    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...
    @property
    def api_keys_file(self) -> str | None: ...
    @property
    def tls_cert(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The host names by which this server may be asked. IP addresses are always allowed."""

    names: frozenset[str]
    ends: tuple[str, ...]  # suffixes of names: .bank.com allows model.bank.com
    allows_any: bool = False
    allows_single: bool = False  # names without a dot, which cannot be registered
    listed: frozenset[str] = frozenset()  # of both, those that the operator has named

    @classmethod
    def of(cls, settings: ListenSettings) -> AllowedHosts:
        """The names that the operator lists; else those that are safe at the server's address. With API keys or TLS
        every name is safe: a page has no key, and no certificate for its own name is shown to it."""
        listed = frozenset(settings.allowed_hosts) - {ANY_HOST}
        names = {name for name in listed if name[0] not in "*."} | LOOPBACK_NAMES
        ends = {"." + name.lstrip("*.") for name in listed if name[0] in "*."} | {PRIVATE_SUFFIXES[0]}
        is_public = not is_loopback(settings.host)
        if is_public and not listed:
            names |= {socket.gethostname().lower()}
            ends |= {*PRIVATE_SUFFIXES}
        if not is_address(settings.host):
            names |= {settings.host.lower()}
        guarded = bool(settings.api_keys_file or settings.tls_cert) and not settings.allowed_hosts
        allows_any = guarded or ANY_HOST in settings.allowed_hosts
        return cls(frozenset(names), tuple(sorted(ends)), allows_any, is_public and not listed, listed)

    def allows(self, host: bytes) -> bool:
        """Whether a header Host names this server.

        >>> hosts = AllowedHosts(frozenset(["localhost"]), (".bank.com",))
        >>> [hosts.allows(host) for host in (b"localhost:80", b"10.1.2.3", b"a.bank.com", b"evil.com")]
        [True, True, True, False]
        """
        return self.allows_any or self._allows(host_name(host))

    def lists(self, host: bytes) -> bool:
        """Whether the operator has listed the name of a header Host."""
        name = host_name(host)
        return name in self.listed or any(
            name.endswith("." + listed.lstrip("*.")) for listed in self.listed if listed[0] in "*."
        )

    def _allows(self, name: str) -> bool:
        if name in self.names or name.endswith(self.ends) or is_address(name):
            return True
        return self.allows_single and bool(name) and "." not in name


def host_name(host: bytes) -> str:
    """The name or address of a header Host, without its port; empty for what is none.

    >>> host_name(b"Model.Bank.com:8000"), host_name(b"[::1]:80"), host_name(b"localhost."), host_name(b"a b:c:d")
    ('model.bank.com', '::1', 'localhost', '')
    """
    match = _HOST.fullmatch(host.strip())
    if match is None:
        return ""
    return match[1].decode("latin-1").lower().strip("[]").removesuffix(".")


def is_address(name: str) -> bool:
    """Whether a name is an IP address.

    >>> is_address("127.0.0.1"), is_address("::1"), is_address("localhost")
    (True, True, False)
    """
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reachable from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("::")
    (True, True, False, False)
    """
    return host in LOOPBACK_NAMES or (is_address(host) and ip_address(host).is_loopback)


def parse_host_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Host names in lower case, without spaces. InputError for a text that is no host name.

    >>> parse_host_names(["Model.bank.com", " *.bank.com "])
    ('model.bank.com', '*.bank.com')
    """
    names = tuple(name.strip().lower() for name in texts if name.strip())
    for name in names:
        if name != ANY_HOST and not is_address(name) and not _NAME.fullmatch(name):
            raise InputError(
                f"the allowed host {name[:100]!r} is no name of a host",
                expected="names without a scheme or a port, such as model.bank.com or *.bank.com; or * for all",
                fix="--allowed-hosts model.bank.com,*.bank.com",
            )
    return names
