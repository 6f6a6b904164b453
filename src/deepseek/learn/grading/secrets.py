"""Secrets in what a learner's code prints: named by their kind, and never shown."""

from __future__ import annotations

import re

PATTERNS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|xox[abps]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,})\b"),
    "password": re.compile(r"(?i)\b(?:password|passwd|secret|api[_-]?key|token)\b[\"']?\s*[:=]\s*[\"']?([^\s\"']{8,})"),
}


def find_secret(text: str) -> str:
    """The kind of the first secret in a text; "" where there is none.

    >>> find_secret("password=hunter2hunter2"), find_secret("accuracy: 0.93")
    ('password', '')
    """
    return next((kind for kind, pattern in PATTERNS.items() if pattern.search(text)), "")


def mask_secrets(text: str) -> str:
    """The text with each secret replaced.

    >>> mask_secrets("error: token=abcdefgh1234")
    'error: (password hidden)'
    """
    for kind, pattern in PATTERNS.items():
        text = pattern.sub(f"({kind} hidden)", text)
    return text
