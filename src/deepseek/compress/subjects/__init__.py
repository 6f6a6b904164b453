"""What can be compressed, behind one protocol: an ONNX file, a torch module, a bundle, a text model.

subject.py has the protocol and open_subject()."""
