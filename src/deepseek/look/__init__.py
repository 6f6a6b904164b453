"""How everything looks: one page shell, one set of tables and plots, for reports and for the console.

Pure strings, no dependency. A page is one file without any request, in English and Chinese:

    from deepseek import look

    html = look.page("Report", "AUC 0.994 [0.990, 0.997] on 143 rows.", [look.Section("Figures", look.table(...))])
"""

from __future__ import annotations

from deepseek.look import flow, numbers, saliency
from deepseek.look.charts import Bin, Line, band, curve, histogram, reliability, scatter, sparkline, trace
from deepseek.look.matrix import confusion
from deepseek.look.page import Section, page
from deepseek.look.rows import Contribution, bars, beeswarm, intervals, waterfall
from deepseek.look.saliency import cells, heat, tokens
from deepseek.look.tables import (
    Column,
    as_json,
    command,
    empty,
    facts,
    figure,
    listing,
    paragraph,
    state,
    table,
    unbroken,
)
from deepseek.look.words import Html, Text, Words, escape, inline, join

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
    "cells",
    "command",
    "confusion",
    "curve",
    "empty",
    "escape",
    "facts",
    "figure",
    "flow",
    "heat",
    "histogram",
    "inline",
    "intervals",
    "join",
    "listing",
    "numbers",
    "page",
    "paragraph",
    "reliability",
    "saliency",
    "scatter",
    "sparkline",
    "state",
    "table",
    "tokens",
    "trace",
    "unbroken",
    "waterfall",
]
