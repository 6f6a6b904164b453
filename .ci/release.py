"""A release in dist/: the wheel, a bill of materials (CycloneDX), the container image (with Docker) and checksums.

    python .ci/release.py [--out dist] [--no-image] [--build-option=--network=host]

1. The tree of the last commit is exported twice, to two folders, and built in each: the same bytes, or exit code 1 and
   nothing is written.
2. The bill of materials lists what the extras need, with what those need, in the versions of this environment: those
   that the tests of the release ran with.
3. The image is built twice as well (release_image.py); without Docker it is said that there is none.
4. SHA256SUMS covers every file; `sha256sum -c SHA256SUMS` checks it.

Needs build and cyclonedx-bom beside the interpreter (make release makes .venv-release).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release_image import write_image

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".venv-release" / "bin"


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the files of a release.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the files (default: dist)")
    parser.add_argument("--no-image", action="store_true", help="no container image, also where Docker is there")
    parser.add_argument("--build-option", action="append", default=[], metavar="WORD", help="one more for docker build")
    options = parser.parse_args()
    version = re.findall(r'__version__ = "(.+)"', (ROOT / "src" / "deepseek" / "version.py").read_text("utf-8"))[0]
    if problem := changelog_problem((ROOT / "CHANGELOG.md").read_text("utf-8"), version):
        print(f"warning: {problem}", file=sys.stderr)
    if git("status", "--porcelain"):
        print("warning: changes that are not committed are not in the release", file=sys.stderr)
    moment_s = int(git("log", "-1", "--format=%ct"))  # of the commit: no clock is read
    with tempfile.TemporaryDirectory(prefix="deepseek-release-") as folder:
        sources = [export_commit(Path(folder) / name / "source") for name in ("first", "second")]
        first, second = (build_wheel(source, source.with_name("out"), moment_s) for source in sources)
        if differing := [name for name in first if first[name] != second.get(name)]:
            print(f"error: two builds differ in {', '.join(differing)}: nothing is written", file=sys.stderr)
            return 1
        options.out.mkdir(parents=True, exist_ok=True)
        fresh = [export_commit(Path(folder) / name / "image") for name in ("first", "second")]  # a build leaves traces
        try:
            image = [] if options.no_image else write_image(options.out, version, moment_s, fresh, options.build_option)
        except subprocess.CalledProcessError as error:
            print(f"error: no release, for its image failed: {' '.join(error.cmd[:2])} ended with {error.returncode}. "
                  "What it said stands above; --no-image leaves it out", file=sys.stderr)  # fmt: skip
            return 1
    for name, data in first.items():
        (options.out / name).write_bytes(data)
    bill = options.out / f"deepseek-{version}.cdx.json"
    bill.write_text(bill_of_materials(requirements(distribution("deepseek").requires or [], {"all"}), version), "utf-8")
    names = sorted([*first, bill.name, *image])
    (options.out / "SHA256SUMS").write_text(checksums(options.out, names), encoding="utf-8")
    print("\n".join(str(options.out / name) for name in [*names, "SHA256SUMS"]))
    return 0


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def changelog_problem(text: str, version: str) -> str:
    """What CHANGELOG.md lacks for a release of this version; empty where it is ready.

    >>> changelog_problem("## [1.0.0] - 2030-01-01", "1.0.0"), changelog_problem("## [Unreleased]", "1.0.0")
    ('', 'CHANGELOG.md has no section for 1.0.0')
    """
    is_there = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
    return "" if is_there else f"CHANGELOG.md has no section for {version}"


def export_commit(folder: Path) -> Path:
    """The files of the last commit in this folder, with its moment as their time."""
    with tarfile.open(fileobj=BytesIO(git("archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def build_wheel(source: Path, out: Path, moment_s: int) -> dict[str, bytes]:
    """The wheel of these sources: name to bytes."""
    subprocess.run(
        [str(TOOLS / "python"), "-m", "build", "--wheel", "--outdir", str(out), str(source)],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(moment_s)}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return {file.name: file.read_bytes() for file in sorted(out.iterdir())}


def requirements(needed: Iterable[str], extras: set[str]) -> list[str]:
    """NAME==VERSION of everything that these requirements need here, with what that needs; sorted."""
    versions: dict[str, str] = {}
    asked: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(text), frozenset(extras)) for text in needed]
    while waiting:
        requirement, of_extras = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in ("", *of_extras)):
            continue
        name, own_extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, own_extras) in asked:
            continue
        asked.add((name, own_extras))
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:  # needed on another system, or by an extra that is not installed here
            continue
        if name != "deepseek":
            versions[name] = installed.version
        waiting += [(Requirement(text), own_extras) for text in installed.requires or []]
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def bill_of_materials(pinned: list[str], version: str) -> str:
    """CycloneDX as JSON, without the moment at which it was made."""
    command = [str(TOOLS / "cyclonedx-py"), "requirements", "-", "--pyproject", str(ROOT / "pyproject.toml")]
    run = subprocess.run(
        [*command, "--mc-type", "library", "--output-reproducible", "--output-format", "JSON"],
        input="\n".join(pinned).encode(), capture_output=True, check=True,
    )  # fmt: skip
    bill = json.loads(run.stdout)
    bill["metadata"]["component"]["version"] = version  # pyproject.toml leaves it to version.py
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def checksums(folder: Path, names: Iterable[str]) -> str:
    """A file as sha256sum -c reads it."""
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


if __name__ == "__main__":
    sys.exit(main())
