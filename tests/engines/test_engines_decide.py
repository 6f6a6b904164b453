"""From scores to answers."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.contracts import Flag
from deepseek.engines.decide import Decision
from deepseek.errors import IntegrityError

CHANCES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], np.float32)


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [("null", "no no yes"), ("0.3", "no yes yes"), ("0.05", "yes yes yes"), ("0.95", "no no no")],
)
def test_two_classes_by_threshold(threshold: str, labels: str) -> None:
    decision = Decision.from_bytes(b'{"threshold": %s}' % threshold.encode(), task="binary", labels=("no", "yes"))
    prediction = decision.apply(CHANCES)
    assert prediction.labels is not None
    assert prediction.labels.tolist() == labels.split()
    assert prediction.labels_known == ("no", "yes")


def test_a_chance_that_set_the_threshold_still_meets_it() -> None:
    chance = 0.1234567890123  # as float32 a little less
    decision = Decision("binary", ("no", "yes"), threshold=chance)
    prediction = decision.apply(np.array([[1 - chance, chance]], np.float32))
    assert prediction.labels is not None
    assert prediction.labels.tolist() == ["yes"]


def test_many_classes_by_least_expected_cost() -> None:
    shares = np.array([[0.5, 0.4, 0.1]], np.float32)
    assert Decision("multiclass", ("a", "b", "c")).apply(shares).labels.tolist() == ["a"]  # type: ignore[union-attr]
    costs = np.array([[0, 1, 1], [1, 0, 1], [50, 50, 0]], float)  # costs[truth][decision]: missing a c is dear
    prediction = Decision("multiclass", ("a", "b", "c"), costs=costs).apply(shares)
    assert prediction.labels is not None
    assert prediction.labels.tolist() == ["c"]  # expected 5.4, 5.5, 0.9


def test_values_with_their_interval_and_flags() -> None:
    document = b'{"threshold": null, "costs": null, "interval": {"level": 0.9, "half_width": 2.0}}'
    flags = (Flag(0, "age", "imputed"),)
    prediction = Decision.from_bytes(document, task="regression", labels=()).apply(np.array([[5.0]], np.float32), flags)
    assert prediction.values is not None
    assert prediction.intervals is not None
    assert prediction.values.tolist() == [5.0]
    assert prediction.intervals.tolist() == [[3.0, 7.0]]
    assert prediction.flags == flags
    assert len(prediction) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"costs": "x"}', b'{"interval": 3}'])
def test_a_decision_that_cannot_be_read_is_named(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"decision\.json"):
        Decision.from_bytes(data, task="binary", labels=("no", "yes"))


def test_widths_go_by_the_group_of_the_value_and_end_with_the_range() -> None:
    data = (
        b'{"interval": {"level": 0.9, "half_width": 9, "groups": [{"start": null, "half_width": 1},'
        b'{"start": 10, "half_width": 4}]}, "range": [0, 20]}'
    )
    decision = Decision.from_bytes(data, task="regression", labels=())
    prediction = decision.apply(np.array([[-3], [0.5], [9.75], [10], [25]], np.float32))
    assert prediction.values is not None
    assert prediction.intervals is not None
    assert prediction.values.tolist() == [0, 0.5, 9.75, 10, 20]
    assert prediction.intervals.tolist() == [[0, 1], [0, 1.5], [8.75, 10.75], [6, 14], [16, 20]]


def test_lower_ends_stay_above_a_floor_unless_the_value_itself_is_below() -> None:
    data = b'{"interval": {"level": 0.9, "half_width": 2, "floor": 0}}'
    intervals = Decision.from_bytes(data, task="regression", labels=()).apply(np.array([[-1], [1], [5]], np.float32))
    assert intervals.intervals is not None
    assert intervals.intervals.tolist() == [[-1, 1], [0, 3], [3, 7]]


@pytest.mark.parametrize(
    "data",
    [
        b'{"interval": {"half_width": 1, "floor": "zero"}}', b'{"interval": {"half_width": 1, "floor": 1e99}}',
        b'{"range": [1, 0]}', b'{"range": [0]}', b'{"range": "x"}', b'{"interval": {"half_width": 1, "groups": []}}',
        b'{"interval": {"half_width": 1, "groups": [{"start": 1, "half_width": 1}]}}',
        b'{"interval": {"half_width": 1, "groups": [{"start": null, "half_width": -1}]}}',
        b'{"interval": {"half_width": 1, "groups": [{"start": null, "half_width": 1}, 3]}}',
        b'{"interval": {"half_width": 1, "groups": [{"half_width": 1}, {"half_width": 1}]}}',
    ],
)  # fmt: skip
def test_groups_and_ranges_that_cannot_be_followed_are_named(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="does not say how to decide"):
        Decision.from_bytes(data, task="regression", labels=())
