"""The readers that others use, each as its own guide writes it; run by reading.py in .venv-reading.

    .venv-reading/bin/python benchmarks/reading_rivals.py FOLDER image|audio|text

FOLDER holds *.jpg, *.wav or *.txt (and tokenizer.json), and shards.tar of the same files. Prints one JSON object:
name -> CPU seconds a sample. One process, num_workers=0, one thread, so that CPU time is all there is; the best of
three passes.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import io as vision
from torchvision import transforms
from torchvision.transforms import v2

MEAN, STD, BATCH = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 32
BY_PIL = transforms.Compose(
    [transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)  # fmt: skip
BY_TENSOR = v2.Compose(
    [v2.Resize((224, 224), antialias=True), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
)  # fmt: skip


class Files(Dataset[Any]):
    """A map-style dataset: a list of paths and a function."""

    def __init__(self, paths: list[Path], read: Callable[[Path], Any]) -> None:
        self.paths, self.read = paths, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> Any:
        return self.read(self.paths[at])


def second(waveform: Any) -> torch.Tensor:
    """(T,) -> one second of 8 kHz."""
    tensor = torch.as_tensor(np.asarray(waveform), dtype=torch.float32)[:8_000]
    return torch.nn.functional.pad(tensor, (0, 8_000 - len(tensor)))


def images(folder: Path) -> dict[str, Callable[[], Iterable[Any]]]:
    paths = sorted(folder.glob("*.jpg"))
    stored = datasets.Dataset.from_dict({"image": [str(path) for path in paths]})
    stored = stored.cast_column("image", datasets.Image())
    stored.set_transform(lambda rows: {"image": [BY_PIL(image.convert("RGB")) for image in rows["image"]]})
    shards = str(folder / "shards.tar")
    return {
        "torch DataLoader, PIL": lambda: DataLoader(
            Files(paths, lambda path: BY_PIL(Image.open(path).convert("RGB"))), BATCH
        ),
        "torch DataLoader, torchvision.io": lambda: DataLoader(
            Files(paths, lambda path: BY_TENSOR(vision.decode_image(str(path), mode="RGB"))), BATCH
        ),
        "Hugging Face datasets": lambda: DataLoader(stored, BATCH),
        "WebDataset": lambda: webdataset.WebDataset(shards, shardshuffle=False)
        .decode("pil").to_tuple("jpg").map_tuple(BY_PIL).batched(BATCH),
    }  # fmt: skip


def sounds(folder: Path) -> dict[str, Callable[[], Iterable[Any]]]:
    paths = sorted(folder.glob("*.wav"))
    stored = datasets.Dataset.from_dict({"audio": [str(path) for path in paths]})
    stored = stored.cast_column("audio", datasets.Audio(decode=False))  # its own decoder, torchcodec, cannot be loaded
    stored.set_transform(lambda rows: {"audio": [second(soundfile.read(row["path"])[0]) for row in rows["audio"]]})
    shards = str(folder / "shards.tar")
    return {
        "torch DataLoader, soundfile": lambda: DataLoader(
            Files(paths, lambda path: second(soundfile.read(path, dtype="float32")[0])), BATCH
        ),
        "Hugging Face datasets": lambda: DataLoader(stored, BATCH),
        "WebDataset": lambda: webdataset.WebDataset(shards, shardshuffle=False)
        .to_tuple("wav").map_tuple(lambda data: second(soundfile.read(io.BytesIO(data), dtype="float32")[0]))
        .batched(BATCH),
    }  # fmt: skip


def texts(folder: Path) -> dict[str, Callable[[], Iterable[Any]]]:
    from tokenizers import Tokenizer  # seconds, which the other two need not wait for
    from transformers import PreTrainedTokenizerFast

    paths = sorted(folder.glob("*.txt"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]"
    )
    how = {"padding": "max_length", "truncation": True, "max_length": 512, "return_tensors": "pt"}
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.enable_truncation(512)
    plain.enable_padding(length=512)
    stored = datasets.Dataset.from_dict({"text": [path.read_text("utf-8") for path in paths]})
    stored.set_transform(lambda rows: tokenizer(rows["text"], **how))
    shards = str(folder / "shards.tar")
    return {
        "torch DataLoader, transformers": lambda: DataLoader(
            Files(paths, lambda path: tokenizer(path.read_text("utf-8"), **how)["input_ids"][0]), BATCH
        ),
        "torch DataLoader, tokenizers": lambda: DataLoader(
            Files(paths, lambda path: torch.tensor(plain.encode(path.read_text("utf-8")).ids)), BATCH
        ),
        "Hugging Face datasets": lambda: DataLoader(stored, BATCH),
        "WebDataset": lambda: webdataset.WebDataset(shards, shardshuffle=False)
        .decode().to_tuple("txt").map_tuple(lambda text: tokenizer(text, **how)["input_ids"][0]).batched(BATCH),
    }  # fmt: skip


def rows(batch: Any) -> int:
    """How many samples a batch holds, in whatever it comes."""
    if isinstance(batch, dict):
        batch = next(iter(batch.values()))
    return len(batch[0] if isinstance(batch, (list, tuple)) else batch)


def main() -> int:
    torch.set_num_threads(1)
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    figures = {}
    for name, loader in {"image": images, "audio": sounds, "text": texts}[kind](folder).items():
        took = []
        for _ in range(3):
            start, num = time.process_time(), 0
            for batch in loader():
                num += rows(batch)
            took.append((time.process_time() - start) / num)
        figures[name] = min(took)
    found_versions = {each.__name__: each.__version__ for each in (datasets, webdataset)}
    print(json.dumps({"cpu_s": figures, "versions": found_versions}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
