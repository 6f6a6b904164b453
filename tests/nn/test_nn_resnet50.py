"""ResNet-50: torchvision's answers with torchvision's weights, by the same names."""

from __future__ import annotations

import pytest
import torch

from deepseek.errors import InputError
from deepseek.nn.resnet50 import IMAGENET_DEVIATION, IMAGENET_MEAN, ResNet50, ResNet50Shape, photo_net


def test_it_answers_as_torchvisions_with_its_weights() -> None:
    models = pytest.importorskip("torchvision.models.resnet")
    torch.manual_seed(0)
    theirs = models.ResNet(models.Bottleneck, [1, 2, 1, 1], num_classes=7).eval()
    for part in theirs.modules():  # as if it were trained
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.0)
            torch.nn.init.normal_(part.running_mean, std=0.1)
    ours = ResNet50(ResNet50Shape(num_classes=7, blocks=(1, 2, 1, 1))).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_its_parameters_have_torchvisions_names_and_shapes() -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        states = [net.state_dict() for net in (ResNet50(), models.resnet50())]
    assert {n: p.shape for n, p in states[0].items()} == {n: p.shape for n, p in states[1].items()}


def test_bytes_are_standardised_and_mixed_floats_alike() -> None:
    net = photo_net("tiny", 4, width=4)
    images, got = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), []
    net.net.register_forward_pre_hook(lambda _, hook_inputs: got.append(hook_inputs[0]))
    assert net(images).shape == (2, 4)
    net(images.float())
    wanted = (images / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1)
    for each in got:
        torch.testing.assert_close(each, wanted)


def test_a_net_of_torchvision_comes_by_its_name_and_an_unknown_one_is_refused() -> None:
    pytest.importorskip("torchvision")
    assert photo_net("torchvision/squeezenet1_1", 3)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 3)
    for name in ("torchvision/resnet5", "resnet5", "timm/x"):
        with pytest.raises(InputError, match="there is no net"):
            photo_net(name, 3)
    with pytest.raises(InputError, match="blocks"):
        ResNet50Shape(blocks=())
