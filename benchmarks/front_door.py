"""The front door: Lighthouse on the site and on the console, and how soon the console is painted.

    python benchmarks/front_door.py [--quick] [--only CLAIM] [--site DIR]

Lighthouse 12.8 with its defaults, a phone by its own throttling (4 times slower than this machine, 1.6 Mbit/s), and
with its desktop preset: RUNS times each, in turns; the bar is held by the median, whose parts (first and largest paint,
layout shift, blocking time) are in the note. The site of `make docs` is served compressed, as static hosts do; the
console by `deepseek serve` with a bundle of 30 columns. Lighthouse's throttling is simulated upon what this machine
did: beside other work its figures are worse, so the note has the load. Accessibility, best practices: the lowest score.

First paint: a new context of Chromium for each of PAINTS loads of the console; the time from the request to its first
byte (the server), to its last byte, and to the first contentful paint (the browser), and CPU time of the page's main
thread.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tree_bundle
from result import ROOT, claim, finish, options

from deepseek.bench.server import stop_process

sys.path.insert(0, str(ROOT / "tests"))  # the flags of the browser are those of the tests
from support.servers.browser import FLAGS

LIGHTHOUSE = "lighthouse@12.8"
RUNS, PAINTS = 3, 15
MIN_SCORE, MAX_PAINT_MS = 95, 200.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Claim -> page of the site.
PAGES = {
    "front_page": "index.html",
    "gallery": "gallery/fraud.html",
    "guide": "guides/serving.html",
    "reference": "reference/api/serve.html",
}
PRESETS = ("phone", "desktop")
METRICS = {
    "first paint": "first-contentful-paint",
    "largest paint": "largest-contentful-paint",
    "blocked": "total-blocking-time",
    "shift": "cumulative-layout-shift",
    "speed index": "speed-index",
}
SCORES = [f"{page}_{preset}" for page in (*PAGES, "console") for preset in PRESETS]
CLAIMS = (*SCORES, "accessibility", "best_practices", "console_first_paint", "console_main_thread")


@dataclass(frozen=True)
class Report:
    """One run of Lighthouse on one page. Scores are 0 to 100."""

    performance: int
    accessibility: int
    best_practices: int
    metrics: Mapping[str, str]
    cpu_index: float  # Lighthouse's own measure of the machine while it ran: 1,000 and more is a quiet desktop


def chromium() -> str:
    """The path of the browser."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    sys.exit("error: Chromium is missing. To mend it: make chromium")


