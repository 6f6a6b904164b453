"""Detectors of defects: a trunk that reads the picture at four scales, a neck that joins them, one anchor-free head.

net = Detector(DetectorShape(num_classes=6), build_trunk(num_channels=1))
scores, boxes, presence, heat = net(pictures)                     # uint8 (N, C, H, W)

boxes.py is numpy alone: overlaps, suppression of doubles and the way from a graph's outputs to boxes, for whoever runs
the exported graph without torch.
"""
