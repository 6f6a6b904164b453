"""Bundles that look at pictures for defects: export of the net, and a runtime that needs no torch.

with DetectorRuntime.open("line3") as runtime:
    inspection = runtime.inspect(runtime.read(Path("001.png")))
    inspection.boxes, inspection.score, inspection.heat
"""
