"""Every colour can be read on its ground, in both themes."""

from __future__ import annotations

import itertools

import pytest

from deepseek.look.palette import DARK, LIGHT, SCALE_COLORS, SERIES_COLORS, TEXT_COLORS, contrast, luminance
from deepseek.look.style import stylesheet

THEMES = {"light": LIGHT, "dark": DARK}


def mix(colour: str, ground: str, opacity: float) -> str:
    """`colour` laid over `ground`."""
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * top + (1 - opacity) * below):02x}" for top, below in pairs)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["ground", "wash"])
def test_text_has_a_contrast_of_four_and_a_half(theme: str, ground: str) -> None:
    colours = THEMES[theme]
    weak = {name: contrast(colours[name], colours[ground]) for name in TEXT_COLORS}
    assert {name: ratio for name, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_marks_have_a_contrast_of_three(theme: str) -> None:
    colours = THEMES[theme]
    weak = {name: contrast(colours[name], colours["ground"]) for name in (*SERIES_COLORS, *SCALE_COLORS, "axis")}
    assert {name: ratio for name, ratio in weak.items() if ratio < 3} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_a_number_on_the_darkest_cell_and_on_a_button_can_be_read(theme: str) -> None:
    colours = THEMES[theme]
    for cell in ("accent", "positive"):
        assert contrast(colours["ink"], mix(colours[cell], colours["ground"], 0.25)) >= 4.5
    assert contrast(colours["ground"], colours["accent"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_the_steps_from_low_to_high_only_get_lighter(theme: str) -> None:
    light = [luminance(THEMES[theme][name]) for name in SCALE_COLORS]
    assert all(darker < lighter for darker, lighter in itertools.pairwise(light))


def test_positive_and_negative_differ_in_more_than_hue_for_the_colour_blind() -> None:
    """Red-green blindness leaves blue against orange; the arrows of a waterfall say it without any colour."""
    for colours in THEMES.values():
        red, blue = (int(colours["positive"][1:3], 16), int(colours["positive"][5:7], 16))
        assert red > blue
        assert int(colours["negative"][5:7], 16) > int(colours["negative"][1:3], 16)


def test_the_style_asks_for_nothing_from_elsewhere() -> None:
    css = stylesheet()
    assert "url(" not in css
    assert "@import" not in css
    assert "gradient" not in css
