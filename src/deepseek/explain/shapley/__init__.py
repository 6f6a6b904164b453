"""Black boxes: Shapley and Owen values from calls of a function alone.

kernel.py for features, partition.py for regions of a text or picture; black_box.py runs both row by row."""
