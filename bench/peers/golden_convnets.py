"""Small networks of timm's and torchvision's with random weights, and what they give, for __tests__/golden/convnets.

    python golden_convnets.py OUT_FOLDER

Needs torch, torchvision, timm and open_clip_torch. Each file holds `state_dict` (half precision), `input` (N, C, H, W) and `taps`, maps as
N, H, W, C. Where a dialect's own program is no package, timm's network is saved under its names: the values are timm's.
"""

import json
import pathlib
import re
import sys
from functools import partial

import open_clip.timm_model
import timm
import torch
import torchvision
from timm.models._efficientnet_builder import decode_arch_def, resolve_act_layer, round_channels
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.layers import get_act_layer
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(like):
        return torch.randn(like.shape, generator=generator)

    def uniform(like, low, high):
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point() or name.endswith("attn_mask"):
                continue
            if name.endswith("running_var"):
                value.copy_(uniform(value, 0.5, 2))
            elif value.ndim >= 2 and "bias_table" not in name and "layer_scale" not in name:
                value.copy_(normal(value) * (1.5 / value[0].numel()) ** 0.5)
            elif name.endswith("bias") or name.endswith("running_mean"):
                value.copy_(normal(value) * 0.3)
            else:
                value.copy_(uniform(value, 0.5, 1.5))
            value.copy_(value.half().float())
    return model.eval()


def save(name, model, taps, size, rename=None, maps="NCHW", seed=0, batch=1, last="logits"):
    """`taps`: modules by the tap's name, and functions of what another tap gives; `last`: what the network gives."""
    randomise(model, seed)
    seen = {}

    def keep(tap):
        def hook(_module, _inputs, output):
            seen[tap] = output

        return hook

    for tap, module in taps.items():
        if isinstance(module, nn.Module):
            module.register_forward_hook(keep(tap))
    images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed + 1))
    images = images.half().float()
    with torch.no_grad():
        seen[last] = model(images)
    for tap, module in taps.items():
        if not isinstance(module, nn.Module):
            source, change = module
            seen[tap] = change(seen[source])
    values = {}
    for tap in [*taps, last]:
        value = seen[tap]
        if value.ndim == 4 and tap in ("pooled", "pre_logits"):
            value = value.flatten(1)
        elif value.ndim == 4 and maps == "NCHW":
            value = value.permute(0, 2, 3, 1)
        values[tap] = value.contiguous().clone()
    weights = {}
    for key, value in model.state_dict().items():
        key = rename(key) if rename else key
        if key is None or key.endswith("num_batches_tracked"):
            continue
        if name == "convnextv2_authors" and ".grn." in key:
            value = value[None, None, None]
        weights[key] = value.half() if value.is_floating_point() else value
    content = {"state_dict": weights, "input": images.half(), "taps": values}
    # The older format, for it takes less room.
    torch.save(content, out / f"{name}.pth", _use_new_zipfile_serialization=False)


# ConvNeXt


def convnext_taps(model):
    return {
        "stem": model.stem,
        **{f"stage{i}": stage for i, stage in enumerate(model.stages)},
        "pooled": model.head.norm,
    }


def authors_convnext(key):
    key = re.sub(r"^stem\.", "downsample_layers.0.", key)
    key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
    key = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", key)
    key = key.replace("conv_dw", "dwconv").replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
    key = key.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
    return key.replace("head.norm", "norm").replace("head.fc", "head")


def small_convnext(**options):
    return timm.models.ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 12, 16, 24), num_classes=3, **options)


model = small_convnext(use_grn=True, ls_init_value=None)
save("convnextv2_timm", model, convnext_taps(model), (32, 40), batch=2)
model = small_convnext(use_grn=True, ls_init_value=None)
save("convnextv2_authors", model, convnext_taps(model), (40, 64), authors_convnext, seed=2)
model = small_convnext(conv_mlp=True, head_hidden_size=10)
save(
    "convnext_conv_mlp",
    model,
    {**convnext_taps(model), "pre_logits": model.head.pre_logits},
    (38, 32),
    seed=4,
)


@timm.models.register_model
def convnext_narrow(**_):
    model = timm.models.ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 12, 16, 24))
    model.default_cfg = {"pool_size": (7, 7)}
    return model


