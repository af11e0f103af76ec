"""One rank of a plain DDP loop over float pictures in memory, started by `torchrun`.

Called with a recipe, its changes, and how many batches and epochs; rank 0 prints the milliseconds
of a step of each epoch, and the loss at its end.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import prepare
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel


def main(plan: dict[str, Any]) -> None:
    """Train along with the other rank."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = load(plan["recipe"], {key: (value, "plan") for key, value in plan["changes"].items()})
    built = prepare(config)
    splits: Any = built.data.splits  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    layout = torch.channels_last if splits.train.inputs.ndim == 4 else torch.contiguous_format
    shape = (1, -1, *[1] * (splits.train.inputs.ndim - 2))
    mean, std = (torch.tensor(values).view(shape) for values in (splits.mean, splits.std))
    inputs = ((splits.train.inputs.float() - mean) / std).contiguous(memory_format=layout)
    network = built.model.network.to(memory_format=layout)  # pyright: ignore
    together = DistributedDataParallel(network)
    sgd = torch.optim.SGD(together.parameters(), plan["lr"], plan["momentum"], fused=True)
    size, milliseconds, loss = plan["batch_size"], [], torch.zeros(())
    for epoch in range(plan["epochs"]):
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
        order = order[dist.get_rank() :: dist.get_world_size()]
        began = time.perf_counter()
        for number in range(plan["batches"]):
            index = order[number * size : (number + 1) * size]
            x, labels = inputs.index_select(0, index), splits.train.targets.index_select(0, index)
            loss = cross_entropy(together(x), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        milliseconds.append(1000 * (time.perf_counter() - began) / plan["batches"])
    if dist.get_rank() == 0:
        print(json.dumps({"ms": milliseconds, "loss": loss.item()}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
