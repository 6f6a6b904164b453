"""What the tests of a review share: the example's agreements, and a model of them."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.citations.review.labels import LabelledDocument
from deepseek.citations.review.lines import Checklist
from deepseek.citations.review.model import ReviewModel
from deepseek.recipes.compliance.example import ExampleFiles


@dataclass(frozen=True)
class Reviewed:
    """Files of the example, what people said of them, and a model of all but the last ten."""

    files: ExampleFiles
    checklist: Checklist
    labelled: list[LabelledDocument]
    model: ReviewModel
