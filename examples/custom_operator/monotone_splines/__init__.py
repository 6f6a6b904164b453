"""Monotone splines: an operator for torch, a kind of model part and a candidate, in a package of their own.

operator.py     the operator in Python: kernel, shapes, gradients of both orders
operator.cpp    its fast twin in C++, by curve.h; native.py builds and loads it
kernel_onnx.cpp the same for onnxruntime, which a bundle carries
part.py         the trained part: arrays, answers in numpy, ONNX, exact explanations (no torch)
candidate.py    how it is trained, so that `deepseek ship --candidates monotone_splines` finds it
"""
