"""Keras models as bundles: how many answer as Keras does, beside tf2onnx alone and Keras' own export alone.

    python benchmarks/keras_models.py [--quick] [--only CLAIM] [--python PYTHON] [--nets N] [--keep FILE] [--ours]

40 architectures of keras.applications and 60 small nets (keras_nets.py), with random weights. Keras on TensorFlow makes
them and says what is right; six of their rows are in sight of the conversion, six others judge. Counted are those whose
every answer is within 1e-4 of the largest, as a server opens the bundle; those that were refused by name; and those
that were converted and answer otherwise. The rivals: tf2onnx.convert.from_function, and model.export(format="onnx") on
Keras' torch backend, each run by onnxruntime. --quick takes the small nets and four architectures. The 40
architectures take hours of one core: --keep FILE notes each verdict as it comes, a run that was cut off goes on behind
them, and --nets N stops after N models more. --ours leaves the rivals out, which is half of the work: they are credited
with every model on which they did not run. What was found so far is recorded after each group.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import deepseek  # noqa: F401  isort: skip - before onnxruntime
import numpy as np
import onnxruntime
from keras_nets import NUM_QUICK, Case, cases
from result import ROOT, claim, finish

from deepseek.engines.convert import bundle as conversion
from deepseek.engines.convert import worker
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.engines.onnx_file import GraphEngines, open_file, opening
from deepseek.errors import DeepseekError
from deepseek.files import cache_folder

LIMIT = 1e-4
MIN_SHARE = 0.95
GROUP_SIZE = 12
TENSORFLOW = ROOT / ".venv-tensorflow" / "bin" / "python"
WHO = ("ours", "tf2onnx", "keras export")
VERDICTS = ("same", "other", "refused", "not run")


def work_here() -> None:
    """Let the worker of the torch backend work in this process, which has torch already, and engines not be timed: a
    hundred starts would take longer than all else. What is converted and compared stays as it is."""
    start = conversion.run_in_subprocess

    def run(module, request, **options):
        if request["loader"] == "keras-torch":
            return worker.handle_request(request)
        return start(module, request, **options)

    conversion.run_in_subprocess = run
    opening.BUDGET_S = 0.1


def is_same(expected: list[np.ndarray], actual: list[np.ndarray]) -> bool:
    """Whether all outputs have the shapes and, within LIMIT of the largest number, the values of Keras."""
    if [each.shape for each in expected] != [each.shape for each in actual]:
        return False
    for right, ours in zip(expected, actual, strict=True):
        if right.dtype.kind == "f":
            scale = max(float(np.abs(right).max(initial=0.0)), 1e-6)
            if not float(np.abs(right.astype(np.float64) - ours).max(initial=0.0)) <= LIMIT * scale:
                return False
        elif not np.array_equal(right, ours):
            return False
    return True


def by_bundle(place: Path, held: dict[str, np.ndarray], python: Path) -> list[np.ndarray]:
    """The answers of our bundle, as a server opens it, in the order of Keras' outputs."""
    bundle = place / "bundle"
    convert_model(place / "model.keras", place / "data.npz", bundle, ConvertOptions(python=python))
    file = open_file(bundle / "model.onnx", cache_folder() / "onnx")
    engines = GraphEngines.open(file.with_engine("onnxruntime").spec())
    names = [spec.name for spec in file.signature.inputs]
    rows = dict(zip(names, held.values(), strict=True)) if len(names) == 1 else {name: held[name] for name in names}
    answers = engines.run(rows)
    engines.close()
    return [answers[spec.name] for spec in file.signature.outputs]


