"""The release, in a file that imports nothing: rooms write it into what they make."""

#: The release, as `deepseek --version` prints it.
__version__ = "0.1.0"
