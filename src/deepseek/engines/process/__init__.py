"""An engine in a process of its own, and the frames of its requests and responses."""