def lighthouse(program: Sequence[str], url: str, preset: str, chrome: str) -> Report:
    """Run it once."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [
            *program, url, "--output=json", f"--output-path={out}", "--quiet", "--chrome-flags=" + " ".join(FLAGS),
            "--only-categories=performance,accessibility,best-practices",
            *(["--preset=desktop"] if preset == "desktop" else []),
        ]  # fmt: skip
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": chrome}, timeout=300)
        report = json.loads(out.read_text())
    if "runtimeError" in report:
        sys.exit(f"error: Lighthouse could not measure {url}: {report['runtimeError']['message']}")
    scores = {name: round(100 * part["score"]) for name, part in report["categories"].items()}
    audits = report["audits"]
    return Report(
        scores["performance"], scores["accessibility"], scores["best-practices"],
        {words: audits[name]["displayValue"].replace("\xa0", " ") for words, name in METRICS.items()},
        report["environment"]["benchmarkIndex"],
    )  # fmt: skip


def find_lighthouse() -> list[str]:
    """Its command; empty where neither it nor npm is there."""
    if named := os.environ.get("LIGHTHOUSE"):
        return shlex.split(named)
    if path := shutil.which("lighthouse"):
        return [path]
    path = shutil.which("npx")
    return [path, "--yes", LIGHTHOUSE] if path else []


@contextmanager
def site_server(folder: Path) -> Iterator[str]:
    """The site, compressed and with connections that are kept, as hosts of static pages serve it."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    app = Starlette(
        routes=[Mount("/", StaticFiles(directory=folder, html=True))], middleware=[Middleware(GZipMiddleware)]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and server.servers):
            thread.join(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def console_server(folder: Path) -> Iterator[str]:
    """`deepseek serve` with a bundle of 30 columns."""
    bundle = tree_bundle.make(folder, num_columns=30).bundle
    process = subprocess.Popen(
        [sys.executable, "-m", "deepseek", "serve", str(bundle), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        stop_process(process)


def score_claims(program: Sequence[str], addresses: Mapping[str, str], runs: int) -> list[dict[str, Any]]:
    """Lighthouse on each address (claim -> URL), in turns."""
    chrome = chromium()
    reports: dict[str, list[Report]] = {name: [] for name in addresses}
    for turn in range(runs):
        for name, url in addresses.items():
            reports[name].append(lighthouse(program, url, name.rpartition("_")[2], chrome))
            print(f"run {turn + 1} of {runs}: {name} {reports[name][-1]}", file=sys.stderr)
    claims = [score_claim(name, found) for name, found in reports.items()]
    every = [report for found in reports.values() for report in found]
    for name in ("accessibility", "best_practices"):
        lowest = min(getattr(report, name) for report in every)
        where = sorted({page for page, found in reports.items() if any(getattr(one, name) == lowest for one in found)})
        note = f"the lowest of {len(every)} runs on {len(reports)} pages and presets: {', '.join(where)}"
        claims.append(claim(name, ours=lowest, unit="of 100", op=">=", bar=MIN_SCORE, num_seeds=len(every), note=note))
    return claims


def score_claim(name: str, reports: Sequence[Report]) -> dict[str, Any]:
    """The median score of a page, with what the run of the median is made of."""
    ordered = sorted(reports, key=lambda report: report.performance)
    middle = ordered[(len(ordered) - 1) // 2]  # of two the worse
    made_of = ", ".join(f"{words} {value}" for words, value in middle.metrics.items())
    scores = ", ".join(str(report.performance) for report in reports)
    indices = ", ".join(f"{report.cpu_index:.0f}" for report in reports)
    note = f"scores {scores}; the median: {made_of}; the machine's CPU index {indices}, {load()}"
    return claim(
        name, ours=middle.performance, unit="of 100", op=">=", bar=MIN_SCORE, num_seeds=len(reports), note=note
    )


def load() -> str:
    """What else ran."""
    return f"load {os.getloadavg()[1]:.1f} on {len(os.sched_getaffinity(0))} cores"


def paint_claims(url: str, paints: int) -> list[dict[str, Any]]:
    """First paint of the console, by part."""
    from playwright.sync_api import sync_playwright

    times: list[Mapping[str, float]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for _ in range(paints + 1):
            with browser.new_context() as context:
                page = context.new_page()
                session = context.new_cdp_session(page)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                page.goto(f"{url}/")
                page.locator("main[data-ready]").wait_for()
                spent = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
                times.append({**page.evaluate(PAINT), "cpu": 1_000 * spent["TaskDuration"]})
    times = times[1:]  # the first one starts the browser's own parts
    middle = {part: median(each[part] for each in times) for part in times[0]}
    best = min(each["paint"] for each in times)
    note = (
        f"median of {paints} loads: server {middle['server']:.0f} ms, its {middle['size_bytes']:,.0f} bytes "
        f"{middle['transfer']:.0f} ms, browser {middle['browser']:.0f} ms; the best paint {best:.0f} ms; {load()}"
    )
    least = min(each["cpu"] for each in times)
    cpu = f"median CPU time of the page's main thread until the first answer is drawn; least {least:.0f}"
    return [
        claim(
            "console_first_paint",
            ours=middle["paint"],
            unit="ms",
            op="<=",
            bar=MAX_PAINT_MS,
            num_seeds=paints,
            note=note,
        ),
        claim("console_main_thread", ours=middle["cpu"], unit="CPU ms", num_seeds=paints, note=cpu),
    ]


#: Milliseconds of the page that is open.
PAINT = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
  return {
    server: page.responseStart - page.requestStart, transfer: page.responseEnd - page.responseStart,
    browser: paint - page.responseEnd, paint, size_bytes: page.transferSize,
  };
}"""


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="One run each, as a phone alone.")
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site" / "html", help="What `make docs` made.")
    arguments = parser.parse_args()
    wanted = [arguments.only] if arguments.only else list(CLAIMS)
    program, has_site = find_lighthouse(), (arguments.site / "index.html").is_file()
    if not program:
        print("Lighthouse is not run: install npm, or set LIGHTHOUSE=/path/to/lighthouse", file=sys.stderr)
    elif not has_site:
        print(f"the site is not measured: there is none in {arguments.site}. To mend it: make docs", file=sys.stderr)
    presets = PRESETS[:1] if arguments.quick else PRESETS
    claims: list[dict[str, Any]] = []
    with ExitStack() as stack:
        console = stack.enter_context(console_server(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        urls = {"console": f"{console}/"}
        if has_site:
            site = stack.enter_context(site_server(arguments.site))
            urls |= {page: f"{site}/{path}" for page, path in PAGES.items()}
        if {"console_first_paint", "console_main_thread"} & set(wanted):
            claims += paint_claims(console, 5 if arguments.quick else PAINTS)
        is_any = bool({"accessibility", "best_practices"} & set(wanted))
        names = [name for name in SCORES if is_any or name in wanted] if program else []
        pages = {name: name.rpartition("_") for name in names}
        addresses = {
            name: urls[page] for name, (page, _, preset) in pages.items() if page in urls and preset in presets
        }
        if addresses:
            claims += score_claims(program, addresses, 1 if arguments.quick else RUNS)
    claims = [each for each in claims if each["claim"] in wanted]
    measured = {each["claim"] for each in claims}
    return finish("front_door", claims, not_run=[name for name in wanted if name not in measured])


if __name__ == "__main__":
    sys.exit(main())
