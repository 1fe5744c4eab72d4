"""Converts networks of timm's with random weights, in the sizes that are published, and compares every tap with timm's.

    python bench/peers/sizes.py [PATTERN ...]

Needs torch, timm and a built project (npx tsc -p .). One network at a time is made, saved, converted with `--verify` by
cli/bin/frozen-eval.cjs, and deleted. A line each: timm's name, the name that was found, weights in millions, the
number of taps and the largest difference at one, relative to the tap's largest number. Images are small where the
network allows it, and vision transformers wider than 1024 are cut to two blocks.
"""

import json
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import timm
import torch

PROGRAM = Path(__file__).resolve().parents[2] / "cli/bin/frozen-eval.cjs"
TOLERANCE = 2e-4

CONVNETS = """
resnet18 resnet34 resnet50 resnet101 resnet152 resnet200 resnet18d resnet26d resnet34d resnet50d resnet101d resnet152d
resnet200d resnet50c resnet50s resnet26 wide_resnet50_2 wide_resnet101_2 resnext50_32x4d resnext101_32x4d
resnext101_32x8d resnext101_64x4d resnext101_32x16d resnext101_32x32d
regnetx_002 regnetx_004 regnetx_006 regnetx_008 regnetx_016 regnetx_032 regnetx_040 regnetx_064 regnetx_080 regnetx_120
regnetx_160 regnetx_320 regnety_002 regnety_004 regnety_006 regnety_008 regnety_008_tv regnety_016 regnety_032
regnety_040 regnety_064 regnety_080 regnety_080_tv regnety_120 regnety_160 regnety_320 regnety_640
vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn
convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small convnext_base convnext_large
convnext_xlarge convnext_large_mlp convnext_atto_ols convnext_tiny_hnf convnextv2_atto convnextv2_femto convnextv2_pico
convnextv2_nano convnextv2_tiny convnextv2_small convnextv2_base convnextv2_large
swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swin_base_patch4_window7_224 swin_large_patch4_window7_224
swin_base_patch4_window12_384
mobilenetv2_035 mobilenetv2_050 mobilenetv2_075 mobilenetv2_100 mobilenetv2_110d mobilenetv2_120d mobilenetv2_140
mobilenetv3_large_075 mobilenetv3_large_100 mobilenetv3_large_150d mobilenetv3_rw mobilenetv3_small_050
mobilenetv3_small_075 mobilenetv3_small_100
tf_mobilenetv3_large_075 tf_mobilenetv3_large_100 tf_mobilenetv3_small_075 tf_mobilenetv3_small_100
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
tf_efficientnet_b0 tf_efficientnet_b1 tf_efficientnet_b2 tf_efficientnet_b3 tf_efficientnet_b4 tf_efficientnet_b5
tf_efficientnet_b6 tf_efficientnet_b7 tf_efficientnet_b8 tf_efficientnet_lite0 tf_efficientnet_lite1
tf_efficientnet_lite2 tf_efficientnet_lite3 tf_efficientnet_lite4
""".split()

TRANSFORMERS = """
vit_tiny_patch16_224 vit_small_patch16_224 vit_small_patch32_224 vit_small_patch8_224 vit_base_patch8_224
vit_base_patch16_224 vit_base_patch32_224 vit_large_patch16_224 vit_large_patch32_224 vit_huge_patch14_224
vit_giant_patch14_224 vit_gigantic_patch14_224 vit_medium_patch16_gap_256 vit_base_patch16_224_miil
vit_base_patch16_clip_224 vit_base_patch32_clip_224 vit_large_patch14_clip_224 vit_base_patch16_clip_quickgelu_224
vit_small_patch14_dinov2 vit_base_patch14_dinov2 vit_large_patch14_dinov2 vit_giant_patch14_dinov2
vit_small_patch14_reg4_dinov2 vit_base_patch14_reg4_dinov2 vit_large_patch14_reg4_dinov2 vit_giant_patch14_reg4_dinov2
vit_base_patch16_siglip_224 vit_base_patch32_siglip_256 vit_large_patch16_siglip_256 vit_so400m_patch14_siglip_224
vit_base_patch16_siglip_gap_224
deit_tiny_patch16_224 deit_small_patch16_224 deit_base_patch16_224 deit_tiny_distilled_patch16_224
deit_small_distilled_patch16_224 deit_base_distilled_patch16_224 deit3_small_patch16_224 deit3_medium_patch16_224
deit3_base_patch16_224 deit3_large_patch16_224
eva02_tiny_patch14_224 eva02_small_patch14_224 eva02_base_patch14_224 eva02_large_patch14_224 eva02_base_patch14_448
eva02_base_patch16_clip_224 eva02_large_patch14_clip_224
samvit_base_patch16_224 samvit_base_patch16 samvit_large_patch16 samvit_huge_patch16
""".split()


def is_convnet(name):
    return name in CONVNETS


def made(name):
    """The network, and the side of its images."""
    if name.startswith("swin"):
        model = timm.create_model(name)
        return model, model.patch_embed.img_size[0]
    if is_convnet(name):
        # Odd, so that paddings differ; but a stage's map is halved whole by the patches of ConvNeXt.
        side = 224 if name.startswith("vgg") else 96 if name.startswith("convnext") else 101
        return timm.create_model(name), side
    config = timm.get_pretrained_cfg(name)
    patch = 32 if "patch32" in name else 14 if "patch14" in name else 8 if "patch8" in name else 16
    # Half of EVA-02's and all of SAM's depend on the size that they were trained with.
    side = config.input_size[-1] if name.startswith("eva02") else 320 if name.startswith("sam") else 5 * patch
    wide = any(size in name for size in ("huge", "giant", "gigantic", "so400m"))
    options = {"depth": 2} if wide else {}
    if wide and name.startswith("sam"):
        options["global_attn_indexes"] = (1,)
    return timm.create_model(name, img_size=side, **options), side


