"""Generated files are current, and what the stack mounts fits together."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepseek.cli import main
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.metrics_table import metrics_in

ROOT = Path(__file__).resolve().parents[2]
WATCH = ROOT / "deploy/watch"
CHART_FILES = ROOT / "deploy/helm/deepseek-model-server/files"
yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def make_watch() -> ModuleType:
    pytest.importorskip("grafana_foundation_sdk")
    spec = importlib.util.spec_from_file_location("make_watch", ROOT / "docs/make_watch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rules_dashboards_runbooks_and_guides_are_those_of_the_tables(make_watch: ModuleType) -> None:
    expected = make_watch.files()
    for name, text in expected.items():
        assert (ROOT / name).read_text("utf-8") == text, f"{name}: to mend it: make docs"
    kept = {
        path.relative_to(ROOT).as_posix()
        for folder in set(make_watch.PLACES.values())
        for path in (ROOT / folder).iterdir()
        if path.is_file()
    }
    assert kept == expected.keys()
    for name in make_watch.GUIDES:
        text = (ROOT / name).read_text("utf-8")
        assert text == make_watch.guide(text), f"{name}: to mend it: make docs"


def test_every_dashboard_is_what_grafanas_own_types_read(make_watch: ModuleType) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for name, board in DASHBOARDS.items():
        text = (CHART_FILES / f"dashboards/deepseek-{name}.json").read_text("utf-8")
        document = json.loads(text)
        again = json.loads(JSONEncoder().encode(Dashboard.from_json(document)))
        for panel in again["panels"]:
            assert panel["fieldConfig"]["defaults"].pop("custom", {}) == {}  # what a plugin may keep: nothing
        assert again == document
        assert [panel["title"] for panel in document["panels"]] == [panel.title for panel in board.panels]
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in document["panels"]}) == len(
            board.panels
        )


def test_every_query_parses_and_reads_metrics_of_the_table() -> None:
    promql = pytest.importorskip("promql_parser")
    for board in DASHBOARDS.values():
        for panel in board.panels:
            for query in panel.queries:
                promql.parse(query.evaluable("5m"))
                assert metrics_in(query.expression)
                assert not re.search(r"\$(?!__rate_interval|model\b)", query.expression)


#: In a network of their own, which the model server is not in: Elasticsearch has no password there.
LOGGING = {"elasticsearch", "kibana", "log-setup", "filebeat"}


def compose() -> dict[str, Any]:
    compose_file: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return compose_file


def test_the_stack_mounts_files_that_are_there_and_reaches_nobody_else() -> None:
    document = compose()
    watching = {name: each for name, each in document["services"].items() if each.get("profiles") == ["watch"]}
    assert watching.keys() == {"prometheus", "alertmanager", "grafana", *LOGGING}
    for name, service in watching.items():
        sources = [volume.split(":")[0] for volume in service["volumes"]]
        assert all((ROOT / source).exists() for source in sources if source.startswith("./"))
        assert {source for source in sources if source[0] not in "./"} <= document["volumes"].keys()
        assert all(volume.endswith(":ro") for volume in service["volumes"] if volume[0] in "./")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service.get("read_only") is True or name in LOGGING - {"log-setup"}  # these write beside their data
        assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}
        assert "healthcheck" in service
        assert ":" in service["image"]
        assert "latest" not in service["image"]
    config = yaml.safe_load((WATCH / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    hosts = [
        *job["static_configs"][0]["targets"],
        *config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"],
    ]
    assert {host.split(":")[0] for host in hosts} <= document["services"].keys()
    mounted = [volume.split(":")[1] for volume in watching["prometheus"]["volumes"]]
    assert set(config["rule_files"]) <= set(mounted)
    provider = yaml.safe_load((WATCH / "grafana/dashboards.yml").read_text("utf-8"))["providers"][0]
    assert provider["options"]["path"] in [volume.split(":")[1] for volume in watching["grafana"]["volumes"]]


def test_who_ships_logs_is_in_a_network_of_its_own_and_waits_for_what_it_needs() -> None:
    document = compose()
    services = document["services"]
    assert {name for name, each in services.items() if each.get("networks") == ["logs"]} == LOGGING
    assert document["networks"].keys() == {"logs"}
    needs = {name: set(services[name].get("depends_on", [])) for name in LOGGING}
    assert needs == {
        "elasticsearch": set(), "kibana": {"elasticsearch"}, "log-setup": {"kibana"}, "filebeat": {"log-setup"}
    }  # fmt: skip
    assert {"ELASTIC_URL=http://elasticsearch:9200", "KIBANA_URL=http://kibana:5601"} == set(
        services["log-setup"]["environment"]
    )
    elastic_images = {services[name]["image"].rpartition(":")[2] for name in LOGGING}
    assert len(elastic_images) == 1  # one release


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: make setup brings it")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (WATCH / "prometheus.yml").read_text("utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/deepseek/rules.yml", str(CHART_FILES / "rules.yml")))
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is missing: make setup brings it")
def test_alertmanager_takes_its_configuration_and_routes_to_who_is_on_call() -> None:
    file = f"--config.file={WATCH / 'alertmanager.yml'}"
    for words in (
        ["check-config", str(WATCH / "alertmanager.yml")],
        ["config", "routes", "test", file, "severity=critical"],
    ):
        done = subprocess.run(["amtool", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "on-call"


def test_an_export_holds_dashboards_rules_and_runbooks(
    make_watch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without promtool, which rules/test_rules.py runs
    assert main(["observe", "export", str(tmp_path / "out"), "--set", "psi=0.3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["unit_tests"] == "not run: promtool is not installed"
    assert result["thresholds"]["psi"] == 0.3
    assert {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    } == set(result["files"])
    assert "> 0.3" in (tmp_path / "out/prometheus/rules.yml").read_text("utf-8")
    (tmp_path / "file").write_text("")
    assert main(["observe", "export", str(tmp_path / "file"), "--json"]) == 2
    assert "is a file" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_thresholds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe", "export", "--list", "--json"]) == 0
    thresholds = json.loads(capsys.readouterr().out)["thresholds"]
    assert thresholds["latency_p99"] == {
        "value": 1.0,
        "default": 1.0,
        "low": 0.001,
        "high": 9.0,
        "unit": "s",
        "meaning": "99 % of predictions are answered within",
    }
