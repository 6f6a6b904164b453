"""A certificate and its key from files: checked before any work, and read again when they were renewed.

    tls = TlsCertificate.read("cert.pem", "key.pem")        # InputError for files that are no pair
    context = server_context("cert.pem", "key.pem")  # for HTTP; the same, loaded again: renew(context, ...)

    tls.warning(now)                             # an expired certificate is served, and said

TLS 1.2 and 1.3. Whoever comes after a renewal gets the new certificate; connections that are open live on.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deepseek.errors import InputError
from deepseek.extras import need

HANDSHAKE_TIMEOUT_S = 10.0  # that a client may take for it
TLS_FILES_FIX = "--tls-cert fullchain.pem --tls-key privkey.pem, as an ACME client writes them"


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate with its chain, and its key, as PEM; known to fit together."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, certificate: str, key: str) -> TlsCertificate:
        """The pair in two PEM files. InputError says which of them is wrong, and how."""
        pair = cls(_read_pem(certificate, b"CERTIFICATE", "certificate"), _read_pem(key, b"PRIVATE KEY", "key"))
        if b"ENCRYPTED" in pair.key:
            raise InputError(
                f"the key {key} is locked with a passphrase",
                expected="a key that can be read without a person, in a file that only the server may read",
                fix="openssl pkey -in LOCKED -out KEY; chmod 600 KEY",
            )
        _load_pair(_new_context(), certificate, key)
        return pair

    def warning(self, now: datetime) -> str:
        """Which certificate, of the server or of its chain, is not valid `now`, and since or until when; "" when all
        are. It is served all the same: a clock may be wrong, and clients decide whom they trust."""
        x509 = need("cryptography.x509", extra="serve")
        try:
            chain = x509.load_pem_x509_certificates(self.certificate)
            for link in chain:
                name, valid_from, valid_until = (
                    link.subject.rfc4514_string(),
                    link.not_valid_before_utc,
                    link.not_valid_after_utc,
                )
                if valid_until < now:
                    return f"the certificate of {name} has expired at {valid_until.isoformat()}"
                if valid_from > now:
                    return f"the certificate of {name} is not valid before {valid_from.isoformat()}"
        except ValueError as error:  # OpenSSL has taken it
            return f"it cannot be told until when the certificate is valid: {error}"
        return ""


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """For a server of HTTP/1.1. InputError as TlsCertificate.read."""
    TlsCertificate.read(certificate, key)
    context = _new_context()
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, certificate, key)
    return context


def reload_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load the files again, for new connections. InputError leaves the context as it was."""
    TlsCertificate.read(certificate, key)
    _load_pair(context, certificate, key)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read_pem(path: str, label: bytes, name: str) -> bytes:
    expected = f"a file with -----BEGIN {label.decode()}-----"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"the {name} {path} cannot be read: {error.strerror}", expected=expected, fix=TLS_FILES_FIX
        ) from error
    if label + b"-----" not in data:
        raise InputError(f"{path} holds no {name} in PEM", expected=expected, fix=TLS_FILES_FIX)
    return data


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # else OpenSSL prompts at the terminal
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or "they do not parse"
        raise InputError(
            f"the certificate {certificate} and the key {key} cannot be used: {reason}",
            expected="a certificate, its chain below it, and the key that it was made for",
            fix=TLS_FILES_FIX,
        ) from error
