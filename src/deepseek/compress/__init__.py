"""Model -> smaller model, with figures: quantise, prune, distil, and a guard that keeps only what meets the limits.

    found = optimise("resnet.onnx", data, Limits(keep=0.99, min_speedup=2.0), out="small")
    found.verdicts          # each variant: MB, accuracy with interval, latency, accepted or why not

Nothing is returned that is slower or larger than what was given. Names are imported when they are first used.
"""
