"""Small ONNX models, mostly of one operator, with what onnxruntime gives: __tests__/golden/onnx/operators.json.

    pip install onnx onnxruntime numpy
    python3 bench/peers/golden_onnx.py __tests__/golden/onnx/operators.json
"""

import base64
import json
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 3, 8, 6)).astype(np.float32)
cases = []


def f(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def i(*values):
    return np.array(values, np.int64)


def case(name, *nodes, opset=17, batch="N", **constants):
    """nodes: (op, inputs, outputs, attributes); the input is x, the output y."""
    made = [helper.make_node(op, ins.split(","), outs.split(","), name=f"n{k}", **attrs)
            for k, (op, ins, outs, attrs) in enumerate(nodes)]
    graph = helper.make_graph(
        made, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    bytes_ = model.SerializeToString()
    feed = X if batch == "N" else X[:batch]
    y = onnxruntime.InferenceSession(bytes_, providers=["CPUExecutionProvider"]).run(["y"], {"x": feed})[0]
    assert y.dtype == np.float32, name
    cases.append({"name": name, "model": base64.b64encode(bytes_).decode(), "shape": list(y.shape),
                  "values": base64.b64encode(np.ascontiguousarray(y).tobytes()).decode()})


def one(name, op, opset=17, more="", **attrs_and_constants):
    constants = {k: v for k, v in attrs_and_constants.items() if isinstance(v, (np.ndarray, np.generic))}
    attrs = {k: v for k, v in attrs_and_constants.items() if not isinstance(v, (np.ndarray, np.generic))}
    case(name, (op, "x" + more, "y", attrs), opset=opset, **constants)


# Elements alone
for op in "Relu Sigmoid Tanh Exp Neg Abs Erf Floor Ceil Round Sign Sin Cos Softplus HardSigmoid HardSwish LeakyRelu Elu Selu Softsign".split():
    one(op, op)
one("Mish", "Mish", opset=18)
one("Elu alpha", "Elu", alpha=0.5)
one("HardSigmoid alpha", "HardSigmoid", alpha=0.3, beta=0.4)
one("Gelu", "Gelu", opset=20)
one("Gelu tanh", "Gelu", opset=20, approximate="tanh")
one("PRelu", "PRelu", more=",s", s=f(3, 1, 1))
one("Clip", "Clip", more=",a,b", a=np.float32(-0.5), b=np.float32(0.7))
one("Clip relu6", "Clip", more=",a,b", a=np.float32(0), b=np.float32(6))
one("Clip opset 9", "Clip", opset=9, min=-0.2, max=0.4)
case("Sqrt Log Reciprocal", ("Abs", "x", "a", {}), ("Add", "a,one", "b", {}), ("Sqrt", "b", "c", {}), ("Log", "c", "d", {}),
     ("Add", "d,one", "e", {}), ("Reciprocal", "e", "y", {}), one=np.float32(1))
case("Silu", ("Sigmoid", "x", "s", {}), ("Mul", "x,s", "y", {}))
one("Add channel", "Add", more=",c", c=f(3, 1, 1))
one("Sub last axis", "Sub", more=",c", c=f(6))
one("Div scalar", "Div", more=",c", c=np.float32(3))
case("Mul by image", ("GlobalAveragePool", "x", "g", {}), ("Mul", "x,g", "y", {}))
one("Pow 2", "Pow", more=",c", c=np.float32(2))
case("Pow", ("Abs", "x", "a", {}), ("Pow", "a,c", "y", {}), c=np.float32(1.7))
case("Min Max Sum Mean", ("Min", "x,c", "a", {}), ("Max", "a,d", "b", {}), ("Sum", "b,x,c", "s", {}), ("Mean", "s,x", "y", {}),
     c=f(6), d=f(3, 1, 1))
case("Where Greater", ("Greater", "x,c", "m", {}), ("Where", "m,x,d", "y", {}), c=np.float32(0.1), d=f(3, 1, 1))
case("Less And Or Not Equal Cast", ("Less", "x,c", "a", {}), ("GreaterOrEqual", "x,d", "b", {}), ("And", "a,b", "ab", {}),
     ("Not", "ab", "nab", {}), ("Equal", "x,d", "e", {}), ("Or", "nab,e", "o", {}), ("Cast", "o", "y", {"to": 1}),
     c=np.float32(0.5), d=np.float32(-0.5))
# Convolutions
case("Conv", ("Conv", "x,w,b", "y", {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}), w=f(5, 3, 3, 3), b=f(5))
case("Conv stride and lopsided pads", ("Conv", "x,w", "y", {"pads": [0, 1, 2, 1], "strides": [2, 1]}), w=f(4, 3, 3, 2))
case("Conv dilations", ("Conv", "x,w", "y", {"pads": [2, 2, 2, 2], "dilations": [2, 2]}), w=f(4, 3, 3, 3))
case("Conv SAME_UPPER", ("Conv", "x,w", "y", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}), w=f(4, 3, 3, 3))
case("Conv SAME_LOWER", ("Conv", "x,w", "y", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}), w=f(4, 3, 3, 3))
case("Conv depthwise", ("Conv", "x,w", "y", {"group": 3, "pads": [1, 1, 1, 1], "strides": [2, 2]}), w=f(6, 1, 3, 3))
case("Conv groups", ("Concat", "x,x", "a", {"axis": 1}), ("Conv", "a,w,b", "y", {"group": 2, "pads": [1, 1, 1, 1]}),
     w=f(4, 3, 3, 3), b=f(4))
