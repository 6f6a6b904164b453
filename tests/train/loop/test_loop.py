"""The training loop: it learns, it repeats itself exactly, it names what goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepseek.errors import CheckError, InputError
from deepseek.train import ArrayStream, TrainConfig, fit


def squared(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return ((output[:, 0] - target) ** 2 * weight).mean()


def stream(*, seed: int = 0, num_rows: int = 64, broken: int | None = None) -> ArrayStream:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_rows, 3, generator=generator)
    target = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3
    if broken is not None:
        target[broken] = float("nan")
    return ArrayStream((inputs, target, torch.ones(num_rows)), 16, torch.Generator().manual_seed(seed))


def module(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1))


def test_a_line_is_learned() -> None:
    model = module()
    result = fit(model, stream(), TrainConfig(epochs=150, lr=0.1, weight_decay=0.0), loss=squared)
    assert result.losses[-1] < 1e-3 < result.losses[0]
    assert result.num_steps == 150 * 4
    assert len(result.losses) == 150
    assert not model.training


def test_equal_seeds_give_equal_weights_and_another_seed_others() -> None:
    """The seed of the configuration alone sets the dropout: nothing outside `fit` has to be seeded."""

    def weights(seed: int, *, drawn_before: int = 0) -> Tensor:
        model = module(dropout=0.5)
        torch.rand(drawn_before)
        fit(model, stream(), TrainConfig(epochs=5, seed=seed), loss=squared)
        return next(p for p in model.parameters()).detach()

    torch.testing.assert_close(weights(1), weights(1, drawn_before=3), rtol=0, atol=0)
    assert not torch.equal(weights(1), weights(2))


def test_each_pass_is_another_permutation_of_all_rows() -> None:
    batches = stream()
    first, second = (torch.cat([target for _, target, _ in batches]) for _ in range(2))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sort().values, second.sort().values)
    assert len(batches) == 4


def test_rows_of_no_weight_teach_nothing() -> None:
    base = stream()
    weight = torch.ones(64)
    weight[:32] = 0
    inputs, target, _ = base.tensors
    target = target.clone()
    target[:32] = 1e6
    data = ArrayStream((inputs, target, weight), 16, torch.Generator().manual_seed(0))
    model = module()
    fit(model, data, TrainConfig(epochs=150, lr=0.1, weight_decay=0.0), loss=squared)
    bias = list(model.parameters())[1]
    assert bias.item() == pytest.approx(3, abs=0.05)


def test_a_gradient_that_is_not_finite_is_named_by_batch_and_epoch() -> None:
    with pytest.raises(CheckError, match=r"batch \d+ in epoch 0 is not finite"):
        fit(module(), stream(broken=5), TrainConfig(epochs=3), loss=squared)


def test_no_step_is_taken_on_a_gradient_that_is_not_finite() -> None:
    model = module()
    with pytest.raises(CheckError):
        fit(model, stream(broken=5, num_rows=16), TrainConfig(), loss=squared)
    assert all(torch.isfinite(p).all() for p in model.parameters())


class Empty:
    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(())


def test_a_stream_without_batches_is_refused() -> None:
    with pytest.raises(InputError):
        fit(module(), Empty(), TrainConfig(epochs=1), loss=squared)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("seed", 2**64, "64 bits"),
        ("lr", 0.0, "above 0"),
        ("lr", float("nan"), "above 0"),
        ("weight_decay", -0.1, "at least 0"),
        ("warmup", 1.5, "between 0 and 1"),
        ("warmup", -0.1, "between 0 and 1"),
        ("clip_norm", 0.0, "above 0"),
    ],
)
def test_a_knob_outside_its_bounds_is_named_with_them(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError, match=rf"train\.{name} is {value}.*{expected}"):
        TrainConfig(**{name: value})


def test_the_rate_rises_to_its_peak_and_falls_to_near_zero() -> None:
    config = TrainConfig(warmup=0.1)
    rates = [config.rate(step, 100) for step in range(100)]
    assert rates[9] == 1.0 == max(rates)
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] < 0.01


def test_the_optimizer_is_a_free_choice() -> None:
    model = module()
    result = fit(
        model, stream(), TrainConfig(epochs=60), loss=squared,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )  # fmt: skip
    assert result.losses[-1] < 0.05


# ---- batches of any shape


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        output = self.line(x)[:, 0]
        return output if y is None else {"loss": ((output - y) ** 2).mean(), "output": output}


def pairs() -> list[tuple[Tensor, Tensor]]:
    inputs, target, _ = stream().tensors
    return list(zip(inputs.split(16), target.split(16), strict=True))


def mse(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        (pairs(), mse),
        ([((x,), y) for x, y in pairs()], mse),
        ([({"x": x}, y) for x, y in pairs()], mse),
        ([{"x": x, "y": y} for x, y in pairs()], None),
        ([{"x": x, "y": y} for x, y in pairs()], lambda output, batch: mse(output["output"], batch["y"])),
    ],
)
def test_tuples_and_dicts_of_tensors_give_the_same_weights(data: Any, loss: Any) -> None:
    def trained(data: Any, loss: Any) -> Tensor:
        torch.manual_seed(0)
        model = Named()
        fit(model, data, TrainConfig(epochs=2, lr=0.1), loss=loss)
        return model.line.weight.detach()

    torch.testing.assert_close(trained(data, loss), trained(pairs(), mse), rtol=0, atol=0)


def test_a_batch_that_does_not_fit_is_described() -> None:
    with pytest.raises(InputError, match=r"a batch of \(float32 \[8, 5\], float32 \[8\]\): ") as refused:
        fit(module(), [(torch.ones(8, 5), torch.ones(8))], TrainConfig(epochs=1), loss=mse)
    assert str(refused.value.__cause__) in str(refused.value)  # what torch says, in whatever words
    with pytest.raises(InputError, match=r"the loss has the shape \(16,\).*take its mean"):
        fit(Named(), pairs(), TrainConfig(epochs=1), loss=lambda output, target: output - target)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda output, target: float(mse(output, target)), "the loss is a float"),
        (lambda output, target: mse(output.detach(), target), "does not depend on any parameter that is trained"),
        (lambda output, target: (output > target).sum(), "does not depend on any parameter that is trained"),
    ],
)
def test_a_loss_that_cannot_be_followed_back_is_refused(loss: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(Named(), pairs(), TrainConfig(epochs=1), loss=loss)


def test_data_that_can_be_read_once_is_refused_for_several_epochs() -> None:
    with pytest.raises(InputError, match=r"can be read once, and train\.epochs is 2"):
        fit(Named(), iter(pairs()), TrainConfig(epochs=2, schedule="constant"), loss=mse)


def test_data_is_read_once_an_epoch_and_not_to_look_at_it() -> None:
    class Counted(list[Any]):
        num_reads = 0

        def __iter__(self) -> Any:  # a loader with workers starts them here
            self.num_reads += 1
            return super().__iter__()

    data = Counted(pairs())
    fit(Named(), data, TrainConfig(epochs=3), loss=mse)
    assert data.num_reads == 3


def test_a_schedule_that_must_know_the_number_of_batches_says_so() -> None:
    class Endless:
        def __iter__(self) -> Iterator[Any]:
            return iter(pairs())

    with pytest.raises(InputError, match="does not say how many batches"):
        fit(Named(), Endless(), TrainConfig(epochs=2), loss=mse)
    assert fit(Named(), Endless(), TrainConfig(epochs=2, schedule="constant"), loss=mse).num_steps == 8


# ---- what a step does


def trained(config: TrainConfig, data: Any = None, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    model = Named()
    fit(model, pairs() if data is None else data, config, loss=mse, **more)
    return model


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulated_batches_are_as_one_large_batch() -> None:
    """Two of 16 rows are one of 32; three of them leave one alone at the end, which is a step of its own."""
    wide = [tuple(map(torch.cat, zip(*pairs()[i : i + 2], strict=True))) for i in (0, 2)]
    torch.testing.assert_close(
        weights(trained(TrainConfig(epochs=3, accumulate=2))), weights(trained(TrainConfig(epochs=3), wide))
    )
    rest = [tuple(map(torch.cat, zip(*part, strict=True))) for part in (pairs()[:3], pairs()[3:])]
    torch.testing.assert_close(
        weights(trained(TrainConfig(epochs=3, accumulate=3))), weights(trained(TrainConfig(epochs=3), rest))
    )


def test_a_step_is_clipped_to_the_norm() -> None:
    torch.manual_seed(0)
    model = Named()
    before = weights(model).clone()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(model, pairs()[:1], TrainConfig(epochs=1, clip_norm=0.01), loss=mse, optimizer=sgd)
    assert float((weights(model) - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_averaged_weights_are_those_of_torch() -> None:
    """By hand: AveragedModel of torch after each step of the same run."""
    torch.manual_seed(0)
    model = Named()
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    sgd = torch.optim.SGD(model.parameters(), lr=0.05)
    sgd.register_step_post_hook(lambda *_: averaged.update_parameters(model))
    seen = []

    def validation(model: nn.Module) -> float:
        seen.append(weights(model).clone())
        return 0.0

    config = TrainConfig(epochs=2, ema_decay=0.8)
    fit(model, pairs(), config, loss=mse, optimizer=sgd, validation=validation)
    torch.testing.assert_close(weights(model), weights(averaged.module), rtol=0, atol=0)
    torch.testing.assert_close(seen[-1], weights(model), rtol=0, atol=0)


def test_fp16_leaves_out_a_step_that_overflows_and_halves_the_scale() -> None:
    torch.manual_seed(0)
    model = Named()
    steps = []
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    sgd.register_step_post_hook(lambda *_: steps.append(weights(model).clone()))
    batches = [(torch.full((4, 3), 100.0), torch.zeros(4)), *pairs()]  # 65,536 times its gradient is beyond float16
    result = fit(model, batches, TrainConfig(epochs=1, precision="fp16"), loss=mse, optimizer=sgd)
    assert result.num_steps == 5
    assert 0 < len(steps) < 5
    assert torch.isfinite(weights(model)).all()


def test_fp16_that_never_becomes_finite_ends_with_words() -> None:
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
            return grad * float("nan")

    with pytest.raises(CheckError, match=r"not finite at any loss scale.*bf16"):
        fit(
            Named(), pairs(), TrainConfig(epochs=99, precision="fp16"),
            loss=lambda output, target: mse(Poison.apply(output), target),
        )  # fmt: skip


@pytest.mark.slow
def test_low_precision_learns_the_line() -> None:
    for precision in ("bf16", "fp16"):
        config = TrainConfig(epochs=150, lr=0.1, weight_decay=0, precision=precision)  # type: ignore[arg-type]
        result = fit(module(), stream(), config, loss=squared)
        assert result.losses[-1] < 0.01 * result.losses[0]


# ---- what is refused


def test_a_loss_that_is_not_finite_names_the_batch_within_its_window() -> None:
    data = pairs()
    data[3] = (data[3][0], torch.full((16,), float("inf")))
    with pytest.raises(CheckError, match=r"the loss of batch 3 in epoch 0 is not finite \(inf\).*float32 \[16, 3\]"):
        trained(TrainConfig(epochs=1, accumulate=2), data)


def test_a_gradient_that_is_not_finite_names_the_parameter() -> None:
    """The square root of zero has a loss of 0 and a gradient of 0/0."""
    with pytest.raises(CheckError, match=r"the gradient of batch 0 in epoch 0 is not finite, first in 'line\.weight'"):
        fit(Named(), pairs(), TrainConfig(epochs=1), loss=lambda output, target: (output * 0).sum().abs().sqrt())


class Unused(Named):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


def test_a_parameter_without_a_gradient_is_named_unless_it_is_meant() -> None:
    with pytest.raises(InputError, match=r"'spare\.weight' has no gradient .* nor have 1 others.*allow_unused"):
        fit(Unused(), pairs(), TrainConfig(epochs=1), loss=mse)
    fit(Unused(), pairs(), TrainConfig(epochs=1, allow_unused=True), loss=mse)
    frozen = Unused()
    frozen.spare.requires_grad_(False)
    fit(frozen, pairs(), TrainConfig(epochs=1), loss=mse)


def test_a_model_that_cannot_be_trained_and_an_optimizer_of_another_one_are_refused() -> None:
    with pytest.raises(InputError, match="no parameter that can be trained"):
        fit(Named().requires_grad_(False), pairs(), TrainConfig(epochs=1), loss=mse)
    with pytest.raises(InputError, match=r"holds no parameter of this model, such as 'line\.weight'"):
        fit(Named(), pairs(), TrainConfig(epochs=1), loss=mse, optimizer=torch.optim.SGD(Named().parameters(), lr=1))
    with pytest.raises(InputError, match="the optimizer is a list"):
        fit(Named(), pairs(), TrainConfig(epochs=1), loss=mse, optimizer=lambda p: p)  # type: ignore[arg-type, return-value]


# ---- validation


def test_validation_is_the_mean_loss_by_rows() -> None:
    torch.manual_seed(0)
    model = Named()
    held_out = [(torch.ones(3, 3), torch.zeros(3)), (torch.zeros(1, 3), torch.ones(1))]
    result = fit(model, pairs(), TrainConfig(epochs=4, validate_every=2), loss=mse, validation=held_out)
    assert [each["epoch"] for each in result.validations] == [1, 3]
    by_hand = torch.cat([(model(x) - y) ** 2 for x, y in held_out]).mean().detach()
    assert result.validations[-1]["loss"] == pytest.approx(float(by_hand), rel=1e-6)


def test_a_run_ends_when_the_metric_gets_no_better_and_keeps_the_best_weights() -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    seen = []

    def validation(model: nn.Module) -> dict[str, float]:
        seen.append(weights(model).clone())
        return {"loss": 1.0, "accuracy": next(scores)}

    torch.manual_seed(0)
    model = Named()
    config = TrainConfig(epochs=9, patience=2, metric="accuracy", goal="max")
    result = fit(model, pairs(), config, loss=mse, validation=validation)
    assert (result.stopped_early, len(result.losses), result.best, result.best_epoch) == (True, 4, 0.7, 1)
    torch.testing.assert_close(weights(model), seen[1], rtol=0, atol=0)


def test_a_metric_that_is_not_there_names_the_near_one_and_nan_is_refused() -> None:
    with pytest.raises(InputError, match=r"no 'acuracy'. Did you mean 'accuracy'\?"):
        trained(TrainConfig(epochs=1, metric="acuracy"), validation=lambda model: {"accuracy": 1.0})
    with pytest.raises(CheckError, match="loss after epoch 0 is nan"):
        trained(TrainConfig(epochs=1), validation=lambda model: float("nan"))
    for measured in (None, {"loss": "low"}):
        with pytest.raises(InputError, match="the validation gives"):
            trained(TrainConfig(epochs=1), validation=lambda model, measured=measured: measured)
    with pytest.raises(InputError, match="no batches to validate on"):
        trained(TrainConfig(epochs=1), validation=[])


def test_an_optimizer_that_wants_to_know_hears_both_losses() -> None:
    class Curious(torch.optim.SGD):
        heard: list[tuple[float, float]] = []  # noqa: RUF012

        def report(self, *, train_loss: float, val_loss: float) -> None:
            self.heard.append((train_loss, val_loss))

    result = fit(
        Named(), pairs(), TrainConfig(epochs=2), loss=mse, validation=pairs(),
        optimizer=lambda parameters: Curious(parameters, lr=0.01),
    )  # fmt: skip
    assert Curious.heard == list(zip(result.losses, [each["loss"] for each in result.validations], strict=True))
    Curious.heard.clear()
    scores = iter([0.5, 0.75])
    fit(
        Named(), pairs(), TrainConfig(epochs=2, metric="accuracy", goal="max"), loss=mse,
        validation=lambda model: {"accuracy": next(scores)},
        optimizer=lambda parameters: Curious(parameters, lr=0.01),
    )  # fmt: skip
    assert [val_loss for _, val_loss in Curious.heard] == [-0.5, -0.75], "a better accuracy is no larger loss"


def test_importing_the_configuration_brings_no_torch() -> None:
    code = "import sys; from deepseek.train import TrainConfig; TrainConfig(epochs=1); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
