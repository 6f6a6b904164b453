"""Three strategies of training on several ranks."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn


def average_gradients(model: nn.Module, num_rows: int) -> None:
    """Make every gradient that of the mean loss over the rows of all ranks."""


class ShardedMomentum:
    """Gradient descent with momentum, whose state is shared out over the ranks."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        self.parameters, self.lr, self.momentum = list(parameters), lr, momentum

    def step(self) -> None:
        """Update all parameters, the same on all ranks."""


def pipeline_backward(
    stage: nn.Module,
    inputs: Tensor | None,
    targets: Tensor | None,
    num_micro: int,
    width: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Give the parameters of this rank's stage the gradients of the mean loss."""