case("ConvTranspose", ("ConvTranspose", "x,w,b", "y", {"strides": [2, 3]}), w=f(3, 4, 2, 3), b=f(4))
case("Conv BatchNormalization", ("Conv", "x,w,b", "c", {}), ("BatchNormalization", "c,s,h,m,v", "y", {"epsilon": 1e-3}),
     w=f(4, 3, 2, 2), b=f(4), s=f(4), h=f(4), m=f(4), v=np.abs(f(4)) + 0.5)
case("BatchNormalization", ("BatchNormalization", "x,s,h,m,v", "y", {}), s=f(3), h=f(3), m=f(3), v=np.abs(f(3)) + 0.5)
# Pools
case("MaxPool", ("MaxPool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}))
case("MaxPool ceil", ("MaxPool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}))
case("AveragePool", ("AveragePool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}))
case("AveragePool include pad", ("AveragePool", "x", "y", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}))
case("AveragePool ceil", ("AveragePool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}), opset=19)
case("AveragePool SAME", ("AveragePool", "x", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}))
one("GlobalMaxPool", "GlobalMaxPool")
# Reductions
for op in "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare".split():
    if op == "ReduceSum":
        one(op, op, more=",a", a=i(2, 3), keepdims=0)
    else:
        one(op, op, axes=[-1, 1], keepdims=1)
one("ReduceMean opset 18", "ReduceMean", opset=18, more=",a", a=i(1), keepdims=0)
one("Softmax", "Softmax", axis=1)
one("Softmax opset 11", "Softmax", opset=11, axis=2)
one("LogSoftmax", "LogSoftmax", axis=-1)
one("LpNormalization", "LpNormalization", axis=1)
# Normalisations
one("LayerNormalization", "LayerNormalization", more=",s,b", s=f(6), b=f(6))
case("LayerNormalization of channels", ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}),
     ("LayerNormalization", "t,s,b", "l", {"epsilon": 1e-6}), ("Transpose", "l", "y", {"perm": [0, 3, 1, 2]}), s=f(3), b=f(3))
one("InstanceNormalization", "InstanceNormalization", more=",s,b", s=f(3), b=f(3))
case("GroupNormalization", ("Concat", "x,x", "a", {"axis": 1}), ("GroupNormalization", "a,s,b", "y", {"num_groups": 3}), s=f(6), b=f(6),
     opset=21)
case("GroupNormalization exported", ("Concat", "x,x", "a", {"axis": 1}), ("Reshape", "a,r", "q", {}),
     ("InstanceNormalization", "q,s,b", "p", {}), ("Shape", "a", "z", {}), ("Reshape", "p,z", "y", {}),
     r=i(0, 2, -1), s=f(2), b=f(2))
one("LRN", "LRN", size=3, alpha=0.01, beta=0.6, bias=1.5)
# Matrices
case("MatMul", ("MatMul", "x,w", "y", {}), w=f(6, 5))
case("MatMul of images", ("Transpose", "x", "t", {"perm": [0, 1, 3, 2]}), ("MatMul", "x,t", "y", {}))
case("Gemm", ("Flatten", "x", "v", {}), ("Gemm", "v,w,b", "y", {"transB": 1, "alpha": 0.5, "beta": 2.0}), w=f(7, 144), b=f(7))
case("Einsum", ("Einsum", "x,w", "y", {"equation": "bchw,kc->bhwk"}), w=f(5, 3))
case("Einsum both", ("Einsum", "x,x", "y", {"equation": "bchw,bchv->bcwv"}))
case("attention", ("Reshape", "x,r", "q", {}), ("Transpose", "q", "t", {"perm": [2, 0, 1, 3]}), ("Split", "t,three", "u,k,v", {"axis": 0}),
     ("Squeeze", "u,z", "us", {}), ("Squeeze", "k,z", "ks", {}), ("Gather", "t,two", "vs", {"axis": 0}),
     ("Transpose", "ks", "kt", {"perm": [0, 2, 1]}), ("MatMul", "us,kt", "a", {}), ("Softmax", "a", "p", {"axis": -1}),
     ("MatMul", "p,vs", "y", {}), r=i(0, 4, 3, 12), three=i(1, 1, 1), z=i(0), two=np.int64(2))
# Shapes
case("Shape Gather Concat Reshape", ("Shape", "x", "s", {}), ("Gather", "s,zero", "n", {"axis": 0}), ("Unsqueeze", "n,at", "u", {}),
     ("Concat", "u,rest", "t", {"axis": 0}), ("Reshape", "x,t", "y", {}), zero=np.int64(0), at=i(0), rest=i(6, -1))
case("tokens", ("Conv", "x,w", "c", {"strides": [2, 2]}), ("Reshape", "c,r", "f", {}), ("Transpose", "f", "t", {"perm": [0, 2, 1]}),
     ("Shape", "t", "s", {}), ("Gather", "s,zero", "n", {"axis": 0}), ("Unsqueeze", "n,at", "u", {}), ("Concat", "u,minus,minus", "e", {"axis": 0}),
     ("ConstantOfShape", "three", "ones", {"value": helper.make_tensor("v", TensorProto.INT64, [1], [1])}),
     ("Mul", "ones,minus", "neg", {}), ("Equal", "e,neg", "q", {}), ("Where", "q,ones,e", "g", {}),
     ("Expand", "k,g", "ck", {}), ("Concat", "ck,t", "j", {"axis": 1}), ("Add", "j,p", "y", {}),
     w=f(5, 3, 2, 2), r=i(0, 5, -1), zero=np.int64(0), at=i(0), minus=i(-1), three=i(3), k=f(1, 1, 5), p=f(1, 13, 5))
case("Squeeze Unsqueeze opset 11", ("Unsqueeze", "x", "a", {"axes": [1]}), ("Squeeze", "a", "y", {"axes": [1]}), opset=11)
case("Tile", ("Tile", "x,r", "y", {}), r=i(1, 2, 1, 3))
case("Expand", ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 1}), ("Expand", "m,s", "y", {}), s=i(1, 5, 1, 1))
case("DepthToSpace", ("Concat", "x,x,x,x", "a", {"axis": 1}), ("DepthToSpace", "a", "y", {"blocksize": 2}))
case("DepthToSpace CRD", ("Concat", "x,x,x,x", "a", {"axis": 1}), ("DepthToSpace", "a", "y", {"blocksize": 2, "mode": "CRD"}))
one("SpaceToDepth", "SpaceToDepth", blocksize=2)
one("Identity", "Identity")
case("Range", ("Range", "a,b,c", "r", {}), ("Cast", "r", "s", {"to": 1}), ("Add", "x,s", "y", {}), a=np.int64(0), b=np.int64(6), c=np.int64(1))
# Selections
case("Split", ("Split", "x,s", "a,b", {"axis": 2}), ("Transpose", "b", "c", {"perm": [0, 1, 3, 2]}), ("MatMul", "a,c", "y", {}), s=i(3, 5))
case("Split opset 11", ("Split", "x", "a,b", {"axis": 3, "split": [3, 3]}), ("Sub", "a,b", "y", {}), opset=11)
case("Slice", ("Slice", "x,s,e,a,t", "y", {}), s=i(1, -1), e=i(100, -6), a=i(2, 3), t=i(2, -2))
case("Slice opset 9", ("Slice", "x", "y", {"starts": [1], "ends": [9223372036854775807], "axes": [1]}), opset=9)
case("roll", ("Slice", "x,s,e,a", "p", {}), ("Slice", "x,z,s,a", "q", {}), ("Concat", "p,q", "y", {"axis": 2}), s=i(3), e=i(2**63 - 1), a=i(2), z=i(0))
case("window partition", ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("Reshape", "t,r", "p", {}), ("Transpose", "p", "q", {"perm": [0, 1, 3, 2, 4, 5]}),
     ("Reshape", "q,w", "f", {}), ("MatMul", "f,k", "m", {}), ("Reshape", "m,b", "g", {}), ("Transpose", "g", "h", {"perm": [0, 1, 3, 2, 4, 5]}),
     ("Reshape", "h,o", "y", {}), r=i(-1, 2, 4, 2, 3, 3), w=i(-1, 12, 3), k=f(3, 5), b=i(-1, 2, 2, 4, 3, 5), o=i(-1, 8, 6, 5))
case("Gather", ("Gather", "x,g", "y", {"axis": 3}), g=i(5, 0, -1, 2, 2))
case("Pad", ("Pad", "x,p,v", "y", {}), p=i(0, 0, 1, 2, 0, 1, 0, 3), v=np.float32(0.5))
case("Pad reflect", ("Pad", "x,p", "y", {"mode": "reflect"}), p=i(0, 0, 1, 2, 0, 0, 3, 1))
case("Pad edge opset 9", ("Pad", "x", "y", {"mode": "edge", "pads": [0, 0, 1, 2, 0, 0, 3, 1]}), opset=9)
case("Pad that cuts", ("Pad", "x,p", "y", {}), p=i(0, 0, -1, 0, 0, 0, -2, -1))
# Sizes
for mode, more in [("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}), ("nearest", {}),
                   ("linear", {}), ("linear", {"coordinate_transformation_mode": "align_corners"}),
                   ("cubic", {"coordinate_transformation_mode": "pytorch_half_pixel"})]:
    case(f"Resize {mode} {len(more)} {next(iter(more.values()), '')}", ("Resize", "x,,s", "y", {"mode": mode, **more}),
         s=np.array([1, 1, 1.5, 2], np.float32))
case("Resize antialias", ("Resize", "x,,s", "y", {"mode": "linear", "antialias": 1}), opset=18, s=np.array([1, 1, 0.5, 0.5], np.float32))
case("Upsample", ("Upsample", "x,s", "y", {"mode": "nearest"}), opset=9, s=np.array([1, 1, 2, 3], np.float32))
# A network that was exported for one image takes any number
case("exported for one image", ("Conv", "x,w", "c", {"strides": [2, 2]}), ("Reshape", "c,r", "f", {}), ("Transpose", "f", "t", {"perm": [0, 2, 1]}),
     ("Concat", "k,t", "j", {"axis": 1}), ("Reshape", "j,h", "q", {}), ("Transpose", "q", "u", {"perm": [0, 2, 1, 3]}), ("Reshape", "u,l", "y", {}),
     batch=1, w=f(6, 3, 2, 2), r=i(1, 6, -1), k=f(1, 1, 6), h=i(1, 13, 2, 3), l=i(1, 26, 3))

with open(sys.argv[1], "w") as out:
    json.dump({"input": base64.b64encode(X.tobytes()).decode(), "inputShape": list(X.shape), "made": {
        "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}, "cases": cases}, out)
    out.write("\n")
print(len(cases), "cases")
