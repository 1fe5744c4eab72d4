"""Reference values of small convolutional networks, by PyTorch: python golden_resnets.py OUT (torch 2, torchvision).

Writes OUT/<network>/weights.pth and, for each tap, OUT/<network>/<tap>.npy (NHWC). Images are not stored: value i of an
NHWC batch is (i * 7919 mod 251) / 125 - 1.
"""

import json
import math
import pathlib
import sys
from collections import OrderedDict

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision import models
from torchvision.models import regnet, resnet, vgg

out = pathlib.Path(sys.argv[1])
torch.manual_seed(0)


def images(count, side):
    index = torch.arange(count * side * side * 3, dtype=torch.int64)
    return ((index * 7919 % 251) / 125 - 1).float().reshape(count, side, side, 3).permute(0, 3, 1, 2)


def randomise(model, seed):
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    # Rounded, for they are stored in half precision.
    return model.eval().half().float()


def save(name, model, taps):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    state = OrderedDict((key, value.half() if value.is_floating_point() else value) for key, value in state.items())
    torch.save(state, folder / "weights.pth")
    for tap, value in taps.items():
        array = value.detach().numpy()
        array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
        numpy.save(folder / f"{tap}.npy", numpy.ascontiguousarray(array, dtype=numpy.float32))


def narrow_resnet(block, layers, planes, stem, classes, **options):
    """torchvision's ResNet with other numbers of channels, made as VISSL makes its wider ones."""
    model = resnet.ResNet(block, [1, 1, 1, 1], num_classes=classes, **options)
    model.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(stem)
    model.inplanes = stem
    for i, (own, count) in enumerate(zip(planes, layers)):
        setattr(model, f"layer{i + 1}", model._make_layer(block, own, count, stride=1 if i == 0 else 2))
    model.fc = nn.Linear(planes[-1] * block.expansion, classes)
    return model


def tail(model, x, taps, stages=4):
    for i in range(stages):
        x = getattr(model, f"layer{i + 1}")(x)
        taps[f"res{i + 2}"] = x
    x = x.mean((2, 3))
    taps[f"res{stages + 1}avg"] = x
    head = model.fc if hasattr(model, "fc") else model.linear
    taps["logits"] = head(x)
    return taps


@torch.no_grad()
def resnext():
    model = narrow_resnet(resnet.Bottleneck, [1, 2, 1, 1], (4, 8, 16, 32), 8, 5, groups=4, width_per_group=64)
    randomise(model, 1)
    taps = {}
    taps["conv1"] = x = model.relu(model.bn1(model.conv1(images(1, 48))))
    taps["res1"] = x = model.maxpool(x)
    save("resnext", model, tail(model, x, taps))


