"""The peer of bench/extraction.ts: EfficientNet-Lite0 in PyTorch, channels-last, images by a DataLoader.

Answers each line on standard input, `eager` or `folded` (batch norms folded into the convolutions), with the images a
second of one pass over the folder, features of eight layers read out and kept, and the peak memory of the process and
its workers.
"""

import argparse
import json
import pathlib
import resource
import sys
import time

import numpy
import PIL.Image
import torch
import torchvision
from lite0 import LAYERS, lite0
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("checkpoint")
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=16)
args = parser.parse_args()
torch.set_num_threads(args.threads)
FILES = sorted(args.folder.glob("*.jpg"))


TRANSFORM = transforms.Compose([
    transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
    transforms.CenterCrop(224),
    transforms.PILToTensor(),
    transforms.Lambda(lambda x: (x.float() - 127) / 128),
])


class Files(torch.utils.data.Dataset):
    def __len__(self):
        return len(FILES)

    def __getitem__(self, index):
        with open(FILES[index], "rb") as stream:
            return TRANSFORM(PIL.Image.open(stream).convert("RGB"))


MODELS = {"eager": lite0(args.checkpoint, False), "folded": lite0(args.checkpoint, True)}
print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}", flush=True)
for line in sys.stdin:
    model = MODELS[line.strip()]
    start = time.perf_counter()
    kept = {name: [] for name in LAYERS}
    loader = torch.utils.data.DataLoader(Files(), batch_size=args.batch, num_workers=args.workers)
    with torch.inference_mode():
        for images in loader:
            for name, value in model(images.to(memory_format=torch.channels_last)).items():
                kept[name].append(value.numpy())
    features = {name: numpy.concatenate(values) for name, values in kept.items()}
    seconds = time.perf_counter() - start
    usage = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "rate": len(FILES) / seconds, "memory": usage[0] + args.workers * usage[1],
        "sum": float(features["pooled"].sum()),
    }), flush=True)
