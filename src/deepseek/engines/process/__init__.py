"""An engine in a process of its own, and the frames in which it is asked and answers."""
