"""The peer of bench/bank.ts: the same trials by PyTorch, one after the other. Prints the seconds of training."""

import argparse
import resource
import time

import torch

parser = argparse.ArgumentParser()
for name, default in (("images", 8192), ("width", 1280), ("classes", 10), ("epochs", 2), ("batch", 256), ("threads", 2)):
    parser.add_argument(f"--{name}", type=int, default=default)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)
features = torch.rand(args.images, args.width)
labels = torch.randint(0, args.classes, (args.images,))
trials = [(lr, decay) for lr in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3) for decay in (0, 1e-5, 1e-4, 5e-4, 1e-3)]


def train(lr, weight_decay, epochs):
    head = torch.nn.Linear(args.width, args.classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    for _ in range(epochs):
        for rows in torch.randperm(args.images).split(args.batch):
            loss = torch.nn.functional.cross_entropy(head(features[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


train(*trials[0], 1)
start = time.perf_counter()
for trial in trials:
    train(*trial, args.epochs)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
