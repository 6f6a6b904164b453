"""The page shell in a real browser."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from deepseek import look
from deepseek.look import Contribution, Html, Line, Section, Text, figure
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

LONG = "mean_transaction_amount_over_the_last_thirty_days_per_customer_and_terminal"
CHINESE = "客户近三十天内跨终端交易金额的平均值（人民币元）与去年同期的差额比例"
NAMES = [f"column {i}" for i in range(60)] + ["<script>alert(1)</script>", LONG, CHINESE, "x"]


@pytest.fixture(scope="module")
def all_plots(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with every plot, on 64 columns with hard names."""
    generator = random.Random(0)
    names = NAMES[::-1]
    spread = [2 * 0.93**i for i in range(len(names))]
    curve = [(i / 1000, (i / 1000) ** 0.2) for i in range(1001)]
    axes = {"x_label": Text("false-positive rate", "假阳性率"), "y_label": LONG}
    parts = [
        figure(look.bars, names, spread, title=Text("Bars", "条形"), label=LONG, data={"values": spread}),
        figure(
            look.beeswarm,
            names[:20],
            [[(generator.gauss(0, size), generator.random()) for _ in range(200)] for size in spread[:20]],
            title="Swarm",
            label=CHINESE,
        ),
        figure(
            look.waterfall,
            [Contribution(f"{name} = {generator.random():.3g}", generator.gauss(0, 1)) for name in names],
            base=-1.0,
            output=12345.0,
            title="Waterfall",
            label="log-odds",
        ),
        figure(
            look.curve,
            [Line(LONG, curve), Line(CHINESE, [(x, x) for x, _ in curve])],
            title="Curve",
            guide=((0, 0), (1, 1)),
            marked=(0.1, 0.6),
            marked_name="threshold 0.412",
            **axes,
        ),
        figure(
            look.reliability,
            [look.Bin(i / 10, i / 10, max(0, i / 10 - 0.1), min(1, i / 10 + 0.1), 50) for i in range(11)],
            title="Reliability",
            **axes,
        ),
        figure(
            look.scatter, [(generator.gauss(1e6, 1e5), generator.random()) for _ in range(300)], title="Scatter", **axes
        ),
        figure(look.histogram, [i * 1000 for i in range(21)], list(range(20)), title="Histogram", x_label=LONG),
        figure(look.trace, [generator.random() for _ in range(40)], title="Trace", rival=0.5, rival_name=LONG, **axes),
        figure(look.band, [0, 1, 2], [3, 1, 2], [2, 0, 1], [4, 2, 3], title="Band", **axes),
        figure(look.intervals, names[:8], [(0.9, 0.8, 0.95)] * 8, title="Intervals", label="AUC", guide=0.9),
        figure(
            look.confusion_matrix,
            names[:20],
            [[12345 if i == j else i + j for j in range(20)] for i in range(20)],
            title="Confusion",
        ),
        look.table(
            [look.Column(LONG, "text"), *(look.Column(f"figure {i}") for i in range(8))],
            [[CHINESE, *(generator.random() for _ in range(8))]],
            data={"a": 1},
        ),
    ]
    html = look.page(
        Text("All plots", "全部图形"),
        Text("Nothing overlaps.", "没有重叠。"),
        [Section(Text("Plots", "图形"), Html("".join(parts))), Section("More", look.paragraph(LONG), folded=True)],
        provenance={"digest": "ab" * 32, "command": look.command(f"deepseek explain {LONG}")},
    )
    path = tmp_path_factory.mktemp("look") / "plots.html"
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390, 360])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_overlaps_or_is_cut_off(open_page: OpenPage, all_plots: str, width: int, locale: str) -> None:
    page = open_page(all_plots, width=width, locale=locale)
    assert collisions(page) == []
    assert overflow_px(page) <= 0


def test_the_page_follows_the_readers_theme(open_page: OpenPage, all_plots: str) -> None:
    def ground(dark: bool) -> str:
        page = open_page(all_plots, dark=dark)
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    assert ground(dark=False) == "rgb(255, 255, 255)"
    assert ground(dark=True) == "rgb(15, 16, 19)"


