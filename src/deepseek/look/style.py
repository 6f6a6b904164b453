"""The one style sheet: type, space, tables, plots; light, dark and print."""

from __future__ import annotations

from deepseek.look.palette import DARK, LIGHT, SCALE_COLORS, SERIES_COLORS, css_variables

_BASE = """
*{box-sizing:border-box}
html{background:var(--ground);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:800px;padding:32px 32px 64px;font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,"Noto Sans","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
html:not([data-lang=zh]) .zh,html[data-lang=zh] .en{display:none}
h1{font-size:24px;line-height:1.25;margin:0}
h2{font-size:18px;line-height:1.3;margin:48px 0 8px}
h3{font-size:16px;line-height:1.4;margin:28px 0 4px}
h1,h2,h3,p,li,dd,figcaption,summary{overflow-wrap:anywhere}
p{margin:8px 0;max-width:72ch}
ul,ol{margin:8px 0;padding-left:22px;max-width:72ch}
ul.plain{list-style:none;padding-left:0}ul.plain li{padding-left:22px;text-indent:-22px;margin:4px 0}
.sign{display:inline-block;width:17px;text-indent:0;font-weight:600}
.option{white-space:nowrap}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
header.page{display:flex;justify-content:space-between;align-items:flex-start;gap:24px}
.switch{display:flex;gap:12px;flex:none;padding-top:4px}
.switch button{all:unset;cursor:pointer;font-size:14px;color:var(--soft);padding:2px 0;
border-bottom:2px solid transparent}
.switch button[aria-pressed=true]{color:var(--ink);border-color:var(--accent)}
.switch button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.answer{font-size:20px;line-height:1.45;margin:16px 0 8px;max-width:60ch}
.lead,.note,figcaption,.soft{color:var(--soft)}
.note,figcaption{font-size:14px;max-width:80ch}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.positive{color:var(--positive)}.negative{color:var(--negative)}
code,pre,kbd{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,
"DejaVu Sans Mono","Noto Sans Mono CJK SC",monospace;
font-size:14px}
code{overflow-wrap:anywhere}
pre{background:var(--wash);padding:12px 16px;overflow-x:auto;margin:8px 0;max-width:100%}
pre.command{white-space:pre-wrap;overflow-wrap:anywhere}
"""

_TABLES = """
.scroll{overflow-x:auto;margin:12px 0;max-width:100%}
table{border-collapse:collapse;font-size:15px;font-variant-numeric:tabular-nums;min-width:min(100%,420px)}
caption{text-align:left;color:var(--soft);font-size:14px;padding-bottom:4px;position:sticky;left:0;
max-width:min(736px,calc(100vw - 64px))}
th,td{padding:5px 20px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
th{font-weight:600;font-size:14px;color:var(--soft)}
tbody th{color:var(--ink);font-weight:400;font-size:15px}
th.num,td.num{text-align:right;white-space:nowrap}
th.num{white-space:normal;word-break:keep-all}
tbody th[scope=row]{min-width:8em;max-width:24em;overflow-wrap:anywhere}
th:last-child,td:last-child{padding-right:2px}
td.text{min-width:9em}
dl.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;margin:8px 0;font-size:15px}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;font-variant-numeric:tabular-nums}
details{margin:8px 0}
summary{cursor:pointer;color:var(--accent);width:fit-content;max-width:100%}
details.section>summary{color:var(--ink);font-size:18px;font-weight:600;margin:40px 0 8px}
details.section+details.section>summary{margin-top:8px}
details.json>summary{font-size:14px}
details.json pre{max-height:320px;overflow:auto;font-size:13px}
.state{margin:16px 0;padding:2px 0 2px 16px;border-left:3px solid var(--rule)}
.state.bad{border-color:var(--bad);color:inherit}.state.warn{border-color:var(--warn);color:inherit}
.state.good{border-color:var(--good);color:inherit}
@media (max-width:560px){body{padding:20px 16px 48px}h1{font-size:21px}h2{margin-top:36px}.answer{font-size:18px}
dl.facts{grid-template-columns:minmax(0,1fr);gap:0}dl.facts dd{margin-bottom:8px}
header.page{gap:12px}th,td{padding-right:14px}caption{max-width:calc(100vw - 32px)}}
"""

