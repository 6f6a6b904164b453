"""`ship --encoder`: towers answer as their own libraries do, a frozen one stays so, and both go into the one graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import deepseek as ds
from deepseek.automl.pretrained_encoders import load_encoders, load_image_encoder, load_text_encoder
from deepseek.cli import main
from deepseek.data.table.table import Table
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.nn.pretrained import PretrainedTextEncoder, build_encoder, cache_outputs
from deepseek.nn.pretrained_image import EFFICIENTNET_LITE, EfficientNetLite, PretrainedImageEncoder, read_image_weights
from deepseek.train.multimodal.choice import TITLES, WORDS_TITLE
from support.nets.textfolders import make_text_folder
from support.nets.torchless import told_without_torch

NUM = 48
NET = "squeezenet1_1"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_file(torchvision.models.get_model(NET).state_dict(), file)
    return file


def ship(root: Path, **encoders: str) -> Any:
    """Of a picture that says nothing and a text that says the class."""
    draw, lines = np.random.default_rng(0), ["scan,note,patient,ill"]
    for row in range(NUM):
        ill = row // 2 % 2
        Image.fromarray(draw.integers(0, 255, (16, 16), np.uint8)).save(root / f"{row}.png")
        lines.append(f"{row}.png,{('happy cat', 'bad film')[ill]},p{row // 2},{('no', 'yes')[ill]}")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return ds.ship(
        root / "patients.csv", target="ill", split="group:patient", out=root / "bundle", trials=2, workers=0,
        encoders={"note": str(make_text_folder(root / "bert")), **encoders},
    )  # fmt: skip


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = tmp_path_factory.mktemp("patients")
    return root, ship(root)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_a_text_tower_says_what_transformers_says(family: str, tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / family, family)
    texts = ["the cat sat on a mat", "berlin is big and very happy , not at all bad"]
    shape, weights, reader = load_text_encoder(folder, texts)
    assert shape.text is not None
    tower = PretrainedTextEncoder(shape.text).eval()
    tower.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    ids = torch.from_numpy(reader.read_many(texts))
    mask = ids != shape.text.pad_id
    assert mask.all(0).sum() < mask.any(0).sum() == ids.shape[1]  # as long as the longest, the other padded
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(input_ids=ids, attention_mask=mask.long())[0]
        states = tower(ids)
    torch.testing.assert_close(states[mask], expected[mask], rtol=0, atol=2e-5)


def test_an_image_tower_says_what_torchvision_says(net: Path) -> None:
    shape, weights = load_image_encoder(f"{NET}:{net}")
    tower = PretrainedImageEncoder(shape.image, (64, 64)).train()  # its norms keep their statistics all the same
    tower.load_state_dict(weights)
    model = torchvision.models.get_model(NET).eval()
    model.load_state_dict(load_file(net))
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = model.features((images / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)).flatten(2).mT
        torch.testing.assert_close(tower(images), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_efficientnet_lite_are_read_by_the_names_of_their_publisher(tmp_path: Path) -> None:
    state = EfficientNetLite().state_dict()
    save_file(
        {".".join(f"_{part}" if not part.isdigit() and part not in _LAST else part for part in name.split(".")): value
         for name, value in state.items()} | {"_fc.bias": torch.zeros(3)}, tmp_path / "lite.safetensors",
    )  # fmt: skip
    weights = read_image_weights(EFFICIENTNET_LITE, tmp_path / "lite.safetensors")
    assert {name.removeprefix("net.") for name in weights} == set(state)
    assert PretrainedImageEncoder(EFFICIENTNET_LITE, (65, 33)).grid == (3, 2)  # rounded up
    cut = PretrainedImageEncoder(f"{EFFICIENTNET_LITE}@11", (65, 33))
    assert (cut.width, cut.grid) == (112, (5, 3))
    cut.load_state_dict(read_image_weights(f"{EFFICIENTNET_LITE}@11", tmp_path / "lite.safetensors"))
    with pytest.raises(InputError, match="ends at block '17'"):
        PretrainedImageEncoder(f"{EFFICIENTNET_LITE}@17", (65, 33))


_LAST = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_a_frozen_tower_learns_nothing_and_remembers_what_it_said(net: Path) -> None:
    shape, weights = load_image_encoder(f"{NET}:{net}")
    encoder = build_encoder(shape, 32, size=(32, 32))
    encoder.tower.load_state_dict(weights)
    assert not any(p.requires_grad for p in encoder.tower.parameters())
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    calls: list[int] = []
    encoder.tower.register_forward_hook(lambda *hook_arguments: calls.append(len(hook_arguments[2])))
    with cache_outputs(encoder):
        first, again = encoder.train()(images[:2]), encoder.eval()(images)
    torch.testing.assert_close(again[:2], first)
    assert calls == [2, 1]
    encoder(images)
    assert calls[-1] == 3
    assert all(p.requires_grad for p in encoder.join.parameters())


@pytest.mark.slow
def test_the_bundle_answers_as_the_net_and_without_torch(shipped: Any) -> None:
    root, shipment = shipped
    assert json.loads((shipment.path / "evidence/parity.json").read_text())["max_difference"] < 1e-5
    towers = json.loads((shipment.path / "model.json").read_text())["shape"]["towers"]
    assert towers["note"]["text"]["hidden"] == 32
    assert str(root) not in (shipment.path / "model.json").read_text() + (shipment.path / "bundle.json").read_text()
    kept, pretrained = (
        load_file(shipment.path / "weights/net.safetensors"),
        load_file(root / "bert" / "model.safetensors"),
    )
    words = "embeddings.word_embeddings.weight"
    torch.testing.assert_close(kept["encoders.m_note.tower.words.weight"], pretrained[words], rtol=0, atol=0)
    assert told_without_torch(shipment.path, root / "patients.csv").count("'") == 8


@pytest.mark.slow
def test_an_image_net_goes_into_the_same_graph(tmp_path: Path, net: Path) -> None:
    shipment = ship(tmp_path, scan=f"{NET}:{net}")
    assert json.loads((shipment.path / "evidence/parity.json").read_text())["max_difference"] < 1e-5
    assert json.loads((shipment.path / "model.json").read_text())["shape"]["towers"]["scan"]["image"] == NET
    kept, pretrained = load_file(shipment.path / "weights/net.safetensors"), load_file(net)
    for name in ("features.0.weight", "features.12.expand3x3.bias"):
        torch.testing.assert_close(kept[f"encoders.m_scan.tower.net.{name}"], pretrained[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_linear_model_of_embeddings_is_chosen_by_held_out_rows_and_served_without_torch(tmp_path: Path) -> None:
    words, lines = ("happy cat", "bad film"), ["note,age,ill"]
    lines += [f"{words[row % 2]} {'a mat is big'[: row % 12]},{row % 7},{'ny'[row % 2]}" for row in range(90)]
    (tmp_path / "notes.csv").write_text("\n".join(lines) + "\n")
    shipment = ds.ship(
        tmp_path / "notes.csv", target="ill", out=tmp_path / "bundle", trials=1, workers=0,
        encoders={"note": str(make_text_folder(tmp_path / "bert"))},
    )  # fmt: skip
    candidates = json.loads((shipment.path / "evidence/training.json").read_text())["candidates"]
    assert {each["name"] for each in candidates} == {"fused", *TITLES.values()}
    best = min((each for each in candidates if each["name"] != WORDS_TITLE), key=lambda each: each["loss"])
    assert shipment.model == best["name"] != "fused"  # after one epoch the net knows nothing
    assert json.loads((shipment.path / "evidence/parity.json").read_text())["max_difference"] < 1e-5
    assert WORDS_TITLE in json.loads((shipment.path / "evidence/metrics.json").read_text())["baseline_name"]
    assert told_without_torch(shipment.path, tmp_path / "notes.csv").count("'") >= 8
    explained = ds.explain(shipment.path, tmp_path / "notes.csv", rows=[3])
    (row,) = explained["explanations"]
    assert set(row["values"]) == {"note", "table"}
    assert abs(row["residual"]) < 1e-6


def test_what_is_no_encoder_is_named(net: Path, tmp_path: Path, capsys: Any) -> None:
    table = Table({"scan": np.array(["1.png"], object)}, {"scan": "text"})
    for encoders, kind, words in (
        ({"scann": f"{NET}:{net}"}, InputError, "Did you mean 'scan'"),
        ({"scan": "nowhere"}, InputError, "names no file of weights"),
        ({"scan": f"resnet18:{net}"}, IntegrityError, "no weights of resnet18"),
        ({"scan": f"resnet81:{net}"}, InputError, "no image net 'resnet81'"),
        ({"scan": f"{NET}:{tmp_path / 'none'}"}, MissingError, "there is no file"),
        ({"scan": f"{NET}:{__file__}"}, IntegrityError, "cannot be read"),
    ):
        with pytest.raises(kind, match=words):
            load_encoders(encoders, table)
    (tmp_path / "a.csv").write_text("age,ill\n1,0\n2,1\n")
    asked_ship = ["ship", str(tmp_path / "a.csv"), "--target", "ill", "--encoder", "age=x:y", "--train-encoder", "agee"]
    assert main(asked_ship) == 2
    assert "train_encoders names 'agee'" in capsys.readouterr().err
