"""C code of a tabular model: its parts, links, blend, calibration and decision, equal to nn.model.combine.

Weights of trees and perceptrons are float32, as in the bundle. Sums over trees, linear parts, links and calibration are
double, as there: near a share of 1 the log-odds multiply the error of a float32 sum by 10,000.
"""

from __future__ import annotations

import math

import numpy as np

from deepseek.compress.edge import ctext
from deepseek.engines.decide import Decision
from deepseek.errors import InputError
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Model
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable


def model_c(model: Model) -> str:
    """C code of score(features, outputs) and everything that it calls."""
    weights = [part.weights for part in model.parts]
    chunks = [f"enum {{ NUM_MARGINS = {model.num_margins} }};\n\n"]
    tables = [part_weights.in_preorder() for part_weights in weights if isinstance(part_weights, TreeTable)]
    if tables:
        chunks += [_skip_type(tables), ctext.read_source("trees.c")]
    if any(isinstance(part_weights, Linear) for part_weights in weights):
        chunks.append(ctext.read_source("linear.c"))
    networks = [part_weights for part_weights in weights if isinstance(part_weights, Perceptron)]
    if networks:
        widest = max(max(_layer_widths(part_weights)) for part_weights in networks)
        chunks += [f"enum {{ MAX_WIDTH = {max(widest, 1)} }};\n\n", ctext.read_source("perceptron.c")]
    if any(part.link == "log_odds" for part in model.parts) or (
        model.scale == "probability" and model.task != "regression"
    ):
        chunks.append(ctext.read_source("score.c"))
    chunks += [_part_c(part_weights, f"part{index}") for index, part_weights in enumerate(weights)]
    return "".join([*chunks, _score_c(model)])


def decide_c(decision: Decision) -> str:
    """C code of model_decide(outputs), as decision.json says, and the labels."""
    if decision.task == "regression":
        return _interval_c(decision) + "int model_decide(const float *output)\n{\n    (void)output;\n    return 0;\n}\n"
    labels = ctext.string_array("model_labels", decision.labels, public=True)
    if decision.task == "binary":
        threshold = ctext.float_literal(0.5 if decision.threshold is None else decision.threshold)
        return labels + f"\nint model_decide(const float *output)\n{{\n    return output[1] >= {threshold};\n}}\n"
    if decision.costs is None:
        return labels + ARGMAX_DECIDE
    body = """
int model_decide(const float *output)
{
    double least = HUGE_VAL;
    int i, t, best = 0;
    for (i = 0; i < MODEL_NUM_OUTPUTS; i++) {
        double cost = 0;
        for (t = 0; t < MODEL_NUM_OUTPUTS; t++)
            cost += output[t] * costs[t * MODEL_NUM_OUTPUTS + i];
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}
"""
    return labels + ctext.array_definition("costs", np.asarray(decision.costs, np.float64)) + body


def _interval_c(decision: Decision) -> str:
    """C code of model_interval(value, low, high), as Decision.apply says; none where there is no interval."""
    if decision.half_width is None:
        return ""
    starts, widths = decision.group_starts, decision.group_half_widths or (decision.half_width,)
    one = "" if starts else f"const float model_half_width = {ctext.float_literal(decision.half_width)};\n"
    lines = ["    int group = 0;"]
    lines += [f"    group += value >= {ctext.float_literal(start)};" for start in starts]
    lines += ["    *low = value - half_widths[group];", "    *high = value + half_widths[group];"]
    if decision.interval_floor is not None:
        floor = ctext.float_literal(decision.interval_floor)
        lines.append(f"    if (*low < {floor})\n        *low = value < {floor} ? value : {floor};")
    for end, sign in ((decision.low, "<"), (decision.high, ">")):
        if end is not None:
            limit = ctext.float_literal(end)
            lines += [f"    if (*{name} {sign} {limit})\n        *{name} = {limit};" for name in ("low", "high")]
    table = "static const float half_widths[] = {" + ", ".join(map(ctext.float_literal, widths)) + "};\n"
    body = "\n".join(lines)
    return f"{one}{table}\nvoid model_interval(float value, float *low, float *high)\n{{\n{body}\n}}\n\n"


