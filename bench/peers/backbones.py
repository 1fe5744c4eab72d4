"""The peers of bench/backbones.ts: PyTorch and ONNX Runtime on the same networks, weights and images.

First writes `<name>.pth` and `<name>.onnx` of each network into the folder given, with random weights. Then answers each
line `<runtime> <network> <batch> <seconds>` on standard input, with runtime `eager`, `compiled` or `onnx`, by the images a
second, and the processor time an image, of passes for so long.
"""

import argparse
import json
import pathlib
import resource
import sys
import time

import onnxruntime
import timm
import torch
import torchvision

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("networks", nargs="+")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)

MAKERS = {
    "resnet50": lambda: torchvision.models.resnet50(weights=None),
    "vit_base_patch16": lambda: timm.create_model("vit_base_patch16_224", pretrained=False),
    "tf_efficientnet_lite0": lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
}


def build(name):
    """The network without its classifier, with batch norms that do something."""
    model = MAKERS[name]().eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    torch.save(model.state_dict(), args.folder / f"{name}.pth")
    if name == "resnet50":
        model.fc = torch.nn.Identity()
    else:
        model.reset_classifier(0)
    return model


def runner(runtime, name):
    model = build(name)
    if runtime == "onnx":
        file = args.folder / f"{name}.onnx"
        axes = {"images": {0: "n"}}
        torch.onnx.export(model, torch.zeros(2, 3, 224, 224), file, dynamo=False, opset_version=17, input_names=["images"], dynamic_axes=axes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        # Threads that wait by spinning would count as work of this peer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images.numpy()})[0]
    model = model.to(memory_format=torch.channels_last)
    if runtime == "compiled":
        model = torch.compile(model)

    def run(images):
        with torch.inference_mode():
            return model(images.to(memory_format=torch.channels_last)).numpy()

    return run


def processor_time():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


for network in args.networks:
    build(network)
versions = f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
print(versions, flush=True)
RUNNERS = {}
for line in sys.stdin:
    runtime, network, batch, seconds = line.split()
    key = (runtime, network)
    images = torch.randn(int(batch), 3, 224, 224)
    if key not in RUNNERS:
        for other in [other for other in RUNNERS if other[1] != network]:
            del RUNNERS[other]
        RUNNERS[key] = runner(*key)
        RUNNERS[key](images)
    run = RUNNERS[key]
    start, used, count = time.perf_counter(), processor_time(), 0
    while count == 0 or time.perf_counter() - start < float(seconds):
        run(images)
        count += len(images)
    print(json.dumps({
        "rate": count / (time.perf_counter() - start),
        "processor": (processor_time() - used) / count,
    }), flush=True)
