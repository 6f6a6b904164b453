"""A training that goes on after a kill, to the same bits."""


def stop_epoch(losses, patience):
    """[epoch of the best loss, epoch after which early stopping ends]."""
    return [0, len(losses) - 1]


def train(x, y, folder, steps, every):
    """The weights (10, 65) after so many steps, from the newest whole checkpoint in the folder on."""
    return []
