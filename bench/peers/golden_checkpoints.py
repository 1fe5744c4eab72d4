"""Writes __tests__/golden/checkpoints/more: kinds of checkpoint and of number that are rarer than those beside it.

    python bench/peers/golden_checkpoints.py __tests__/golden/checkpoints/more

torch, numpy. safetensors files are written here by hand (its header is JSON).
"""

import argparse
import hashlib
import json
import pathlib
import pickle
import sys

import numpy as np
import torch

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(5)
torch.manual_seed(5)
expected = {}


def described(value, dtype=None):
    """Shape, dtype and digest of the values as little-endian float32 in C order."""
    tensor = torch.is_tensor(value)
    floats = value.detach().to(torch.float32).numpy() if tensor else np.asarray(value).astype("<f4")
    return {
        "shape": list(value.shape),
        "dtype": dtype or (str(value.dtype).removeprefix("torch.") if tensor else value.dtype.newbyteorder("<").name),
        "sha256_float32": hashlib.sha256(np.ascontiguousarray(floats, "<f4").tobytes()).hexdigest(),
    }


def note(name, what, tensors, others=None):
    expected[f"more/{name}"] = {"what": what, "tensors": tensors, "others": others or {}}


# Arrays of NumPy in an archive, as JAX programs save networks.
arrays = {
    "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": rng.normal(size=(4, 8)).astype("f4"),
    "Transformer/encoder_norm/scale": rng.normal(size=4).astype("f2"),
    "embedding/kernel": np.asfortranarray(rng.normal(size=(2, 2, 3, 4)).astype("f4")),
    "cls": rng.normal(size=(1, 1, 4)).astype(">f4"),
    "step": np.array(90000, "i8"),
    "flags": np.array([True, False]),
    "counts": np.array([1, 65535], "u2"),
    "empty": np.zeros((0, 4), "f4"),
}
texts = {"names": np.array(["cat", "dog"])}
for name, save in (("big_vision.npz", np.savez), ("compressed.npz", np.savez_compressed)):
    save(out / name, **arrays, **texts)
    note(name, "numpy archive; texts are left out", {key: described(value) for key, value in arrays.items()})

half = torch.randn(3, 2).to(torch.bfloat16)
np.savez(out / "bfloat16.npz", kernel=half.view(torch.int16).numpy().view("V2"))
note("bfloat16.npz", "bfloat16 as two bytes without a meaning", {"kernel": described(half)})

np.save(out / "fortran.npy", arrays["embedding/kernel"])
note("fortran.npy", "one array", {"array": described(arrays["embedding/kernel"])})

# Pickles of every protocol.
tree = {"params": {"w": arrays["embedding/kernel"], "b": arrays["cls"]}, "epoch": 3, "best": np.float64(71.25)}
for protocol in range(6):
    name = f"protocol{protocol}.pkl"
    (out / name).write_bytes(pickle.dumps(tree, protocol=protocol))
    tensors = {"params/w": described(tree["params"]["w"]), "params/b": described(tree["params"]["b"])}
    note(name, "plain pickle", tensors, {"epoch": 3, "best": 71.25})

# What programs save beside weights.
parameter = torch.nn.Parameter(torch.randn(2, 3))
attributed = torch.nn.Parameter(torch.randn(4))
attributed.no_decay = True
state = {
    "u16": torch.tensor([1, 65535], dtype=torch.uint16),
    "u32": torch.tensor([1, 2**32 - 1], dtype=torch.uint32),
    "u64": torch.tensor([1, 2**40], dtype=torch.uint64),
    "e4m3": torch.tensor([1.5, -448.0, 0.001953125, 0.0]).to(torch.float8_e4m3fn),
    "e5m2": torch.tensor([1.5, -57344.0, 0.0, float("inf")]).to(torch.float8_e5m2),
    "parameter": parameter,
    "attributed": attributed,
}
rest = {
    "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs/a"), arch="vit_small"),
    "best": np.float32(0.5),
    "rng": np.arange(4, dtype="u4"),
    "dtype": torch.float32,
}
torch.save({"model": state, **rest}, out / "newer_kinds.pth")
note(
    "newer_kinds.pth",
    "kinds without a storage class, attributes of Python, NumPy beside",
    {**{f"model/{key}": described(value) for key, value in state.items()}, "rng": described(rest["rng"])},
    {"args/lr": 0.1, "args/out": "runs/a", "args/arch": "vit_small", "best": 0.5},
)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 1)
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x))


module = torch.nn.Sequential(Block(), torch.nn.Linear(2, 2).half())
torch.jit.script(module).save(str(out / "torchscript.pt"))
note("torchscript.pt", "TorchScript archive", {key: described(value) for key, value in module.state_dict().items()})

# safetensors in two files with an index.
kinds = {torch.float32: "F32", torch.bfloat16: "BF16", torch.uint16: "U16", torch.float8_e4m3fn: "F8_E4M3"}
shards = {
    "model-00001-of-00002.safetensors": {"embed.weight": torch.randn(3, 2), "norm.weight": half},
    "model-00002-of-00002.safetensors": {"u16": state["u16"], "e4m3": state["e4m3"]},
}
for name, tensors in shards.items():
    header, data = {}, b""
    for key, tensor in tensors.items():
        raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[key] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    (out / name).write_bytes(len(text).to_bytes(8, "little") + text + data)
index = {"metadata": {"total_size": 40}, "weight_map": {key: name for name in shards for key in shards[name]}}
(out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
together = {key: described(tensor) for tensors in shards.values() for key, tensor in tensors.items()}
note("model.safetensors.index.json", "two safetensors files with an index", together)

(out / "expected.json").write_text(json.dumps(expected, indent=1))
