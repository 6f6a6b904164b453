"""A column of dates: an axis of time, in the report as in the plots."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from deepseek import look
from deepseek.explain import explainer_for, global_report, write_report
from deepseek.look.dates import DateScale
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part


def ms(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        ("2020-02-28T22:00", "2020-02-29T09:00", [f"2020-02-29 {hour}:00" for hour in ("00", "03", "06", "09")]),
        ("2020-01-01", "2020-01-04", ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]),
        ("2019-11-20", "2020-03-02", ["2019-12", "2020-01", "2020-02", "2020-03"]),
        ("1968-06-01", "1973-06-01", ["1969", "1970", "1971", "1972", "1973"]),
        ("1900-01-01", "2030-01-01", ["1900", "1950", "2000"]),
    ],
)  # fmt: skip
def test_ticks_stand_where_the_calendar_turns(start: str, end: str, labels: list[str]) -> None:
    scale = DateScale(ms(start), ms(end), 0, 700)
    ticks = scale.ticks(4)
    assert scale.labels(ticks) == labels
    assert all(tick == ms(label + "-01-01"[len(label) - 4 :]) for tick, label in zip(ticks, labels, strict=True))


@pytest.mark.parametrize(("low", "high"), [(-1e15, 1e15), (9e14, 9.1e14), (-62_135_596_800_000, -62_135_000_000_000)])
def test_moments_beyond_the_calendar_draw_without_an_error(low: float, high: float) -> None:
    points = [(low, 0.0), (high, 1.0)]
    ET.fromstring(look.scatter(points, title="t", width=736, x_label="x", y_label="y", dates=True))


def test_a_single_moment_lies_within_its_day() -> None:
    drawn = look.scatter([(ms("2021-05-04"), 1.0)] * 9, title="t", width=736, x_label="x", y_label="y", dates=True)
    labels = [text for text in re.findall(r'class="tick">([^<]+)<', drawn) if "-" in text]
    assert all(text.startswith(("2021-05-03", "2021-05-04")) for text in labels)
    assert len(labels) > 1


def test_an_effect_over_time_is_drawn_over_time() -> None:
    days = np.arange(400)
    features = days[:, None].astype(np.float32)
    linear = Linear(np.array([[0.5]]), np.zeros(1), features.mean(axis=0).astype(np.float64))
    explainer = explainer_for(Model("regression", (), "target units", (Part("linear", linear),)), ["since"])
    first = datetime(2020, 1, 1)
    records: list[dict[str, Any]] = [{"since": (first + timedelta(int(day))).date().isoformat()} for day in days]
    records[7] = {"since": None}
    report = global_report(explainer, features, records, dates=["since"])
    entry = report["dependence"][0]
    assert entry["kind"] == "datetime"
    assert entry["value"][0] == "2020-01-01"
    ranks = report["beeswarm"][0]["rank"]
    assert [rank for rank in ranks if rank is not None] == sorted(rank for rank in ranks if rank is not None)
    page = write_report(None, report)
    ticks = re.findall(r'class="tick">(20\d\d-\d\d)<', page)
    assert {"2020-01", "2020-07", "2021-01"} <= set(ticks)
