"""Certificates for TLS by the very keys that sign: a self-signed X.509 certificate of each Ed25519 key.

There is no authority to trust. A certificate is believed where its public key is the one that study.json names, which
every party has signed; it is given to TLS as the only anchor for that peer.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepseek.bundle.sign import load_private_key
from deepseek.errors import InputError, MissingError
from deepseek.extras import need
from deepseek.files import atomic_file, read_bounded
from deepseek.privacy.study.definition import Party, StudyFolder
from deepseek.privacy.study.refusals import ExpiredError, ForeignError

MAX_CERTIFICATE_BYTES = 1 << 16
VALID_DAYS = 365
_BEGAN_BEFORE = timedelta(days=1)  # clocks of parties may be behind
_SERIALIZATION = "cryptography.hazmat.primitives.serialization"


def public_key_of(key: Path) -> str:
    """The public half of the private key in a PEM file, in hexadecimal. InputError when it is none."""
    return load_private_key(key).public_key().public_bytes_raw().hex()


def make_certificate(key: Path, name: str, *, valid_days: float = VALID_DAYS) -> bytes:
    """A certificate (PEM) of the private key in a PEM file, for a name."""
    x509, private = _x509(), load_private_key(key)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=valid_days)) - _BEGAN_BEFORE)
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    encoding = need(_SERIALIZATION, extra="privacy").Encoding.PEM
    certificate: bytes = builder.sign(private, None).public_bytes(encoding)
    return certificate


def write_certificate(folder: StudyFolder, party: Party, key: Path) -> Path:
    """Put a new certificate of a party into the study's folder."""
    path = folder.certificate_path(party.name)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as part:
        part.write_bytes(make_certificate(key, party.name))
    return path


def check_certificate(data: bytes, party: Party) -> None:
    """ForeignError for a certificate (PEM) of another key than the party's, ExpiredError for one out of its time."""
    try:
        certificate = _x509().load_pem_x509_certificate(data)
        key = certificate.public_key().public_bytes_raw().hex()
    except (ValueError, AttributeError) as error:
        raise ForeignError(
            f"the certificate of {party.name} cannot be read", expected="a PEM file as federate sign writes it",
            fix="sign the study again",
        ) from error  # fmt: skip
    if key != party.key:
        raise ForeignError(
            f"the certificate of {party.name} is of another key, {key[:16]}...",
            expected=f"the key {party.key[:16]}... that study.json names",
            fix="sign the study with the party's own key",
        )
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ExpiredError(
            f"the certificate of {party.name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d}, and now is {now:%Y-%m-%d}",
            expected="a certificate of today",
            fix="sign the study again: deepseek federate sign STUDY --key KEY",
        )


def trusted_certificates(folder: StudyFolder) -> dict[str, bytes]:
    """The certificates (PEM) of the parties that have signed, by name. ForeignError, ExpiredError or IntegrityError
    name a party whose papers do not fit."""
    trusted = {}
    for party in folder.study.parties:
        if folder.is_signed_by(party):
            path = folder.certificate_path(party.name)
            if not path.is_file():
                raise MissingError(
                    f"{party.name} has signed and left no certificate", expected=str(path),
                    fix="copy the file of that party, or let it sign again",
                )  # fmt: skip
            data = read_bounded(path, MAX_CERTIFICATE_BYTES, what="a certificate", smaller="sign the study again")
            check_certificate(data, party)
            trusted[party.name] = data
    return trusted


def client_context(
    folder: StudyFolder, party: Party, key: Path, url: str, server: Party | None = None
) -> ssl.SSLContext:
    """TLS of a party to who serves the study, or to another `server`: its own certificate, and the key of that one as
    the only one it believes. InputError where nobody answers, ForeignError or ExpiredError where somebody else does."""
    coordinator = server or folder.study.server
    if coordinator is None:
        raise InputError(
            "the study names no coordinator", expected="a study made with --coordinator", fix="make the study again"
        )
    shown = fetch_certificate(url)
    check_certificate(shown, coordinator)
    own = folder.certificate_path(party.name)
    check_certificate(
        read_bounded(own, MAX_CERTIFICATE_BYTES, what="a certificate", smaller="sign the study again"), party
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate is known to the bit, whatever the host is called
    context.load_verify_locations(cadata=shown.decode())
    context.load_cert_chain(own, key)
    return context


def fetch_certificate(url: str) -> bytes:
    """The certificate (PEM) that a server shows, unbelieved. OSError where nobody answers."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or not parts.port:
        raise InputError(f"{url!r} is not an address", expected="https://HOST:PORT", fix="write it so")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(certificate or b"").encode()


def _x509() -> Any:
    return need("cryptography.x509", extra="privacy")
