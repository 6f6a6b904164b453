"""Records whose cells are numbers, texts and files -> named arrays with masks. preparer.py is the way in."""
