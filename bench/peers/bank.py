"""The peer of bench/bank.ts: the same trials by PyTorch, one after the other.

Answers each line on standard input, a way to make batches and a number of classes, with the seconds that one epoch of
all trials took and the peak memory of the process.

- indexed: rows of the feature matrix, taken by a random permutation; the leanest loop there is.
- dataloader: torch's DataLoader over a TensorDataset; what published programs do.
"""

import argparse
import json
import resource
import sys
import time

import torch

parser = argparse.ArgumentParser()
for name, default in (("images", 8192), ("width", 1280), ("batch", 256), ("threads", 2)):
    parser.add_argument(f"--{name}", type=int, default=default)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)
features = torch.rand(args.images, args.width)
trials = [(lr, decay) for lr in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3) for decay in (0, 1e-5, 1e-4, 5e-4, 1e-3)]


def batches(mode, labels):
    if mode == "dataloader":
        data = torch.utils.data.TensorDataset(features, labels)
        yield from torch.utils.data.DataLoader(data, batch_size=args.batch, shuffle=True)
    else:
        for rows in torch.randperm(args.images).split(args.batch):
            yield features[rows], labels[rows]


def train(mode, labels, classes, lr, weight_decay):
    head = torch.nn.Linear(args.width, classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    for x, y in batches(mode, labels):
        loss = torch.nn.functional.cross_entropy(head(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


print(f"PyTorch {torch.__version__}, {args.threads} threads", flush=True)
for line in sys.stdin:
    mode, classes = line.split()[0], int(line.split()[1])
    labels = torch.randint(0, classes, (args.images,))
    train(mode, labels, classes, *trials[0])
    start = time.perf_counter()
    for trial in trials:
        train(mode, labels, classes, *trial)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "memory": memory}), flush=True)
