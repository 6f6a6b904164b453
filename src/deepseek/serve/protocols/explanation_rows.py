"""Explanations as the route :explain writes them.

encode_explanations(explained)      {"explanations": [{"base_value", "values", "output", "residual", ...}, ...]}
"""

from __future__ import annotations

from typing import Any

from deepseek.contracts import Attribution
from deepseek.engines.process.attributions import RowAttributions
from deepseek.serve.core.json_body import encode_json


def encode_explanations(explained: RowAttributions) -> bytes:
    """The body of :explain, with one explanation for each row."""
    rows = zip(explained, check_sums(explained), strict=True)
    return encode_json(
        {"explanations": [_explanation_row(attribution, row, adds_up) for (attribution, row), adds_up in rows]}
    )


def check_sums(explained: RowAttributions) -> list[bool]:
    """For each row whether base value and contributions add up to its output. Rows share attributions; each is checked
    once."""
    sums = {
        key: attribution.adds_up.tolist()
        for key, attribution in {id(attribution): attribution for attribution, _ in explained}.items()
    }
    return [sums[id(attribution)][row] for attribution, row in explained]


def _explanation_row(attribution: Attribution, row: int, adds_up: bool) -> dict[str, Any]:
    parts = attribution.parts[row] if attribution.parts else ()
    extra: dict[str, Any] = {}
    if attribution.parts:
        extra = {"parts": parts, "is_partial": any(part["is_partial"] for part in parts)}
    values, base, output = attribution.values[row], float(attribution.base_value[row]), float(attribution.output[row])
    residual = output - (base + float(values.sum()))
    if not adds_up:
        extra["warning"] = (
            f"This explanation does not add up: {residual:.6g} {attribution.scale} of the output is left unexplained. "
            "Do not rely on it."
        )
    return {
        "base_value": base,
        "values": dict(zip(attribution.names, values.tolist(), strict=True)),
        "output": output,
        "residual": residual,
        "adds_up": adds_up,
        "scale": attribution.scale,
        "method": attribution.method,
        "target": attribution.target,
        **extra,
    }