def test_the_language_switch_stays_after_a_reload(open_page: OpenPage, all_plots: str) -> None:
    page = open_page(all_plots)
    assert page.inner_text("#answer") == "Nothing overlaps."
    page.click("button[value=zh]")
    assert page.inner_text("#answer") == "没有重叠。"
    assert page.title() == "全部图形"
    page.reload()
    assert page.inner_text("#answer") == "没有重叠。"
    assert page.get_attribute("html", "lang") == "zh"
    assert page.get_attribute("button[value=zh]", "aria-pressed") == "true"


def test_a_chinese_reader_starts_in_chinese(open_page: OpenPage, all_plots: str) -> None:
    assert open_page(all_plots, locale="zh-CN").inner_text("h1") == "全部图形"


def test_the_switch_and_the_details_work_from_the_keyboard(open_page: OpenPage, all_plots: str) -> None:
    page = open_page(all_plots)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.inner_text("h1") == "全部图形"
    page.focus("details.json summary")
    page.keyboard.press("Enter")
    assert page.is_visible("details.json pre")


def test_numbers_of_a_table_stand_right_with_equal_widths(open_page: OpenPage, all_plots: str) -> None:
    style = open_page(all_plots).evaluate(
        "(() => {const s = getComputedStyle(document.querySelector('td.num'));"
        "return [s.textAlign, s.fontVariantNumeric]})()"
    )
    assert style == ["right", "tabular-nums"]


def test_a_wide_table_scrolls_by_itself(open_page: OpenPage, all_plots: str) -> None:
    page = open_page(all_plots, width=390)
    assert page.evaluate(
        "(() => {const s = document.querySelector('.scroll'); return s.scrollWidth > s.clientWidth})()"
    )
    assert overflow_px(page) <= 0


@pytest.mark.parametrize("width", [1280, 390])
def test_the_caption_of_a_wide_table_stays_in_view(open_page: OpenPage, tmp_path: Path, width: int) -> None:
    columns = [look.Column(f"column {number}", "text") for number in range(9)]
    words = "one sentence that is as long as those of a comparison, with what the arrows beside the figures mean. " * 2
    table = look.table(columns, [["a_value_without_a_blank"] * 9], caption=words)
    path = tmp_path / "wide.html"
    path.write_text(look.page("t", "a", [Section("s", table)]), encoding="utf-8")
    page = open_page(path.as_uri(), width=width)
    for left_px in (0, 200):
        page.evaluate(f"document.querySelector('.scroll').scrollLeft = {left_px}")
        left, right = page.evaluate(
            "[document.querySelector('caption'), document.querySelector('.scroll')]"
            ".map(one => one.getBoundingClientRect()).map(one => [one.left, one.right])"
        )
        assert right[0] <= left[0] < left[1] <= right[1]


def test_in_print_plots_stand_in_pairs_black_on_white_and_details_are_open(open_page: OpenPage, all_plots: str) -> None:
    page = open_page(all_plots, width=390, dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown = "(() => [getComputedStyle(document.querySelector('%s')).display, getComputedStyle(document.body).color])()"
    assert page.evaluate(shown % ".narrow") == ["block", "rgb(24, 24, 27)"]
    assert page.evaluate(shown % ".wide")[0] == "none"
    assert page.evaluate(shown % ".switch")[0] == "none"
    assert page.is_visible(f"details.section p:has-text('{LONG}')")


def test_what_slips_through_as_markup_cannot_run(open_page: OpenPage, tmp_path: Path) -> None:
    """The policy of the page allows its own script by hash and nothing else."""
    body = Html("<p id=x>one</p><script>document.getElementById('x').textContent = 'two'</script>")
    path = tmp_path / "page.html"
    path.write_text(look.page("t", "a", [Section("s", body)]), encoding="utf-8")
    page = open_page(path.as_uri(), expected="Content Security Policy")
    assert page.inner_text("#x") == "one"


def test_the_check_for_overlaps_can_fail(open_page: OpenPage, tmp_path: Path) -> None:
    canvas = look.bars(["one"], [1.0], title="t", width=680, label="x").replace(
        "</svg>", '<text x="660">out of it</text></svg>'
    )
    path = tmp_path / "page.html"
    path.write_text(look.page("t", "a", [Section("s", Html(canvas + canvas.replace('y="', 'y="1')))]), encoding="utf-8")
    assert collisions(open_page(path.as_uri())) != []
