"""Text, picture, film and sound trained by two ranks as one process would, whatever a rank's rows lack."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepseek.data.samples.preparer import PRESENT_SUFFIX
from deepseek.errors import InputError
from deepseek.nn.encoders import AudioEncoder, ImageEncoder, TextEncoder, VideoEncoder
from deepseek.nn.fusion import MultimodalNet, MultimodalShape, multimodal_loss
from deepseek.train.multimodal.fusion import MultimodalConfig, SampleStream, make_batch, predict_margins, train_net
from deepseek.train.multimodal.fusion_row import pipeline_blocks, pipeline_inputs, pipeline_loss
from deepseek.train.pipeline import parallelize
from support.servers.ranks import run_ranks

WIDTH, NUM, BATCH = 16, 20, 4
ROWS = np.arange(NUM)


def make_net() -> MultimodalNet:
    """Nothing in it draws while it is trained."""
    torch.manual_seed(0)
    encoders: dict[str, nn.Module] = {
        "note": TextEncoder(20, 6, WIDTH, layers=1, dropout=0.0),
        "scan": ImageEncoder((8, 8), 1, WIDTH),
        "film": VideoEncoder(2, (8, 8), 3, WIDTH, layers=1),
        "cough": AudioEncoder(8_000, 1_024, 1, WIDTH, num_mels=16),
    }
    return MultimodalNet(
        encoders, 2, MultimodalShape(WIDTH, num_queries=2, num_layers=1, drop_modality=0.0, dropout=0.0)
    )


def make_arrays() -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Pictures stand at these places of the first pass, of which the ranks take every other one: the first rank alone
    has some, then the second, then one rank one, then all rows, then one. One row in four has no sound."""
    pictures = torch.randperm(18, generator=torch.Generator().manual_seed(0))[[0, 2, 5, 7, 8, 12, 13, 14, 15, 16]]
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, NUM)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "note": draw.integers(1, 20, (NUM, 6)),
        "scan": draw.integers(0, 200, (NUM, 1, 8, 8)).astype(np.uint8),
        "film": (draw.integers(0, 100, (NUM, 2, 3, 8, 8)) + 60 * labels[:, None, None, None, None]).astype(np.uint8),
        "cough": draw.normal(0, 0.1, (NUM, 1, 1_024)).astype(np.float32),
    }
    there = {name: np.ones(NUM, bool) for name in arrays} | {
        "scan": np.isin(ROWS, pictures), "cough": draw.random(NUM) < 0.75,
    }  # fmt: skip
    for name, seen in there.items():
        arrays[name][~seen] = 0
    return {**arrays, **{name + PRESENT_SUFFIX: seen for name, seen in there.items()}}, labels


def trained(shards: int, folder: Path | None = None) -> dict[str, Any]:
    """Two epochs of five steps, with a rest: what one process, or this rank, has in the end."""
    arrays, labels = make_arrays()
    config = MultimodalConfig(epochs=2, lr=1e-3, batch_size=BATCH, shards=shards)
    net, result = train_net(
        make_net(), arrays, labels, rows=ROWS[:18], held=ROWS[15:], config=config, checkpoints=folder
    )
    norm: Any = net.encoders["m_scan"].trunk.stem[1]
    return {
        "losses": result.losses,
        "validations": [each["loss"] for each in result.validations],
        "mean": norm.running_mean.tolist(),
        "answers": predict_margins(net, arrays, ROWS).tolist(),
        "names": [type(part).__name__ for part in net.modules()],
    }


def batch() -> tuple[tuple[Tensor, ...], Tensor]:
    arrays, labels = make_arrays()
    values, there = make_batch(arrays, ROWS[:8])
    return pipeline_inputs(values, there, tuple(values)), torch.from_numpy(labels[:8])


