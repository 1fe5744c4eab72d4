"""The peer of bench/live.ts: one epoch of a linear head on EfficientNet-Lite0 in PyTorch, images by a DataLoader.

Answers each line on standard input, `eager` or `folded` (batch norms folded into the convolutions), with the images a
second of an epoch of random resized crops and flips: network in evaluation form without gradients, one linear head,
SGD.
"""

import argparse
import json
import pathlib
import sys
import time

import PIL.Image
import torch
import torchvision
from lite0 import lite0
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("checkpoint")
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--classes", type=int, default=1000)
args = parser.parse_args()
torch.set_num_threads(args.threads)
FILES = sorted(args.folder.glob("*.jpg"))
TRANSFORM = transforms.Compose([
    transforms.RandomResizedCrop(224),
    transforms.RandomHorizontalFlip(),
    transforms.PILToTensor(),
    transforms.Lambda(lambda x: (x.float() - 127) / 128),
])


class Files(torch.utils.data.Dataset):
    def __len__(self):
        return len(FILES)

    def __getitem__(self, index):
        with open(FILES[index], "rb") as stream:
            return TRANSFORM(PIL.Image.open(stream).convert("RGB")), index % args.classes


MODELS = {"eager": lite0(args.checkpoint, False), "folded": lite0(args.checkpoint, True)}
print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}", flush=True)
for line in sys.stdin:
    model = MODELS[line.strip()]
    head = torch.nn.Linear(1280, args.classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(Files(), batch_size=args.batch, shuffle=True, num_workers=args.workers)
    for images, labels in loader:
        with torch.no_grad():
            features = model(images.to(memory_format=torch.channels_last))["pooled"]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(features), labels).backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    print(json.dumps({"rate": len(FILES) / seconds}), flush=True)
