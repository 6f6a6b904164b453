"""Dashboards as the JSON that Grafana imports, by its foundation SDK (extra `observe`).

dashboard_json("latency")        # of Grafana 10.1 and later
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.extras import need
from deepseek.observe.dashboards.panel import Dashboard, Panel
from deepseek.observe.dashboards.panels import DASHBOARDS

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

PANEL_WIDTH, PANEL_HEIGHT, STAT_HEIGHT = 8, 8, 4  # of 24 columns
DATASOURCE = "${datasource}"  # the one that a person has chosen


def dashboard_json(name: str) -> str:
    """The JSON of one of DASHBOARDS. ExtraError without the SDK."""
    need("grafana_foundation_sdk", extra="observe")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    text: str = JSONEncoder(sort_keys=True, indent=2).encode(_build(name, DASHBOARDS[name]))
    return text + "\n"


def _build(name: str, dashboard: Dashboard) -> Any:
    from grafana_foundation_sdk.builders import dashboard as builders

    builder = (
        builders.Dashboard(dashboard.title)
        .uid(f"deepseek-{name}")
        .description(dashboard.meaning)
        .tags(["deepseek"])
        .refresh("30s")
        .time("now-1h", "now")
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if dashboard.has_model:
        builder = builder.with_variable(
            builders.QueryVariable("model")
            .label("Model")
            .query("label_values(deepseek_model_loaded, model_name)")
            .datasource(_datasource())
            .include_all(True)
            .multi(True)
            .all_value(".*")
            .refresh(2)
        )
    for panel in dashboard.panels:
        builder = builder.with_panel(_panel(panel))
    return builder.build()


def _panel(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import prometheus

    builder = (
        (_number() if panel.is_stat else _curves())
        .title(panel.title)
        .description("; ".join(metric.meaning for metric in panel.metrics))
        .unit(panel.unit)
        .datasource(_datasource())
        .span(PANEL_WIDTH)
        .height(STAT_HEIGHT if panel.is_stat else PANEL_HEIGHT)
    )
    if panel.needs:
        builder = builder.no_value(f"needs {panel.needs}")
    for index, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + index))
        builder = builder.with_target(target.datasource(_datasource()))
    return builder


def _number() -> Any:
    """A panel of numbers, each beside its name."""
    from grafana_foundation_sdk.builders import common, stat
    from grafana_foundation_sdk.models.common import BigValueTextMode

    return (
        stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).text_mode(BigValueTextMode.AUTO)
    )


def _curves() -> Any:
    """A panel of curves over time, with a legend below."""
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return timeseries.Panel().legend(legend.show_legend(True)).tooltip(tooltip)


def _datasource() -> DataSourceRef:
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef("prometheus", DATASOURCE)
