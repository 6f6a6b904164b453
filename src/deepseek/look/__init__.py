"""How everything looks: one page shell, one set of tables and plots, for reports and for the console.

Pure strings, no dependency. A page is one file without any request, in English and Chinese:

    from deepseek import look

    html = look.page("Report", "AUC 0.994 [0.990, 0.997] on 143 rows.", [look.Section("Figures", look.table(...))])
"""

from __future__ import annotations

from deepseek.look import flow, numbers, saliency
from deepseek.look.charts import (
    Bin,
    Line,
    band,
    curve,
    histogram,
    progress,
    reliability,
    scatter,
    sparkline,
    timeline,
    trace,
)
from deepseek.look.matrix import confusion_matrix
from deepseek.look.page import Section, page
from deepseek.look.rows import Contribution, bars, beeswarm, intervals, waterfall
from deepseek.look.saliency import grid_regions, image_saliency, text_saliency
from deepseek.look.tables import (
    Column,
    as_json,
    bullet_list,
    command,
    empty_state,
    facts,
    figure,
    nowrap_options,
    paragraph,
    table,
    verdict,
)
from deepseek.look.words import Html, Text, Words, escape, inline, join, name_class

__all__ = [
    "Bin",
    "Column",
    "Contribution",
    "Html",
    "Line",
    "Section",
    "Text",
    "Words",
    "as_json",
    "band",
    "bars",
    "beeswarm",
    "bullet_list",
    "command",
    "confusion_matrix",
    "curve",
    "empty_state",
    "escape",
    "facts",
    "figure",
    "flow",
    "grid_regions",
    "histogram",
    "image_saliency",
    "inline",
    "intervals",
    "join",
    "name_class",
    "nowrap_options",
    "numbers",
    "page",
    "paragraph",
    "progress",
    "reliability",
    "saliency",
    "scatter",
    "sparkline",
    "table",
    "text_saliency",
    "timeline",
    "trace",
    "verdict",
    "waterfall",
]