def range_c(decision: Decision) -> str:
    """C statements that keep output[0] within the range of the target; none where it has none."""
    limits = ((decision.low, "<"), (decision.high, ">"))
    return "".join(
        f"    if (output[0] {sign} {ctext.float_literal(end)})\n        output[0] = {ctext.float_literal(end)};\n"
        for end, sign in limits
        if end is not None
    )


ARGMAX_DECIDE = """
int model_decide(const float *output)
{
    int i, best = 0;
    for (i = 1; i < MODEL_NUM_OUTPUTS; i++)
        if (output[i] > output[best])
            best = i;
    return best;
}
"""


def _layer_widths(network: Perceptron) -> list[int]:
    joined = len(network.numeric) + sum(table.shape[1] for table in network.embeddings)
    return [joined, *(weight.shape[1] for weight in network.weights)]


def _skip_type(tables: list[TreeTable]) -> str:
    """C typedef of the narrowest type for the offset of a right child and the number of a leaf."""
    most = max(max(int((t.right - np.arange(len(t.right))).max(initial=0)), len(t.leaves)) for t in tables)
    return f"typedef {ctext.C_TYPES[ctext.narrow_integers(np.array([most]), 'uint16', 'int32').dtype.name]} skip_t;\n\n"


def _part_c(weights: object, name: str) -> str:
    if isinstance(weights, TreeTable):
        return _trees_c(weights.in_preorder(), name)
    if isinstance(weights, Linear):
        return "".join(
            ctext.array_definition(f"{name}_{key}", np.asarray(getattr(weights, key), np.float64))
            for key in ("coef", "bias")
        )
    if isinstance(weights, Perceptron):
        return _perceptron_c(weights, name)
    raise InputError(
        f"the C tier knows no part of the kind {getattr(weights, 'kind', type(weights).__name__)!r}",
        expected="trees, linear parts and perceptrons", fix="use --tier onnxruntime",
    )  # fmt: skip


def _trees_c(table: TreeTable, name: str) -> str:
    leaf = table.feature == LEAF
    single = np.repeat(table.output, np.diff([*table.roots, len(table.feature)])) != ALL_MARGINS
    value = table.threshold.astype(np.float32).copy()
    value[leaf & single] = table.leaves[table.left[leaf & single], 0]
    skip = np.where(leaf, np.where(single, 0, table.left), table.right - np.arange(len(leaf)))
    wide = table.leaves if not single.all() else np.zeros(0, np.float32)
    arrays = {
        "root": table.roots.astype(np.int32), "output": ctext.narrow_integers(table.output, "int16"),
        "feature": ctext.narrow_integers(table.feature, "int16"), "value": value,
        "leaves": wide.astype(np.float32), "bias": table.bias.astype(np.float64),
    }  # fmt: skip
    text = "".join(ctext.array_definition(f"{name}_{key}", array) for key, array in arrays.items())
    text += ctext.array_definition(f"{name}_skip", skip.astype(np.int32)).replace("const int32_t", "const skip_t", 1)
    keys = ("root", "output", "feature", "skip", "value", "leaves", "bias")
    return text + ctext.struct_definition("trees", name, [table.num_trees, *(f"{name}_{key}" for key in keys)]) + "\n"


