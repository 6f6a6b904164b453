"""What one split of a decoder costs, from first principles: bytes read, FLOPs done, bytes sent.

    cost = forecast(shape, fleet, Job(batch=8, prompt=3840, new=256, dtype="fp8"), Split(tp=8, pp=1))

A pass over `rows` tokens takes, in each layer: the weights read and the products computed (added, not overlapped), the
attention over the keys that are there, what norms, sums and activations read and write, the start of each kernel, and
two all-reduces of the rows where tensors are split (Megatron, arXiv 1909.08053; a ring moves 2(n-1)/n of the bytes).
A pipeline adds a message for each stage. The method is that of arXiv 2211.05102; factors stand in devices.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from deepseek.engines.parallel.devices import EFFICIENCY, Efficiency, Fleet
from deepseek.engines.parallel.shape import DecoderShape

#: Bytes of a weight, and of a value in the key/value cache.
DTYPES: dict[str, tuple[float, int]] = {
    "fp32": (4, 4), "bf16": (2, 2), "fp16": (2, 2), "fp8": (1, 1), "int8": (1, 2), "int4": (0.53125, 2),
}  # fmt: skip
ACTIVATION_BYTES = 2  # between kernels, whatever the weights are; embedding and head are kept so as well


@dataclass(frozen=True)
class Job:
    """The work that each replica does or, in `forecast`, all of them together."""

    batch: int  # sequences at once
    prompt: int  # tokens of each
    new: int  # tokens generated for each
    dtype: str

    @property
    def weight_bytes(self) -> float:
        return DTYPES[self.dtype][0]

    @property
    def kv_bytes(self) -> int:
        return DTYPES[self.dtype][1]

    @property
    def value_bytes(self) -> int:
        return max(ACTIVATION_BYTES, self.kv_bytes)


@dataclass(frozen=True)
class Split:
    """Tensors over `tp` devices, layers over `pp` stages, the batch over `replicas`."""

    tp: int = 1
    pp: int = 1
    replicas: int = 1

    def __str__(self) -> str:
        more = f" x {self.replicas} replicas" if self.replicas > 1 else ""
        return f"TP {self.tp} x PP {self.pp}{more}"


@dataclass(frozen=True)
class TimeParts:
    """Seconds of one pass, by what they are spent on."""

    weights_s: float = 0.0
    compute_s: float = 0.0
    attention_s: float = 0.0
    values_s: float = 0.0
    kernels_s: float = 0.0
    reduce_s: float = 0.0
    pipeline_s: float = 0.0

    @property
    def total_s(self) -> float:
        return float(sum(getattr(self, part.name) for part in fields(self)))

    def times(self, factor: float) -> TimeParts:
        return TimeParts(*(getattr(self, part.name) * factor for part in fields(self)))

    def plus(self, other: TimeParts) -> TimeParts:
        return TimeParts(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


@dataclass(frozen=True)
class Memory:
    """Bytes on the device that holds most."""

    weights: float
    kv: float
    activations: float
    usable: float

    @property
    def total(self) -> float:
        return self.weights + self.kv + self.activations

    @property
    def fits(self) -> bool:
        return self.total <= self.usable


@dataclass(frozen=True)
class Forecast:
    """The cost of one split. Times are for the whole batch at once; a token's is that in the middle of the
    generation."""

    split: Split
    memory: Memory
    first_token_s: float
    token: TimeParts  # one token of every sequence
    tokens_per_s: float  # generated, prompts included in the time

    @property
    def token_s(self) -> float:
        return self.token.total_s


def forecast(
    shape: DecoderShape, fleet: Fleet, job: Job, split: Split, efficiency: Efficiency = EFFICIENCY
) -> Forecast:
    """The cost of `job` on split.tp * split.pp * split.replicas devices of the fleet.

    >>> from deepseek.engines.parallel.devices import parse_fleet
    >>> from deepseek.engines.parallel.shape import read_shape
    >>> one = forecast(read_shape("llama-2-7b"), parse_fleet("A100"), Job(1, 5, 200, "bf16"), Split())
    >>> round(one.tokens_per_s), round(one.memory.weights / 1e9, 1)  # gpt-fast measured 104.9
    (109, 13.5)
    """
    share = Job(-(-job.batch // split.replicas), job.prompt, job.new, job.dtype)
    model = _CostModel(shape, fleet, share, split, efficiency)
    first_s = model.prefill().total_s
    token = model.decode()
    tokens = job.batch * job.new / (first_s + token.total_s * (job.new - 1))
    return Forecast(split, model.memory(), first_s, token, tokens)


@dataclass(frozen=True)
class _CostModel:
    shape: DecoderShape
    fleet: Fleet
    job: Job
    split: Split
    efficiency: Efficiency

    @property
    def stage_layers(self) -> int:
        """Layers of the fullest stage."""
        return -(-self.shape.num_layers // self.split.pp)

    @property
    def flops(self) -> float:
        """FLOP/s that matrices of this type reach."""
        device = self.fleet.device
        peak = device.flops_8 if self.job.dtype == "fp8" else device.flops_16
        half = 2 if self.job.dtype == "fp32" and device.name != "CPU" else 1  # as TF32, at half the speed of fp16
        return peak * self.efficiency.compute / half

    def read_s(self, size: float) -> float:
        return size / (self.fleet.device.memory_bandwidth * self.efficiency.memory)

    def memory(self) -> Memory:
        shape, job, split = self.shape, self.job, self.split
        ends = shape.embedding_parameters + (0 if shape.is_tied and split.pp == 1 else shape.head_parameters)
        if split.pp > 1:  # the first stage has the one, the last the other
            ends = max(shape.embedding_parameters, shape.head_parameters)
        share = self.stage_layers / shape.num_layers / split.tp
        weights = shape.layer_parameters * share * job.weight_bytes + ends * job.value_bytes / split.tp
        values = shape.kv_values / min(split.tp, shape.num_kv_heads) * self.stage_layers
        rows = min(job.batch * job.prompt, self.efficiency.prefill_chunk)
        wide = self._values_per_token()
        logits = job.batch * shape.vocab_size * 4 / split.tp
        return Memory(
            weights=weights, kv=values * job.kv_bytes * job.batch * (job.prompt + job.new),
            activations=rows * wide * job.value_bytes + logits,
            usable=self.fleet.device.memory_bytes * self.efficiency.usable,
        )  # fmt: skip

    def prefill(self) -> TimeParts:
        """Time of all prompts through all stages; micro-batches fill the pipeline."""
        job, pp = self.job, self.split.pp
        micro = min(pp, job.batch)
        part = -(-job.batch // micro)
        layer = self.layer(rows=part * job.prompt, keys=job.prompt / 2, sequences=part, is_prefill=True)
        hops = self.hop_s(part * job.prompt) * (pp - 1)
        stages = micro + pp - 1 if pp > 1 else 1
        return (
            layer.times(self.stage_layers * stages).plus(self.head(part).times(micro)).plus(TimeParts(pipeline_s=hops))
        )

    def decode(self) -> TimeParts:
        """Time of one token for every sequence. With a full pipeline a round is as long as the way through all
        stages."""
        job, pp = self.job, self.split.pp
        part = -(-job.batch // min(pp, job.batch))
        layer = self.layer(rows=part, keys=job.prompt + job.new / 2, sequences=part, is_prefill=False)
        hops = self.hop_s(part) * (pp - 1)
        return layer.times(self.stage_layers * pp).plus(self.head(part)).plus(TimeParts(pipeline_s=hops))

    def layer(self, *, rows: int, keys: float, sequences: int, is_prefill: bool) -> TimeParts:
        """Time of one layer over `rows` tokens of `sequences` sequences, each with `keys` keys to attend to."""
        shape, job, tp = self.shape, self.job, self.split.tp
        device, efficiency = self.fleet.device, self.efficiency
        weights = shape.touched_parameters(rows) / shape.num_layers / tp
        active = shape.active_layer_parameters / shape.num_layers / tp
        cached = shape.kv_values / min(tp, shape.num_kv_heads) * job.kv_bytes
        looked = rows if is_prefill else sequences * keys
        flops_16 = device.flops_16 * efficiency.compute
        return TimeParts(
            weights_s=self.read_s(weights * job.weight_bytes),
            compute_s=2 * rows * active / self.flops,
            attention_s=max(self.read_s(looked * cached), rows * keys * shape.score_flops / tp / flops_16),
            values_s=self.read_s(rows * self._values_per_token() * job.value_bytes),
            kernels_s=efficiency.kernels_per_layer * efficiency.kernel_s,
            reduce_s=2 * self.all_reduce_s(rows * shape.hidden_size * job.value_bytes),
        )

    def _values_per_token(self) -> float:
        """Values that a layer writes and reads between its matrices. Each device does the norms and sums of all, and
        its share of the rest."""
        shape = self.shape
        heads = shape.score_flops / 4  # the width of all heads
        inner = 2 * (2 * heads + shape.kv_values) + 2 * shape.num_mlp_matrices * shape.mlp_width
        return 12 * shape.hidden_size + inner / self.split.tp

    def head(self, sequences: int) -> TimeParts:
        shape = self.shape
        size = shape.head_parameters / self.split.tp
        return TimeParts(
            weights_s=self.read_s(size * self.job.value_bytes),
            compute_s=2 * sequences * size / (self.fleet.device.flops_16 * self.efficiency.compute),
        )

    def all_reduce_s(self, size_bytes: float) -> float:
        tp, device, efficiency = self.split.tp, self.fleet.device, self.efficiency
        if tp == 1:
            return 0.0
        machines = -(-tp // device.per_machine)
        up_and_down_s = 2 * math.ceil(math.log2(machines)) * efficiency.network_latency_s
        bandwidth = device.link_bandwidth
        if machines > 1:  # all ports of a machine carry a share of what leaves it
            bandwidth = min(bandwidth, device.network_bandwidth * device.per_machine)
        moved = 2 * (tp - 1) / tp * size_bytes
        return efficiency.link_latency_s + up_and_down_s + moved / (bandwidth * efficiency.link)

    def hop_s(self, rows: int) -> float:
        """Seconds of one message between neighboring stages, each device to the one that holds the same share there."""
        tp, pp, device, efficiency = self.split.tp, self.split.pp, self.fleet.device, self.efficiency
        if pp == 1:
            return 0.0
        is_within = tp * pp <= device.per_machine
        bandwidth = device.link_bandwidth if is_within else device.network_bandwidth
        latency_s = efficiency.link_latency_s if is_within else efficiency.network_latency_s
        return latency_s + rows * self.shape.hidden_size * self.job.value_bytes / tp / (bandwidth * efficiency.link)
