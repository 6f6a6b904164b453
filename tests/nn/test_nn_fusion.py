"""Fusion: what is missing has no part in the answer, the fused net begins as its late fusion, and all of it exports."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.nn.encoders import (
    AudioEncoder,
    ImageEncoder,
    SeriesEncoder,
    TableEncoder,
    TextEncoder,
    VideoEncoder,
    VolumeEncoder,
)
from deepseek.nn.fusion import MultimodalNet, MultimodalOutput, MultimodalShape, draw_partners, multimodal_loss

WIDTH, NUM = 32, 6


def encoders() -> dict[str, torch.nn.Module]:
    return {
        "ct": ImageEncoder((16, 16), 1, WIDTH),
        "cough": AudioEncoder(8_000, 4_000, 1, WIDTH),
        "record.text": TextEncoder(50, 10, WIDTH),
        "film": VideoEncoder(3, (16, 16), 3, WIDTH),
        "study": VolumeEncoder(2, (16, 16), WIDTH),
        "pulse": SeriesEncoder(100, 2, WIDTH),
        "table": TableEncoder(5, WIDTH),
    }


def inputs(seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (NUM, 10), generator=draw)
    ids[:, 6:] = 0
    return {
        "ct": torch.randint(0, 256, (NUM, 1, 16, 16), generator=draw, dtype=torch.uint8),
        "cough": torch.randn(NUM, 1, 4_000, generator=draw) / 10,
        "record.text": ids,
        "film": torch.randint(0, 256, (NUM, 3, 3, 16, 16), generator=draw, dtype=torch.uint8),
        "study": torch.randint(0, 256, (NUM, 1, 2, 16, 16), generator=draw, dtype=torch.uint8),
        "pulse": torch.randn(NUM, 2, 100, generator=draw),
        "table": torch.randn(NUM, 5, generator=draw),
    }


def net(**knobs: Any) -> MultimodalNet:
    torch.manual_seed(0)
    fused_net = MultimodalNet(encoders(), 3, MultimodalShape(width=WIDTH, **knobs))
    torch.nn.init.normal_(fused_net.head.weight, std=0.3)  # as if it had learned something
    return fused_net.eval()


@pytest.mark.parametrize("name", list(encoders()))
def test_an_encoder_gives_the_tokens_that_it_promises(name: str) -> None:
    encoder: Any = encoders()[name]
    assert encoder(inputs()[name]).shape == (NUM, encoder.num_tokens, WIDTH)


@pytest.mark.parametrize("name", list(encoders()))
def test_a_missing_value_has_no_part_in_the_answer(name: str) -> None:
    fused_net, batch = net(), inputs()
    gone = {name: torch.tensor([False, *[True] * (NUM - 1)])}
    first = fused_net(batch, gone)
    other = fused_net({**batch, name: inputs(seed=1)[name]}, gone)
    torch.testing.assert_close(first.logits[0], other.logits[0], rtol=0, atol=0)
    assert not torch.allclose(first.logits[1:], other.logits[1:])  # but where it is there it counts
    at = fused_net.names.index(name)
    assert first.gates[0, at] == 0
    assert not first.unimodal_logits[0, at].any()
    start = sum(fused_net.encoders[f"m_{n.replace('.', '%2E')}"].num_tokens for n in fused_net.names[:at])  # type: ignore[misc]
    length: Any = fused_net.encoders[f"m_{name.replace('.', '%2E')}"].num_tokens
    assert not first.attention[0, :, start : start + length].any()
    assert first.attention[1, :, start : start + length].any()


def test_gates_and_attention_sum_to_one() -> None:
    weights = net()(inputs(), {"ct": torch.zeros(NUM, dtype=torch.bool)})
    torch.testing.assert_close(weights.gates.sum(1), torch.ones(NUM))
    torch.testing.assert_close(weights.attention.sum(2), torch.ones(NUM, 4))


def test_padding_of_a_text_is_not_looked_at() -> None:
    fused_net, batch = net(), inputs()
    logits = fused_net(batch)
    names = list(fused_net.names)
    start = sum(encoders()[name].num_tokens for name in names[: names.index("record.text")])  # type: ignore[misc]
    assert not logits.attention[:, :, start + 6 : start + 10].any()


def test_the_fused_net_begins_as_its_late_fusion() -> None:
    torch.manual_seed(0)
    fused_net = MultimodalNet(encoders(), 3, MultimodalShape(width=WIDTH)).eval()
    logits = fused_net(inputs())
    torch.testing.assert_close(logits.logits, fused_net.late_fusion(logits), rtol=0, atol=0)


@pytest.mark.slow
def test_training_leaves_modalities_out_but_never_all() -> None:
    fused_net = net(drop_modality=0.9).train()
    seen = torch.cat([fused_net(inputs()).gates > 0 for _ in range(30)])
    assert seen.any(1).all()
    assert 0.05 < seen.float().mean() < 0.6
    assert (fused_net.eval()(inputs()).gates > 0).all()


def test_the_loss_of_a_missing_modality_teaches_its_voice_nothing() -> None:
    fused_net, labels = net(drop_modality=0.0).train(), torch.tensor([0, 1, 2, 0, 1, 2])
    multimodal_loss(fused_net(inputs(), {"ct": torch.zeros(NUM, dtype=torch.bool)}), labels).backward()
    assert not fused_net.voices["m_ct"].weight.grad.any()  # type: ignore[union-attr, operator]
    assert fused_net.voices["m_cough"].weight.grad.any()  # type: ignore[union-attr, operator]


@pytest.mark.slow
def test_it_learns_what_no_modality_says_alone() -> None:
    """The label is the exclusive or of two tables: late fusion stays at chance."""
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (512, 2))
    batch = {name: bits[:, at : at + 1] * 2.0 - 1 + 0.1 * torch.randn(512, 1) for at, name in enumerate("ab")}
    labels = bits[:, 0] ^ bits[:, 1]
    fused_net = MultimodalNet(
        {n: TableEncoder(1, WIDTH) for n in "ab"}, 2, MultimodalShape(width=WIDTH, drop_modality=0.0)
    )
    optimizer = torch.optim.AdamW(fused_net.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        multimodal_loss(fused_net(batch), labels, alone=0.0).backward()
        optimizer.step()
    logits = fused_net.eval()(batch)
    assert (logits.logits.argmax(1) == labels).float().mean() > 0.99
    assert (fused_net.late_fusion(logits).argmax(1) == labels).float().mean() < 0.8


@pytest.mark.parametrize("num_there", [4, 1, 0])
def test_what_is_missing_is_not_in_the_statistics_of_the_norms(num_there: int) -> None:
    fused_net, batch = net(drop_modality=0.0).train(), inputs()
    encoder: Any = fused_net.encoders["m_table"]
    start = encoder.norm.running_mean.clone()
    fused_net(batch, {"table": torch.arange(NUM) < num_there})
    wanted = 0.9 * start + 0.1 * batch["table"][:num_there].mean(0) if num_there > 1 else start
    torch.testing.assert_close(encoder.norm.running_mean, wanted)
    assert encoder.training


def test_rows_are_mixed_with_rows_of_the_same_modalities_alone() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True, True], [True, False]] * 8 + [[False, True]])
    drawn = torch.stack([draw_partners(present) for _ in range(20)])
    for partners in drawn:
        assert (present[partners] == present).all()
        assert sorted(partners.tolist()) == list(range(17))
    assert len(set(drawn[:, 0].tolist())) > 4
    assert (drawn[:, 16] == 16).all()  # no other is like it


def test_the_loss_of_mixed_rows_is_against_both_labels_in_their_ratio() -> None:
    """The table's tokens say the row's number: what the pool gets tells in which ratio two rows were mixed."""
    fused_net, labels = net(drop_modality=0.0, dropout=0.0, mixup=1.0).train(), torch.tensor([0, 1, 2, 0, 1, 2])

    class Number(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1, None].expand(-1, 1, WIDTH)

    fused_net.encoders["m_table"] = Number()
    got: list[Tensor] = []
    fused_net.pools["m_table"].register_forward_pre_hook(lambda _, hook_inputs: got.append(hook_inputs[0]))
    numbers = torch.arange(NUM, dtype=torch.float32)[:, None].expand(-1, 5)
    logits = fused_net({**inputs(), "table": numbers}, {"table": torch.arange(NUM) != 2})
    assert logits.partner is not None and logits.ratio is not None  # noqa: PT018
    assert 0 < logits.ratio < 1
    wanted = logits.ratio * numbers[:, 0] + (1 - logits.ratio) * numbers[logits.partner, 0]
    there = torch.arange(NUM) != 2
    torch.testing.assert_close(got[0][there, 0, 0], wanted[there])
    assert logits.partner[2] == 2
    plain = MultimodalOutput(*logits[:5])
    parts = [multimodal_loss(plain, truth) for truth in (labels, labels[logits.partner])]
    torch.testing.assert_close(multimodal_loss(logits, labels), logits.ratio * parts[0] + (1 - logits.ratio) * parts[1])
    assert fused_net.eval()(inputs()).partner is None


def test_where_only_one_of_two_texts_goes_on_its_words_count_in_full() -> None:
    fused_net, batch = net(drop_modality=0.0, dropout=0.0, mixup=1.0).train(), inputs()
    batch["record.text"][0] = 7  # of ten words; the others have six
    got: list[tuple[Tensor, Tensor]] = []
    fused_net.pools["m_record%2Etext"].register_forward_pre_hook(lambda _, each: got.append(each))
    for part in fused_net.encoders["m_record%2Etext"].modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    logits = fused_net(batch)
    ((tokens, mask),) = got
    own, _ = fused_net.encode("record.text", batch["record.text"], torch.ones(NUM, dtype=torch.bool))
    assert logits.partner is not None
    taker = int((logits.partner == 0).nonzero()[0])
    torch.testing.assert_close(tokens[taker, 6:], own[0, 6:])
    assert mask[taker].all()


@pytest.mark.slow
def test_it_runs_in_onnxruntime_with_masks(tmp_path: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    fused_net, batch = net(), inputs()
    gone = {name: torch.arange(NUM) % (at + 2) != 0 for at, name in enumerate(fused_net.names)}
    gone["table"] = torch.ones(NUM, dtype=torch.bool)
    fused_net.requires_grad_(False)

    class Flat(torch.nn.Module):
        def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
            half = len(arrays) // 2
            logits = fused_net(
                dict(zip(fused_net.names, arrays[:half], strict=True)),
                dict(zip(fused_net.names, arrays[half:], strict=True)),
            )
            return logits.logits, logits.gates, logits.attention

    arrays = (*(batch[name] for name in fused_net.names), *(gone[name] for name in fused_net.names))
    names = [f"x{at}" for at in range(len(arrays))]
    file = io.BytesIO()
    torch.onnx.export(
        Flat().eval(), arrays, file, dynamo=False, opset_version=17, input_names=names,
        output_names=["logits", "gates", "attention"], dynamic_axes={name: {0: "rows"} for name in names},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for rows in (NUM, 1):
        got = session.run(None, {name: array[:rows].numpy() for name, array in zip(names, arrays, strict=True)})
        want = fused_net({n: x[:rows] for n, x in batch.items()}, {n: x[:rows] for n, x in gone.items()})
        for mine, theirs in zip(got, (want.logits, want.gates, want.attention), strict=True):
            np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "knobs",
    [{"width": 4}, {"num_queries": 0}, {"num_layers": 0}, {"drop_modality": 1.0}, {"dropout": -0.1}, {"mixup": -1.0}],
)
def test_a_knob_out_of_range_is_named(knobs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"fusion\.{next(iter(knobs))}"):
        MultimodalShape(**knobs)


def test_nothing_to_fuse_is_refused() -> None:
    with pytest.raises(InputError, match="no modality"):
        MultimodalNet({}, 2)
