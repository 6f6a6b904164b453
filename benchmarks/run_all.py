"""`make bench`: run every benchmark, show every claim in one table, write docs/benchmarks.md.

    python benchmarks/run_all.py [--quick] [--only NAME] [--list] [--page]

Exit code 0 when every bar holds, 3 when one is missed, 1 when a script breaks. `--page` only writes the page anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from result import RESULTS, ROOT, print_claims

HERE = Path(__file__).resolve().parent
PAGE = ROOT / "docs" / "benchmarks.md"
#: Scripts in the order in which they run, the short ones first.
SCRIPTS = (
    "plan", "cold_start", "front_door", "citations", "citations_opposites", "review", "explain", "explain_trees",
    "explain_load",
    "serve_row", "sklearn_bundles", "hostile", "hostile_network", "messy_columns", "serving", "root_cause", "drift",
    "observe", "custom_operator", "cleaning", "labelling", "weak_labels", "label_page", "generation", "train_loop",
    "elastic",
    "compression", "compression_edge", "compression_distill", "compression_quantize", "compression_vision",
    "distributed", "pipeline", "optimizers", "optimizers_long", "optimizer_batches", "keras_optimizer", "keras_models",
    "reading",
    "multimodal", "multimodal_photos", "multimodal_ct", "multimodal_autogluon", "first_hour", "fraud_stream",
    "fraud_stream_trees", "fraud_stream_server", "encrypted", "federated", "federated_trees", "federated_vertical",
    "private_training", "process", "maintenance", "defects", "assistant_server", "question_pairs",
    "assistant", "checklist", "judgment", "fraud_graph", "fraud_rings", "fraud_threshold", "fraud_snapshot",
    "ship_fraud", "ship_quality", "unseen_tables", "unseen_tables_autogluon", "learning_path", "learning_path_installs",
)  # fmt: skip
HEADER = """# Benchmarks

Made by `make bench` from `benchmarks/results/`; do not edit. Won or lost, every claim stands here. Where a ratio is
given the bar speaks of the ratio, else of our figure; a claim without a bar is shown, not judged.

The figures of `ship_fraud` are somewhat optimistic: choices in the code were made after its weeks had been seen.
The splits of `ship_quality` are new, but other splits of the same sets had been seen. [The log](log.md) says more.
"""


def run_script(name: str, flags: Sequence[str]) -> int:
    """Run one benchmark; its exit code."""
    print(f"\n=== {name}", flush=True)
    start = time.perf_counter()
    code = subprocess.run([sys.executable, f"benchmarks/{name}.py", *flags], cwd=ROOT, check=False).returncode
    print(f"=== {name}: exit {code} after {time.perf_counter() - start:.0f} s", flush=True)
    return code


def read_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The recorded results by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks.md."""
    judged = [each["holds"] for record in results.values() for each in record["claims"] if each["holds"] is not None]
    text = HEADER + f"\n{sum(judged)} of {len(judged)} bars hold.\n"
    return text + "".join(section(record) for record in results.values())


def section(record: Mapping[str, Any]) -> str:
    """One benchmark: a table of claims, then how it was run."""
    lines = [
        "",
        f"## {record['name']}",
        "",
        "| claim | ours | rival | ratio | bar | holds |",
        "|---|---|---|---|---|---|",
    ]
    for each in record["claims"]:
        rival = f"{number(each['rival'])} ({each['rival_name']})" if each["rival"] is not None else each["rival_name"]
        bar = "" if each["bar"] is None else f"{each['op']} {each['bar']:g}"
        holds = {True: "yes", False: "**no**", None: ""}[each["holds"]]
        cells = (each["claim"], f"{number(each['ours'])} {each['unit']}", rival, number(each["ratio"]), bar, holds)
        lines.append("| " + " | ".join(cells) + " |")
    notes = [(each["claim"], ", ".join(filter(None, (each["note"], when(each))))) for each in record["claims"]]
    lines += ["", *(f"- {name}: {note}" for name, note in notes if note)]
    if record.get("not_run"):
        lines += ["", f"Not run: {', '.join(record['not_run'])}."]
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lines += [
        "",
        f"`{record['command']}` on {record['date'][:10]}, commit {record['commit'][:12]}, {machine['num_cores']} cores",
    ]
    lines[-1] += f" of {machine['cpu']}. {versions}."
    return "\n".join(lines) + "\n"


def when(claim: Mapping[str, Any]) -> str:
    """Of a claim that was measured again by itself: when, and on which commit."""
    measured = claim.get("measured")
    return (
        "" if measured is None else f"measured by itself on {measured['date'][:10]}, commit {measured['commit'][:12]}"
    )


def number(value: float | None) -> str:
    """Four significant digits, or nothing."""
    return "" if value is None else f"{value:.4g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="what fits into 5 minutes a script, at the same bars")
    parser.add_argument("--only", choices=SCRIPTS, help="one script")
    parser.add_argument("--list", action="store_true", help="name the scripts")
    parser.add_argument("--page", action="store_true", help="only write docs/benchmarks.md anew")
    options = parser.parse_args()
    if options.list:
        print("\n".join(SCRIPTS))
        return 0
    chosen = () if options.page else (options.only,) if options.only else SCRIPTS
    codes = {name: run_script(name, ["--quick"] if options.quick else []) for name in chosen}
    results = read_results()
    print_claims(
        [each for name, record in results.items() if options.page or name in codes for each in record["claims"]]
    )
    PAGE.write_text(page(results))
    for name, code in codes.items():
        if code:
            print(f"{name}: {'a bar is missed' if code == 3 else f'broken, exit {code}'}")
    return exit_code(codes.values())


def exit_code(codes: Iterable[int]) -> int:
    """0 when every bar holds, 3 when one is missed, 1 when a script broke."""
    kinds = set(codes)
    return 1 if kinds - {0, 3} else max(kinds, default=0)


if __name__ == "__main__":
    sys.exit(main())