def same(x, size, stride):
    """TensorFlow's padding SAME, for windows of non-negative numbers too."""
    missing = [max((math.ceil(n / stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
    (top, bottom), (left, right) = [(n // 2, n - n // 2) for n in missing]
    return F.pad(x, (left, right, top, bottom))


@torch.no_grad()
def byol():
    model = randomise(narrow_resnet(resnet.Bottleneck, [1, 1, 1, 1], (4, 8, 16, 32), 8, 5), 2)

    def convolution(x, layer):
        return F.conv2d(same(x, layer.kernel_size[0], layer.stride[0]), layer.weight, stride=layer.stride)

    taps = {}
    taps["conv1"] = x = model.relu(model.bn1(convolution(images(1, 64), model.conv1)))
    taps["res1"] = x = F.max_pool2d(same(x, 3, 2), 3, 2)
    for i in range(4):
        for block in getattr(model, f"layer{i + 1}"):
            y = F.relu(block.bn1(convolution(x, block.conv1)))
            y = F.relu(block.bn2(convolution(y, block.conv2)))
            y = block.bn3(convolution(y, block.conv3))
            aside = block.downsample[1](convolution(x, block.downsample[0])) if block.downsample else x
            x = F.relu(y + aside)
        taps[f"res{i + 2}"] = x
    taps["res5avg"] = x = x.mean((2, 3))
    taps["logits"] = model.fc(x)
    save("byol", model, taps)


class Projection(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
        self.bn = nn.Sequential(nn.BatchNorm2d(channels))

    def forward(self, x):
        return self.bn(self.shortcut(x))


class SimclrBlock(nn.Module):
    def __init__(self, channels_in, width, stride, project):
        super().__init__()
        self.projection = Projection(channels_in, 4 * width, stride) if project else nn.Identity()
        norm = lambda channels, *more: nn.Sequential(nn.BatchNorm2d(channels), *more)
        self.net = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            norm(width, nn.ReLU()),
            nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False),
            norm(width, nn.ReLU()),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            norm(4 * width),
        )

    def forward(self, x):
        return F.relu(self.projection(x) + self.net(x))


class SimclrStage(nn.Module):
    def __init__(self, count, channels_in, width, stride):
        super().__init__()
        first = SimclrBlock(channels_in, width, stride, True)
        self.blocks = nn.ModuleList([first] + [SimclrBlock(4 * width, width, 1, False) for _ in range(count - 1)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Simclr(nn.Module):
    def __init__(self, depths, width, classes):
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        )
        widths = [width * 2**i for i in range(4)]
        inputs = [width] + [4 * own for own in widths[:3]]
        stages = [
            SimclrStage(count, channels_in, own, 1 if i == 0 else 2)
            for i, (count, channels_in, own) in enumerate(zip(depths, inputs, widths))
        ]
        self.net = nn.Sequential(stem, *stages)
        self.fc = nn.Linear(32 * width, classes)


@torch.no_grad()
def simclr():
    model = randomise(Simclr([1, 2, 1, 1], 4, 5), 3)
    taps = {}
    taps["conv1"] = x = model.net[0](images(1, 64))
    taps["res1"] = x = F.max_pool2d(same(x, 3, 2), 3, 2)
    for i in range(4):
        taps[f"res{i + 2}"] = x = model.net[i + 1](x)
    taps["res5avg"] = x = x.mean((2, 3))
    taps["logits"] = model.fc(x)
    save("simclr", model, taps)


class CifarBlock(nn.Module):
    def __init__(self, channels_in, channels, stride, option):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.added = channels // 4 if stride == 2 and option == "A" else 0
        if stride == 2 and option == "B":
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
        elif hasattr(self, "downsample"):
            x = self.downsample(x)
        return F.relu(y + x)


class CifarResNet(nn.Module):
    def __init__(self, depth, width, classes, option):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for i in range(3):
            blocks = []
            for j in range(depth):
                blocks.append(CifarBlock(channels, width * 2**i, 2 if i > 0 and j == 0 else 1, option))
                channels = width * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        setattr(self, "linear" if option == "A" else "fc", nn.Linear(channels, classes))


@torch.no_grad()
def cifar(option, classes):
    model = randomise(CifarResNet(3, 4, classes, option), 4)
    taps = {"conv1": F.relu(model.bn1(model.conv1(images(1, 32))))}
    save(f"cifar_{option.lower()}", model, tail(model, taps["conv1"], taps, 3))


@torch.no_grad()
def vgg_network(name, norms, side, classifier):
    plan = [4, "M", 4, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"]
    model = vgg.VGG(vgg.make_layers(plan, batch_norm=norms), num_classes=5)
    model.classifier = classifier
    randomise(model, 5)
    x, taps, pools = images(1, side), {}, 0
    for module in model.features:
        x = module(x)
        if isinstance(module, nn.MaxPool2d):
            pools += 1
            if pools >= 3:
                taps[f"pool{pools}"] = x
    x = x.flatten(1)
    names = {1: "fc6", 4: "fc7", len(classifier) - 1: "logits"}
    for i, module in enumerate(classifier):
        x = module(x)
        if i in names:
            taps[names[i]] = x
    save(name, model, taps)


def vggs():
    linears = lambda features: nn.Sequential(
        nn.Linear(features, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)
    )
    vgg_network("vgg_bn", True, 224, linears(8 * 49))
    vgg_network("vgg_cifar", False, 32, linears(8))


@torch.no_grad()
def regnet_y():
    params = regnet.BlockParams(
        depths=[1, 2, 1, 1],
        widths=[8, 16, 16, 80],
        group_widths=[8, 8, 8, 40],
        bottleneck_multipliers=[1.0] * 4,
        strides=[2] * 4,
        se_ratio=0.25,
    )
    model = randomise(regnet.RegNet(params, num_classes=5, stem_width=8), 6)
    taps = {}
    taps["conv1"] = x = model.stem(images(1, 48))
    for i in range(4):
        taps[f"res{i + 2}"] = x = model.trunk_output[i](x)
    taps["res5avg"] = x = x.mean((2, 3))
    taps["logits"] = model.fc(x)
    save("regnet_y", model, taps)


class ClipBottleneck(nn.Module):
    def __init__(self, channels_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None
        if stride > 1 or channels_in != 4 * width:
            layers = [("-1", nn.AvgPool2d(stride)), ("0", nn.Conv2d(channels_in, 4 * width, 1, bias=False))]
            self.downsample = nn.Sequential(OrderedDict(layers + [("1", nn.BatchNorm2d(4 * width))]))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    def __init__(self, positions, channels, heads, embedding):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, channels) / channels**0.5)
        for part in "qkv":
            setattr(self, f"{part}_proj", nn.Linear(channels, channels))
        self.c_proj = nn.Linear(channels, embedding)
        self.heads = heads

    def forward(self, x):
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + self.positional_embedding[:, None]
        y, _ = F.multi_head_attention_forward(
            x, x, x, x.shape[-1], self.heads, None,
            torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            None, None, False, 0.0, self.c_proj.weight, self.c_proj.bias,
            training=False, need_weights=False, use_separate_proj_weight=True,
            q_proj_weight=self.q_proj.weight, k_proj_weight=self.k_proj.weight, v_proj_weight=self.v_proj.weight,
        )  # fmt: skip
        return y[0]


class ClipResNet(nn.Module):
    def __init__(self, layers, width, side, embedding):
        super().__init__()
        sizes = [3, width // 2, width // 2, width]
        for i in range(3):
            stride = 2 if i == 0 else 1
            setattr(self, f"conv{i + 1}", nn.Conv2d(sizes[i], sizes[i + 1], 3, stride=stride, padding=1, bias=False))
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(sizes[i + 1]))
        channels = width
        for i, count in enumerate(layers):
            blocks = []
            for j in range(count):
                blocks.append(ClipBottleneck(channels, width * 2**i, 2 if i > 0 and j == 0 else 1))
                channels = 4 * width * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.attnpool = AttentionPool((side // 32) ** 2, channels, channels // 64, embedding)


@torch.no_grad()
def clip():
    torch.manual_seed(7)
    model = randomise(ClipResNet([1, 2, 1, 1], 4, 64, 12), 7)
    taps = {}
    x = images(2, 64)
    for i in range(3):
        x = F.relu(getattr(model, f"bn{i + 1}")(getattr(model, f"conv{i + 1}")(x)))
    taps["conv1"] = x
    taps["res1"] = x = F.avg_pool2d(x, 2)
    for i in range(4):
        taps[f"res{i + 2}"] = x = getattr(model, f"layer{i + 1}")(x)
    taps["res5avg"] = x.mean((2, 3))
    taps["attnpool"] = model.attnpool(x)
    save("clip", model, taps)


@torch.no_grad()
def deep_stem():
    """As timm's resnet50d and its kin: three convolutions first, means in the shortcuts."""
    model = narrow_resnet(resnet.Bottleneck, [1, 1, 1, 1], (4, 8, 16, 32), 8, 5)
    sizes = [(3, 4, 2), (4, 4, 1), (4, 8, 1)]
    convolutions = [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False) for a, b, stride in sizes]
    norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(4)]
    layers = [convolutions[0], norms[0], nn.ReLU(), convolutions[1], norms[1], nn.ReLU(), convolutions[2]]
    model.conv1 = nn.Sequential(*layers)
    for i in range(4):
        block = getattr(model, f"layer{i + 1}")[0]
        convolution, norm = block.downsample
        pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False) if i > 0 else nn.Identity()
        convolution.stride = (1, 1)
        block.downsample = nn.Sequential(pool, convolution, norm)
    randomise(model, 8)
    taps = {}
    taps["conv1"] = x = model.relu(model.bn1(model.conv1(images(1, 72))))
    taps["res1"] = x = model.maxpool(x)
    save("deep_stem", model, tail(model, x, taps))


resnext()
byol()
simclr()
cifar("A", 10)
cifar("B", 100)
vggs()
regnet_y()
clip()
deep_stem()


def shapes():
    """Names and shapes by which torchvision's networks are known."""
    names = [name for name in models.list_models(models) if name.startswith(("resne", "wide_", "regnet", "vgg"))]
    found = {}
    # Numbers of stages are computed on the CPU, weights nowhere.
    made = regnet.RegNet

    def without_weights(*arguments, **options):
        with torch.device("meta"):
            return made(*arguments, **options)

    regnet.RegNet = without_weights
    for name in names:
        if name.startswith("regnet"):
            state = models.get_model(name).state_dict()
        else:
            with torch.device("meta"):
                state = models.get_model(name, **({"init_weights": False} if "vgg" in name else {})).state_dict()
        known = {"bn1.weight", "features.1.running_mean"}
        found[name] = {key: list(value.shape) for key, value in state.items() if value.ndim > 1 or key in known}
    (out / "shapes.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")


shapes()
