"""The pipeline in real gloo processes: gradients, state and errors are those of one process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss

from deepseek.errors import InputError
from deepseek.train.pipeline import SCHEDULES, parallelize
from support.nets.pipelines import BLOCKS, WORDS, Words, run, words_batch

pytestmark = pytest.mark.slow  # what they share takes ten seconds to make

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run(4, tmp_path_factory.mktemp("four"), "schedules")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run(2, tmp_path_factory.mktemp("two"), "odd_models", "states", "refusals", "adaptive")


def check(reports: Found, *, num_parameters: int) -> None:
    for process in reports:
        assert process["apart"] < 2e-6
        expected = pytest.approx(process["want"], rel=1e-6)
        assert process["losses"] == ([expected] * 3 if process["last"] else [None] * 3)
    assert sum(process["last"] for process in reports) == 1
    assert sum(process["num_parameters"] for process in reports) == num_parameters


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_gradients_and_losses_are_those_of_one_process(four: Found, schedule: str) -> None:
    check([process["schedules"][schedule] for process in four], num_parameters=len(list(Words().parameters())))


def test_every_process_cuts_alike_and_every_block_stands_in_one_stage(four: Found) -> None:
    for name in SCHEDULES:
        cuts = [process["schedules"][name]["stages"] for process in four]
        assert all(cut == cuts[0] for cut in cuts)
        expected = ["embed", *(f"layers.{index}" for index in range(6)), "head.0", "head.1"]
        assert [block for stage in cuts[0] for block in stage] == expected
        assert len(cuts[0]) == (4 if name in ("1f1b", "gpipe") else 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1f1b", "zero_bubble", "dualpipe_v"])
def test_tuples_views_and_blocks_that_write_into_their_input_pass_through(two: Found, name: str) -> None:
    reports = [process["odd_models"][name] for process in two]
    check(reports, num_parameters=6)
    assert not any(stage[0] == "3" for stage in reports[0]["stages"]), "it writes into what the stage before keeps"


@pytest.mark.parametrize(
    ("name", "chosen", "num_parameters"), [("frozen", "chosen", 6), ("offset", "offset chosen", 5)]
)
def test_where_parting_the_backward_pass_would_lose_gradients_it_is_not_parted(
    two: Found, name: str, chosen: str, num_parameters: int
) -> None:
    """Nothing to train before a stage, or an output that does not depend on its input: torch says no word."""
    check([process["odd_models"][name] for process in two], num_parameters=num_parameters)
    assert two[0]["odd_models"][chosen] in ("interleaved", "breadth_first")
    assert "zero_bubble would lose gradients of stage" in two[0]["odd_models"]["refused"]


def test_a_state_goes_from_one_process_into_stages_and_back(two: Found) -> None:
    first, second = (process["states"] for process in two)
    assert first["keys"] == first["model_keys"]
    assert second["keys"] == []
    assert first["equal"] is True
    assert sorted(first["part"] + second["part"]) == sorted(first["model_keys"])


def test_clipped_steps_end_at_the_weights_of_one_process(two: Found) -> None:
    first, second = (process["states"] for process in two)
    assert first["got"] == pytest.approx(first["want"], rel=1e-5)
    assert second["got"] == first["got"]
    assert min(first["want"]) > 0.05, "nothing was clipped"
    assert first["apart"] < 1e-6


@pytest.mark.parametrize("name", ["words", "frozen"])
def test_the_adaptive_optimizer_takes_one_rate_in_all_stages_as_in_one_process(two: Found, name: str) -> None:
    (alone, first), (_, second) = (process["adaptive"][name] for process in two)
    assert first == second
    assert first == pytest.approx(alone, rel=1e-5)
    assert max(first) > 2 * first[0], "the rate moved"


def test_the_choice_says_why(two: Found) -> None:
    schedule, why = two[0]["states"]["choice"]
    assert schedule in ("1f1b", "gpipe", "interleaved", "breadth_first", "zero_bubble")
    assert why.startswith(schedule)
    assert "Others: " in why
    assert two[1]["states"]["choice"] == [schedule, why]


def test_a_state_or_a_batch_that_does_not_fit_is_refused(two: Found) -> None:
    strange, empty, *_ = two[0]["states"]["refused"]
    assert "tail.weight, which this model has not" in strange
    assert "lacks embed.weight" in empty
    shapes, rows, nothing = (" ".join(process["states"]["refused"][index] for process in two) for index in (2, 3, 4))
    assert "embed.weight has the shape (3,)" in shapes
    assert f"the inputs are (8, {WORDS}) of int64. Expected: (16, {WORDS}) of int64" in rows
    assert "the targets are (8, 2) of float32. Expected: (16, 2)" in rows
    assert "inputs are not given" in nothing
    assert "call evaluate()" in two[0]["states"]["refused"][5]
    assert "the targets is int" in two[1]["states"]["refused"][6]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stages over blocks", ["12 stages are asked for", "9 blocks", "give stages=9 or fewer"]),
        ("stages over processes", ["3 stages", "evenly among 2 processes", "give stages=2"]),
        ("schedule", ["no schedule 'dual_pipe'", "did you mean 'dualpipe_v'"]),
        ("schedule and stages", ["1f1b cannot run 4 stages", "one stage in each of 2 processes", "give stages=2"]),
        ("too few micro-batches", ["at least 4 micro-batches", "give micro_batches=4"]),
        ("micro-batches", ["a batch of 16 rows cannot be cut into 3 micro-batches", "give batches of 15 rows"]),
        ("no order", ["Words is not an nn.Sequential", "embed, layers, head"]),
        ("no such block", ["no block 'embedding'", "one of embed, layers, head"]),
        ("left out", ["head.1.weight, head.1.bias of Words belongs to none", "add its module to blocks"]),
        ("wrong order", ["block 'layers.0' (Residual) cannot run", "in the order in which forward calls them"]),
        ("between", ["embed to head.1 in a row do not compute what Skips does"]),
        ("sum", ["the loss of two micro-batches together", "reduction='mean'"]),
        ("failing loss", ["the loss fails on outputs of float32 [8, 2] and targets of int64 [8]: Target 7 is out of"]),
        ("loss of no tensor", ["the loss of outputs of float32 [8, 2]", "is a float"]),
        ("tied", ["0.weight in stage 0 and 3.weight in stage 1 are one parameter"]),
        ("example", ["the example is Tensor", "(inputs, targets)"]),
    ],
)
def test_what_cannot_be_cut_is_refused_in_every_process_alike(two: Found, name: str, words: list[str]) -> None:
    answers = [process["refusals"][name] for process in two]
    assert answers[0] == answers[1]
    for word in words:
        assert word in answers[0]


def test_without_a_process_group_it_says_how_to_start_one() -> None:
    with pytest.raises(InputError, match="torchrun"):
        parallelize(Words(), stages=2, micro_batches=4, example=words_batch(), loss=mse_loss, blocks=BLOCKS)


def test_batch_statistics_are_warned_of_and_left_alone_by_the_measuring(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        state = torch.get_rng_state()
        with pytest.warns(UserWarning, match="batch normalisation in 0, 1"):
            pipe = parallelize(
                model, stages=1, micro_batches=2, example=(torch.randn(8, 3), torch.randn(8, 1)), loss=mse_loss
            )
        assert torch.equal(model[0].running_mean, torch.zeros(3))
        assert model[1].weight.grad is None
        assert model.training
        assert pipe.has_first
        assert pipe.has_last
        assert not torch.equal(torch.get_rng_state(), state), "the example itself was drawn"
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_the_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "pipeline.md"
    (block,) = re.findall(r"^```python\n(.*?)^```$", guide.read_text("utf-8"), re.M | re.S)
    (tmp_path / "train.py").write_text(block, "utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    done = subprocess.run(launch, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    (loss,) = re.findall(r"^loss (\S+)$", done.stdout, re.M)
    assert float(loss) < 0.9, "1.0986 before"
