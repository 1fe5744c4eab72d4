"""Small vision transformers with random weights, and what the original programs give at their taps.

    python bench/peers/golden_vits.py __tests__/golden/vits

Needs torch, timm, open_clip_torch, transformers, segment_anything. Each file holds `state_dict`, `input` (N x H x W x 3)
and `taps` (tokens N x T x D, maps N x H x W x D).
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

out = Path(sys.argv[1])
only = sys.argv[2:]
out.mkdir(parents=True, exist_ok=True)
WIDTH, DEPTH, HEADS = 12, 2, 3


def randomise(model, seed=0):
    """Weights as wide as trained ones, so that no part of a block is too small to see."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            values = torch.randn(weight.shape, generator=generator)
            norm = weight.ndim == 1 and name.endswith("weight")
            spread = 0.3 if weight.ndim < 2 else min(0.5, 1.5 / (weight.numel() / weight.shape[0]) ** 0.5)
            weight.copy_(values * spread + (1.0 if norm else 0.0))
    return model.eval()


def save(name, state, image, taps):
    state = {key: value.detach().clone().contiguous() for key, value in state.items()}
    taps = {key: value.detach().clone().contiguous() for key, value in taps.items()}
    torch.save({"state_dict": state, "input": image.permute(0, 2, 3, 1).contiguous(), "taps": taps}, out / f"{name}.pth")
    print(name, (out / f"{name}.pth").stat().st_size)


