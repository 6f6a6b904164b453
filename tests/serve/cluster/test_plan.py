"""What a cluster is told, and what is refused: none of it needs Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek.cli import main
from deepseek.cli.support.cluster import BUILD
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.serve import Settings
from deepseek.serve.cluster.connection import check_address
from deepseek.serve.cluster.plan import ClusterPlan, PlannedModel, ReplicaRange, read_replica_settings, to_yaml
from deepseek.serve.cluster.run import prepare_own_cluster

SERVE = ("serve", "--cluster", "ray")


def plan(settings: Settings, replicas: ReplicaRange | None = None) -> ClusterPlan:
    model = PlannedModel("loans", "/models/loans", "0" * 64)
    return ClusterPlan([model], settings, replicas or ReplicaRange(1, 4), BUILD)


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([*SERVE, *map(str, words)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(("workers", "replicas"), [(1, ReplicaRange(3, 9)), (3, ReplicaRange(1, 1))])
def test_more_engines_than_this_machine_has_cores_are_refused(
    workers: int, replicas: ReplicaRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepseek.serve.cluster.run.num_cores", lambda: 2)
    with pytest.raises(InputError, match="need 3 cores, and this machine has 2"):
        prepare_own_cluster(plan(Settings(port=0, workers=workers), replicas))


def test_a_configuration_is_written_that_says_all_that_the_options_said(loans: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("0" * 64)
    options = ["--port", "8123", "--batch-size", "16", "--workers", "2", "--replicas", "2:5", "--api-keys", str(keys)]
    assert main([*SERVE, f"credit={loans}", *options, "--timeout", "9", "--config-out", str(tmp_path / "c.yaml")]) == 0
    configuration = yaml.safe_load((tmp_path / "c.yaml").read_text("utf-8"))
    assert configuration["http_options"] == {
        "host": "127.0.0.1", "port": 8123, "request_timeout_s": 10.0, "keep_alive_timeout_s": 75
    }  # fmt: skip
    assert configuration["proxy_location"] == "HeadOnly"
    (application,) = configuration["applications"]
    assert application["import_path"] == BUILD
    with Runtime.open(loans) as runtime:
        digest = runtime.manifest.digest
    assert application["args"]["models"] == [{"name": "credit", "path": str(loans), "digest": digest}]
    settings = read_replica_settings(application["args"]["settings"])
    assert (settings.workers, settings.batch_size, settings.timeout_s) == (2, 16, 9.0)
    assert settings.api_keys_file == str(keys)
    (deployment,) = application["deployments"]
    assert deployment["ray_actor_options"] == {"num_cpus": 2}
    assert deployment["max_ongoing_requests"] == 64
    assert deployment["autoscaling_config"] == {
        "min_replicas": 2, "max_replicas": 5, "target_ongoing_requests": 32
    }  # fmt: skip


def test_a_replica_has_one_engine_process_unless_told_otherwise(
    loans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_PATH", str(loans))
    monkeypatch.setenv("BATCH_SIZE", "8")
    assert main([*SERVE, "--config-out", str(tmp_path / "c.yaml")]) == 0
    (application,) = yaml.safe_load((tmp_path / "c.yaml").read_text("utf-8"))["applications"]
    assert application["args"]["settings"]["workers"] == 1
    assert application["args"]["models"][0]["name"] == "loans"
    assert application["deployments"][0]["autoscaling_config"]["target_ongoing_requests"] == 8


def test_proxies_run_on_every_node_only_where_they_can_be_reached() -> None:
    assert plan(Settings()).proxies == "HeadOnly"
    assert plan(Settings(host="0.0.0.0")).proxies == "EveryNode"


def test_yaml_brings_back_what_went_in() -> None:
    value: dict[str, Any] = {
        "a": [{"b": ["x: y", "- z", "# no", "", "yes", "1"], "c": {}}, [], [[1, 2]], None, True, 1.5, 30.0],
        "path": "/模型/\x7f\x85\u2028'\"\\\n😀",
        "deep": {"er": {"est": -1}},
    }
    assert yaml.safe_load(to_yaml(value)) == value


@pytest.mark.parametrize("text", ["", "0", "3:2", "1:2:3", "-1", "a:b", "1:", "1:10001", "٣", "1e3"])
def test_numbers_of_replicas_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--replicas 1:4"):
        ReplicaRange.parse(text)


@pytest.mark.parametrize("address", ["", "ray://head:10001", "local", "head", "head:", ":6379", "a b:1", "head:6379/x"])
def test_addresses_that_ray_would_take_for_something_else_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        check_address(address)


def test_addresses_of_head_nodes_are_taken() -> None:
    for address in ("auto", "head.example:6379", "10.0.0.1:6379", "[::1]:6379"):
        check_address(address)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"workers": True}, "workers"), ({"batch_size": "32"}, "batch_size"), ({"workers": -1}, "workers")],
)
def test_a_changed_configuration_is_checked(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        read_replica_settings(changes)


def test_a_setting_that_does_not_exist_names_the_near_one() -> None:
    with pytest.raises(InputError, match="batch_size"):
        read_replica_settings({"batchsize": 32})


@pytest.mark.parametrize(
    "words",
    [
        ("--grpc-port", "0"), ("--front-ends", "2"), ("--repository", "."), ("--watch", "1"), ("--lossy", "cosine=1"),
        ("--route", "m=v1:1"), ("--audit-log", "log"), ("--max-connections", "9"), ("--tls-cert", "a"),
    ],
)  # fmt: skip
def test_what_does_not_hold_on_a_cluster_is_refused_by_name(
    words: tuple[str, ...], loans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, loans, *words)
    assert f"{words[0]} does not hold on a cluster" in said


@pytest.mark.parametrize(("variable", "value"), [("GRPC_PORT", "0"), ("FRONT_ENDS", "2")])
def test_so_is_what_stands_in_the_environment(
    variable: str,
    value: str,
    loans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    assert f"{variable} does not hold on a cluster" in refused(capsys, loans, "--config-out", tmp_path / "c.yaml")


def test_options_of_a_cluster_are_not_taken_without_one(loans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--replicas", "2"), ("--address", "auto"), ("--config-out", "c.yaml")):
        assert main(["serve", str(loans), *words]) == 2
        assert "--cluster ray" in capsys.readouterr().err


def test_nothing_is_written_for_a_model_that_cannot_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.yaml"
    assert "nowhere" in refused(capsys, tmp_path / "nowhere", "--config-out", out)
    assert "MODEL_PATH" in refused(capsys, "--config-out", out)
    assert not out.exists()


def test_keys_that_cannot_be_read_are_no_open_door(
    loans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, loans, "--api-keys", tmp_path / "none", "--config-out", tmp_path / "c.yaml")
    assert "API keys" in said
    assert not (tmp_path / "c.yaml").exists()


def test_a_port_of_this_machine_is_not_written_for_another(
    loans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "port 0" in refused(capsys, loans, "--port", "0", "--config-out", tmp_path / "c.yaml")


def test_without_ray_it_says_what_brings_it(loans: Path) -> None:
    code = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Hiding(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name.split('.')[0] == 'ray' else super().find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]\n"
        "from deepseek.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SERVE, str(loans)], env=os.environ | {"PORT": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install -e '.[ray]'" in done.stderr
    assert not done.stdout
