"""The container image of a release, where Docker is there: built twice, written as a file with its ID.

    names = write_image(Path("dist"), "1.2.0", 1793440800, [first, second])

1. Each of two exports of the commit is built by docker/Dockerfile, with the moment of the commit in the place of every
   clock; the second build takes nothing from the first. Both have the same ID, unless the package index or the base
   image has changed in between: whether they have is written down, and said where they have not.
2. deepseek-VERSION-image.tar is what `docker load` reads; deepseek-VERSION-image.json has its ID, which `docker image
   inspect` shows after that, and the ID of the base image.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BASE = "python:3.11-slim"  # as docker/Dockerfile has it


def write_image(
    out: Path, version: str, moment_s: int, sources: Sequence[Path], options: Sequence[str] = ()
) -> list[str]:
    """The names of the files that it wrote; none where Docker is not there, which is said.

    `sources`: two folders with the same commit; `options`: more words for docker build. CalledProcessError for a build
    that fails.
    """
    if problem := docker_problem():
        print(f"warning: no container image in this release: {problem}", file=sys.stderr)
        return []
    tag = f"deepseek/model-server:{version}"
    ids = [
        build(source, tag, moment_s, [*options, *more])
        for source, more in zip(sources, ([], ["--no-cache"]), strict=True)
    ]
    is_reproduced = len(set(ids)) == 1
    if not is_reproduced:
        print(f"warning: two builds of the image differ: {' and '.join(ids)}", file=sys.stderr)
    name = f"deepseek-{version}-image"
    docker("save", "--output", str(out / f"{name}.tar"), tag)
    record = {
        "image": tag, "id": ids[-1], "is_reproduced": is_reproduced, "base": BASE,
        "base_id": docker("image", "inspect", "--format", "{{.Id}}", BASE),
    }  # fmt: skip
    (out / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return [f"{name}.json", f"{name}.tar"]


def docker_problem() -> str:
    """Why no image can be built; empty where one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    run = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    return run.stderr.strip().rpartition("\n")[2] or "docker version failed" if run.returncode else ""


def build(source: Path, tag: str, moment_s: int, options: Sequence[str]) -> str:
    """The ID of the image of the Dockerfile in `source`."""
    with tempfile.NamedTemporaryFile("r", suffix=".iid") as file:
        docker(
            "build", "--tag", tag, "--iidfile", file.name, "--build-arg", f"SOURCE_DATE_EPOCH={moment_s}", *options,
            "--file", str(source / "docker" / "Dockerfile"), str(source),
        )  # fmt: skip
        return Path(file.name).read_text("utf-8").strip()


def docker(*words: str) -> str:
    """What it prints on stdout; what it says while it works goes to stderr."""
    return subprocess.run(["docker", *words], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
