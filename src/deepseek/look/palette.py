"""The colors, each with a meaning, once for a white and once for a near-black ground.

Text colors keep a contrast of 4.5:1 to their ground, marks (dots, lines, bars) 3:1; a test computes both.

>>> round(contrast("#000000", "#ffffff"), 1)
21.0
"""

from __future__ import annotations

#: Colors that may carry text.
TEXT_COLORS = ("ink", "soft", "accent", "positive", "negative", "good", "warn", "bad")
#: Lines and dots of one category each: Okabe-Ito, in the order in which they stand out from the ground.
SERIES_COLORS = ("s1", "s2", "s3", "s4")
#: Steps of viridis from low to high, cut at the end that would vanish into the ground.
SCALE_COLORS = ("v0", "v1", "v2", "v3", "v4", "v5", "v6")

LIGHT: dict[str, str] = {
    "ground": "#ffffff",
    "wash": "#f7f7f8",
    "rule": "#e4e4e7",
    "neutral": "#d4d4d8",
    "axis": "#71717a",
    "ink": "#18181b",
    "soft": "#52525b",
    "accent": "#2563eb",
    "positive": "#c2410c",
    "negative": "#1d4ed8",
    "good": "#15803d",
    "warn": "#b45309",
    "bad": "#b91c1c",
    "s1": "#0072b2",
    "s2": "#d55e00",
    "s3": "#009e73",
    "s4": "#a8518a",  # Okabe-Ito's purple, one step darker: the original has 2.9:1 on white
    "v0": "#440154",
    "v1": "#472d7b",
    "v2": "#3b528b",
    "v3": "#2f6c8e",
    "v4": "#23898e",
    "v5": "#1e988b",
    "v6": "#2a9d6f",
}

DARK: dict[str, str] = {
    "ground": "#0f1013",
    "wash": "#18191d",
    "rule": "#2b2c31",
    "neutral": "#4a4b52",
    "axis": "#8b8c95",
    "ink": "#ececef",
    "soft": "#a9aab2",
    "accent": "#7aa5ff",
    "positive": "#fb8a4c",
    "negative": "#7aa2ff",
    "good": "#4ade80",
    "warn": "#fbbf24",
    "bad": "#f98080",
    "s1": "#56b4e9",
    "s2": "#e69f00",
    "s3": "#1fc49a",
    "s4": "#cc79a7",
    "v0": "#5b7bb4",
    "v1": "#2f8a8e",
    "v2": "#22a884",
    "v3": "#44bf70",
    "v4": "#7ad151",
    "v5": "#bddf26",
    "v6": "#fde725",
}


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb", 0 (black) to 1 (white), by WCAG 2.2."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colors, 1 to 21, by WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def css_variables(colors: dict[str, str]) -> str:
    """CSS custom properties for one ground."""
    return "".join(f"--{name}:{value};" for name, value in colors.items())
