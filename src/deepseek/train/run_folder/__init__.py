"""What a run leaves beside its weights: run.json, the figures by step and epoch, and a page that shows them."""
