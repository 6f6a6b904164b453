"""Large and hostile bodies: what one would cost is counted before it is decoded, and it is decoded in slices."""
