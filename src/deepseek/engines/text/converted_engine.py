"""Runs the graph of a converted folder in OpenVINO: padded ids in, embeddings or logits out.

    engine = TextEngine.open("./deberta")                                   # a ConvertedEngine where it was converted
    engine.run({"input_ids": ids, "attention_mask": mask})["embedding"]     # (N, D)

The graph computes what stands behind the end of a text, too: rows of a batch are therefore computed in GROUPS of rows
of like length, one call each.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays
from deepseek.engines.openvino import core, cpu_settings
from deepseek.engines.text.converted import AGAIN, GRAPH, INPUTS, OUTPUT, Converted
from deepseek.engines.text.engine import Precision, TextEngine
from deepseek.engines.text.parts import groups, width_of
from deepseek.engines.text.pooling import Pooling, pool
from deepseek.errors import IntegrityError

#: Batches of mixed lengths run at .49 of sorted ones in one call, at .86 in three and at .92 in four.
GROUPS = 4


class ConvertedEngine(TextEngine):
    """Of float32 or bfloat16; there is no int8 of a graph that was not built here. Threads may share it."""

    def __init__(self, folder: Path, *, precision: Precision = "f32", num_threads: int = 1) -> None:
        self.architecture = Converted.read(folder).architecture
        self.precision = precision
        self._weights = None
        self._pooling = Pooling.read(folder)
        self._folder = folder
        try:
            self._compiled = core(extra="text").compile_model(
                str(folder / GRAPH), "CPU", cpu_settings(num_threads, bf16=precision != "f32")
            )
        except RuntimeError as error:
            raise self._unfit(str(error).strip().splitlines()[-1][:200]) from error
        named = {name for put in self._compiled.inputs for name in put.get_names()}
        if named != set(INPUTS) or [OUTPUT in put.get_names() for put in self._compiled.outputs] != [True]:
            raise self._unfit(f"its inputs and outputs are not {', '.join(INPUTS)} and {OUTPUT}")
        self._threads = threading.local()
        self._output = "embedding" if self.architecture.task == "embedding" else "logits"

    def run(self, arrays: Arrays) -> Arrays:
        """As TextEngine.run()."""
        ids, mask = self._checked(arrays)
        lengths = (mask * np.arange(1, mask.shape[1] + 1)).max(axis=1).clip(1)
        parts = [(rows, self._part(ids[rows], mask[rows], lengths[rows])) for rows in self._groups(lengths.tolist())]
        if self.architecture.task == "token-classification":
            found = np.zeros((*ids.shape, len(self.architecture.labels)), np.float32)
            for rows, made in parts:
                found[rows, : made.shape[1]] = made[:, : ids.shape[1]]
        else:
            found = np.empty((len(ids), parts[0][1].shape[1]), np.float32)
            for rows, made in parts:
                found[rows] = made
        return {self._output: found}

    def _groups(self, lengths: list[int]) -> list[Any]:
        return list(groups(lengths, most=GROUPS))

    def _part(self, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> Any:
        """One call: (N, D), (N, C) or (N, L, C)."""
        width = min(width_of(int(lengths.max())), self.architecture.max_tokens)
        columns = min(width, ids.shape[1])
        wide = np.full((len(ids), width), self.architecture.pad_id, np.int64)
        wide[:, :columns] = ids[:, :columns]
        seen = np.zeros((len(ids), width), np.int64)
        seen[:, :columns] = mask[:, :columns]
        request = self._request()
        request.infer(dict(zip(INPUTS, (wide, seen), strict=True)), share_inputs=True)
        made = np.array(request.get_tensor(OUTPUT).data, np.float32)
        task = self.architecture.task
        last = self.architecture.hidden if task == "embedding" else len(self.architecture.labels)
        shape = (len(ids), last) if task == "sequence-classification" else (len(ids), width, last)
        if made.shape != shape:
            raise self._unfit(f"its output is {list(made.shape)}, not {list(shape)}")
        return pool(made, seen, self._pooling) if task == "embedding" else made

    def _unfit(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{GRAPH} in {self._folder} cannot be run: {why}", expected="the graph that convert has written", fix=AGAIN
        )
