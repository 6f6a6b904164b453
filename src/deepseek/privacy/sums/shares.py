"""Shamir's secret sharing (Shamir 1979) of 32-byte secrets, by pycryptodome: two halves of 16 bytes, each a polynomial
over GF(2^128)."""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.errors import CheckError
from deepseek.extras import need

SHARE_BYTES = 32
_HALF = 16


def split_secret(secret: bytes, threshold: int, num: int) -> list[bytes]:
    """Shares 1..num of a secret of 32 bytes, any `threshold` of which give it back, and fewer nothing."""
    shamir = need("Crypto.Protocol.SecretSharing", extra="privacy").Shamir
    halves = [shamir.split(threshold, num, secret[start : start + _HALF], ssss=False) for start in (0, _HALF)]
    return [first + second for (_, first), (_, second) in zip(*halves, strict=True)]


def join_shares(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of at least `threshold` shares by their numbers. CheckError for fewer, and for shares of another
    length."""
    shamir = need("Crypto.Protocol.SecretSharing", extra="privacy").Shamir
    if len(shares) < threshold or any(len(share) != SHARE_BYTES for share in shares.values()):
        raise CheckError(
            f"{len(shares)} shares of a mask came back",
            expected=f"at least {threshold}, of {SHARE_BYTES} bytes each",
            fix="repeat the round with the parties that are there",
        )
    chosen = sorted(shares.items())[:threshold]
    return b"".join(
        shamir.combine([(number, share[start : start + _HALF]) for number, share in chosen], ssss=False)
        for start in (0, _HALF)
    )
