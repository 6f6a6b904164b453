"""What every test shares: pinned threads, public data, one real bundle, a browser, a line of progress per file."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import inspect
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import certifi
import httpx
import hypothesis
import numpy as np
import pytest
from _pytest.doctest import DoctestModule

# While files are collected, hardly anything that is made is garbage, and looking for it took a seventh of the time.
gc.disable()
# Before numpy, torch or xgboost starts its pool: two workers with two pools each would fight for two cores.
for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
):
    os.environ.setdefault(_name, "1")


# Servers list what else runs for this user: tests see what they start themselves, and leave nothing with the user.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="deepseek-running-")
atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)


def trust_one_authority() -> None:
    """A client of HTTP reads all authorities that the machine trusts, which takes 10 ms of CPU each time.

    No test speaks to a public server, so one authority does. Processes that tests start inherit it.
    """
    if "SSL_CERT_FILE" not in os.environ:
        first = Path(certifi.where()).read_text("utf-8").partition("-----END CERTIFICATE-----")
        file = tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False)  # noqa: SIM115  lives as long as we do
        with file:
            file.write("".join(first[:2]))
        os.environ["SSL_CERT_FILE"] = file.name
        atexit.register(os.unlink, file.name)


trust_one_authority()

import deepseek  # noqa: E402  before onnxruntime: it forbids the libraries of the tests to report to their makers

# The limits of hypothesis are of wall time (200 ms an example, 1 s for the first ones), which a busy machine exceeds.
hypothesis.settings.register_profile(
    "by_no_clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("by_no_clock")
# Nor is httpx's patience of 5 s anything that a test is about: a busy machine may take longer to start a process.
_patience = inspect.signature(httpx.request).parameters["timeout"].default
_patience.connect = _patience.read = _patience.write = _patience.pool = 60.0

#: Files that take longest in `make test` or in `make test-slow`, the longest first: one that began last would keep one
#: worker busy while the others wait. The first one, and later that of the monitor, compile what others then read from
#: numba's cache: three workers that came to it at once compiled it three times.
LONGEST = (
    "features/test_features_parity.py",
    "learn/levels/test_junior.py", "learn/levels/test_senior.py", "learn/levels/test_expert.py",
    "benchmarks/test_hostile_network.py", "integrations/sklearn/test_estimators.py", "train/loop/test_language.py",
    "benchmarks/test_empty_home.py", "automl/comparison/test_paired.py",
    "compress/test_compress_search.py", "automl/test_automl_samples.py", "cli/test_cli_outputs.py",
    "train/distributed/test_launch.py", "test_plugins_contract.py", "automl/test_automl_search.py",
    "train/distributed/test_data_parallel.py", "automl/test_automl_splits.py", "automl/test_automl_rules.py",
    "test_docs.py", "test_readme.py", "serve/test_coalesce_server.py", "automl/comparison/test_compare.py",
    "cli/test_cli_compress.py", "bundle/test_bundle_kill.py", "serve/repository/test_folder.py",
    "serve/models/test_graph.py", "serve/scoring/test_monitor.py",
    "serve/test_server.py", "engines/text/test_text_torch.py", "automl/test_automl_ship.py",
    "train/test_train_pipeline.py", "train/test_train_resume.py", "serve/test_console_page.py",
    "serve/models/test_explanations.py", "serve/openai/test_generation.py", "serve/http/test_group.py",
    "serve/test_group_life.py",
    "engines/text/tuning/test_tune.py", "engines/test_lossy_precision.py", "faults/test_reload_faults.py",
    "benchmarks/test_distributed_link.py", "benchmarks/test_custom_operator_bench.py",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
SRC = Path(deepseek.__file__).parent
NOT_SLOW, ONLY_SLOW = "not slow", "slow and not soak"  # what the Makefile asks for
IMPORTED_TEST = re.compile(rb"^(from .* import .*\btest_| {4}test_\w+,$)", re.MULTILINE)
WHOLLY_SLOW = re.compile(rb"^pytestmark = \[?pytest\.mark\.slow\b", re.MULTILINE)
SMALL_NUMBER = np.float32(1e-38)  # halved, it is below the least normal number
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(autouse=True)
def small_numbers() -> Iterator[None]:
    """No test leaves its thread in the state in which numbers below 1e-38 are nought: later sums would differ."""
    yield
    assert float(SMALL_NUMBER * np.float32(0.5)) > 0, "torch.set_flush_denormal, or a session of onnxruntime"


@pytest.fixture
def log_text() -> Iterator[io.StringIO]:
    """What is logged while a test runs, from DEBUG on: level, logger, message and traceback of each record."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets. Absent, the test is skipped, or fails under DEEPSEEK_REQUIRE_DATA=1."""
    folder = Path(os.environ.get("DEEPSEEK_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        say = pytest.fail if os.environ.get("DEEPSEEK_REQUIRE_DATA") == "1" else pytest.skip
        say(f"the public data sets are not in {folder}; set DEEPSEEK_DATA")
    return folder


@pytest.fixture(scope="session")
def cancer_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle, shipped once for all workers from `--example cancer`. Tests must not change it: copy it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cancer-bundle" / "cancer"
    out.parent.mkdir(exist_ok=True)
    with (out.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            families = "linear,xgboost"  # the same bundle, of a linear model and trees, whatever else is installed
            verb = ["ship", "--example", "cancer", "--out", str(out), "--trials", "3", "--seed", "0"]
            verb += ["--candidates", families]
            done = subprocess.run(
                [sys.executable, "-m", "deepseek", *verb], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A real browser. Page tests fail without one; they are never skipped."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    assert Path(path).exists(), "Chromium is missing. To mend it: make setup, or apt-get install chromium"
    return path


class Progress:
    """One line per test file, when its last test is done."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.results: dict[str, Counter[str]] = {}
        self.took_s: Counter[str] = Counter()
        self.num_files = 0
        self.start_s = time.monotonic()

    def expect(self, ids: list[str]) -> None:
        self.waiting = Counter(test_id.split("::")[0] for test_id in ids)
        self.num_files = len(self.waiting)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self.expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.expect(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Iterator[None]:
        """No letter per test: the line per file says it."""
        category, _, _ = yield
        return category, "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.split("::")[0]
        results = self.results.setdefault(file, Counter())
        self.took_s[file] += report.duration
        if report.when == "call" or report.outcome != "passed":
            results["skipped" if hasattr(report, "wasxfail") else report.outcome] += 1
        if report.when == "teardown":
            self.waiting[file] -= 1
            if self.waiting[file] == 0:
                self.write(file, results)

    def write(self, file: str, results: Counter[str]) -> None:
        num_done = sum(left == 0 for left in self.waiting.values())
        words = ", ".join(
            f"{results[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if results[outcome]
        )
        place = f"[{num_done:>{len(str(self.num_files))}}/{self.num_files}] {time.monotonic() - self.start_s:4.0f}s"
        print(f"{place}  {file}  {words} in {self.took_s[file]:.1f} s", file=sys.__stdout__, flush=True)


def has_no_chosen_test(file_path: Path, marks: str) -> bool:
    """Whether the text of a file says that none of its tests is run under `-m marks`: all of them are slow, or none.

    A file that imports tests has their marks. test_chosen_files.py holds this against marks that are read.
    """
    if marks == NOT_SLOW:
        return WHOLLY_SLOW.search(file_path.read_bytes()) is not None
    if marks != ONLY_SLOW:
        return False
    source = file_path.read_bytes()
    return b"mark.slow" not in source and IMPORTED_TEST.search(source) is None


class FilesThatAreRun:
    """No file is imported of which nothing is run. Each worker collects all files, which takes it half a minute.

    Most modules have no examples; and `make test` and `make test-slow` each leave out what the other one runs.
    """

    def __init__(self, marks: str) -> None:
        self.marks = marks

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        collectors = yield
        if has_no_chosen_test(file_path, self.marks):
            return []
        doctests = [each for each in collectors if isinstance(each, DoctestModule)]
        if doctests and b">>> " not in file_path.read_bytes():
            return [each for each in collectors if each not in doctests]
        if doctests and file_path.is_relative_to(SRC):
            # By Python's own import: pytest's runs a module twice whose package imports it, and there are two of it.
            with contextlib.suppress(ImportError):  # pytest tells it with the file
                importlib.import_module(".".join(("deepseek", *file_path.relative_to(SRC).with_suffix("").parts)))
        return collectors


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the collector of garbage need not look at it again and again."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FilesThatAreRun(config.option.markexpr), "files-that-are-run")
    config.option.loadscopereorder = False  # xdist begins with the files of most tests, which are not those
    if not hasattr(config, "workerinput"):
        gc.enable()  # where workers collect, this process does not
    if not hasattr(config, "workerinput") and config.get_verbosity() <= 0:
        config.pluginmanager.register(Progress(), "progress-per-file")
