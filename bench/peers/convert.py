"""What bench/convert.ts needs of Python: random checkpoints, the export to ONNX, and what a program took.

    python convert.py              answers each line on standard input, a command as JSON, with what it took
    python convert.py make NAME FILE
    python convert.py export NAME FILE ONNX
"""

import json
import os
import subprocess
import sys
import time


def took(command):
    """Seconds on the clock and of all processors, and peak resident bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command["run"], cwd=command["in"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    return {
        "failed": errors.decode(errors="replace")[-2000:] if status else "",
        "seconds": time.perf_counter() - start,
        "processor": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024,
    }


def vit_large():
    """A ViT-L/16 as timm names its tensors."""
    import torch

    width, shapes = 1024, {"cls_token": [1, 1, 1024], "pos_embed": [1, 197, 1024]}

    def linear(name, out, channels):
        shapes.update({name + ".weight": [out, channels], name + ".bias": [out]})

    shapes.update({"patch_embed.proj.weight": [width, 3, 16, 16], "patch_embed.proj.bias": [width]})
    for block in (f"blocks.{i}." for i in range(24)):
        for norm in ("norm1", "norm2"):
            shapes.update({f"{block}{norm}.{part}": [width] for part in ("weight", "bias")})
        linear(block + "attn.qkv", 3 * width, width)
        linear(block + "attn.proj", width, width)
        linear(block + "mlp.fc1", 4 * width, width)
        linear(block + "mlp.fc2", width, 4 * width)
    shapes.update({"norm.weight": [width], "norm.bias": [width]})
    linear("head", 1000, width)
    return {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}


def make(name, file):
    """The checkpoint; and beside it images for onnx2tf, which downloads some where a file of that name is missing."""
    import numpy
    import torch
    import torchvision

    images = numpy.random.default_rng(0).random((20, 128, 128, 3), dtype=numpy.float32)
    numpy.save(os.path.join(os.path.dirname(file), "calibration_image_sample_data_20x128x128x3_float32.npy"), images)

    torch.manual_seed(0)
    torch.save(vit_large() if name == "vit_large" else torchvision.models.get_model(name).state_dict(), file)


def export(name, file, onnx):
    """The ViT is torchvision's, of the same size, and keeps its own random weights."""
    import torch
    import torchvision

    model = torchvision.models.get_model("vit_l_16" if name == "vit_large" else name)
    if name != "vit_large":
        model.load_state_dict(torch.load(file))
    images = torch.zeros(1, 3, 224, 224)
    torch.onnx.export(model.eval(), (images,), onnx, input_names=["images"], opset_version=17, dynamo=False)


if len(sys.argv) > 1:
    {"make": make, "export": export}[sys.argv[1]](*sys.argv[2:])
else:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(took(json.loads(line))), flush=True)
