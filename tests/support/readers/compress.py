"""An ONNX file of pictures, and rows to judge it on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from support.nets.onnxgraphs import convnet, pictures
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    convnet(Path("resnet.onnx"))
    pictures(Path("validation.npz"))
    return Reader(words={"min_speedup=2.0": "min_speedup=1.0"})  # how much faster depends on the machine
