"""Reference values of graph operations, by PyTorch: python make.py (torch 2, numpy) writes operations.json beside it."""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)


def numbers(tensor):
    return [float(f"{value:.8g}") for value in tensor.flatten().tolist()]


def weight(tensor):
    return {"shape": list(tensor.shape), "values": numbers(tensor)}


def tensorflow_same(x, size, stride, filler=0.0):
    missing = [max((math.ceil(n / stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
    (top, bottom), (left, right) = [(n // 2, n - n // 2) for n in missing]
    return F.pad(x, (left, right, top, bottom), value=filler)


def padded(x, size, stride, padding):
    return tensorflow_same(x, size, stride) if padding == "same" else F.pad(x, (padding,) * 4)


cases = []


def case(name, side, operation, expected, **more):
    y = expected.permute(0, 2, 3, 1) if expected.ndim == 4 else expected
    cases.append({"name": name, "side": side, "operation": operation, **more, "shape": list(y.shape[1:]), "expected": numbers(y)})


def images(height, width):
    x = torch.randn(1, 3, height, width)
    return x, numbers(x.permute(0, 2, 3, 1))


for height, width, size, stride, padding in [
    (9, 7, 3, 2, "same"),
    (8, 10, 3, 2, "same"),
    (7, 8, 5, 1, "same"),
    (8, 9, 5, 3, "same"),
    (11, 12, 7, 2, 3),
    (9, 9, 3, 2, 1),
    (10, 10, 3, 2, 1),
    (8, 8, 1, 2, 0),
    (6, 7, 3, 1, 0),
]:
    x, values = images(height, width)
    window = {"stride": stride, "padding": padding}
    kernel = torch.randn(4, 3, size, size)
    y = F.conv2d(padded(x, size, stride, padding), kernel, stride=stride)
    what = f"{size}x{size}, stride {stride}, padding {padding}, on {height}x{width}"
    case(f"convolution {what}", [height, width], "conv2d", y, input=values, window=window, kernel=weight(kernel))
    kernel = torch.randn(6, 1, size, size)
    y = F.conv2d(padded(x, size, stride, padding), kernel, stride=stride, groups=3)
    case(f"depthwise {what}", [height, width], "depthwise", y, input=values, window=window, kernel=weight(kernel))

for depthwise in [False, True]:
    x, values = images(8, 8)
    convolution = torch.nn.Conv2d(3, 3 if depthwise else 5, 3, stride=2, padding=1, groups=3 if depthwise else 1)
    norm = torch.nn.BatchNorm2d(convolution.out_channels, eps=1e-3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(1e-4, 3)
    with torch.no_grad():
        y = F.relu6(norm.eval()(convolution(x)))
    case(
        f"{'depthwise' if depthwise else 'convolution'}, batch norm and ReLU6",
        [8, 8],
        "normalised-depthwise" if depthwise else "normalised",
        y,
        input=values,
        window={"stride": 2, "padding": 1},
        kernel=weight(convolution.weight),
        bias=weight(convolution.bias),
        norm={
            "scale": weight(norm.weight),
            "shift": weight(norm.bias),
            "mean": weight(norm.running_mean),
            "variance": weight(norm.running_var),
            "epsilon": 1e-3,
        },
    )

for height, width, size, stride, padding in [(9, 9, 3, 2, 1), (8, 10, 3, 2, 1), (9, 8, 2, 2, 0)]:
    x, values = images(height, width)
    # Only negative values: a padding of zeros would win.
    x, values = -x.abs() - 1, [-abs(value) - 1 for value in values]
    window = {"size": size, "stride": stride, "padding": padding}
    what = f"{size}x{size}, stride {stride}, padding {padding}, on {height}x{width}"
    y = F.max_pool2d(x, size, stride, padding)
    case(f"maximum {what}", [height, width], "max-pool", y, input=values, window=window)
    y = F.avg_pool2d(x, size, stride, padding)
    case(f"mean {what}", [height, width], "average-pool", y, input=values, window=window)

x, values = images(5, 6)
linear = torch.nn.Linear(3, 4)
with torch.no_grad():
    y = linear(x.mean((2, 3)))
case("global mean and linear", [5, 6], "linear", y, input=values, kernel=weight(linear.weight), bias=weight(linear.bias))

pathlib.Path(__file__).with_name("operations.json").write_text(json.dumps(cases))