def images(side, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def record(model, modules, run):
    """What the named modules give while `run` runs."""
    taps = {}
    handles = [
        module.register_forward_hook(lambda _, __, result, name=name: taps.__setitem__(name, result[0] if isinstance(result, tuple) else result))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        result = run()
    for handle in handles:
        handle.remove()
    return taps, result


def timm_model(name, model, side):
    model = randomise(model)
    image = images(side)
    blocks = {f"block{i}": block for i, block in enumerate(model.blocks)}
    taps, logits = record(model, blocks, lambda: model(image))
    with torch.no_grad():
        features = model.forward_features(image)
        taps["pooled"] = model.forward_head(features, pre_logits=True)
    if not isinstance(model.norm, torch.nn.Identity):
        taps["norm"] = features
    if model.num_classes > 0:
        taps["logits"] = logits
    save(name, model.state_dict(), image, taps)
    return model, image, taps


def with_timm():
    from functools import partial

    from timm.layers import resample_abs_pos_embed
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    size = dict(img_size=32, patch_size=8, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
    timm_model("deit_distilled", VisionTransformerDistilled(**size, num_classes=5), 32)
    timm_model("qk_norm", VisionTransformer(**size, num_classes=0, qk_norm=True, init_values=0.1), 32)
    timm_model(
        "timm_clip", VisionTransformer(**size, num_classes=4, pre_norm=True, norm_layer=torch.nn.LayerNorm), 32
    )
    # Wider, so that a head has turns of several speeds.
    wider = {**size, "embed_dim": 24}
    timm_model(
        "eva02_packed",
        Eva(**wider, mlp_ratio=4 * 2 / 3, swiglu_mlp=True, use_rot_pos_emb=True, num_classes=4),
        32,
    )
    timm_model(
        "eva02_scaled",
        Eva(
            **wider, mlp_ratio=4 * 2 / 3, swiglu_mlp=True, scale_mlp=True, qkv_fused=False, scale_attn_inner=True,
            use_rot_pos_emb=True, num_classes=0,
        ),
        32,
    )
    timm_model("siglip", VisionTransformer(**size, class_token=False, global_pool="map", num_classes=0), 32)
    model, image, taps = timm_model(
        "siglip_tanh",
        VisionTransformer(**size, class_token=False, global_pool="map", num_classes=0, act_layer="gelu_tanh"),
        32,
    )
    (out / "siglip_tanh.pth").unlink()
    big_vision(model, image, taps)

    # Position embeddings for other grids.
    table = torch.randn(1, 1 + 16, 5, generator=torch.Generator().manual_seed(2))
    grids = {
        f"timm_{height}x{width}": resample_abs_pos_embed(table, [height, width], num_prefix_tokens=1)
        for height, width in [(5, 5), (7, 2), (2, 3), (9, 4)]
    }
    grid = table[:, 1:].reshape(1, 4, 4, 5).permute(0, 3, 1, 2)
    for side in [3, 5, 8]:
        scale = (side + 0.1) / 4
        moved = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        assert moved.shape[-1] == side
        grids[f"dino_{side}x{side}"] = torch.cat([table[:, :1], moved.permute(0, 2, 3, 1).reshape(1, -1, 5)], 1)
    torch.save({"table": table, "grids": grids}, out / "positions.pth")


def big_vision(model, image, taps):
    """timm's weights under the names of big_vision, checked by timm's own reader of such files."""
    state = model.state_dict()
    size = WIDTH // HEADS
    arrays = {
        "params/img/embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "params/img/embedding/bias": state["patch_embed.proj.bias"],
        "params/img/pos_embedding": state["pos_embed"],
    }

    def norm(to, source):
        arrays[f"{to}/scale"], arrays[f"{to}/bias"] = state[f"{source}.weight"], state[f"{source}.bias"]

    def dense(to, weight, bias):
        arrays[f"{to}/kernel"], arrays[f"{to}/bias"] = weight.T, bias

    def heads(to, weight, bias):
        arrays[f"{to}/kernel"] = weight.T.reshape(WIDTH, HEADS, size)
        arrays[f"{to}/bias"] = bias.reshape(HEADS, size)

    def out_of_heads(to, source):
        arrays[f"{to}/kernel"] = state[f"{source}.weight"].T.reshape(HEADS, size, WIDTH)
        arrays[f"{to}/bias"] = state[f"{source}.bias"]

    def mlp(to, source):
        for i in (0, 1):
            dense(f"{to}/Dense_{i}", state[f"{source}.fc{i + 1}.weight"], state[f"{source}.fc{i + 1}.bias"])

    norm("params/img/Transformer/encoder_norm", "norm")
    for i in range(DEPTH):
        to, source = f"params/img/Transformer/encoderblock_{i}", f"blocks.{i}"
        norm(f"{to}/LayerNorm_0", f"{source}.norm1")
        norm(f"{to}/LayerNorm_1", f"{source}.norm2")
        weights, biases = state[f"{source}.attn.qkv.weight"].chunk(3), state[f"{source}.attn.qkv.bias"].chunk(3)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases):
            heads(f"{to}/MultiHeadDotProductAttention_0/{part}", weight, bias)
        out_of_heads(f"{to}/MultiHeadDotProductAttention_0/out", f"{source}.attn.proj")
        mlp(f"{to}/MlpBlock_0", f"{source}.mlp")
    to, source = "params/img/MAPHead_0", "attn_pool"
    arrays[f"{to}/probe"] = state[f"{source}.latent"]
    heads(f"{to}/MultiHeadDotProductAttention_0/query", state[f"{source}.q.weight"], state[f"{source}.q.bias"])
    for part, weight, bias in zip(("key", "value"), state[f"{source}.kv.weight"].chunk(2), state[f"{source}.kv.bias"].chunk(2)):
        heads(f"{to}/MultiHeadDotProductAttention_0/{part}", weight, bias)
    out_of_heads(f"{to}/MultiHeadDotProductAttention_0/out", f"{source}.proj")
    norm(f"{to}/LayerNorm_0", f"{source}.norm")
    mlp(f"{to}/MlpBlock_0", f"{source}.mlp")

    import copy
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file.name, **{name: value.numpy() for name, value in arrays.items()})
        other = randomise(copy.deepcopy(model), seed=9)
        other.load_pretrained(file.name)
        with torch.no_grad():
            assert torch.allclose(other.forward_features(image), taps["norm"], atol=1e-5)
            assert torch.allclose(other(image), taps["pooled"], atol=1e-5)
    save("big_vision", arrays, image, taps)
    # The same blocks in one tensor each.
    blocks = "params/img/Transformer/encoderblock"
    stacked = {name: value for name, value in arrays.items() if not name.startswith(f"{blocks}_")}
    for name in [name for name in arrays if name.startswith(f"{blocks}_0/")]:
        rest = name.removeprefix(f"{blocks}_0/")
        stacked[f"{blocks}/{rest}"] = torch.stack([arrays[f"{blocks}_{i}/{rest}"] for i in range(DEPTH)])
    save("big_vision_stacked", stacked, image, taps)


def with_open_clip():
    from open_clip.transformer import QuickGELU, VisionTransformer

    for name, act, scale in [("open_clip", torch.nn.GELU, None), ("open_clip_quickgelu", QuickGELU, 0.1)]:
        model = VisionTransformer(
            image_size=32, patch_size=8, width=WIDTH, layers=DEPTH, heads=HEADS, mlp_ratio=4, output_dim=7, act_layer=act,
            ls_init_value=scale,
        )
        randomise(model)
        image = images(32)
        blocks = {f"block{i}": block for i, block in enumerate(model.transformer.resblocks)}
        blocks["pooled"] = model.ln_post
        taps, features = record(model, blocks, lambda: model(image))
        if taps["pooled"].ndim == 3:
            taps["pooled"] = taps["pooled"][:, 0]
        taps["projection"] = features
        save(name, {f"visual.{key}": value for key, value in model.state_dict().items()}, image, taps)


def with_transformers():
    import tempfile

    from safetensors.torch import load_file
    from transformers import (
        CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel, SiglipVisionConfig, SiglipVisionModel, ViTConfig, ViTModel,
    )

    size = dict(image_size=32, patch_size=8, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS)
    wide = dict(**size, intermediate_size=4 * WIDTH)
    for name, model in [
        ("hf_vit", ViTModel(ViTConfig(**wide), add_pooling_layer=False)),
        ("hf_dinov2", Dinov2Model(Dinov2Config(**size))),
        ("hf_dinov2_registers", Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**size, use_swiglu_ffn=True))),
        ("hf_clip", CLIPVisionModelWithProjection(CLIPVisionConfig(**wide, projection_dim=7))),
        ("hf_siglip", SiglipVisionModel(SiglipVisionConfig(**wide))),
    ]:
        randomise(model)
        image = images(32)
        with torch.no_grad():
            result = model(image, output_hidden_states=True)
        taps = {f"block{i}": state for i, state in enumerate(result.hidden_states[1:])}
        if name == "hf_clip":
            taps["projection"] = result.image_embeds
        else:
            taps["norm"] = result.last_hidden_state
        if name == "hf_siglip":
            taps["pooled"] = result.pooler_output
        # Files have other names than modules; SigLIP's published ones have one more in front.
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            state = load_file(f"{folder}/model.safetensors")
        if name == "hf_siglip":
            state = {f"vision_model.{key}": value for key, value in state.items()}
        save(name, state, image, taps)


def with_sam():
    from functools import partial

    from segment_anything.modeling.image_encoder import ImageEncoderViT

    model = ImageEncoderViT(
        img_size=40, patch_size=8, embed_dim=WIDTH, depth=3, num_heads=HEADS, out_chans=6, use_rel_pos=True, window_size=2,
        global_attn_indexes=(1,), norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    randomise(model)
    image = images(40)
    taps, neck = record(model, {f"block{i}": block for i, block in enumerate(model.blocks)}, lambda: model(image))
    taps["neck"] = neck.permute(0, 2, 3, 1)
    save("sam", {f"image_encoder.{key}": value for key, value in model.state_dict().items()}, image, taps)


for part in (with_timm, with_open_clip, with_transformers, with_sam):
    if not only or part.__name__.removeprefix("with_") in only:
        part()
