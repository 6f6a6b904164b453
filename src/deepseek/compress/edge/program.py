"""C programs of the exported folder: model.h and model.c with the same four functions in each tier, and a Makefile.

    program = bundle_program(runtime)                       # raw columns -> outputs, all in C
    program = network_program(read_network(graph), int8=True)
    program = onnxruntime_program(signature, runtime)       # the graph in libonnxruntime, the columns in C
    program.files                                           # {"model.h": ..., "model.c": ..., "main.c": ..., ...}

The text is a function of the model alone: no dates, no paths, no versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deepseek.compress.edge import ctext
from deepseek.compress.edge.columns import columns_c, is_arithmetic
from deepseek.compress.edge.layers import network_c, plan_arena
from deepseek.compress.edge.network import Network
from deepseek.compress.edge.pictures import PictureAnswer
from deepseek.compress.edge.tables import ARGMAX_DECIDE, decide_c, model_c, range_c
from deepseek.data import Preprocessor
from deepseek.engines import Runtime
from deepseek.engines.decide import Decision
from deepseek.nn.model import Model

NumberType = Literal["double", "float"]
INCLUDES = '#include <float.h>\n#include <math.h>\n#include <stdint.h>\n#include "model.h"\n\n'
LIBRARY_NAME = "libonnxruntime.so.1"  # its soname

MAKEFILE = """\
# `make` builds ./model, the example; on a device, add model.c and model.h to your own program.
CC ?= gcc
CFLAGS ?= -O2
ALL = -std=c99 -Wall -Wextra -Werror -pedantic
LIBS = {libs}

model: main.c model.o model.h
\t$(CC) $(CFLAGS) $(ALL) -o $@ main.c model.o $(LDFLAGS) $(LIBS)

model.o: model.c model.h
\t$(CC) $(CFLAGS) $(ALL) -c -o $@ model.c

.PHONY: clean
clean:
\trm -f model model.o
"""


@dataclass(frozen=True, slots=True)
class Program:
    """Source files by name, and the sizes of model_run()'s inputs and outputs."""

    files: dict[str, str] = field(repr=False)
    number: NumberType  # of an input
    num_inputs: int
    num_outputs: int
    static_bytes: int = 0  # static buffers, without constants


def bundle_program(runtime: Runtime) -> Program:
    """The C program of a bundle."""
    return model_program(runtime.model, runtime.decision, runtime.preprocessor)


def model_program(model: Model, decision: Decision, preprocessor: Preprocessor) -> Program:
    """The C program of a tabular model. Where C cannot prepare some kind of column, model_run() takes the prepared
    features. InputError for a model part that the tier does not know."""
    raw = is_arithmetic(preprocessor)
    parts = [f"enum {{ NUM_FEATURES = {len(preprocessor.feature_names)} }};\n\n"]
    parts += [columns_c(preprocessor)] if raw else []
    parts += [model_c(model), decide_c(decision), MODEL_OPEN_STUB]
    body = "    static float features[NUM_FEATURES];\n    prepare(input, features);\n    score(features, output);\n"
    parts.append(_model_run((body if raw else "    score(input, output);\n") + range_c(decision)))
    return _tabular_program(parts, decision, preprocessor, libs="-lm")


def network_program(network: Network, *, int8: bool) -> Program:
    """The C program of a network: model_run() takes the numbers of one input tensor in its order."""
    num_in, num_out = network.size(network.input), network.size(network.output)
    parts = [network_c(network, int8=int8), ARGMAX_DECIDE, MODEL_OPEN_STUB]
    parts.append(_model_run("    run_network(input, output);\n"))
    header = _header("float", num_in, num_out)
    files = _program_files(header, "".join([_file_head(), *parts]), "-lm")
    return Program(files, "float", num_in, num_out, 4 * plan_arena(network)[1])


