"""Export for a device (`deepseek export --edge`): a folder that runs a model without torch and without Python.

    done = export_edge(Path("loans"), Path("loans-edge"), EdgeOptions(tier="c"))
    done.size_bytes, done.parity, done.measured

Main path: open the model and real rows -> build each variant (float32, int8) -> compile it, run it on the rows, compare
-> choose the smallest that answers as the model does -> check --max-mb -> install the folder. A variant that misses
parity is never written, and without any other nothing is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from deepseek.compress.edge import build
from deepseek.compress.edge.parity import compare_outputs
from deepseek.compress.edge.result import (
    EdgeExport,
    EdgeOptions,
    MeasuredVariant,
    check_output_folder,
    choose_variant,
    install_folder,
    write_descriptions,
)
from deepseek.compress.edge.target import EdgeTarget, open_edge_target
from deepseek.compress.edge.variants import Variant, build_variants, library_files
from deepseek.errors import CheckError


def export_edge(
    path: Path, out: Path, options: EdgeOptions | None = None, *, data: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> EdgeExport:  # fmt: skip
    """Export the model at `path` into the folder `out`. `say` receives progress messages.

    InputError or IntegrityError for a model, rows or a target that cannot be used, ExtraError without a compiler,
    CheckError when no variant answers as the model does or the smallest is above `max_mb`.
    """
    options = options or EdgeOptions()
    check_output_folder(out, overwrite=options.overwrite)
    if options.tier == "executorch":
        from deepseek.compress.edge.executorch import export_pte

        return export_pte(path, out, options, data=data, say=say)
    build.find_compiler()
    if options.tier == "onnxruntime":
        _check_library(options)
    target = open_edge_target(path, data)
    variants, notes = build_variants(target, options.tier)
    with tempfile.TemporaryDirectory() as scratch:
        measured: list[tuple[MeasuredVariant, Path]] = []
        for variant in variants:
            say(f"{variant.name}: compile, run, compare with the model")
            measured.append(_measure_variant(variant, target, Path(scratch) / variant.name, options))
        best, folder = choose_variant(measured, options, target)
        measurements = tuple(measurement for measurement, _ in measured)
        write_descriptions(folder, target, options, best, measurements)
        install_folder(folder, out, options)
    return EdgeExport(out, target, options.tier, best, measurements, tuple(notes))


def _check_library(options: EdgeOptions) -> None:
    """CheckError, before any long work, when onnxruntime's library alone is larger than options.max_mb."""
    size_bytes = sum(path.stat().st_size for path in library_files().values())
    if size_bytes > options.max_mb * 1e6:
        raise CheckError(
            f"onnxruntime's library and its licences alone are {size_bytes / 1e6:.2f} MB",
            expected=f"at most {options.max_mb:g} MB",
            fix="raise --max-mb, or use --tier c",
        )


def _measure_variant(
    variant: Variant, target: EdgeTarget, folder: Path, options: EdgeOptions
) -> tuple[MeasuredVariant, Path]:
    """Write a variant's files into `folder`, compile and run it; its measurement and the folder."""
    folder.mkdir()
    for name, content in variant.files.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        else:
            file.write_bytes(content)
    rows = variant.rows
    inputs = target.inputs[rows]
    with build.compile_program(folder) as program_folder:
        result = build.run_program(program_folder, inputs, variant.program)
        start_s = build.cold_start_s(program_folder, inputs, variant.program)
        program_bytes = build.stripped_bytes(program_folder)
    parity = compare_outputs(target, result.outputs, result.classes, rows, lossy=variant.is_lossy, keep=options.keep)
    files_bytes = sum((folder / name).stat().st_size for name in variant.on_device)
    measured = MeasuredVariant(
        variant.name, program_bytes + files_bytes, parity, result.p50_s, result.p99_s, start_s, result.peak_bytes,
        variant.program.static_bytes,
    )  # fmt: skip
    return measured, folder


__all__ = ["EdgeExport", "EdgeOptions", "export_edge"]
