"""Units that matter least are taken out of a net."""


def prune(net, x, num):
    """The net without `num` of its hidden units."""
    return net
