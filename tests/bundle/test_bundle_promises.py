"""What evidence/metrics.json says of decisions is read as it was written, or refused in words: it is a stranger's."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from deepseek.bundle.promises import Promises
from deepseek.errors import IntegrityError
from deepseek.look.operating_point import fact_rows, sentence
from deepseek.look.words import english

RATE = {"value": 0.1, "low": 0.0, "high": 0.2}
POINT: dict[str, Any] = {
    "label": "fraud", "threshold": 0.7, "rule": "false-positive rate <= 0.01", "num_rows": 100, "num_positives": 10,
    "num_caught": 1, "num_false_alarms": 1, "recall": RATE, "false_positive_rate": RATE, "precision": RATE,
    "alert_share": RATE, "max_fpr": 0.01, "min_recall": 0.5, "num_negatives_set": 90, "rows_per_day": 50.0,
    "is_weighted": False,
}  # fmt: skip
CONTRADICTION: dict[str, Any] = {
    "kind": "baseline", "metric": "log_loss", "test": RATE, "other": RATE, "difference": RATE, "validation": [0.1, 0.2],
}  # fmt: skip
HOSTILE = ("x", None, [], {}, float("nan"), float("inf"), -1, 0, True, 10**400, {"value": "a", "low": 1, "high": 2})


def read_and_show(document: dict[str, Any]) -> Promises:
    """What inspect, the report and the console do with it."""
    promises = Promises.from_metrics(document)
    if promises.operating_point is not None:
        fact_rows(promises.operating_point)
        english(sentence(promises.operating_point))
    assert all(text.en for text in promises.warnings())
    json.dumps(promises.to_dict())
    return promises


def test_what_was_written_is_read_and_what_a_later_release_adds_is_passed_over() -> None:
    later = {"later": 1}
    promises = read_and_show({"operating_point": POINT | later, "contradictions": [CONTRADICTION | later]})
    assert promises.operating_point is not None
    assert promises.operating_point.max_fpr == 0.01
    assert promises.contradictions[0].validation == (0.1, 0.2)
    assert read_and_show({}) == Promises()


@pytest.mark.parametrize("part", ["operating_point", "contradictions"])
def test_a_value_that_does_not_fit_is_shown_or_refused_in_words(part: str) -> None:
    num_refused = 0
    for name in POINT if part == "operating_point" else CONTRADICTION:
        for value in HOSTILE:
            document = copy.deepcopy({"operating_point": POINT, "contradictions": [CONTRADICTION]})
            changed: Any = document[part] if part == "operating_point" else document[part][0]  # type: ignore[index]
            changed[name] = value
            try:
                read_and_show(document)
            except IntegrityError:
                num_refused += 1
    assert num_refused > 30


@pytest.mark.parametrize("document", [{"operating_point": [1]}, {"contradictions": 3}, {"contradictions": ["x"]}])
def test_what_is_no_object_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="does not hold an operating point"):
        Promises.from_metrics(document)
