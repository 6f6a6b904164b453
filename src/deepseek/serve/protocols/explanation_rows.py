"""Explanations as the route :explain writes them.

encode_explanations(explained)      {"explanations": [{"base_value", "values", "output", "residual", ...}, ...]}
"""

from __future__ import annotations

from typing import Any

from deepseek.contracts import Attribution
from deepseek.engines.process.attributions import RowAttributions
from deepseek.serve.core.json_body import encode_json


def encode_explanations(explained: RowAttributions) -> bytes:
    """A body with a row for each that was explained."""
    found = zip(explained, check_sums(explained), strict=True)
    return encode_json(
        {"explanations": [_explanation_row(attribution, at, adds_up) for (attribution, at), adds_up in found]}
    )


def check_sums(explained: RowAttributions) -> list[bool]:
    """For each row whether its base value and contributions make its output. Rows share attributions: each is checked
    once."""
    checked = {key: found.adds_up.tolist() for key, found in {id(found): found for found, _ in explained}.items()}
    return [checked[id(attribution)][at] for attribution, at in explained]


def _explanation_row(attribution: Attribution, row: int, adds_up: bool) -> dict[str, Any]:
    parts = attribution.parts[row] if attribution.parts else ()
    more: dict[str, Any] = {}
    if attribution.parts:
        more = {"parts": parts, "is_partial": any(part["is_partial"] for part in parts)}
    values, base, output = attribution.values[row], float(attribution.base_value[row]), float(attribution.output[row])
    residual = output - (base + float(values.sum()))
    if not adds_up:
        more["warning"] = (
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
        **more,
    }
