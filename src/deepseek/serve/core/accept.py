"""The header Accept, as far as a page has two forms (RFC 9110, section 12.5.1).

>>> prefers(b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", OPENMETRICS, b"text/plain")
True
>>> prefers(b"text/plain, */*;q=0.1", OPENMETRICS, b"text/plain"), prefers(b"", OPENMETRICS, b"text/plain")
(False, False)
"""

from __future__ import annotations

OPENMETRICS = b"application/openmetrics-text"
MAX_HEADER_BYTES = 4_096  # of an Accept that is read


def prefers(accept: bytes, media_type: bytes, usual: bytes) -> bool:
    """Whether a client names this media type, and likes it at least as well as the usual one."""
    if media_type not in accept or len(accept) > MAX_HEADER_BYTES:
        return False
    liking = {media_type: 0.0, usual: 0.0}
    for part in accept.lower().split(b","):
        name, *parameters = (word.strip() for word in part.split(b";"))
        if name in liking:
            liking[name] = max(liking[name], _quality(parameters))
    return liking[media_type] > 0 and liking[media_type] >= liking[usual]


def _quality(parameters: list[bytes]) -> float:
    """The weight q, 1 where there is none; 0 for one that is no number from 0 to 1."""
    for parameter in parameters:
        name, _, text = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                quality = float(text)
            except ValueError:
                return 0.0
            return quality if 0.0 <= quality <= 1.0 else 0.0
    return 1.0
