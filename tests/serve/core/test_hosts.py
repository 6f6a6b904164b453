"""Names that a server answers to: those that no page can make its own, and those that its operator has named."""

from __future__ import annotations

import pytest

from deepseek.errors import InputError
from deepseek.serve.core.config import Settings
from deepseek.serve.core.hosts import AllowedHosts, parse_host_names

SAFE = [b"127.0.0.1:8000", b"[::1]:8000", b"localhost", b"LOCALHOST.", b"app.localhost:3000", b"10.42.0.17:8000"]
PRIVATE = [
    b"model-server:8000",
    b"bert.default.svc",
    b"bert.default.svc.cluster.local:8000",
    b"gpu1.local",
    b"a.internal",
]
PUBLIC = [
    b"evil.com",
    b"rebind.test:8000",
    b"localhost.evil.com",
    b"127.0.0.1.evil.com",
    b"1.2.3",
    b"0x7f.1",
    b"bert.dev",
]
NONE = [b"", b"a b", b"user@localhost", b"localhost:80:80", b"[::1", b"http://localhost", b"localhost/x", b"\xff"]


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_at_a_loopback_address_names_are_those_of_this_machine(address: str) -> None:
    hosts = AllowedHosts.of(Settings(host=address))
    assert all(map(hosts.allows, SAFE))
    assert not any(map(hosts.allows, PRIVATE + PUBLIC + NONE))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.5"])
def test_beyond_it_probes_scrapes_and_services_are_answered_and_public_names_are_not(address: str) -> None:
    hosts = AllowedHosts.of(Settings(host=address))
    assert all(map(hosts.allows, SAFE + PRIVATE))
    assert not any(map(hosts.allows, [*PUBLIC, *NONE]))


def test_a_server_that_listens_at_a_name_answers_to_it() -> None:
    assert AllowedHosts.of(Settings(host="model.bank.com")).allows(b"model.bank.com:8000")


def test_what_the_operator_names_is_answered_and_nothing_else_but_addresses() -> None:
    hosts = AllowedHosts.of(Settings(host="0.0.0.0", allowed_hosts=("model.bank.com", "*.corp.bank.com")))
    assert all(map(hosts.allows, [*SAFE, b"model.bank.com:443", b"a.b.corp.bank.com"]))
    assert not any(map(hosts.allows, [*PRIVATE, *PUBLIC, b"corp.bank.com", b"xcorp.bank.com", b"bank.com"]))


def test_where_a_key_or_a_certificate_is_asked_for_a_name_tells_nothing() -> None:
    for settings in (
        Settings(api_keys_file="keys"),
        Settings(tls_cert="a", tls_key="b"),
        Settings(allowed_hosts=("*",)),
    ):
        assert AllowedHosts.of(settings).allows(b"model.bank.com")
    assert not AllowedHosts.of(Settings(api_keys_file="keys", allowed_hosts=("a.bank.com",))).allows(b"b.bank.com")


@pytest.mark.parametrize("name", ["http://a.com", "a.com:80", "a b", "*", "a.*.com", "**.com", "-", "a/b"])
def test_what_is_no_name_is_refused_with_one_that_is(name: str) -> None:
    if name == "*":
        assert parse_host_names([name]) == ("*",)
        return
    with pytest.raises(InputError, match="is no name of a host"):
        Settings.read({"ALLOWED_HOSTS": f"a.com,{name}"})


def test_names_are_read_from_the_environment_and_the_option_wins() -> None:
    assert Settings.read({"ALLOWED_HOSTS": "A.com, *.b.com,"}).allowed_hosts == ("a.com", "*.b.com")
    assert Settings.read({"ALLOWED_HOSTS": "a.com"}, allowed_hosts="c.com").allowed_hosts == ("c.com",)
