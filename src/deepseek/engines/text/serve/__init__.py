"""Text models at work: texts to ids, ids through OpenVINO or torch, outputs to answers."""
