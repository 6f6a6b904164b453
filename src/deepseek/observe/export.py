"""What watches a server, as files to put into one's own stack: dashboards, alert rules with their tests, runbooks, and
what ships log lines into Elasticsearch and shows them in Kibana.

    export(Path("watching"), read_thresholds(["latency_p99=0.8"]))

Where promtool is there, it checks the rules and runs their unit tests with the thresholds that were asked for, before
anything is left behind.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, InputError
from deepseek.extras import need
from deepseek.observe.dashboards.grafana import dashboard_json
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.rules.rule_file import ALERTS, RULES_NAME, rule_file, unit_tests
from deepseek.observe.rules.runbook import runbook
from deepseek.observe.rules.thresholds import Thresholds
from deepseek.observe.shipping.files import log_files

PROMTOOL_TIMEOUT_S = 300.0
RUNBOOKS, GRAFANA, PROMETHEUS, ELASTIC = "runbooks", "dashboards", "prometheus", "elastic"
HEAD = "# Made by `deepseek observe export`; change thresholds by its --set, not here.\n"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written. `unit_tests`: whether promtool has run them."""

    folder: Path
    files: tuple[str, ...]
    num_rules: int
    num_dashboards: int
    thresholds: Mapping[str, float]
    unit_tests: Literal["passed", "not run: promtool is not installed"]

    def to_dict(self) -> JsonObject:
        """The object of --json."""
        return {
            "folder": str(self.folder), "files": list(self.files), "rules": self.num_rules,
            "dashboards": self.num_dashboards, "thresholds": dict(self.thresholds), "unit_tests": self.unit_tests,
        }  # fmt: skip


def render_files(thresholds: Thresholds, runbooks: str) -> dict[str, str]:
    """Every file by its path. `runbooks`: as in rule_file(). ExtraError without the extra `observe`."""
    files = {f"{GRAFANA}/deepseek-{name}.json": dashboard_json(name) for name in DASHBOARDS}
    files[f"{PROMETHEUS}/{RULES_NAME}"] = HEAD + _to_yaml(rule_file(thresholds, runbooks))
    for name, document in unit_tests(thresholds).items():
        files[f"{PROMETHEUS}/{name}"] = HEAD + _to_yaml(document)
    files |= {f"{ELASTIC}/{name}": text for name, text in log_files().items()}
    return files | {f"{RUNBOOKS}/{alert.name}.md": runbook(alert, thresholds) for alert in ALERTS}


def export(folder: Path, thresholds: Thresholds, runbooks: str = RUNBOOKS) -> Export:
    """Write the files into a folder, over those of an earlier export. CheckError when a unit test fails: then nothing
    is written. InputError for a path that is no folder."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", expected="a folder, or a new name", fix="give another name")
    files = render_files(thresholds, runbooks)
    with tempfile.TemporaryDirectory(prefix="deepseek-observe-") as draft:
        write_files(Path(draft), files)
        passed = check_rules(Path(draft) / PROMETHEUS)
    write_files(folder, files)
    return Export(
        folder, tuple(sorted(files)), len(ALERTS), len(DASHBOARDS), thresholds.values,
        "passed" if passed else "not run: promtool is not installed",
    )  # fmt: skip


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each text at its path below the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def check_rules(folder: Path) -> bool:
    """Let promtool check the rules in a folder and run their unit tests. False where it is not installed. CheckError
    with its words when one fails."""
    if shutil.which("promtool") is None:
        return False
    tests = sorted(path.name for path in folder.glob("*_test.yml"))
    for words in (["check", "rules", RULES_NAME], ["test", "rules", *tests]):
        done = subprocess.run(
            ["promtool", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=PROMTOOL_TIMEOUT_S
        )
        if done.returncode:
            raise CheckError(
                f"promtool {words[0]} rules fails: {(done.stdout + done.stderr).strip()[-2000:]}",
                expected="rules whose unit tests pass", fix="report it, with the thresholds that were set",
            )  # fmt: skip
    return True


def _to_yaml(document: JsonObject) -> str:
    yaml = need("yaml", extra="observe")
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1_000)
    return text
