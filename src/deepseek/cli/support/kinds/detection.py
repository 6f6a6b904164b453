"""Verbs on a bundle that looks at pictures: what `predict` and `evaluate` do with it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.progress import Progress

MAX_NOTED = 20


def is_detector(bundle: Path) -> bool:
    """Whether the bundle at a path answers pictures with boxes. False for what is no bundle: others say what is
    wrong."""
    from deepseek.bundle import open_bundle
    from deepseek.errors import DeepseekError

    try:
        return open_bundle(bundle).manifest.task == "detection"
    except DeepseekError:
        return False


def predict_pictures(
    bundle: Path,
    data: Path,
    out: Path | None,
    *,
    key: Path | None,
    broken: Literal["fail", "mask", "skip"],
    as_json: bool,
) -> None:
    """COCO results of a folder of pictures into `out`, or on stdout."""
    from deepseek.automl.detection.folder import predict_folder, write_results
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.files import check_writable

    if out is not None:
        if out.suffix.lower() != ".json":
            raise click.UsageError("--out takes a .json file: what is found on pictures is written as COCO results")
        check_writable(out)
    with closing(Progress()) as progress:
        predictions = predict_folder(bundle, data, key=key, skip_broken=broken != "fail", progress=progress)
    warn_unchecked(bundle, key)
    for file, reason in predictions.skipped[:MAX_NOTED]:
        output.note(f"skipped: {output.escape_text(file)}: {output.escape_text(reason)}")
    output.warn(predictions.warnings)
    parts = predictions.parts()
    num_defective = sum(bool(part["defective"]) for part in parts)
    result: dict[str, object] = {
        "bundle": str(bundle), "digest": predictions.digest, "num_rows": len(parts), "num_defective": num_defective,
        "num_skipped": len(predictions.skipped), "warnings": list(predictions.warnings), "parts": parts,
    }  # fmt: skip
    if out is not None:
        result |= {"out": str(out), "parts_file": str(write_results(predictions, out))}
        output.note(f"{num_defective} of {len(parts)} pictures are defective; their boxes are in {out}")
    else:
        result["predictions"] = predictions.to_coco()
    if as_json or out is None:
        output.emit(result if as_json else {"predictions": predictions.to_coco()}, True)


def evaluate_pictures(bundle: Path, labels: Path, pictures: Path | None, *, key: Path | None, as_json: bool) -> None:
    """Figures of labelled pictures, which lie in `pictures`, by default beside the labels."""
    from deepseek.automl.detection.folder import evaluate_detector
    from deepseek.cli.support.opening import warn_unchecked

    result = evaluate_detector(bundle, labels, pictures or labels.parent, key=key)
    warn_unchecked(bundle, key)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary)