def randomise(model, side):
    """As wide as trained weights; batch norms as a pass over images leaves them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            values = torch.randn(value.shape, generator=generator)
            if value.ndim >= 2 and "bias_table" not in name:
                value.copy_(values * (1.5 / value[0].numel()) ** 0.5)
            elif name.endswith("weight") or "gamma" in name:
                value.copy_(1 + 0.2 * values)
            else:
                value.copy_(0.2 * values)
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        if norms:
            for norm in norms:
                norm.momentum = 1.0
            model.train()
            model(torch.randn(8, 3, side, side, generator=generator))
    return model.eval()


def modules(model):
    """The modules behind the taps, but for the vectors of vision transformers."""
    kind = type(model).__name__
    if kind == "ResNet":
        layers = {f"res{i + 2}": getattr(model, f"layer{i + 1}") for i in range(4)}
        return {"conv1": model.act1, "res1": model.maxpool, **layers, "res5avg": model.global_pool}
    if kind == "RegNet":
        layers = {f"res{i + 2}": getattr(model, f"s{i + 1}") for i in range(4)}
        return {"conv1": model.stem, **layers, "res5avg": model.head.global_pool}
    if kind == "VGG":
        pools = [module for module in model.features if isinstance(module, torch.nn.MaxPool2d)]
        hidden = model.pre_logits
        return {**{f"pool{i + 1}": pool for i, pool in enumerate(pools)}, "fc6": hidden.act1, "fc7": hidden.act2}
    if kind == "ConvNeXt":
        head = model.head
        has_hidden = isinstance(getattr(head, "pre_logits", None), torch.nn.Sequential)
        hidden = {"pre_logits": head.pre_logits} if has_hidden else {}
        # Some normalise the map, and not its mean.
        pooled = head.norm if isinstance(getattr(head, "norm", None), torch.nn.LayerNorm) else head.global_pool
        return {"stem": model.stem, **{f"stage{i}": stage for i, stage in enumerate(model.stages)}, "pooled": pooled, **hidden}
    if kind == "SwinTransformer":
        stages = {f"stage{i}": stage for i, stage in enumerate(model.layers)}
        return {"stem": model.patch_embed, **stages, "pooled": model.head.global_pool}
    if kind in ("EfficientNet", "MobileNetV3"):
        # MobileNetV3's last stage is a plain convolution.
        stages = list(model.blocks)
        rest = {"head": stages.pop(), "pre_logits": model.act2} if kind == "MobileNetV3" else {"head": model.bn2}
        blocks = [block for stage in stages for block in stage]
        return {"stem": model.bn1, **{f"block{i}": block for i, block in enumerate(blocks)}, **rest, "pooled": model.global_pool}
    blocks = {f"block{i}": block for i, block in enumerate(model.blocks)}
    if kind == "VisionTransformerSAM":
        return {**blocks, "neck": model.neck}
    # Where the mean is normed, nothing is before it.
    return {**blocks, **({} if isinstance(model.norm, torch.nn.Identity) else {"norm": model.norm})}


def taps_of(model, images):
    taps = {}
    handles = [
        module.register_forward_hook(lambda _, __, result, tap=tap: taps.__setitem__(tap, result.clone()))
        for tap, module in modules(model).items()
    ]
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    kind = type(model).__name__
    if kind != "VisionTransformerSAM" and model.num_classes > 0:
        taps["logits"] = logits
    if hasattr(model, "blocks") and hasattr(model, "patch_embed") and kind != "VisionTransformerSAM":
        with torch.no_grad():
            taps["pooled"] = model.forward_head(model.forward_features(images), pre_logits=True)
    for tap, value in taps.items():
        channels_last = kind in ("SwinTransformer", "VisionTransformerSAM") and value.ndim == 4 and tap != "neck"
        if channels_last:
            value = value.permute(0, 3, 1, 2)
        if tap in ("pooled", "res5avg", "pre_logits", "fc6", "fc7") and value.ndim == 4:
            value = value.flatten(1)
        taps[tap] = value.contiguous().numpy()
    return taps


def check(name, folder):
    model, side = made(name)
    randomise(model, side)
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    taps = taps_of(model, images)
    weights = folder / f"{name}.pth"
    torch.save(model.state_dict(), weights)
    np.savez(folder / "taps.npz", input=images.numpy(), **taps)
    size = sum(value.numel() for value in model.parameters()) / 1e6
    del model

    command = ["node", PROGRAM, "convert", weights, "--out", folder / "models", "--title", "check", "--json", "--device", "native"]
    command += ["--image-size", str(side), "--verify", folder / "taps.npz", "--tolerance", str(TOLERANCE)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    weights.unlink()
    if done.returncode != 0:
        return f"{name}: FAILED {done.stderr.strip()[-1500:]}"
    manifest = json.loads(done.stdout)["manifest"]
    errors = manifest["proof"]["verify"]["taps"]
    worst = max(errors, key=errors.get)
    return f"{name}: {manifest['arch']}, {size:.1f} M, {len(errors)} taps, {errors[worst]:.1e} at {worst}"


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["*"]
    for name in [*CONVNETS, *TRANSFORMERS]:
        if any(fnmatch(name, pattern) for pattern in wanted):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    print(check(name, Path(folder)), flush=True)
                except Exception as error:
                    print(f"{name}: FAILED here, {type(error).__name__}: {error}", flush=True)
