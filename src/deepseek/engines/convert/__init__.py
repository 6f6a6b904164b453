"""Models of other frameworks as one ONNX graph in a bundle: Keras, SavedModel, TFLite, torch.export, ONNX.

    from deepseek.engines.convert.bundle import convert_model
    convert_model(Path("model.keras"), Path("rows.npz"), Path("out")).difference

Reading order: source (what the file is) -> keras_file, saved_model, tflite_file, pt2_file (what is refused before
anything is loaded) -> rows -> worker (a process of its own loads the model, answers the rows and exports it; routes/
has one file for each way) -> comparison -> bundle (nothing is written unless the graph agrees).

A bundle needs none of the frameworks. TensorFlow may live in another environment: the worker needs this package's
sources, numpy and onnxruntime there, and nothing else of it.
"""