# OpenCLIP's towers: the base ones have one layer behind timm's network, the large ones two.
for seed, proj in [(30, "linear"), (32, "mlp")]:
    model = open_clip.timm_model.TimmModel("convnext_narrow", embed_dim=10, proj=proj)
    taps = {**convnext_taps(model.trunk), "pooled": model.trunk.head}
    save(f"convnext_open_clip_{proj}", model, taps, (32, 40), lambda key: f"visual.{key}", seed=seed, last="projection")
settings = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)]
model = torchvision.models.ConvNeXt(settings, num_classes=3)
save(
    "convnext_torchvision",
    model,
    {
        "stem": model.features[0],
        **{f"stage{i}": model.features[2 * i + 1] for i in range(4)},
        "pooled": model.classifier[0],
    },
    (32, 32),
    seed=6,
)

# Swin


def authors_swin(key):
    key = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
    return key.replace("head.fc", "head")


def small_swin(size):
    return timm.models.SwinTransformer(
        img_size=size, patch_size=2, window_size=4, embed_dim=8, depths=(2, 2, 2), num_heads=(1, 2, 4), num_classes=3
    )


def swin_taps(model):
    return {
        "stem": model.patch_embed,
        **{f"stage{i}": layer for i, layer in enumerate(model.layers)},
        "pooled": model.head.global_pool,
    }


model = small_swin(32)
save("swin_timm", model, swin_taps(model), (32, 32), maps="NHWC", seed=8, batch=2)
model = small_swin(32)
save("swin_authors", model, swin_taps(model), (32, 32), authors_swin, maps="NHWC", seed=10)
model = torchvision.models.SwinTransformer([2, 2], 8, [2, 3, 2], [1, 2, 4], [4, 4], num_classes=3)
save(
    "swin_torchvision",
    model,
    {
        "stem": model.features[0],
        **{f"stage{i}": model.features[2 * i + 1] for i in range(3)},
        "pooled": model.flatten,
    },
    (38, 26),
    maps="NHWC",
    seed=12,
)

# Inverted residuals


def narrow(channels, *_args, **_options):
    return round_channels(channels, 0.06, divisor=8)


def timm_taps(model, head):
    blocks = [block for stage in model.blocks for block in stage]
    blocks = blocks[:-1] if head is None else blocks
    return {
        "stem": model.bn1,
        **{f"block{i}": block for i, block in enumerate(blocks)},
        "head": head or model.blocks[-1],
        "pooled": model.global_pool,
    }


def torchvision_taps(model, blocks):
    return {
        "stem": model.features[0],
        **{f"block{i}": block for i, block in enumerate(blocks)},
        "head": model.features[-1],
        "pooled": model.avgpool if hasattr(model, "avgpool") else ("head", lambda x: x.mean((2, 3))),
    }


efficientnet_b0 = [
    ["ds_r1_k3_s1_e1_c16_se0.25"],
    ["ir_r2_k3_s2_e6_c24_se0.25"],
    ["ir_r2_k5_s2_e6_c40_se0.25"],
    ["ir_r3_k3_s2_e6_c80_se0.25"],
    ["ir_r3_k5_s1_e6_c112_se0.25"],
    ["ir_r4_k5_s2_e6_c192_se0.25"],
    ["ir_r1_k3_s1_e6_c320_se0.25"],
]
mobilenet_v2 = [
    ["ds_r1_k3_s1_c16"],
    ["ir_r2_k3_s2_e6_c24"],
    ["ir_r1_k3_s2_e6_c32"],
    ["ir_r2_k3_s2_e6_c64"],
    ["ir_r1_k3_s1_e6_c96"],
    ["ir_r1_k3_s2_e6_c160"],
    ["ir_r1_k3_s1_e6_c320"],
]
mobilenet_v3_large = [
    ["ds_r1_k3_s1_e1_c16_nre"],
    ["ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"],
    ["ir_r3_k5_s2_e3_c40_se0.25_nre"],
    ["ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80"],
    ["ir_r2_k3_s1_e6_c112_se0.25"],
    ["ir_r3_k5_s2_e6_c160_se0.25"],
    ["cn_r1_k1_s1_c960"],
]