_PLOTS = """
figure{margin:16px 0 24px}
figcaption{margin-top:4px}
svg.plot{display:block;max-width:100%;height:auto;overflow:visible}
svg.plot text{font:12px/1 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",
"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums;
paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}
svg.plot text.on-fill{stroke:none}
svg.plot text.tick,svg.plot text.label,svg.plot text.soft{fill:var(--soft)}
svg.plot text.strong{font-weight:600}
svg.plot text.positive{fill:var(--positive)}svg.plot text.negative{fill:var(--negative)}
svg.plot path{fill:none}
.grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--axis);stroke-width:1}
.guide{stroke:var(--axis);stroke-width:1;stroke-dasharray:3 3}
.guide.mark{stroke:var(--ink);stroke-width:1.5}
.link{stroke:var(--axis);stroke-width:1}
svg.plot .bar{fill:var(--accent)}svg.plot .fill-neutral{fill:var(--neutral)}
svg.plot .fill-positive{fill:var(--positive)}svg.plot .fill-negative{fill:var(--negative)}
svg.plot .band{fill:var(--accent);fill-opacity:.16}
svg.plot .cell{fill:var(--accent)}svg.plot .cell-wrong{fill:var(--positive)}
svg.plot .frame{fill:none;stroke:var(--rule)}
.whisker{stroke:var(--axis);stroke-width:1.5}
.dots{stroke-width:5;stroke-linecap:round}.dots.fine{stroke-width:4}.dots.big{stroke-width:8}
.dots.accent{stroke:var(--accent)}.dots.neutral{stroke:var(--axis)}
.curve{stroke-width:2;stroke-linejoin:round}.curve.thin{stroke-width:1.5}
.narrow,.paper{display:none}
@media (max-width:720px){.wide{display:none}.narrow{display:block}}
"""

_PRINT = """
@media print{html{background:#fff}body{max-width:none;padding:0;font-size:10pt}.switch,details.json,.screen{
display:none}
main{zoom:.78}p,ul,ol,.answer{max-width:none}figure>h3{margin-top:2px}h2{margin-top:16px}h3{margin-top:10px;font-size:11pt}.paper{display:block}.answer{font-size:13pt}
h2,h3,summary{break-after:avoid}figure,tr{break-inside:avoid}
/* Two plots beside each other, as a phone has them: their letters are then the size of the text. */
.wide{display:none}.narrow{display:block}figure{margin:6px 0}figcaption{font-size:9pt}
figure:has(>.narrow),.half{display:inline-block;width:49%;vertical-align:top;padding-right:10px}
.pair>.scroll{display:inline-block;vertical-align:top;margin-right:24px}.pair table{min-width:0}
.half{break-inside:avoid;font-size:9pt}.half ul{margin:2px 0}.half h3{margin-top:4px}#columns figure:nth-of-type(n+5){
display:none}.half figure:has(>.narrow){display:block;width:auto;padding:0}
th,td{padding-top:2px;padding-bottom:2px}table,tbody th,dl.facts{font-size:9.5pt}
@page{margin:12mm}thead{display:table-header-group}main{orphans:1;widows:1}p,li{orphans:3;widows:3}.state,.legend{break-inside:avoid}
.scroll{overflow:visible}caption{max-width:none}table{max-width:100%}th.num,td.num{white-space:normal}th,td{padding-right:12px}
tbody th[scope=row],td.text{min-width:0}svg.plot{max-height:235mm}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #e4e4e7;padding:2px 6px;margin:2px 0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def _series() -> str:
    lines = [f".curve.{name}{{stroke:var(--{name})}}.dots.{name}{{stroke:var(--{name})}}" for name in SERIES_COLORS]
    lines += [
        f".dots.{name}{{stroke:var(--{name})}}svg.plot .fill-{name}{{fill:var(--{name})}}" for name in SCALE_COLORS
    ]
    lines += [f"svg.plot .shade-{tenth}{{fill-opacity:{0.025 * tenth:.3f}}}" for tenth in range(11)]
    # Series differ by dash as well: gray print and color-blind readers keep them apart.
    return (
        "".join(lines)
        + ".curve.s2{stroke-dasharray:7 3}.curve.s3{stroke-dasharray:2 3}.curve.s4{stroke-dasharray:9 3 2 3}"
    )


def stylesheet() -> str:
    """The whole CSS, small enough to stand in every page."""
    themes = (
        f":root{{color-scheme:light dark;{css_variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{css_variables(DARK)}}}}}"
        f"@media print{{:root{{color-scheme:light;{css_variables(LIGHT)}}}}}"
    )
    return themes + _BASE + _TABLES + _PLOTS + _series() + _PRINT


def nested_stylesheet() -> str:
    """The rules for tables and plots alone, to stand inside of another rule: for a fragment in somebody else's page,
    which sets colors, type and language itself."""
    return _TABLES + _PLOTS + _series()
