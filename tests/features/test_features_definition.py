"""Definitions as text and back; raw columns to whole numbers; features that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.features import EventColumns, FeatureDefinition, card_payments, compute_offline
from deepseek.features.events import BAD_AMOUNT, BAD_TIME, MAX_AMOUNT, read_amounts, read_codes, read_times

TEXT = """
time_unit = "s"
event_features = ["amount", "hour", "weekday"]
label_delay = "1d"
[keys.shop]
column = "shop"
windows = ["1h", "2d"]
features = ["count", "mean", "fraud_share", "fraud_streak", "gap"]
"""


def test_features_by_hand() -> None:
    definition = FeatureDefinition.from_toml(TEXT)
    day = 86_400
    columns = {
        "time": np.array([0, 1_800, 3_600, day, day + 1_800]),
        "amount": np.array([1.0, 3.0, 5.0, 7.0, 9.0]),
        "shop": np.array(["a", "a", "b", "a", "a"]),
        "label": np.array([1, 0, 0, 0, 1]),
    }
    features = compute_offline(definition, EventColumns.from_columns(definition, columns))
    table = dict(zip(features.names, features.values.T.tolist(), strict=True))
    assert table["amount"] == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert table["hour"] == [0, 0, 1, 0, 0]
    assert table["weekday"] == [3, 3, 3, 4, 4]  # 1970-01-01 was a Thursday
    assert table["shop.count.1h"] == [1, 2, 1, 1, 2]
    assert table["shop.mean.2d"] == [1.0, 2.0, 5.0, 11 / 3, 5.0]
    assert table["shop.fraud_share.2d"] == [0, 0, 0, 1.0, 0.5]  # of the first event, a day later; then of two
    assert table["shop.fraud_streak"] == [0, 0, 0, 1, 0]
    assert math.isnan(table["shop.gap"][0])
    assert table["shop.gap"][1:2] + table["shop.gap"][3:] == [1_800, day - 1_800, 1_800]


def test_nothing_looks_ahead() -> None:
    """What comes later, of time or in the table, changes no answer."""
    definition = card_payments("card", "terminal", label_delay="1d")
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(0, 40 * 86_400, 300))
    keys = (rng.integers(0, 5, 300), rng.integers(0, 5, 300))
    events = EventColumns(time, rng.integers(0, 900, 300), keys, np.arange(300), rng.integers(0, 2, 300))
    all_rows = compute_offline(definition, events).values
    for stop in (1, 100, 299):
        before = compute_offline(definition, events.take(slice(0, stop))).values
        assert np.array_equal(before, all_rows[:stop], equal_nan=True)


def test_rows_stay_in_the_order_given() -> None:
    definition = card_payments("card", "terminal")
    rng = np.random.default_rng(1)
    time, keys = rng.permutation(200) * 5_000, (rng.integers(0, 5, 200), rng.integers(0, 5, 200))
    events = EventColumns(time, rng.integers(0, 900, 200), keys, np.arange(200), rng.integers(0, 2, 200))
    order = np.argsort(time)
    values = compute_offline(definition, events).values
    assert np.array_equal(values[order], compute_offline(definition, events.take(order)).values, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('label_delay = "1d"', 'label_delay = "soon"'), "no duration"),
        (('"mean"', '"median"'), "'median' in keys.shop.features is no feature"),
        (('["1h", "2d"]', '["2d", "1h"]'), "keys.shop.windows"),
        (('["1h", "2d"]', "[]"), "keys.shop.windows"),
        (("[keys.shop]", "[keys.'a b']"), "no name of a key"),
        (('"count", "mean"', '"mean", "mean"'), "twice"),
        (('column = "shop"', 'colum = "shop"'), "colum"),
        (("time_unit", "amount_decimals = 9\ntime_unit"), "amount_decimals is 9"),
        (("time_unit", "format = 2\ntime_unit"), "format 2"),
        (("[keys.shop]", "[keys.shop"), "no TOML"),
    ],
)
def test_a_definition_that_does_not_fit_is_refused_in_words(change: tuple[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FeatureDefinition.from_toml(TEXT.replace(*change))


def test_the_digest_is_of_what_an_answer_depends_on() -> None:
    definition = FeatureDefinition.from_toml(TEXT)
    assert FeatureDefinition.from_toml(definition.to_toml()).digest == definition.digest
    assert FeatureDefinition.from_toml(TEXT.replace("2d", "3d")).digest != definition.digest


def test_raw_values_become_whole_numbers_or_are_marked_as_none() -> None:
    amounts = np.array([0.29, 1e18, -0.01, math.nan, math.inf, 10_995_116_277.75, 10_995_116_277.76])
    assert read_amounts(amounts, 2).tolist() == [29, -1, -1, -1, -1, MAX_AMOUNT, -1]
    assert read_amounts(np.array([5, -5, 2**40]), 0).tolist() == [5, BAD_AMOUNT, BAD_AMOUNT]
    times = np.array(["2018-04-01T00:00:31", "NaT"], "datetime64[ms]")
    assert read_times(times, "s").tolist() == [1_522_540_831, BAD_TIME]
    assert read_times(np.array([1.0, math.nan, 1e30]), "s").tolist() == [1, BAD_TIME, BAD_TIME]
    assert read_codes(np.array([-3, 7], np.int16), "card").tolist() == [-3, 7]
    assert read_codes(np.array([2**64 - 1], np.uint64), "card").tolist() == [-1]
    texts = read_codes(np.array(["a", "b", "a"], object), "card")
    assert texts[0] == texts[2] != texts[1]
    with pytest.raises(InputError, match="no key"):
        read_codes(np.array([None], object), "card")


def test_offline_refuses_what_the_store_would_refuse() -> None:
    definition = FeatureDefinition.from_toml(TEXT)
    good = {"time": np.arange(3), "amount": np.ones(3), "shop": np.zeros(3, int), "id": np.arange(3)}
    with pytest.raises(InputError, match="row 1 has no amount"):
        compute_offline(
            definition, EventColumns.from_columns(definition, {**good, "amount": np.array([1.0, math.nan, 1.0])})
        )
    with pytest.raises(InputError, match="twice"):
        compute_offline(definition, EventColumns.from_columns(definition, {**good, "id": np.array([1, 2, 1])}))
    with pytest.raises(InputError, match="'shop' is missing"):
        EventColumns.from_columns(definition, {name: good[name] for name in ("time", "amount")})
    with pytest.raises(InputError, match="no verdicts"):
        EventColumns.from_columns(definition, {**good, "label": np.array([0, 1, 2])})


def test_columns_of_events_are_whole_numbers_of_one_length() -> None:
    one = np.zeros(3, np.int64)
    for other in (one.astype(np.int32), one[:2], one.astype(float), one.reshape(1, 3)):
        with pytest.raises(InputError, match="a column of events is"):
            EventColumns(one, one, (one, other), one)
