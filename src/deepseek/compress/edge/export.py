"""`deepseek export --edge`: a folder that runs a model on a device, without torch and without Python.

    done = export_edge(Path("loans"), Path("loans-edge"), EdgeOptions(tier="c"))
    done.size_bytes, done.parity, done.measured

Main path: open the model and real rows -> make each variant (float32, int8) -> compile it, run it on the rows, compare
-> keep the smallest that answers as the model does -> check --max-mb -> put the folder in its place. A variant that
misses parity is never written, and with none left nothing is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from deepseek.compress.edge import build
from deepseek.compress.edge.parity import compare_outputs
from deepseek.compress.edge.result import (
    MANIFEST_FILE,
    MEASURED_FILE,
    EdgeExport,
    EdgeOptions,
    MeasuredVariant,
    Tier,
    check_output_folder,
    choose_variant,
    install_folder,
    write_descriptions,
)
from deepseek.compress.edge.subject import EdgeTarget, open_edge_target
from deepseek.compress.edge.variants import Variant, build_variants, library_files
from deepseek.errors import CheckError


def export_edge(
    path: Path, out: Path, options: EdgeOptions | None = None, *, data: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> EdgeExport:  # fmt: skip
    """Write the folder `out`. `say` is told what is being done.

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
    subject = open_edge_target(path, data)
    made, notes = build_variants(subject, options.tier)
    with tempfile.TemporaryDirectory() as tries:
        tried: list[tuple[MeasuredVariant, Path]] = []
        for variant in made:
            say(f"{variant.name}: compile, run, compare with the model")
            tried.append(_measure_variant(variant, subject, Path(tries) / variant.name, options))
        kept, place = choose_variant(tried, options, subject)
        write_descriptions(place, subject, options, kept, [each for each, _ in tried])
        install_folder(place, out, options)
    return EdgeExport(out, subject, options.tier, kept, tuple(each for each, _ in tried), tuple(notes))


def _check_library(options: EdgeOptions) -> None:
    """CheckError, before any long work, when the runtime alone is larger than what is allowed."""
    size_bytes = sum(path.stat().st_size for path in library_files().values())
    if size_bytes > options.max_mb * 1e6:
        raise CheckError(
            f"onnxruntime's library and its licences alone are {size_bytes / 1e6:.2f} MB",
            expected=f"at most {options.max_mb:g} MB",
            fix="raise --max-mb, or use --tier c",
        )


def _measure_variant(
    variant: Variant, subject: EdgeTarget, place: Path, options: EdgeOptions
) -> tuple[MeasuredVariant, Path]:
    """The variant's folder, compiled and run."""
    place.mkdir()
    for name, content in variant.files.items():
        file = place / name
        file.parent.mkdir(exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        else:
            file.write_bytes(content)
    rows = variant.rows
    inputs = subject.inputs[rows]
    with build.compile_program(place) as made:
        ran = build.run_program(made, inputs, variant.program)
        start_s = build.cold_start_s(made, inputs, variant.program)
        program_bytes = build.stripped_bytes(made)
    parity = compare_outputs(subject, ran.outputs, ran.chosen, rows, lossy=variant.is_lossy, keep=options.keep)
    beside = sum((place / name).stat().st_size for name in variant.on_device)
    tried = MeasuredVariant(
        variant.name, program_bytes + beside, parity, ran.p50_s, ran.p99_s, start_s, ran.most_bytes,
        variant.program.static_bytes,
    )  # fmt: skip
    return tried, place


__all__ = [
    "MANIFEST_FILE",
    "MEASURED_FILE",
    "EdgeExport",
    "EdgeOptions",
    "MeasuredVariant",
    "Tier",
    "check_output_folder",
    "choose_variant",
    "export_edge",
    "write_descriptions",
]
