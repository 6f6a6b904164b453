"""What a reader of the Chinese of a page sees, and which English words are left over in it."""

from __future__ import annotations

import re
from collections.abc import Collection
from html.parser import HTMLParser

#: Names of methods, metrics, formats, programs and units, which Chinese texts write in Latin letters, too.
NAMES = frozenset(
    re.findall(
        r"\S+",
        """
        AUC ROC RMSE MAE Brier F1 TF IDF Wilson Clopper Pearson McNemar Spearman TreeSHAP KernelSHAP Shapley Owen
        DeepLift DeepLIFT Rescale XGBoost JSON CPU CSV JPEG PNG WebP GIF BMP TIFF MP4 MOV WebM MKV AVI MPEG Ogg FLV WMV
        FFmpeg WAV FLAC OGG MP3 PCM DICOM DICM NIfTI CT UTF GB MiB kB MB px Hz kHz mm ms min sha256 deepseek numpy
        CatBoost LightGBM python onnxruntime torch xgboost cpu RGB h264
        """,
    )
)
_VOID = frozenset(("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
_UNSEEN = frozenset(("script", "style", "noscript", "pre", "code", "title"))


class _ChineseTexts(HTMLParser):
    """Collects the texts that the Chinese of a page shows."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._path: list[tuple[str, bool]] = []  # open elements, and whether their texts are seen

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            return
        attributes = dict(attrs)
        is_seen = tag not in _UNSEEN and (tag == "html" or attributes.get("lang") != "en") and self._is_seen()
        self._path.append((tag, is_seen))

    def handle_endtag(self, tag: str) -> None:
        while self._path and self._path.pop()[0] != tag:
            continue

    def handle_data(self, data: str) -> None:
        if self._is_seen() and data.strip():
            self.texts.append(data)

    def _is_seen(self) -> bool:
        return not self._path or self._path[-1][1]


def chinese_texts(html: str) -> list[str]:
    """The texts that the Chinese of a page shows, code and commands left out."""
    parser = _ChineseTexts()
    parser.feed(html)
    return parser.texts


def english_left_over(html: str, names: Collection[str] = ()) -> dict[str, str]:
    """Words of two Latin letters or more in the Chinese of a page, each with the text that it stands in; `names` (of
    models, columns, classes, files and what is data) and NAMES are none."""
    words: dict[str, str] = {}
    for text in chinese_texts(html):
        for word in english_words(text, names):
            words.setdefault(word, text.strip())
    return words


def english_words(text: str, names: Collection[str] = ()) -> list[str]:
    """The words of two Latin letters or more in a text, but for `names`, NAMES, options, digests and dates."""
    rest = re.sub(r"--[a-z][\w-]*(?: [A-Z]+\b)?|\b[0-9a-f]{12,}\b|\d{4}-\d\d-\d\dT[\d:.+Z]+", " ", text)
    for name in sorted(names, key=len, reverse=True):
        rest = re.sub(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", " ", rest)
    rest = re.sub(r"\S*…\S*", " ", rest)  # a name that was cut
    return [word for word in re.findall(r"[A-Za-z][A-Za-z0-9]+", rest) if word not in NAMES]