def timm_efficientnet(blocks, act, eps=1e-5, pad=""):
    return EfficientNet(
        decode_arch_def(blocks),
        num_features=24,
        stem_size=8,
        fix_stem=True,
        round_chs_fn=narrow,
        act_layer=get_act_layer(act),
        norm_layer=partial(nn.BatchNorm2d, eps=eps),
        pad_type=pad,
        num_classes=3,
    )


def lukemelas(key):
    blocks = [block for stage in efficientnet_b0 for block in range(int(stage[0].split("_")[1][1:]))]
    first = [i for i, block in enumerate(blocks) if block == 0]
    found = re.match(r"blocks\.(\d)\.(\d)\.(.*)", key)
    if found:
        stage, block, rest = int(found[1]), int(found[2]), found[3]
        if stage == 0:
            names = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
        else:
            names = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
            names |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
        rest = rest.replace("se.conv_reduce", "_se_reduce").replace("se.conv_expand", "_se_expand")
        part, _, end = rest.partition(".")
        return f"_blocks.{first[stage] + block}.{names.get(part, part)}.{end}"
    for old, new in {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}.items():
        key = re.sub(rf"^{old}\.", f"{new}.", key)
    return re.sub(r"^classifier\.", "_fc.", key)


model = timm_efficientnet(mobilenet_v2, "relu6")
save("mobilenetv2_timm", model, timm_taps(model, model.bn2), (40, 48), seed=14)
model = torchvision.models.MobileNetV2(num_classes=3, width_mult=0.1)
model.features[18] = torchvision.ops.Conv2dNormActivation(32, 24, 1, activation_layer=nn.ReLU6)
model.classifier[1] = nn.Linear(24, 3)
save("mobilenetv2_torchvision", model, torchvision_taps(model, list(model.features)[1:-1]), (46, 40), seed=16)
model = MobileNetV3(
    decode_arch_def(mobilenet_v3_large),
    num_features=24,
    stem_size=8,
    fix_stem=True,
    round_chs_fn=narrow,
    act_layer=get_act_layer("hard_swish"),
    se_layer=partial(timm.models._efficientnet_blocks.SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU,
                     rd_round_fn=round_channels),
    num_classes=3,
)
save("mobilenetv3_timm", model, {**timm_taps(model, None), "pre_logits": model.act2}, (40, 48), seed=18)
model = timm_efficientnet(efficientnet_b0, "swish", 1e-3, "same")
save("efficientnet_lukemelas", model, timm_taps(model, model.bn2), (46, 40), lukemelas, seed=20)
settings = [
    MBConvConfig(expand, kernel, stride, channels_in, channels, count, width_mult=0.1)
    for expand, kernel, stride, channels_in, channels, count in [
        (1, 3, 1, 32, 16, 1),
        (6, 3, 2, 16, 24, 1),
        (6, 5, 2, 24, 40, 2),
        (6, 3, 2, 40, 80, 1),
        (6, 5, 1, 80, 112, 1),
        (6, 5, 2, 112, 192, 1),
        (6, 3, 1, 192, 320, 1),
    ]
]
model = torchvision.models.EfficientNet(settings, 0.2, num_classes=3, last_channel=24)
blocks = [block for stage in list(model.features)[1:-1] for block in stage]
save("efficientnet_torchvision", model, torchvision_taps(model, blocks), (40, 48), seed=22)

# Names and shapes of published networks, for __tests__/golden/convert/convnet-shapes.json

published = {
    "timm": [
        "convnextv2_atto",
        "swin_base_patch4_window12_384",
        "mobilenetv2_110d",
        "mobilenetv3_small_050",
        "efficientnet_b1",
        "tf_efficientnet_lite2",
    ],
    "torchvision": ["convnext_small", "swin_t", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b5"],
}
shapes = {}
with torch.device("meta"):
    for library, names in published.items():
        for name in names:
            model = timm.create_model(name) if library == "timm" else torchvision.models.get_model(name)
            shapes[f"{library} {name}"] = {
                key: list(value.shape)
                for key, value in model.state_dict().items()
                if not key.endswith("num_batches_tracked")
            }
(out / "convnet-shapes.json").write_text(json.dumps(shapes, separators=(",", ":")))
