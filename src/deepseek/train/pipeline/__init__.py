"""Pipeline parallelism: a model cut into stages that pass activations from process to process.

    pipe = parallelize(model, stages=8, micro_batches=32, example=(inputs, targets), loss=loss)
    for inputs, targets in batches:
        loss = pipe.step(inputs, targets)     # gradients are those of one process
        optimizer.step(); optimizer.zero_grad()

The schedules and the sending are torch's (torch.distributed.pipelining). Ours: the blocks are timed and cut so that the
dearest stage is as cheap as it can be (`split`), and the schedule is chosen by playing each through with these times
(`plan`). Start it with torchrun; `run` holds the pipe itself.
"""

from deepseek.train.pipeline.plan import SCHEDULES
from deepseek.train.pipeline.run import Pipe, Plan, parallelize

__all__ = ["SCHEDULES", "Pipe", "Plan", "parallelize"]
