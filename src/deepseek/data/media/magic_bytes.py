"""What a file is, by its first bytes and never by its name.

    detect_media_format(b"\\x89PNG\\r\\n\\x1a\\n...")       # "PNG"
    detect_media_format(b"name,age\\nAnn,7\\n")            # "text"

Source: the formats' own specifications, as collected in the `file` program's magic.
"""

from __future__ import annotations

from typing import Final

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"fLaC", "FLAC"),
    (b"OggS", "OGG"),
    (b"ID3", "MP3"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "GZIP"),
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"\x7fELF", "program"),
    (b"version https://git-lfs", "Git LFS pointer"),
)
_RIFF_FORMATS: Final = {(b"RIFF", b"WEBP"): "WebP", (b"RIFF", b"WAVE"): "WAV", (b"RF64", b"WAVE"): "WAV"}
_NUM_SNIFFED_BYTES = 512  # bytes that are looked at to tell text


def detect_media_format(data: bytes) -> str:
    """The format's name, "text", or "unknown bytes".

    >>> detect_media_format(b"RIFF\\x24\\0\\0\\0WAVEfmt "), detect_media_format("姓名,年龄".encode())
    ('WAV', 'text')
    >>> detect_media_format(b"\\0" * 40)
    'unknown bytes'
    """
    if not data:
        return "nothing"
    if (boxed := _RIFF_FORMATS.get((data[:4], data[8:12]))) is not None:
        return boxed
    if data[4:8] == b"ftyp":
        return "AVIF or HEIF" if data[8:12] in (b"avif", b"heic", b"heix", b"mif1") else "MP4"
    if data[128:132] == b"DICM":
        return "DICOM"
    for start, name in _SIGNATURES:
        if data.startswith(start) and not (name == "BMP" and _is_text(data)):
            return name
    if data[0] == 0xFF and len(data) > 1 and data[1] & 0xE6 == 0xE2:  # a frame of MPEG audio, layer III
        return "MP3"
    return "text" if _is_text(data) else "unknown bytes"


def _is_text(data: bytes) -> bool:
    """Whether the first bytes are UTF-8 without control characters; what was cut at the end does not count."""
    head = data[:_NUM_SNIFFED_BYTES]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(letter.isprintable() or letter in "\t\n\r\f\ufeff" for letter in text)
