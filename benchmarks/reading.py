"""Reading files into batches that a model can take: samples a CPU second, against what others use.

    python benchmarks/reading.py [--quick] [--only CLAIM]

image: photos of 500 x 375 (enlarged public pictures with seeded noise, JPEG 4:2:0 of quality 90) -> 224 x 224, float32,
normalised. audio: spoken digits of the public set, WAV of 8 kHz -> one second, float32. text: passages of the public
plays, of some 600 tokens -> the ids of 512, by one byte-pair tokenizer for all. Ours is open_source, read, one batch
array and its scaling; rivals run as they are written in reading_rivals.py, in a venv of their own (made by
`make bench-rivals`), on the same files, turn by turn. The bar speaks of the best of them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from result import ROOT, claim, finish, found_before, options

from deepseek.data.media.audio import AudioReader
from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import Source, open_source
from deepseek.data.media.text import TextReader, decode_text

RIVALS = ROOT / ".venv-reading" / "bin" / "python"
CLAIMS = {"image": "JPEG 224 px", "audio": "WAV 1 s", "text": "512 tokens"}
BAR, NUM, BATCH, TOKENS, LETTERS = 1.5, {"image": 192, "audio": 960, "text": 384}, 32, 512, 2_800


def data_folder() -> Path:
    return Path(os.environ.get("DEEPSEEK_DATA") or ROOT.parent / "shared" / "data")


def photos(folder: Path, num: int) -> None:
    """Enlarged pictures have no detail of their own: noise of several scales stands for it."""
    random = np.random.default_rng(0)
    table = pq.read_table(data_folder() / "cifar10-jpeg" / "train-0.parquet").slice(0, num)
    for at, data in enumerate(table["jpeg"].to_pylist()):
        pixels = np.asarray(Image.open(io.BytesIO(data)).resize((500, 375), Image.Resampling.BICUBIC), np.float32)
        for scale in (1, 2, 4, 8):
            noise = random.normal(0, 6, (375 // scale + 1, 500 // scale + 1, 1)).repeat(scale, 0).repeat(scale, 1)
            pixels = pixels + noise[:375, :500]
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(folder / f"{at:05}.jpg", quality=90, subsampling=2)


def digits(folder: Path, num: int) -> None:
    with zipfile.ZipFile(data_folder() / "fsdd" / "recordings.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        for at, name in enumerate(names[:: len(names) // num][:num]):
            (folder / f"{at:05}.wav").write_bytes(archive.read(name))


def passages(folder: Path, num: int) -> None:
    text = "".join(path.read_text("utf-8") for path in sorted((data_folder() / "tinyshakespeare").glob("*.txt")))
    for at in range(num):
        (folder / f"{at:05}.txt").write_text(text[at * LETTERS : (at + 1) * LETTERS], "utf-8")
    reader = TextReader.fit([path.read_text("utf-8") for path in sorted(folder.glob("*.txt"))], num_tokens=TOKENS)
    (folder / "tokenizer.json").write_text(reader.tokenizer, "utf-8")


def read(reader: Any, source: Source) -> Any:
    return reader.read(decode_text(source.data, source.name) if reader.kind == "text" else source)


def ours(folder: Path, reader: Any) -> float:
    """CPU seconds a sample, the best of three passes."""
    names, took = sorted(path.name for path in folder.iterdir() if path.suffix not in (".tar", ".json")), []
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for _ in range(3):
        start = time.process_time()
        for first in range(0, len(names), BATCH):
            chosen = names[first : first + BATCH]
            batch = np.empty((len(chosen), *reader.shape), reader.dtype)
            for at, name in enumerate(chosen):
                batch[at] = read(reader, open_source(name, root=folder, row=first + at, column="file"))
            tensor = torch.from_numpy(batch)
            if reader.kind == "image":  # what the model's first step does; the rivals do it for each picture
                tensor = tensor.float().sub_(mean * 255).div_(std * 255)
        took.append((time.process_time() - start) / len(names))
    return min(took)


def reader_of(kind: str, folder: Path) -> Any:
    if kind == "text":
        return TextReader((folder / "tokenizer.json").read_text("utf-8"), TOKENS)
    return ImageReader() if kind == "image" else AudioReader(rate_hz=8_000, seconds=1.0)


def measure(kind: str, num: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        {"image": photos, "audio": digits, "text": passages}[kind](folder, num)
        reader = reader_of(kind, folder)
        with tarfile.open(folder / "shards.tar", "w") as archive:
            for path in sorted(folder.iterdir()):
                if path.suffix not in (".tar", ".json"):
                    archive.add(path, path.name)
        mine, theirs = [], []
        for _ in range(3):  # turn by turn
            mine.append(ours(folder, reader))
            done = subprocess.run(
                [RIVALS, "benchmarks/reading_rivals.py", str(folder), kind],
                cwd=ROOT, capture_output=True, text=True, check=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
            theirs.append(json.loads(done.stdout.splitlines()[-1])["cpu_s"])
    rates = {name: 1 / min(run[name] for run in theirs) for name in theirs[0]}
    best = max(rates, key=lambda name: rates[name])
    our_rate = 1 / min(mine)
    return claim(
        kind, ours=our_rate, rival=rates[best], rival_name=best, ratio=our_rate / rates[best],
        unit="samples a CPU second",
        op=">=", bar=BAR, note=f"{CLAIMS[kind]}; " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()),
    )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="A third of the files, the same bars.").parse_args()
    torch.set_num_threads(1)
    if not RIVALS.exists():
        sys.exit(f"{RIVALS} is not there: run `make bench-rivals`")
    done = {each["claim"]: each for each in found_before("reading")}
    status = 0
    for kind in [args.only] if args.only else [kind for kind in CLAIMS if kind not in done]:
        done[kind] = measure(kind, NUM[kind] // (3 if args.quick else 1))
        status = finish("reading", list(done.values()), not_run=[kind for kind in CLAIMS if kind not in done])
    return status


if __name__ == "__main__":
    sys.exit(main())
