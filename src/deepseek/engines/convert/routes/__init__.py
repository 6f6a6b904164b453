"""The ways from a framework's model to one ONNX graph, each in a file that imports its framework and no other.

    model = load_keras(Path("model.keras"))         # of keras_torch, keras_tensorflow, saved_model, tflite, ...
    model.answer(arrays)                            # what the framework itself says
    for export in model.exports: export.write(Path("model.onnx"), arrays)

Only the worker's process imports them.
"""
