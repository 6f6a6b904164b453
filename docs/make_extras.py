"""Makes docs/extras.md: which extras resolve on which Python, asked of the package index today.

    python docs/make_extras.py [--uv UV]

Each extra is resolved by uv (pip install uv) for each Python, in wheels alone, for Linux on x86-64: nothing is
installed, and none of these Pythons has to be there. A resolution is not a test: `make test` runs on that of .venv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("extras.md")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORM = "x86_64-manylinux_2_28"
HEAD = """# What installs on which Python

Made by `python docs/make_extras.py` on {date}, which asks the package index for wheels of each extra for Linux on
x86-64. A number says how many packages come in all, the base install's among them; "no" is followed by the reason
below the table. An extra that has no wheels for a Python today may have them tomorrow: run it again.

| Extra | {pythons} |
| --- | {rules} |
"""


def resolve(uv: str, extra: str, python: str, folder: Path) -> tuple[int, str]:
    """How many packages an extra takes on a Python, or 0 and why it has none. "" is the base install."""
    out = folder / f"{extra}-{python}.txt"
    command = [uv, "pip", "compile", str(ROOT / "pyproject.toml"), "--python-version", python, "--only-binary", ":all:",
               "--python-platform", PLATFORM, "--no-header", "--no-annotate", "--quiet", "--output-file", str(out),
               *(["--extra", extra] if extra else [])]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return 0, reason_of(done.stderr)
    return sum(1 for line in out.read_text().splitlines() if "==" in line), ""


def reason_of(message: str) -> str:
    """The end of uv's explanation, which names the package, in one line."""
    lines = [line.strip(" ╰─▶│×") for line in message.splitlines() if line.strip(" ╰─▶│×")]
    return " ".join(lines)[-400:]


def page(uv: str, extras: list[str]) -> str:
    """The whole page as Markdown."""
    rows, reasons = [], []
    with tempfile.TemporaryDirectory() as folder:
        for extra in ["", *extras]:
            cells = []
            for python in PYTHONS:
                count, reason = resolve(uv, extra, python, Path(folder))
                cells.append(str(count) if count else "no")
                if reason:
                    reasons.append(f"- `{extra}` on {python}: {reason}")
            rows.append(f"| {f'`{extra}`' if extra else 'none'} | {' | '.join(cells)} |")
            print(rows[-1], file=sys.stderr)
    head = HEAD.format(
        date=datetime.now(UTC).date().isoformat(),
        pythons=" | ".join(PYTHONS),
        rules=" | ".join("---:" for _ in PYTHONS),
    )
    return head + "\n".join(rows) + "\n" + ("\n" + "\n".join(reasons) + "\n" if reasons else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="where uv is")
    arguments = parser.parse_args()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    PAGE.write_text(page(arguments.uv, sorted(extras)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
