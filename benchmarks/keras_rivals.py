"""The part of keras_models.py that runs in the Python with TensorFlow: models, their answers, and the rival's graphs.

    python benchmarks/keras_rivals.py [--answers-alone] FOLDER NAME [NAME ...]

For each net it writes FOLDER/NAME: model.keras, data.npz (rows that a conversion may see), held.npz and expected.npz
(rows that judge, and Keras' own answers on TensorFlow), and rival.onnx, by tf2onnx as its documentation says
(from_function), or rival.txt with why there is none; neither with --answers-alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import keras
import numpy as np
import tensorflow as tf
from keras_nets import NUM_ROWS, cases

NUM_SEEN = NUM_ROWS // 2


def main() -> int:
    has_rival = sys.argv[1] != "--answers-alone"
    folder, *names = sys.argv[1:] if has_rival else sys.argv[2:]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for case in cases():
        if case.name in names:
            keras.utils.set_random_seed(0)
            write_case(case, Path(folder) / case.name.replace(" ", "_"), has_rival=has_rival)
            keras.backend.clear_session()
    return 0


def write_case(case, place: Path, *, has_rival: bool) -> None:
    place.mkdir(parents=True)
    model, rows = case.build()
    model.save(place / "model.keras")
    np.savez(place / "data.npz", **{name: array[:NUM_SEEN] for name, array in rows.items()})
    np.savez(place / "held.npz", **{name: array[NUM_SEEN:] for name, array in rows.items()})
    tensors = [tf.constant(rows[each.name][NUM_SEEN:]) for each in model.inputs]
    answers = keras.tree.flatten(model(keras.tree.pack_sequence_as(model._inputs_struct, tensors), training=False))
    np.savez(place / "expected.npz", **{str(number): each.numpy() for number, each in enumerate(answers)})
    if not has_rival:
        return
    try:
        write_by_tf2onnx(model, place / "rival.onnx")
    except Exception as error:  # noqa: BLE001 - whatever the rival raises
        (place / "rival.txt").write_text(f"{type(error).__name__}: {str(error)[:300]}")


def write_by_tf2onnx(model, path: Path) -> None:
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()  # for numpy 2, as Keras does

    @tf.function
    def call(*tensors):
        return keras.tree.flatten(
            model(keras.tree.pack_sequence_as(model._inputs_struct, list(tensors)), training=False)
        )

    signature = [tf.TensorSpec((None, *each.shape[1:]), each.dtype, name=each.name) for each in model.inputs]
    tf2onnx.convert.from_function(call, input_signature=signature, opset=18, output_path=str(path))


if __name__ == "__main__":
    sys.exit(main())