def onnxruntime_program(
    ends: tuple[str, str], shape: tuple[int, ...], num_outputs: int, runtime: Runtime | None, *, qdq: bool,
    pictures: PictureAnswer | None = None,
) -> Program:  # fmt: skip
    """A C program around a graph in libonnxruntime. `ends`: names of the graph's input and output; `shape`: of one row;
    `pictures`: what the outputs of a bundle that finds defects stand for. A bundle's columns are prepared in C. Without
    `qdq`, stored int8 weights are dequantized once, on loading."""
    num_features = 1
    for size in shape:
        num_features *= size
    raw = runtime is not None and is_arithmetic(runtime.preprocessor)
    shapes = [", ".join(map(str, (1, *row_shape))) for row_shape in (shape, (num_outputs,))]
    parts = [
        "#include <stdio.h>\n#include \"model.h\"\n", f"enum {{ NUM_FEATURES = {num_features} }};\n",
        f"#define INPUT_SHAPE {{{shapes[0]}}}\n#define OUTPUT_SHAPE {{{shapes[1]}}}\n",
        f"#define INPUT_NAME {ctext.string_literal(ends[0])}\n#define OUTPUT_NAME {ctext.string_literal(ends[1])}\n",
        f"#define DISABLE_QDQ \"{int(not qdq)}\"\n\n", ctext.read_source("ort.c"),
    ]  # fmt: skip
    parts += [columns_c(runtime.preprocessor)] if raw and runtime is not None else []
    if pictures is not None:
        parts.append(pictures.source())
    else:
        parts.append(ARGMAX_DECIDE if runtime is None else decide_c(runtime.decision))
    copy = "    int i;\n    for (i = 0; i < NUM_FEATURES; i++)\n        numbers_in[i] = (float)input[i];\n"
    limit = "" if runtime is None else range_c(runtime.decision)
    body = ("    prepare(input, numbers_in);\n" if raw else copy) + "    run_graph(output);\n" + limit
    parts.append(_model_run(body))
    libs = f"-Llib -l:{LIBRARY_NAME} -Wl,-rpath,'$$ORIGIN/lib' -lm"
    if runtime is None:
        header = _header("float", num_features, num_outputs, "" if pictures is None else pictures.header())
        files = _program_files(header, "".join([_file_head(), *parts]), libs)
        return Program(files, "float", num_features, num_outputs)
    return _tabular_program(parts, runtime.decision, runtime.preprocessor, libs=libs)


MODEL_OPEN_STUB = "\nconst char *model_open(const char *folder)\n{\n    (void)folder;\n    return 0;\n}\n"


def _tabular_program(parts: list[str], decision: Decision, preprocessor: Preprocessor, *, libs: str) -> Program:
    raw = is_arithmetic(preprocessor)
    num_inputs = len(preprocessor.columns if raw else preprocessor.feature_names)
    num_outputs = max(len(decision.labels), 1)
    number: NumberType = "double" if raw else "float"
    extra = ""
    if raw:
        extra += "extern const char *const model_input_names[MODEL_NUM_INPUTS]; /* UTF-8 */\n"
        extra += '/* The code of a level by its name, 0 for one that training did not see, NAN for none (0 or ""). */\n'
        extra += "double model_code(int input, const char *level);\n"
    if decision.labels:
        extra += f"extern const char *const model_labels[{len(decision.labels)}]; /* UTF-8 */\n"
    elif decision.half_width is not None:
        if not decision.group_half_widths:
            extra += "extern const float model_half_width; /* of the interval around output[0] */\n"
        extra += "/* The ends of the interval around a value, that of output[0]. */\n"
        extra += "void model_interval(float value, float *low, float *high);\n"
    files = _program_files(_header(number, num_inputs, num_outputs, extra), "".join([_file_head(), *parts]), libs)
    return Program(files, number, num_inputs, num_outputs, 4 * len(preprocessor.feature_names))


def _file_head() -> str:
    return f"/* Made by `deepseek export --edge`; do not edit. */\n{INCLUDES}"


def _model_run(body: str) -> str:
    return f"\nvoid model_run(const model_number *input, float *output)\n{{\n{body}}}\n"


def _header(number: NumberType, num_inputs: int, num_outputs: int, extra: str = "") -> str:
    return f"""\
/* Made by `deepseek export --edge`; do not edit. C99. One caller at a time: the buffers are static. */
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MODEL_NUM_INPUTS {num_inputs}
#define MODEL_NUM_OUTPUTS {num_outputs}
typedef {number} model_number;

{extra}/* Once, before the rest: 0, or what is wrong in words. `folder` is where the files of the model lie. */
const char *model_open(const char *folder);
/* One row: MODEL_NUM_INPUTS numbers to MODEL_NUM_OUTPUTS chances or values. */
void model_run(const model_number *input, float *output);
/* The number of the class that the outputs stand for; 0 where there are none. */
int model_decide(const float *output);
#endif
"""


def _program_files(header: str, code: str, libs: str) -> dict[str, str]:
    return {
        "model.h": header, "model.c": code, "main.c": ctext.read_source("main.c"),
        "Makefile": MAKEFILE.format(libs=libs),
    }  # fmt: skip
