"""The peer of bench/heads.ts: the same heads by PyTorch, as published programs train them.

The only argument is a case as JSON. Answers each line on standard input, a way to make batches, with the seconds that
one epoch of all runs took and the peak memory of the process. A run is a list of heads that are trained by one
optimizer on the sum of their losses; several runs are trained one after the other.

- indexed: rows of the feature matrices, taken by a random permutation; the leanest loop there is.
- dataloader: torch's DataLoader over a TensorDataset; what published programs do.
"""

import json
import resource
import sys
import time

import torch

case = json.loads(sys.argv[1])
IMAGES, BATCH, CLASSES = case["images"], case["batch"], case["classes"]
torch.set_num_threads(case["threads"])
torch.manual_seed(0)
NAMES = list(case["layers"])
FEATURES = [torch.rand(IMAGES, *case["layers"][name]) for name in NAMES]
LABELS = torch.randint(0, CLASSES, (IMAGES,))


class Head(torch.nn.Module):
    """A linear layer on one layer's features, or on several side by side; VISSL's eval_mlp has a batch norm before it."""

    def __init__(self, reads, width, channels):
        super().__init__()
        self.places = [NAMES.index(name) for name in reads]
        self.norm = torch.nn.BatchNorm2d(channels) if channels else torch.nn.Identity()
        self.linear = torch.nn.Linear(width, CLASSES)

    def forward(self, inputs):
        x = [inputs[place] for place in self.places]
        x = x[0] if len(x) == 1 else torch.cat(x, dim=-1)
        return self.linear(self.norm(x).flatten(1))


def batches(mode):
    if mode == "dataloader":
        data = torch.utils.data.TensorDataset(*FEATURES, LABELS)
        yield from torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True)
    else:
        for rows in torch.randperm(IMAGES).split(BATCH):
            yield [*(x[rows] for x in FEATURES), LABELS[rows]]


def train(mode, run, steps=None):
    heads = [Head(head["reads"], head["width"], head["channels"]) for head in run]
    groups = [
        {"params": list(head.parameters()), "lr": of["lr"], "weight_decay": of["weightDecay"]}
        for head, of in zip(heads, run)
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    start = time.perf_counter()
    for step, (*inputs, y) in enumerate(batches(mode)):
        if step == steps:
            break
        loss = sum(torch.nn.functional.cross_entropy(head(inputs), y) for head in heads)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


print(f"PyTorch {torch.__version__}, {case['threads']} threads", flush=True)
for line in sys.stdin:
    mode = line.strip()
    train(mode, case["runs"][0], steps=2)
    seconds = sum(train(mode, run) for run in case["runs"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "memory": memory}), flush=True)
