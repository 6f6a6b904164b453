"""Accelerators as their data sheets have them, and the shares of a data sheet that real kernels reach.

    fleet = parse_fleet("H100x8")     # eight H100 in one machine
    fleet = parse_fleet("cpu")        # this machine, measured now

FLOP/s are dense ones: data sheets of NVIDIA since Ampere and of AMD print twice that, for sparse matrices.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

import numpy as np

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

MAX_DEVICES = 4096


@dataclass(frozen=True)
class Device:
    """One accelerator and what connects it to others. Bandwidths in bytes per second, one way."""

    name: str
    memory_bytes: float
    memory_bandwidth: float
    flops_16: float  # fp16 and bf16
    flops_8: float  # fp8; 0 where there are no such units
    link_bandwidth: float  # to the others in the same machine
    link: str
    network_bandwidth: float  # to another machine, per device
    per_machine: int
    source: str


_GB, _TB, _T = 1e9, 1e12, 1e12
#: By name. What joins machines is no matter of a device: see NETWORK_NOTE.
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("A100-40", 40 * _GB, 1.555 * _TB, 312 * _T, 0, 300 * _GB, "NVLink 3", 25 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/a100/ (SXM)"),
        Device("A100-80", 80 * _GB, 2.039 * _TB, 312 * _T, 0, 300 * _GB, "NVLink 3", 25 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/a100/ (SXM)"),
        Device("H100", 80 * _GB, 3.35 * _TB, 989.4 * _T, 1978.9 * _T, 450 * _GB, "NVLink 4", 50 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/h100/ (SXM)"),
        Device("H200", 141 * _GB, 4.8 * _TB, 989.4 * _T, 1978.9 * _T, 450 * _GB, "NVLink 4", 50 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/h200/ (SXM)"),
        Device("B200", 180 * _GB, 8.0 * _TB, 2250 * _T, 4500 * _T, 900 * _GB, "NVLink 5", 50 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/dgx-b200/ (1,440 GB and 64 TB/s of eight)"),
        Device("L40S", 48 * _GB, 864 * _GB, 362 * _T, 733 * _T, 32 * _GB, "PCIe 4", 25 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/l40s/"),
        Device("L4", 24 * _GB, 300 * _GB, 121 * _T, 242.5 * _T, 32 * _GB, "PCIe 4", 12.5 * _GB, 8,
               "https://www.nvidia.com/en-us/data-center/l4/"),
        Device("MI300X", 192 * _GB, 5.3 * _TB, 1307.4 * _T, 2614.9 * _T, 448 * _GB, "Infinity Fabric", 50 * _GB, 8,
               "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html"),
    )
}  # fmt: skip


NETWORK_NOTE = "assumed: a port per device, of 200 Gbit/s beside A100 and L40S, 100 beside L4, 400 beside the others"


@dataclass(frozen=True)
class Efficiency:
    """The shares of a data sheet that kernels reach, the same for every device and model."""

    memory: float = 0.83  # share of the bandwidth
    compute: float = 0.70  # share of the FLOP/s
    link: float = 0.80  # share of the bandwidth
    kernel_s: float = 4e-6  # a kernel's start and end, at which it neither reads nor computes
    kernels_per_layer: int = 10
    link_latency_s: float = 10e-6  # of an all-reduce, or of a message, within a machine
    network_latency_s: float = 20e-6  # between machines
    usable: float = 0.90  # share of the memory; the rest is for the driver, buffers and fragments
    prefill_chunk: int = 8192  # tokens whose activations are held at once


EFFICIENCY = Efficiency()
#: Where each factor comes from.
EFFICIENCY_SOURCES: dict[str, str] = {
    "memory": "about 1,700 of 2,039 GB/s at best on an A100 (github.com/pytorch-labs/gpt-fast, README)",
    "compute": "largest matmul measured: H100 fp8 0.71, bf16 0.80, A100 0.87, B200 0.78, MI300X 0.51 to 0.60 "
    "(github.com/stas00/ml-engineering, MAMF tables); the lowest of NVIDIA's, as a model's shapes are not the best",
    "link": "366 to 376 of 450 GB/s on NVLink 4 (github.com/NVIDIA/nccl/issues/1264)",
    "kernel_s": "4 to 6 us to launch one (susun-blog.com/blog/pegainfer-3-cuda-graph); a recorded graph hides a part",
    "kernels_per_layer": "norm, qkv, rotation, attention, its sum, projection, norm, up and gate, activation, down",
    "link_latency_s": "10 us within a machine, 20 us between two (github.com/calculon-ai/calculon, a100_80g.json); "
    "an all-reduce over machines goes up and down a tree of them",
    "usable": "vLLM's default gpu_memory_utilization",
    "overlap": "none: a kernel's reading and computing times are added (as calculon's processing_mode no_overlap)",
}


@dataclass(frozen=True)
class Fleet:
    """Devices of one kind."""

    device: Device
    count: int

    def __str__(self) -> str:
        return f"{self.device.name}x{self.count}"


def parse_fleet(text: str) -> Fleet:
    """H100x8: the name of a device and how many. `cpu` is this machine, measured.

    >>> parse_fleet("h100x8").count, parse_fleet("A100").device.name, str(parse_fleet("MI300Xx4"))
    (8, 'A100-80', 'MI300Xx4')
    """
    match = re.fullmatch(r"\s*([A-Za-z0-9-]+?)(?:[x*](\d{1,6}))?\s*", text)
    if not match:
        raise InputError(f"{text[:40]!r} names no devices", expected="such as H100x8", fix="give a name and a number")
    count, name = int(match[2] or 1), match[1].upper()
    name = {"A100": "A100-80"}.get(name, name)
    if not 1 <= count <= MAX_DEVICES:
        raise InputError(f"{count} devices", expected=f"1 to {MAX_DEVICES}", fix="give such a number")
    if name == "CPU":
        return Fleet(measure_cpu(), count)
    if name not in DEVICES:
        raise InputError(
            f"there is no device {match[1]!r}.{did_you_mean(name, DEVICES)}",
            expected=f"one of {', '.join(DEVICES)}, cpu", fix="give one of these, such as H100x8",
        )  # fmt: skip
    return Fleet(DEVICES[name], count)


def measure_cpu(*, size: int = 1024, copied_bytes: int = 64 << 20) -> Device:
    """This machine: memory that it has, bandwidth of a copy and FLOP/s of a float32 product, each the best of three.

    What is measured is reached, so the shares of Efficiency make it somewhat less: the price of one rule for all.
    """
    source = np.ones(copied_bytes // 8)
    goal = np.empty_like(source)
    square = np.ones((size, size), np.float32)
    copies, products = [], []
    for _ in range(3):
        start_s = time.perf_counter()
        np.copyto(goal, source)
        copies.append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        square @ square
        products.append(time.perf_counter() - start_s)
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    flops = 2 * size**3 / min(products)
    bandwidth = 2 * copied_bytes / min(copies)
    return Device(
        "CPU", memory, bandwidth, flops, 0, bandwidth / 4, "shared memory", 1.25e9, 1,
        f"measured now: a copy of {copied_bytes >> 20} MiB, a product of {size} x {size} float32; links assumed",
    )  # fmt: skip
