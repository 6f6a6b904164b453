"""What a plot says is what went in."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from deepseek import look
from deepseek.look import Contribution, svg
from deepseek.look.dates import DateScale


def texts(drawn: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(drawn).iter("text")]


def bar_widths(drawn: str) -> list[float]:
    return [float(e.attrib["width"]) for e in ET.fromstring(drawn).iter("rect") if e.attrib["class"] == "bar"]


def test_bars_are_as_long_as_their_values() -> None:
    widths = bar_widths(look.bars(["a", "b", "c"], [4.0, 2.0, 0.0], title="t", width=680, label="x"))
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[2] == 0


def test_a_waterfall_runs_from_base_to_output_and_sums_up_the_small_steps() -> None:
    steps = [Contribution(f"c{i}", value) for i, value in enumerate([0.1, -2.0, 1.0, 0.2, 0.3])]
    drawn = look.waterfall(steps, base=0.5, output=0.1, title="t", width=680, label="log-odds", num_shown=2)
    words = texts(drawn)
    assert words.index("−2.00") < words.index("+1.00") < words.index("+0.600")
    assert any("3 other columns" in word for word in words)
    assert not any("Not explained" in word for word in words)


def test_a_waterfall_shows_what_the_explanation_leaves_open() -> None:
    words = texts(look.waterfall([Contribution("a", 1.0)], base=0, output=1.5, title="t", width=680, label="x"))
    assert "+0.500" in words
    assert any("Not explained" in word for word in words)


def test_columns_that_the_caller_summed_are_counted_with_the_others() -> None:
    steps = [Contribution("a", 1.0)]
    drawn = look.waterfall(steps, base=0, output=1.5, title="t", width=680, label="x", others=(27, 0.5))
    assert any("27 other columns" in word for word in texts(drawn))
    assert not any("Not explained" in word for word in texts(drawn))


def test_an_arrow_points_where_it_pushes() -> None:
    drawn = look.waterfall(
        [Contribution("up", 1.0), Contribution("down", -0.5)], base=0, output=0.5, title="t", width=680, label="x"
    )
    paths = {
        e.attrib["class"]: e.attrib["d"] for e in ET.fromstring(drawn).iter("path") if "fill-" in e.attrib["class"]
    }
    for sign, expected in (("fill-positive", 1), ("fill-negative", -1)):
        start, _, tip = [float(x) for x in re.findall(r"[ML]([\d.]+) ", paths[sign])][:3]
        assert (tip - start) * expected > 0


def test_a_swarm_keeps_every_dot_within_its_row() -> None:
    drawn = look.beeswarm(["a", "b"], [[(0.0, 0.5)] * 500, [(1.0, None)] * 3], title="t", width=680, label="x")
    root = ET.fromstring(drawn)
    dots = [
        d
        for e in root.iter("path")
        if "dots" in e.attrib["class"]
        for d in re.findall(r"M([\d.]+) ([\d.]+)h0", e.attrib["d"])
    ]
    assert len(dots) == 503
    assert all(26 <= float(y) <= 26 + 2 * 34 for _, y in dots)


def test_a_thousand_dots_stay_small() -> None:
    points = [(i / 1000, i / 999) for i in range(1000)]
    assert len(look.beeswarm(["a"], [points], title="t", width=680, label="x")) < 20_000


@pytest.mark.parametrize("width", [736, 356])
def test_a_name_that_fits_is_shown_whole(width: float) -> None:
    for num in range(1, 30):  # of any length: adding and taking away the gap rounds some widths down
        name = ("purpose of the loan, installment plan")[:num]
        assert name in texts(look.bars([name], [1.0], title="t", width=width, label="x"))


@pytest.mark.parametrize("num", [1, 2, 3, 40])
def test_trials_are_counted_in_whole_numbers(num: int) -> None:
    root = ET.fromstring(look.trace([0.5] * num, title="t", width=736, x_label="trial", y_label="loss"))
    ticks = [
        e.text for e in root.iter("text") if e.attrib.get("text-anchor") == "middle" and e.attrib["class"] == "tick"
    ]
    assert ticks
    assert all(tick and tick.isdigit() and 1 <= int(tick) <= num for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(-0.55, 0.5), (-3.8, 1.6), (0, 1), (-7, 1234)])
def test_an_axis_has_at_least_three_ticks(low: float, high: float) -> None:
    assert 3 <= len(svg.Scale(low, high, 0, 300).ticks(5)) <= 11


def test_confusion_sums_up_the_small_classes_and_loses_no_row() -> None:
    num = 30
    counts = [[1000 - 30 * i if i == j else 1 for j in range(num)] for i in range(num)]
    drawn = look.confusion_matrix([f"c{i}" for i in range(num)], counts, title="t", width=680)
    assert any("other" in word for word in texts(drawn))
    cells = [e.text or "" for e in ET.fromstring(drawn).iter("text") if e.attrib.get("class") == "on-fill"]
    assert sum(int(cell.replace(",", "")) for cell in cells) == sum(map(sum, counts))


@pytest.mark.parametrize("width", [680, 340])
@pytest.mark.parametrize("values", [[], [0.5], [float("nan")], [1.0, 1.0, 1.0]])
def test_plots_stand_without_data_or_spread(values: list[float], width: float) -> None:
    pairs = [(value, value) for value in values]
    names = [str(i) for i in range(len(values))]
    known = [v for v in values if not math.isnan(v)]
    shared = {"title": "t", "width": width}
    axes = {"x_label": "x", "y_label": "y"}
    for drawn in (
        look.scatter(pairs, **shared, **axes, zero_line=True),
        look.beeswarm(names, [[(v, None)] for v in values], **shared, label="x"),
        look.intervals(names, [(v, v, v) for v in values], **shared, label="x"),
        look.bars(names[: len(known)], known, **shared, label="x"),
        look.trace(known, **shared, **axes),
        look.band(known, known, known, known, **shared, **axes),
        look.sparkline(values, title="t"),
        look.waterfall(
            [Contribution(n, v) for n, v in zip(names, known, strict=False)],
            base=0,
            output=sum(known),
            label="x",
            **shared,
        ),
    ):
        assert "nan" not in drawn.lower().replace("not explained", "")
        ET.fromstring(drawn)


def test_a_plot_tells_its_title_to_a_screen_reader() -> None:
    root = ET.fromstring(look.bars(["a"], [1.0], title=look.Text("Influence", "影响"), width=680, label="x"))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "Influence · 影响"
    assert root[0].tag == "title"


@pytest.mark.parametrize("ends", [(-1.7e308, 1.7e308), (0.0, 1.7e308), (1.7e308, 1.7e308), (-1e308, 1e308)])
@pytest.mark.parametrize("margin", [0.0, 0.12])
def test_a_scale_reaches_to_both_ends_of_float64(ends: tuple[float, float], margin: float) -> None:
    low, high = svg.bounds(ends, margin=margin)
    assert math.isfinite(low)
    assert math.isfinite(high)
    scale = svg.Scale(low, high, 0, 400)
    assert (scale(low), scale(high)) == (0, 400)
    assert scale(low / 2 + high / 2) == pytest.approx(200)
    ticks = scale.ticks_for(400)
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)
    assert all(label not in ("inf", "nan") for label in scale.labels(ticks))


def test_dates_on_a_narrow_axis_do_not_run_into_each_other() -> None:
    day_ms = 86_400_000.0
    canvas = svg.Canvas(356, 120, "t")
    scale = DateScale(10.4 * day_ms, 26.6 * day_ms, 80, 348)  # its ticks do not reach from end to end
    svg.x_axis(canvas, scale, 10, 80, "time")
    ticks = [e for e in ET.fromstring(canvas.svg()).iter("text") if e.attrib.get("class") == "tick"]
    middles = [float(e.attrib["x"]) for e in ticks]
    widths = [svg.text_width("".join(e.itertext())) for e in ticks]
    assert len(ticks) >= 2
    for place in range(len(ticks) - 1):
        assert middles[place] + widths[place] / 2 < middles[place + 1] - widths[place + 1] / 2
