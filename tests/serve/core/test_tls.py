"""Encryption by files: what is no pair is refused before any work, and what was renewed is shown to who comes next."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from deepseek.client import Client
from deepseek.errors import InputError
from deepseek.serve.core.tls import TlsCertificate, server_context
from support.servers.certificates import make_certificate
from support.servers.serving import Server, started, until


class Files:
    """A certificate and its key, in files that can be renewed."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self, begin_days: float = 0, end_days: float = 1) -> None:
        certificate = make_certificate(begin_days, end_days)
        for path, data in zip((self.certificate, self.key), certificate, strict=True):
            path.write_bytes(data)

    @property
    def options(self) -> list[str]:
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def own(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def server(loans: Path, files: Files) -> Iterator[Server]:
    with started(loans, *files.options, "--workers", "0") as running:
        yield running
        assert running.stop() == 0


def shown_by(url: str) -> bytes:
    """The certificate that whoever connects now is shown."""
    parts = urlsplit(url)
    return ssl.get_server_certificate((parts.hostname or "", parts.port or 0), timeout=10).encode()


def test_whoever_trusts_the_certificate_is_answered(server: Server, files: Files, loan: dict[str, Any]) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    url = server.url.replace("127.0.0.1", "localhost")
    with Client(url, ca_file=str(files.certificate)) as client:
        for _ in range(3):
            assert client.predict([loan] * 5_000)
    with httpx.Client(base_url=url, verify=ssl.create_default_context()) as stranger, pytest.raises(httpx.ConnectError):
        stranger.get("/v2/health/live")


def test_a_refused_body_is_answered_before_it_is_read_and_the_connection_closed(server: Server, files: Files) -> None:
    """The connection cannot be closed by half here."""
    trust = ssl.create_default_context(cafile=str(files.certificate))
    with httpx.Client(base_url=server.url.replace("127.0.0.1", "localhost"), verify=trust) as client:
        for _ in range(2):
            answer = client.post("/nothing", content=b"x" * 3_000_000)
            assert answer.status_code == 404
        assert client.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_the_protocol_are_spoken(server: Server, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        assert connection.selected_alpn_protocol() == "http/1.1"
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_bytes_that_are_not_encrypted_and_peers_that_leave_harm_nobody(server: Server) -> None:
    address = ("127.0.0.1", urlsplit(server.url).port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"HTTP" not in connection.recv(100)
    for _ in range(20):
        with socket.create_connection(address) as connection:
            connection.sendall(b"\x16\x03\x01")
    assert shown_by(server.url)


def test_renewed_files_are_shown_after_a_signal_and_broken_ones_never(loans: Path, own: Files) -> None:
    grpc = pytest.importorskip("grpc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def grpc_answers(trusted: bytes) -> bool:
        credentials = grpc.ssl_channel_credentials(trusted)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            try:
                return bool(ask(b"", timeout=30))
            except grpc.RpcError:
                return False

    with started(loans, *own.options, "--workers", "0", "--grpc-port", str(port)) as server:
        first = own.certificate.read_bytes()
        assert shown_by(server.url) == first
        assert grpc_answers(first)
        own.renew()
        os.kill(server.process.pid, signal.SIGHUP)
        second = own.certificate.read_bytes()
        end_s = time.monotonic() + 60
        while shown_by(server.url) != second:
            assert time.monotonic() < end_s
            time.sleep(0.02)
        assert grpc_answers(second)
        assert not grpc_answers(first)
        own.certificate.write_bytes(b"nonsense")
        os.kill(server.process.pid, signal.SIGHUP)
        time.sleep(0.3)
        assert shown_by(server.url) == second
        assert server.stop() == 0
        assert b"Traceback" not in (server.process.stderr.read().encode() if server.process.stderr else b"")


def warnings(lines: str) -> list[str]:
    events = [json.loads(line) for line in lines.splitlines()]
    return [line["deepseek"]["warning"] for line in events if line["log.level"] == "warning"]


def test_a_certificate_that_is_not_valid_now_is_served_with_a_warning_that_names_the_date(
    loans: Path, own: Files
) -> None:
    own.renew(-3, -1)
    ended = f"{dt.datetime.now(dt.UTC) - dt.timedelta(days=1):%Y-%m-%dT%H:}"
    begins = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=1):%Y-%m-%dT%H:}"
    with started(loans, *own.options, "--workers", "0", environ={"DEEPSEEK_LOG_LEVEL": "warning"}) as server:
        assert shown_by(server.url) == own.certificate.read_bytes()
        own.renew(1, 2)
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: shown_by(server.url) == own.certificate.read_bytes())
        own.renew()
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: shown_by(server.url) == own.certificate.read_bytes())
        assert server.stop() == 0
        assert server.process.stderr is not None
        expired, not_yet = warnings(server.process.stderr.read())
    assert "CN=localhost" in expired
    assert f"has expired at {ended}" in expired
    assert f"is not valid before {begins}" in not_yet


def test_the_chain_below_a_certificate_is_looked_at_too(own: Files) -> None:
    now = dt.datetime.now(dt.UTC)
    assert TlsCertificate.read(str(own.certificate), str(own.key)).warning(now) == ""
    own.certificate.write_bytes(own.certificate.read_bytes() + make_certificate(-9, -7)[0])
    assert "has expired at" in TlsCertificate.read(str(own.certificate), str(own.key)).warning(now)


def test_both_files_or_neither(loans: Path, own: Files) -> None:
    command = [sys.executable, "-m", "deepseek", "serve", str(loans), "--tls-cert", str(own.certificate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "tls_key is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_or_holds_something_else_is_named(own: Files) -> None:
    with pytest.raises(InputError, match="key no/such/key cannot be read: No such file"):
        TlsCertificate.read(str(own.certificate), "no/such/key")
    with pytest.raises(InputError, match=r"cert\.pem holds no key in PEM"):
        TlsCertificate.read(str(own.certificate), str(own.certificate))
    with pytest.raises(InputError, match=r"key\.pem holds no certificate in PEM"):
        TlsCertificate.read(str(own.key), str(own.key))


def test_a_key_of_another_certificate_or_a_damaged_one_is_refused(own: Files) -> None:
    other = make_certificate()[1]
    own.key.write_bytes(other)
    with pytest.raises(InputError, match="cannot be used: KEY_VALUES_MISMATCH"):
        server_context(str(own.certificate), str(own.key))
    own.key.write_bytes(other.replace(b"\nM", b"\n!"))
    with pytest.raises(InputError, match="cannot be used"):
        server_context(str(own.certificate), str(own.key))


def test_a_locked_key_is_refused_and_nobody_is_asked_for_its_passphrase(own: Files) -> None:
    key: Any = serialization.load_pem_private_key(own.key.read_bytes(), None)
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        locked = serialization.BestAvailableEncryption(b"open sesame")
        own.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
        with pytest.raises(InputError, match="locked with a passphrase"):
            TlsCertificate.read(str(own.certificate), str(own.key))
