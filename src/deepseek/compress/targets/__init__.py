"""Compression targets behind one protocol: an ONNX file, a torch module, a bundle, a text model.

target.py has the protocol CompressionTarget, opener.py has open_target()."""