def piped() -> dict[str, Any]:
    """Three steps of two stages on two micro-batches."""
    net, (inputs, labels) = make_net(), batch()
    row = pipeline_blocks(net)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="batch normalisation")
        pipe = parallelize(row, stages=2, micro_batches=2, example=(inputs, labels), loss=pipeline_loss())
    optimizer, losses = torch.optim.SGD(pipe.parameters(), lr=0.1), []
    for _ in range(3):
        optimizer.zero_grad()
        losses.append(pipe.step(inputs, labels))
        optimizer.step()
    state = pipe.whole_state_dict()
    if dist.get_rank():
        return {"losses": [float(loss) for loss in losses]}
    row.load_state_dict(state)
    return {
        "answers": predict_margins(net, make_arrays()[0], ROWS).tolist(),
        "stages": [len(part) for part in pipe.plan.stages],
    }


def added_up() -> tuple[list[float], Any]:
    """The same in one process, the gradients of the micro-batches added."""
    net, (inputs, labels) = make_net(), batch()
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.1), []
    for _ in range(3):
        optimizer.zero_grad()
        parts = []
        for rows in (slice(0, 4), slice(4, 8)):
            there = dict(zip(net.names, inputs[-1][rows].unbind(1), strict=True))
            values = {name: value[rows] for name, value in zip(net.names, inputs[:-1], strict=True)}
            parts.append(multimodal_loss(net(values, there), labels[rows]) / 2)
            parts[-1].backward()
        losses.append(sum(float(part.detach()) for part in parts))
        optimizer.step()
    return losses, predict_margins(net, make_arrays()[0], ROWS)


def in_ranks(folder: str) -> dict[str, Any]:
    arrays, labels = make_arrays()
    for knobs, words in (({"batch_size": 7}, "a multiple of 2"), ({"shards": 3}, "do not make up 2 ranks")):
        with pytest.raises(InputError, match=words):
            train_net(make_net(), arrays, labels, rows=ROWS, config=MultimodalConfig(**knobs))
    return {"parallel": trained(1), "sharded": trained(2, Path(folder, "c")), "piped": piped()}


@pytest.mark.slow
def test_two_ranks_train_as_one_process_does(tmp_path: Path) -> None:
    alone = trained(1)
    first, second = run_ranks(2, in_ranks, str(tmp_path), folder=tmp_path)
    for way in ("parallel", "sharded"):
        assert first[way] == second[way], f"{way}: the ranks differ"
        for name in ("losses", "validations", "mean", "answers"):
            np.testing.assert_allclose(first[way][name], alone[name], rtol=2e-4, atol=2e-4, err_msg=f"{way}: {name}")
        assert first[way]["names"] == alone["names"]  # an ordinary net again
    assert list((tmp_path / "c").glob("step-*"))
    losses, answers = added_up()
    np.testing.assert_allclose(second["piped"]["losses"], losses, rtol=2e-4)
    np.testing.assert_allclose(first["piped"]["answers"], answers, rtol=1e-3, atol=1e-3)
    assert sum(first["piped"]["stages"]) == 5


def test_a_pipeline_refuses_a_net_that_mixes_rows() -> None:
    with pytest.raises(InputError, match="passes no partners"):
        pipeline_blocks(MultimodalNet({"note": TextEncoder(20, 6, 16)}, 2, MultimodalShape(width=16, mixup=0.2)))


def test_the_rows_of_this_test_are_a_trap_and_each_is_of_one_rank() -> None:
    arrays, labels = make_arrays()
    streams = [SampleStream(arrays, labels, ROWS[:18], BATCH, torch.Generator().manual_seed(0), (r, 2)) for r in (0, 1)]
    counts = [[int(there["scan"].sum()) for (_, there), _ in stream] for stream in streams]
    assert list(zip(*counts, strict=True)) == [(2, 0), (0, 2), (1, 0), (2, 2), (1, 0)]
    shares = [[int(x) for _, truth in stream for x in truth] for stream in (
        SampleStream(arrays, ROWS, ROWS[:19], BATCH, torch.Generator().manual_seed(0), (r, 2)) for r in (0, 1)
    )]  # fmt: skip
    assert not set(shares[0]) & set(shares[1])
    assert len(shares[0]) == len(shares[1]) == 9


def test_shards_without_ranks_are_refused() -> None:
    arrays, labels = make_arrays()
    with pytest.raises(InputError, match="start 2 with torchrun"):
        train_net(make_net(), arrays, labels, rows=ROWS, config=MultimodalConfig(shards=2))
