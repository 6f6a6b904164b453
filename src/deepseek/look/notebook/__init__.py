"""What a notebook shows: cards in the style of the pages, and how far a long job is.

card.py (a fragment of HTML, light and dark) -> bundles, predictions and curves as cards; progress.py (a cell's display)
"""
