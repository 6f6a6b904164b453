"""What ship would refuse, said before a run: by the checks of ship, in its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.options import ShipOptions
from deepseek.automl.ship import find_refusals, ship
from deepseek.errors import DeepseekError


def rows(num: int = 200) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=num), "z": draw.normal(size=num)})
    frame["y"] = (frame.x + draw.normal(size=num) > 0).map({True: "bad", False: "good"})
    return frame


def leaking() -> pd.DataFrame:
    return rows().assign(after=lambda frame: frame.y.map({"bad": "written off", "good": "paid"}))


FAULTS = {
    "a leak": leaking(),
    "a constant target": rows().assign(y="good"),
    "a class of one row": rows().assign(y=["bad"] + ["good"] * 199),
    "too few rows": rows(1),
    "a target that is missing": rows().assign(y=lambda frame: frame.y.where(frame.index > 3)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_refusal_is_that_of_ship(fault: str, tmp_path: Path) -> None:
    said = find_refusals(FAULTS[fault], ShipOptions(target="y"))
    with pytest.raises(DeepseekError) as refused:
        ship(FAULTS[fault], target="y", out=tmp_path / "bundle", trials=1)
    assert said
    assert (said[0].message, said[0].expected, said[0].fix) == (
        refused.value.message, refused.value.expected, refused.value.fix,
    )  # fmt: skip
    assert not (tmp_path / "bundle").exists()


def test_what_stands_behind_a_leak_is_said_too() -> None:
    both = find_refusals(leaking().assign(c="red"), ShipOptions(target="y", monotone={"c": 1}))
    assert len(both) == 2
    assert "'after'" in both[0].message
    assert "'c'" in both[1].message


def test_rows_that_ship_takes_have_no_refusal() -> None:
    assert find_refusals(rows(), ShipOptions(target="y")) == []