def by_graph(path: Path, held: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The answers of a rival's graph: all rows at once, else, for a graph of one row, one by one."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    starts = session.get_inputs()
    arrays = list(held.values()) if len(held) == len(starts) == 1 else [held[each.name] for each in starts]
    step = 1 if starts[0].shape and starts[0].shape[0] == 1 else len(arrays[0])
    parts = [
        session.run(None, {each.name: array[at : at + step] for each, array in zip(starts, arrays, strict=True)})
        for at in range(0, len(arrays[0]), step)
    ]
    return [np.concatenate([part[place] for part in parts]) for place in range(len(parts[0]))]


def by_keras_export(place: Path, held: dict[str, np.ndarray]) -> list[np.ndarray]:
    import keras

    model = keras.saving.load_model(place / "model.keras", compile=False)
    model(keras.tree.pack_sequence_as(model._inputs_struct, [held[each.name][:1] for each in model.inputs]))
    model.export(str(place / "export.onnx"), format="onnx", verbose=False)
    return by_graph(place / "export.onnx", held)


def verdicts_of(case: Case, folder: Path, python: Path, *, has_rivals: bool) -> dict[str, str]:
    place = folder / case.name.replace(" ", "_")
    held, expected = dict(np.load(place / "held.npz")), np.load(place / "expected.npz")
    right = [expected[str(number)] for number in range(len(expected.files))]
    verdicts = {}
    for who, ask in (
        ("ours", lambda: by_bundle(place, held, python)), ("tf2onnx", lambda: by_graph(place / "rival.onnx", held)),
        ("keras export", lambda: by_keras_export(place, held)),
    ):  # fmt: skip
        if who != "ours" and not has_rivals:
            verdicts[who] = "not run"
            continue
        try:
            verdicts[who] = "same" if is_same(right, ask()) else "other"
        except DeepseekError as error:
            verdicts[who] = "refused"
            print(f"    {who}: {error.message[:300]}")
        except Exception as error:
            if who == "ours":
                raise
            verdicts[who] = "refused"
            print(f"    {who}: {type(error).__name__}: {' '.join(str(error).split())[:150]}")
    return verdicts


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """The models of this run, those of earlier ones among them."""
    everything = list(cases())
    if not arguments.quick:
        return everything
    small = [each for each in everything if not each.is_architecture]
    return small + [each for each in everything if each.is_architecture][:NUM_QUICK]


def groups_of(wanted: list[Case]) -> list[list[Case]]:
    """Small nets by the dozen, since TensorFlow takes seconds to begin; architectures alone, since their files are
    large."""
    small = [case for case in wanted if not case.is_architecture]
    dozens = [small[at : at + GROUP_SIZE] for at in range(0, len(small), GROUP_SIZE)]
    return [*dozens, *([case] for case in wanted if case.is_architecture)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="agreement or silence")
    parser.add_argument("--python", type=Path, default=TENSORFLOW)
    parser.add_argument("--nets", type=int, default=100)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--ours", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not arguments.python.is_file():
        print(f"not run: there is no {arguments.python}. To mend it: make .venv-tensorflow/tensorflow.stamp")
        return 0
    work_here()
    kept = arguments.keep
    verdicts = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    wanted = [case for case in chosen_cases(arguments) if case.name not in verdicts][: arguments.nets]
    code = 0
    for group in groups_of(wanted) or [[]]:
        verdicts |= judge_group(group, arguments.python, has_rivals=not arguments.ours) if group else {}
        if kept is not None:
            kept.write_text(json.dumps(verdicts, indent=1))
        not_run = [case.name for case in cases() if case.name not in verdicts]
        code = finish("keras_models", claims_of(verdicts, arguments.only), not_run=not_run)
    return code


def judge_group(group: list[Case], python: Path, *, has_rivals: bool) -> dict[str, dict[str, str]]:
    """The verdicts on these models, by their names; their files take gigabytes together, and go afterwards."""
    verdicts = {}
    with tempfile.TemporaryDirectory(prefix="deepseek-keras-") as folder:
        names = [case.name for case in group]
        script, flags = str(ROOT / "benchmarks" / "keras_rivals.py"), [] if has_rivals else ["--answers-alone"]
        command = [str(python), "-W", "ignore", script, *flags, folder, *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for case in group:
            verdicts[case.name] = verdicts_of(case, Path(folder), python, has_rivals=has_rivals)
            words = "".join(f"  {who} {verdict:8}" for who, verdict in verdicts[case.name].items())
            print(f"{case.name:28}{words}", flush=True)
    return verdicts


def claims_of(verdicts: dict[str, dict[str, str]], only: str | None) -> list[dict[str, object]]:
    total = len(verdicts)
    counts = {
        who: {verdict: sum(each[who] == verdict for each in verdicts.values()) for verdict in VERDICTS} for who in WHO
    }
    words = "; ".join(
        f"{who} "
        + ", ".join(f"{many} {verdict}" for verdict, many in counts[who].items() if many or verdict != "not run")
        for who in WHO
    )
    most = {who: counts[who]["same"] + counts[who]["not run"] for who in WHO}
    claims = [
        claim("agreement on new rows", ours=counts["ours"]["same"] / total, rival=most["tf2onnx"] / total,
              rival_name="tf2onnx alone", unit="share of models", op=">=", bar=MIN_SHARE,
              note=f"{total} models; {words}; a rival is credited with those that it did not run"),
        *(claim(f"agreement beyond {who}", ours=counts["ours"]["same"] - most[who],
                rival_name=f"{who} alone", unit="more models", op=">=", bar=1.0) for who in WHO[1:]),
        claim("silently wrong", ours=counts["ours"]["other"], rival=counts["tf2onnx"]["other"],
              rival_name="tf2onnx alone", unit="models", op="<=", bar=0.0,
              note="converted, and some answer on new rows differs by more than 1e-4"),
    ]  # fmt: skip
    return [each for each in claims if only is None or only in str(each["claim"])]


if __name__ == "__main__":
    sys.exit(main())
