"""Samples by Ray Data, for real: decoded by its tasks, read by two ranks, entered in the middle. Run by
`make test-ray`, which makes the environment `.venv-ray`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.servers.rayed import ROOT, python_with

PROGRAM = """
import io, json, threading

import numpy as np
import ray
import ray.data
from PIL import Image

from deepseek.data.samples.preparer import MediaColumn, SamplePreparer
from deepseek.data.media.image import ImageReader
from deepseek.data.stream.stream import StreamConfig
from deepseek.data.stream.stream_ray import FAULT_ARRAY, RayStream, decode_dataset


def photo(number):
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (2 * number, 90, 90)).save(file, "PNG")
    return file.getvalue()


def row(number):
    broken = number in (7, 8)
    return {
        "photo": b"broken" if broken else photo(number), "sign": None if number == 7 else photo(1),
        "kind": "dark" if number < 50 else "light", "other": 1,
    }


def batches(rows, num_rows, config, start=None):
    stream = RayStream(rows, num_rows=num_rows, config=config)
    if start:
        stream.load_state_dict(start)
    return [(batch.arrays["photo"], batch.labels) for batch in stream]


def equal(ours, others):
    return len(ours) == len(others) and all(
        np.array_equal(a, b) for one, two in zip(ours, others) for a, b in zip(one, two)
    )


def of_two_ranks(samples):
    found = [[], []]

    def read(rank, rows):
        stream = RayStream(rows, num_rows=49, config=config)
        for _ in range(2):  # passes
            found[rank] += [(batch.arrays["photo"], batch.labels) for batch in stream]

    parts = samples.streaming_split(2, equal=True)
    threads = [threading.Thread(target=read, args=each) for each in enumerate(parts)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    return found


ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=200_000_000)
rows = ray.data.from_items([row(number) for number in range(100)], override_num_blocks=10)
preparer = SamplePreparer((
    MediaColumn("photo", "image", ImageReader(size=(8, 8))),
    MediaColumn("sign", "image", ImageReader(size=(4, 4))),
))
given = {"target": "kind", "labels": ("dark", "light")}
samples = decode_dataset(rows, preparer, broken="mask", **given)
config = StreamConfig(batch_size=8, buffer=32, seed=3)
whole = batches(samples, 99, config)
stream = RayStream(samples, num_rows=99, config=config)
for number, _ in enumerate(stream):
    if number == 4:
        break
ranks, again = of_two_ranks(samples), of_two_ranks(samples)
reds = [{int(photo[0, 0, 0]) for photos, _ in each[:6] for photo in photos} for each in ranks]
direct = preparer.rows([{"photo": photo(3), "sign": None}])
first = samples.limit(4).take_all()[3]


def refusal(**knobs):
    try:
        decode_dataset(rows, preparer, target="kind", **knobs).take_all()
    except Exception as error:
        return str(error)


print(json.dumps({
    "count": samples.count(), "faults": sorted({each[FAULT_ARRAY][:20] for each in samples.take_all()}),
    "labels": [sum(int((labels == number).sum()) for _, labels in whole) for number in (0, 1)],
    "goes on": equal(batches(samples, 99, config, stream.state_dict()), whole[5:]),
    "ranks again": [equal(*both) for both in zip(ranks, again)], "in both": len(reds[0] & reds[1]),
    "passes differ": not equal(ranks[0][:6], ranks[0][6:]),
    "same pixels": bool(np.array_equal(first["photo"], direct.arrays["photo"][0])),
    "refused": [refusal(labels=("dark",), broken="mask"), refusal(labels=("dark", "light"))],
}))
"""


@pytest.fixture(scope="module")
def python() -> str:
    return python_with("ray.data, PIL")


@pytest.mark.slow
def test_a_cluster_decodes_and_each_pass_is_the_same_to_the_bit(python: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [python, tmp_path / "program.py"],
        capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
        env=os.environ | {  # the tasks of Ray run at nice 15 and would wait for whatever else runs here
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(ROOT / "src"),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["count"] == 99  # the row that has nothing left is left out
    assert len(document["faults"]) == 2  # none, and that of the photo that is masked
    assert 0 < document["labels"][0] <= 49
    assert sum(document["labels"]) == 96  # whole batches of 8
    assert document["goes on"]
    assert document["ranks again"] == [True, True]
    assert document["in both"] == 0
    assert document["passes differ"]
    assert document["same pixels"]
    assert "the target 'kind' is 'light'" in document["refused"][0]
    assert "column 'photo'" in document["refused"][1]
