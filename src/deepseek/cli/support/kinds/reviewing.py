"""What `evaluate` does with a bundle that judges documents."""

from __future__ import annotations

from pathlib import Path

from deepseek.cli.support import output


def is_review(bundle: Path) -> bool:
    """Whether the bundle at a path judges documents. False for what is no bundle: others say what is wrong."""
    from deepseek.bundle import open_bundle
    from deepseek.errors import DeepseekError

    try:
        return open_bundle(bundle).manifest.task == "review"
    except DeepseekError:
        return False


def evaluate_documents(bundle: Path, documents: Path, *, key: Path | None, as_json: bool) -> None:
    """Figures of reviewed documents: the folder of labels.csv, or that file."""
    from deepseek.bundle import open_bundle
    from deepseek.citations.review.evaluation import evaluate_model
    from deepseek.citations.review.labels import read_labelled
    from deepseek.citations.review.storage import open_model
    from deepseek.cli.support.opening import warn_unchecked

    opened = open_bundle(bundle, key=key)
    model = open_model(opened)
    labelled, warnings = read_labelled(documents if documents.is_dir() else documents.parent, model.checklist)
    figures = evaluate_model(model, labelled)
    warn_unchecked(bundle, key)
    output.warn(warnings)
    result = {"bundle": str(bundle), "digest": opened.digest, **figures.to_dict(), "warnings": warnings}
    output.emit(result, as_json, figures.summary)
