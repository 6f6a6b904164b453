"""Bundles that look at pictures for defects: export of the net, and a runtime that needs no torch.

with DetectorRuntime.open("line3") as runtime:
    found = runtime.inspect(runtime.read(Path("001.png")))
    found.boxes, found.score, found.heat
"""
