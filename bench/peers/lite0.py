"""EfficientNet-Lite0 in PyTorch, from its checkpoint, for the benchmarks."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

LAYERS = ("stem", "block2", "block4", "block7", "block10", "block13", "block15", "pooled")


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
        found["pooled"] = self.head(x)
        return {name: found[name].mean((2, 3)) for name in LAYERS}


def lite0(checkpoint, folded):
    """The network in evaluation form, channels-last; with its batch norms folded into the convolutions if asked for."""
    model = Lite0(torch.load(checkpoint, weights_only=True)).eval().to(memory_format=torch.channels_last)
    if folded:
        for module in model.modules():
            if isinstance(module, SameConv):
                module.fold()
    return model
