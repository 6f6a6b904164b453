"""`deepseek recipe compliance`: a checklist in TOML and a folder of reviewed documents into a bundle.

The choices: passages are sentences of a clause, a fifth of the documents is held for the figures, the encoder is
all-MiniLM-L6-v2 where its package is installed, else none.
"""

from __future__ import annotations

from pathlib import Path

from deepseek.citations.review.labels import read_labelled
from deepseek.citations.review.lines import read_checklist
from deepseek.citations.review.progress import Progress, ignore_progress
from deepseek.citations.review.training import ReviewOptions, ReviewTraining, train_review


def run_compliance(
    checklist: Path, documents: Path, options: ReviewOptions, *, progress: Progress = ignore_progress
) -> ReviewTraining:
    """Read both, train, write the bundle to options.out. InputError, MissingError and MalformedError name the file and
    the row that is wrong."""
    lines = read_checklist(checklist)
    progress("reading the documents", 0.0)
    labelled, warnings = read_labelled(documents, lines)
    return train_review(lines, labelled, options, warnings=warnings, progress=progress)
