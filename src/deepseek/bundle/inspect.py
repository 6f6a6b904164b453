"""What a bundle holds, as one object: its manifest, its measured figures, its size and who signed it.

inspect_bundle("loans")["metrics"]["auc"]      {"value": 0.884, "low": 0.871, "high": 0.896}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.paths import METRICS_FILE
from deepseek.bundle.read import Bundle, open_bundle
from deepseek.bundle.report import BundleReport, Figures
from deepseek.errors import IntegrityError

if TYPE_CHECKING:
    from deepseek.bundle.leaderboard import Leaderboard
    from deepseek.bundle.promises import Promises
    from deepseek.contracts import JsonObject


def inspect_bundle(path: str | Path, *, key: Path | str | None = None, trials: bool = False) -> BundleReport:
    """What a bundle holds, as the object that `inspect --json` prints. Files are checked by name; verification() checks
    every byte. `key`: the public key that must have signed it; `trials`: read the leaderboard of the search, too."""
    bundle = open_bundle(path, key=None if key is None else Path(key))
    metrics, baseline = read_figures(bundle)
    return BundleReport(
        str(path), bundle.manifest, metrics, baseline, bundle.size_bytes, bundle.signature, read_promises(bundle),
        read_leaderboard(bundle) if trials else None,
    )  # fmt: skip


def read_figures(bundle: Bundle) -> tuple[Figures, Figures]:
    """The measured figures in the evidence, ours and the baseline's; empty when there are none."""
    if not bundle.has(METRICS_FILE):
        return {}, {}
    try:
        evidence = json.loads(bundle.read(METRICS_FILE))
        return _complete_figures(evidence.get("metrics", {})), _complete_figures(evidence.get("baseline", {}))
    except (ValueError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{METRICS_FILE} does not hold figures: {error}",
            expected="figures by name, as ship writes them",
            fix="make the bundle again",
        ) from error


def read_leaderboard(bundle: Bundle) -> Leaderboard:
    """The leaderboard in the evidence; without entries for a bundle that no search has made. IntegrityError for a file
    that does not hold one."""
    from deepseek.bundle.leaderboard import SEARCH_FILE, Leaderboard, parse_leaderboard

    if not bundle.has(SEARCH_FILE):
        return Leaderboard("", False, None, ())
    return parse_leaderboard(parse_json_object(bundle.read(SEARCH_FILE), SEARCH_FILE))


def _complete_figures(figures: JsonObject) -> Figures:
    """The figures that have a value and both ends of its interval, without whatever else stands beside these."""
    names = ("value", "low", "high")
    return {
        metric: {name: figure[name] for name in names}
        for metric, figure in figures.items()
        if isinstance(figure, dict) and all(isinstance(figure.get(name), (int, float)) for name in names)
    }


def read_promises(bundle: Bundle) -> Promises:
    """The promises of a bundle; empty where it has no evidence of them. Without an operating point where that was
    measured at another threshold than the bundle has now."""
    from deepseek.bundle.promises import Promises

    if not bundle.has(METRICS_FILE):
        return Promises()
    try:
        document = json.loads(bundle.read(METRICS_FILE))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{METRICS_FILE} is no JSON: {error}", expected="figures as ship writes them", fix="make the bundle again"
        ) from error
    promises = Promises.from_metrics(document if isinstance(document, dict) else {})
    point = promises.operating_point
    return promises if point is None or point.threshold == bundle.manifest.threshold else Promises()
