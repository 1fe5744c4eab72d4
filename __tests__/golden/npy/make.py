"""Makes the files of this folder with NumPy: python make.py"""

import json

import numpy as np
from numpy.lib import format

rng = np.random.default_rng(0)
floats = rng.normal(size=(3, 4)).astype("<f4")
arrays = {
    "float16": floats.astype("<f2"),
    "float32": floats,
    "float64": floats.astype("<f8") / 3,
    "int8": np.array([[-128, 0], [1, 127]], "<i1"),
    "uint8": np.array([0, 200, 255], "<u1"),
    "int16": np.array([-32768, 7], "<i2"),
    "uint16": np.array([65535], "<u2"),
    "int32": np.array([-(2**31), 2**31 - 1], "<i4"),
    "uint32": np.array([2**32 - 1], "<u4"),
    "int64": np.array([-5, 2**40], "<i8"),
    "bool": np.array([True, False]),
    "string": np.array(["a.jpg", "żółw/\U0001f422.png", ""]),
    "scalar": np.array(2.5, "<f4"),
    "empty": np.zeros((0, 3, 2, 2), "<f4"),
}
for name, array in arrays.items():
    np.save(f"{name}.npy", array)
np.save("bytes.npy", np.array([b"a.jpg", b"bc"]))
np.save("fortran.npy", np.asfortranarray(floats))
np.save("big_endian.npy", floats.astype(">f4"))
np.save("object.npy", np.array(["a", 1], dtype=object), allow_pickle=True)
np.save("record.npy", np.zeros(2, [("x", "<f4")]))
for version in [(2, 0), (3, 0)]:
    with open(f"version{version[0]}.npy", "wb") as file:
        format.write_array(file, floats, version)

with open("values.json", "w") as file:
    json.dump({name: {"shape": list(a.shape), "values": np.ravel(a).tolist()} for name, a in arrays.items()}, file)

# Numbers around the middle between two halves, where rounding is decided, and of every size.
halves = rng.integers(0, 0x7C00, 600).astype("<u2").view("<f2").astype("<f4")
following = (halves.astype("<f2").view("<u2") + 1).astype("<u2").view("<f2").astype("<f4")
middle = np.where(np.isfinite(following), (halves + following) / 2, np.float32(65519.99)).astype("<f4")
edges = np.array([65504, 65519, 65519.996, 65520, 65536, 1e38, np.inf, 2**-24, 2**-25, 2**-26, 1e-45, 0], "<f4")
some = np.concatenate(
    [halves, middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf)), edges]
).astype("<f4")
some = np.concatenate([some, -some])
np.save("rounding_in.npy", some)
with np.errstate(over="ignore"):
    np.save("rounding_out.npy", some.astype("<f2").view("<u2"))
