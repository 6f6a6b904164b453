"""Which words of a record look at which regions of its picture, and back, as one figure.

    association_figure(pixels, text, spans, together)     # together (L, h, w): nn.align.Association.together

Left the picture: where the sentence looks that needs it most. Right the record: the words that the framed region looks
at. Both are shaded by what the fit of picture and text loses when word and region are hidden together (nn/align.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data.view.page import data_url
from deepseek.look import Html, Text, Words, numbers
from deepseek.look.regions import heat_grid, image_with_text, shade_text

IMAGE_SIDE_PX = 224  # px of the picture on the page
MAX_CHARACTERS = 600  # of a record that are shown
_SENTENCE = re.compile(r"[^.;:!?。；！？]+[.;:!?。；！？]*")


def association_figure(
    pixels: NDArray[np.uint8], text: str, spans: Sequence[tuple[int, int]], together: Float64, *, title: Words = ""
) -> Html:
    """pixels (H, W); `spans` of the tokens behind the first, as TextReader.spans() gives them; together (L, h, w),
    whose first token is the start."""
    shown = [(span, at) for at, span in enumerate(spans, start=1) if at < len(together) and span[1] <= MAX_CHARACTERS]
    sentence = _most_associated_sentence(text, shown, together)
    said, tokens = text[slice(*sentence)].strip(), _tokens_within(sentence, shown)
    regions = np.asarray(together[tokens].sum(0) if tokens else np.zeros(together.shape[1:]), np.float64)
    row, column = np.unravel_index(int(regions.argmax()), regions.shape)
    words = [(span, float(together[at, row, column])) for span, at in shown]
    values: list[list[float]] = regions.tolist()
    picture = heat_grid(
        data_url(pixels), values, title=title or Text("picture", "图像"), size=_display_size(pixels.shape[:2])
    )
    caption = Text(f"Where this looks: “{numbers.clip(said, 80)}”", f"此句所看之处：“{numbers.clip(said, 80)}”")
    return image_with_text(picture, shade_text(text[:MAX_CHARACTERS], words), caption)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends.

    >>> sentence_spans("A lesion. It grew")
    [(0, 9), (9, 17)]
    """
    return [match.span() for match in _SENTENCE.finditer(text) if match.group().strip(" .;:!?。；！？")]


def _tokens_within(span: tuple[int, int], tokens: Sequence[tuple[tuple[int, int], int]]) -> list[int]:
    return [at for (start, end), at in tokens if span[0] <= start and end <= span[1] and end > start]


def _most_associated_sentence(
    text: str, tokens: Sequence[tuple[tuple[int, int], int]], together: Float64
) -> tuple[int, int]:
    """The sentence whose words and some region need each other most."""
    spans = [span for span in sentence_spans(text[:MAX_CHARACTERS]) if _tokens_within(span, tokens)]
    return max(
        spans, key=lambda span: float(together[_tokens_within(span, tokens)].sum(0).max()), default=(0, len(text))
    )


def _display_size(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = IMAGE_SIDE_PX / max(shape)
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