def _perceptron_c(network: Perceptron, name: str) -> str:
    sizes = _layer_widths(network)
    logged = np.asarray(network.logged).astype(np.uint8)
    arrays = {
        "number": ctext.narrow_integers(network.numeric, "int16"),
        "code": ctext.narrow_integers(network.codes, "int16"),
        "logged": logged, "centre": network.centre.astype(np.float32), "scale": network.scale.astype(np.float32),
        "levels": np.array([len(table) for table in network.embeddings], np.int16),
        "width": np.array([table.shape[1] for table in network.embeddings], np.int16),
        "size": ctext.narrow_integers(np.array(sizes), "int16"), "skip": network.skip.astype(np.float32),
    }  # fmt: skip
    text = "".join(ctext.array_definition(f"{name}_{key}", array) for key, array in arrays.items())
    array_lists = {"embedding": network.embeddings, "weight": network.weights, "bias": network.biases}
    for key, layers in array_lists.items():
        targets = [f"{name}_{key}{index}" for index in range(len(layers))]
        text += "".join(
            ctext.array_definition(target, layer.astype(np.float32))
            for target, layer in zip(targets, layers, strict=True)
        )
        text += ctext.pointer_array("float", f"{name}_{key}", targets)
    clip = "0" if math.isinf(network.clip) else ctext.float_literal(network.clip)
    counts = [len(network.numeric), len(network.codes), len(network.weights)]
    first_names = [f"{name}_{key}" for key in ("number", "code", "logged", "centre", "scale")]
    last_names = [f"{name}_{key}" for key in ("levels", "width", "embedding", "size", "weight", "bias", "skip")]
    return text + ctext.struct_definition("perceptron", name, [*counts, *first_names, clip, *last_names]) + "\n"


def _score_c(model: Model) -> str:
    lines = ["static void score(const float *features, float *output)", "{"]
    lines += ["    static double margin[NUM_MARGINS], raw[NUM_MARGINS];", "    int k;"]
    lines += ["    for (k = 0; k < NUM_MARGINS; k++)", "        margin[k] = 0;"]
    for index, part in enumerate(model.parts):
        name = f"part{index}"
        if isinstance(part.weights, TreeTable):
            lines.append(f"    run_trees(&{name}, features, raw);")
        elif isinstance(part.weights, Linear):
            lines.append(f"    run_linear({name}_coef, {name}_bias, features, raw);")
        else:
            lines.append(f"    run_perceptron(&{name}, features, raw);")
        if part.link == "log_odds":
            lines.append(f"    to_log_odds(raw, {ctext.double_literal(part.floor)});")
        lines += ["    for (k = 0; k < NUM_MARGINS; k++)"]
        lines += [f"        margin[k] += {ctext.double_literal(part.weight)} * raw[k];"]
    return "\n".join([*lines, *_output_lines(model), "}", "", ""])


def _output_lines(model: Model) -> list[str]:
    """nn.model.calibrated: from margin to output."""
    if model.task == "regression":
        return ["    output[0] = (float)margin[0];"]
    lines = []
    if model.scale == "probability":
        lines.append(f"    to_log_odds(margin, {ctext.double_literal(model.floor)});")
    bias = ", ".join(map(ctext.double_literal, model.bias))
    lines.append(f"    static const double bias[NUM_MARGINS] = {{{bias}}};")
    lines += [
        "    for (k = 0; k < NUM_MARGINS; k++)",
        f"        margin[k] = {ctext.double_literal(model.slope)} * margin[k] + bias[k];",
    ]
    low, rest = ctext.double_literal(model.smoothing), ctext.double_literal(1 - len(model.labels) * model.smoothing)
    if model.task == "binary":
        lines.append("    const double z = margin[0], e = exp(-fabs(z)), share = z > 0 ? 1 / (1 + e) : e / (1 + e);")
        lines.append(f"    output[0] = (float)({low} + {rest} * (1 - share));")
        return [*lines, f"    output[1] = (float)({low} + {rest} * share);"]
    return [
        *lines,
        "    double most = margin[0], sum = 0;",
        "    for (k = 1; k < NUM_MARGINS; k++)",
        "        most = margin[k] > most ? margin[k] : most;",
        "    for (k = 0; k < NUM_MARGINS; k++)",
        "        sum += margin[k] = exp(margin[k] - most);",
        "    for (k = 0; k < NUM_MARGINS; k++)",
        f"        output[k] = (float)({low} + {rest} * (margin[k] / sum));",
    ]
