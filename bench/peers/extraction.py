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
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("checkpoint")
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=16)
args = parser.parse_args()
torch.set_num_threads(args.threads)
LAYERS = ("stem", "block2", "block4", "block7", "block10", "block13", "block15", "features")
FILES = sorted(args.folder.glob("*.jpg"))


class SameConv(nn.Module):
    """Convolution with TensorFlow's padding, batch norm, ReLU6."""

    def __init__(self, state, conv, norm, stride=1, depthwise=False, relu=True):
        super().__init__()
        weight = state[conv + ".weight"]
        out, per_group, size, _ = weight.shape
        groups = out if depthwise else 1
        self.conv = nn.Conv2d(per_group * groups, out, size, stride, groups=groups, bias=False)
        self.conv.weight.data = weight
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        self.norm.load_state_dict({k[len(norm) + 1 :]: v for k, v in state.items() if k.startswith(norm + ".")})
        self.relu = nn.ReLU6(inplace=True) if relu else nn.Identity()
        self.stride, self.size = stride, size

    def fold(self):
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()

    def forward(self, x):
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // self.stride) - 1) * self.stride + self.size - side, 0)
            pads += [total // 2, total - total // 2]
        if any(pads):
            x = nn.functional.pad(x, pads)
        return self.relu(self.norm(self.conv(x)))


class Block(nn.Module):
    def __init__(self, state, index, stride):
        super().__init__()
        name = f"_blocks.{index}."
        steps = []
        if name + "_expand_conv.weight" in state:
            steps.append(SameConv(state, name + "_expand_conv", name + "_bn0"))
        steps.append(SameConv(state, name + "_depthwise_conv", name + "_bn1", stride, depthwise=True))
        steps.append(SameConv(state, name + "_project_conv", name + "_bn2", relu=False))
        self.steps = nn.Sequential(*steps)

    def forward(self, x):
        y = self.steps(x)
        return x + y if x.shape == y.shape else y


class Lite0(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.stem = SameConv(state, "_conv_stem", "_bn0", 2)
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
        self.blocks = nn.ModuleList(Block(state, i, stride) for i, stride in enumerate(strides))
        self.head = SameConv(state, "_conv_head", "_bn1")

    def forward(self, x):
        found = {}
        x = self.stem(x)
        found["stem"] = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            found[f"block{i}"] = x
        found["features"] = self.head(x)
        return {name: found[name].mean((2, 3)) for name in LAYERS}


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


def network(folded):
    model = Lite0(torch.load(args.checkpoint, weights_only=True)).eval().to(memory_format=torch.channels_last)
    if folded:
        for module in model.modules():
            if isinstance(module, SameConv):
                module.fold()
    return model


MODELS = {"eager": network(False), "folded": network(True)}
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
        "sum": float(features["features"].sum()),
    }), flush=True)
