"""The layer path as a page: what the ledger says, the decision layer marked, the strongest units and their edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from deepseek.explain import LayerPath, layer_path
from deepseek.explain.modules.layer_page import MAX_PATHS
from deepseek.explain.modules.layer_path import LayerPathOptions
from deepseek.look.flow import MAX_LINKS, MAX_UNITS, STYLE, Layer, Link, Unit, flow
from support.pages.chinese import english_left_over
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

#: Layers have the names of their modules.
LAYER_KINDS = {"Linear", "GELU", "LayerNorm", "input", "output", "addmm", "linear", "gelu"}
HOSTILE = "<script>document.title='owned'</script>"
LONG = "mean_transaction_amount_over_the_last_thirty_days_per_customer"


@pytest.fixture(scope="module")
def path() -> LayerPath:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 12), nn.GELU(), nn.LayerNorm(12), nn.Linear(12, 2)).eval()
    return layer_path(net, torch.randn(MAX_PATHS + 1, 4), torch.zeros(4), target=1)


def test_the_page_has_no_english_left_over_in_chinese(path: LayerPath, tmp_path: Path) -> None:
    path.write_report(tmp_path / "path.html", columns=["age", "debt", "job", "region"])
    left = english_left_over((tmp_path / "path.html").read_text("utf-8"), ["age", "debt", "job", "region"])
    assert {word: text for word, text in left.items() if word not in LAYER_KINDS} == {}


@pytest.mark.parametrize(("width", "locale"), [(1280, "en-US"), (390, "zh-CN")])
def test_a_path_is_drawn_with_its_decision_and_its_ledger(
    open_page: OpenPage, path: LayerPath, tmp_path: Path, width: int, locale: str
) -> None:
    path.write_report(tmp_path / "path.html", columns=[HOSTILE, LONG, "job", "job"])
    page = open_page((tmp_path / "path.html").as_uri(), width=width, locale=locale)
    for closed in page.query_selector_all("details:not(.json) > summary"):
        closed.click()
    assert collisions(page) == []
    assert overflow_px(page) <= 0
    assert page.locator("figure").count() == MAX_PATHS  # one row more is told
    ledger = page.locator("tbody tr").all_inner_texts()
    assert [line.split()[0] for line in ledger] == [layer.name for layer in path.layers]
    marks = page.locator("figure").first.locator(".wide .marked-layer").count()
    assert marks == int(path.decided_at[0] is not None)
    names = page.locator("figure .wide text").all_text_contents()
    assert "job (1)" in names


def test_a_net_with_a_skip_beside_its_layers_is_drawn_whole() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.relu, self.last, self.skip = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.relu(self.hidden(x))) + self.skip(x)

    torch.manual_seed(1)
    path = layer_path(Beside().eval(), torch.randn(1, 4), options=LayerPathOptions(branch_edges=True))
    pairs = {(edge.source, edge.target) for edge in path.edges}
    chain = {("input", "hidden"), ("hidden", "relu"), ("relu", "last"), ("input", "skip")}
    assert pairs == chain | {("last", "answer"), ("skip", "answer")}


def test_a_layer_that_does_not_balance_is_said_first(path: LayerPath) -> None:
    wrong = replace(path.layers[1], sum=path.layers[1].sum + 0.25 * path.scale)
    html = replace(path, layers=(path.layers[0], wrong, *path.layers[2:])).write_report(None)
    assert "The ledger does not balance at layer 0: up to 25.0 % of the change is missing." in html
    assert "✕" in html


def test_a_drawing_is_bounded_and_lines_are_dashed_where_they_lower() -> None:
    many = [Unit(str(unit), 1.0 + unit) for unit in range(1000)]
    layers = [Layer("a", many), Layer("b", [Unit("x", -1.0), Unit("nan", float("nan"))])]
    links = [Link(0, str(unit), "x", -1.0) for unit in range(1000)]
    drawn = flow(layers, links, title="t", width=736)
    assert drawn.count("<circle") == MAX_UNITS + 1
    assert drawn.count('class="hand hand-4 down"') == MAX_UNITS <= MAX_LINKS
    assert "stroke-dasharray" in STYLE
    far = flow([*layers, Layer("c", [Unit("y", 1.0)])], [Link(0, "3", "y", 1.0, to=2)], title="t", width=736)
    assert 'class="hand hand-4 up far"' in far
    assert "<circle" not in flow([Layer("a", [])], [], title="t", width=736)
