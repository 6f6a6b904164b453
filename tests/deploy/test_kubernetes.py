"""The Helm chart, rendered by helm itself, and the runtime of KServe: held against Kubernetes' schemas and a server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deepseek import __version__
from deepseek.observe.metrics_table import find_metric
from deepseek.serve import Settings
from deepseek.serve.core.config import ENVIRONMENT
from deepseek.serve.run import GRACE_S
from support.servers.serving import started

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/deepseek-model-server"
TOOLS = ROOT / ".venv-helm/bin"
OLDEST, NEWEST = "1.30", "1.37"
CLAIM = ("models.claimName=models",)
ALL = (
    *CLAIM, "grpc.enabled=true", "coalesce=true", "autoscaling.enabled=true", "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true", "dashboards.enabled=true", "networkPolicy.enabled=true", "autoscaling.queueRows=500",
    "apiKeys.secretName=api-keys", "serviceMonitor.apiKey.secretName=scraper", "imagePullSecrets[0].name=registry",
    "env[0].name=FRONT_ENDS", "env[0].value=two", "nodeSelector.disk=ssd", "podAnnotations.team=risk",
)  # fmt: skip

#: Of an operator, which Kubernetes itself does not know.
OPERATOR_KINDS = ("ServiceMonitor", "PrometheusRule")

needs_helm = pytest.mark.skipif(
    not (TOOLS / "helm").exists() and shutil.which("helm") is None, reason="helm is missing: make test-deploy brings it"
)


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = str(TOOLS / "helm") if (TOOLS / "helm").exists() else "helm"
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def sets(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def rendered(*values: str) -> dict[str, Any]:
    """What the chart makes, by kind."""
    done = helm("template", "bert", CHART, *sets(*values))
    assert done.returncode == 0, done.stderr
    documents = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert len({one["kind"] for one in documents}) == len(documents)
    return {one["kind"]: one for one in documents}


def validate(resources: Any, tmp_path: Path) -> None:
    """By the schemas of the oldest and the newest Kubernetes; what they do not know is refused."""
    path = tmp_path / "resources.yaml"
    path.write_text(yaml.safe_dump_all(resources))
    for version in (OLDEST, NEWEST):
        command = [TOOLS / "kubernetes-validate", "--strict", "--quiet", "--no-warn", "-k", version, path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def pod_of(documents: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]
    return pod


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def probed(container: dict[str, Any]) -> set[str]:
    return {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}


def check_confined(container: dict[str, Any], pod: dict[str, Any]) -> None:
    """No rights, and nothing to write to but /tmp."""
    confined = pod.get("securityContext", {}) | container["securityContext"]
    assert confined["runAsNonRoot"] is True
    assert confined["runAsUser"] == 10001, "the image's user"
    assert confined["readOnlyRootFilesystem"] is True
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert confined["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
    assert volumes["tmp"]["emptyDir"]["medium"] == "Memory"


@needs_helm
@pytest.mark.parametrize("values", [CLAIM, ("models.hostPath=/srv/models",), ALL])
def test_what_helm_renders_is_what_kubernetes_takes(values: tuple[str, ...], tmp_path: Path) -> None:
    assert helm("lint", "--strict", CHART, *sets(*values)).returncode == 0
    documents = rendered(*values)
    monitor, rules = (documents.pop(kind, None) for kind in OPERATOR_KINDS)
    assert (monitor is None) == (rules is None) == (values != ALL)
    validate(documents.values(), tmp_path)
    selector = documents["Deployment"]["spec"]["selector"]["matchLabels"]
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert documents["Service"]["spec"]["selector"] == selector
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    if monitor is not None:
        assert monitor["spec"]["selector"]["matchLabels"].items() <= documents["Service"]["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["authorization"]["credentials"] == {"name": "scraper", "key": "key"}


@needs_helm
def test_what_watches_the_pods_is_of_one_piece(tmp_path: Path) -> None:
    objects = rendered(*ALL, "prometheusRule.labels.release=monitoring")
    assert objects["PrometheusRule"]["metadata"]["labels"]["release"] == "monitoring"
    files = CHART / "files"
    assert objects["PrometheusRule"]["spec"] == yaml.safe_load((files / "rules.yml").read_text("utf-8"))
    assert objects["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    boards = {path.name: path.read_text("utf-8") for path in (files / "dashboards").glob("*.json")}
    assert {name: text.strip() for name, text in objects["ConfigMap"]["data"].items()} == {
        name: text.strip() for name, text in boards.items()
    }
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "deepseek"}], "the rules ask for this job"
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == objects["Deployment"]["spec"]["selector"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["http", "grpc"], ["http"]]
    (queue,) = (
        each["pods"] for each in objects["HorizontalPodAutoscaler"]["spec"]["metrics"] if each["type"] == "Pods"
    )
    assert find_metric(queue["metric"]["name"]).kind == "gauge"
    assert queue["target"] == {"type": "AverageValue", "averageValue": "500"}


@needs_helm
def test_rules_of_ones_own_thresholds_take_the_place_of_the_charts(tmp_path: Path) -> None:
    rules = {
        "groups": [{"name": "own", "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"s": "{{ $value }}"}}]}]
    }
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    words = [
        *sets(*CLAIM, "prometheusRule.enabled=true"),
        "--set-file",
        f"prometheusRule.rules={tmp_path / 'rules.yml'}",
    ]
    completed = helm("template", "bert", CHART, *words)
    assert completed.returncode == 0, completed.stderr
    (rule,) = (one for one in yaml.safe_load_all(completed.stdout) if one and one["kind"] == "PrometheusRule")
    assert rule["spec"] == rules


@needs_helm
def test_the_pod_has_no_rights_and_time_to_finish() -> None:
    pod = pod_of(rendered(*ALL))
    (container,) = pod["containers"]
    check_confined(container, pod)
    assert pod["automountServiceAccountToken"] is False
    assert container["image"] == f"deepseek/model-server:{__version__}"
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + GRACE_S + Settings().drain_s
    assert container["resources"]["limits"].keys() == container["resources"]["requests"].keys() == {"cpu", "memory"}


@needs_helm
def test_the_ports_are_those_that_the_server_is_told() -> None:
    documents = rendered(*ALL)
    (container,) = pod_of(documents)["containers"]
    variables = environment(container)
    assert variables.keys() <= ENVIRONMENT.keys()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (
        ports == {"http": int(variables["PORT"]), "grpc": int(variables["GRPC_PORT"])} == {"http": 8000, "grpc": 8001}
    )
    served = {port["targetPort"]: port["port"] for port in documents["Service"]["spec"]["ports"]}
    assert served == {"http": 8000, "grpc": 8001}
    keys = next(mount for mount in container["volumeMounts"] if mount["name"] == "api-keys")
    assert variables["DEEPSEEK_API_KEYS_FILE"] == f"{keys['mountPath']}/keys"
    plain = rendered(*CLAIM)
    (container,) = pod_of(plain)["containers"]
    assert not {"GRPC_PORT", "DEEPSEEK_API_KEYS_FILE"} & environment(container).keys()
    assert [port["name"] for port in plain["Service"]["spec"]["ports"]] == ["http"]


@needs_helm
def test_who_scales_says_how_many_there_are() -> None:
    documents = rendered(*ALL)
    assert "replicas" not in documents["Deployment"]["spec"], "each upgrade would undo what was scaled"
    target = documents["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", documents["Deployment"]["metadata"]["name"])
    plain = rendered(*CLAIM)
    assert plain["Deployment"]["spec"]["replicas"] == 2
    assert plain.keys() == {"Deployment", "Service", "PodDisruptionBudget"}


@needs_helm
@pytest.mark.parametrize("values", [(), (*CLAIM, "models.hostPath=/srv")])
def test_models_come_from_one_volume(values: tuple[str, ...]) -> None:
    done = helm("template", "bert", CHART, *sets(*values))
    assert done.returncode != 0
    assert "models.claimName" in done.stderr


@needs_helm
def test_a_server_with_this_environment_answers_the_probes(cancer_bundle: Path, tmp_path: Path) -> None:
    """With keys as well: who probes has none."""
    keys = tmp_path / "keys"
    keys.write_text("0" * 64)
    values = (*CLAIM, f"modelPath={cancer_bundle}", "coalesce=true", "apiKeys.secretName=api-keys", "workers=1")
    (container,) = pod_of(rendered(*values))["containers"]
    variables = environment(container) | {"PORT": "0", "DEEPSEEK_API_KEYS_FILE": str(keys)}
    assert variables["MODEL_PATH"] == str(cancer_bundle)
    with started(environ=variables) as server:
        for path in probed(container):
            assert httpx.get(f"{server.url}{path}").status_code == 200
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        assert server.stop() == 0


@pytest.fixture
def runtime() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "deploy/kserve/runtime.yaml").read_text("utf-8"))
    return document


@pytest.fixture
def container(runtime: dict[str, Any]) -> dict[str, Any]:
    pod_container: dict[str, Any]
    (pod_container,) = runtime["spec"]["containers"]
    return pod_container


def test_the_runtime_of_kserve_is_confined_and_whole(runtime: dict[str, Any], container: dict[str, Any]) -> None:
    check_confined(container, runtime["spec"])
    assert container["name"] == "kserve-container", "the name that KServe looks for"
    assert container["image"] == f"deepseek/model-server:{__version__}"
    variables = environment(container)
    assert variables.keys() <= ENVIRONMENT.keys()
    assert [port["containerPort"] for port in container["ports"]] == [int(variables["PORT"])]
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {8080}
    example = yaml.safe_load((ROOT / "deploy/kserve/example.yaml").read_text("utf-8"))["spec"]["predictor"]
    assert example["model"]["runtime"] == runtime["metadata"]["name"]
    assert example["model"]["modelFormat"]["name"] in [one["name"] for one in runtime["spec"]["supportedModelFormats"]]
    assert example["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert example["terminationGracePeriodSeconds"] > GRACE_S + Settings().drain_s


@needs_helm
def test_the_container_of_the_runtime_is_what_kubernetes_takes(runtime: dict[str, Any], tmp_path: Path) -> None:
    spec = {name: runtime["spec"][name] for name in ("containers", "volumes")}
    validate([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}], tmp_path)


@pytest.mark.slow
def test_a_server_with_the_arguments_of_the_runtime_answers(cancer_bundle: Path, container: dict[str, Any]) -> None:
    words = json.dumps(container["args"]).replace("{{.Name}}", "risk").replace("/mnt/models", str(cancer_bundle))
    verb, *args = json.loads(words)
    assert verb == "serve"
    variables = environment(container) | {"PORT": "0", "WORKERS": "1"}
    with started(*args, environ=variables) as server:
        assert server.models == ["risk"]
        for path in probed(container):
            assert httpx.get(f"{server.url}{path}").status_code == 200
        assert httpx.get(f"{server.url}/v2/models/risk/ready").status_code == 200
        assert server.stop() == 0
