import { scaledTransform } from "../../lib/convert/scaled-transform.js";
import { proposeTitle } from "../../lib/convert/title.js";
import { reasonUnused } from "../../lib/convert/unused-tensors.js";
import { publishedChoice, wrappersOf } from "../../lib/convert/wrappers.js";

describe("wrappers", () => {
  test("are told with what they are of", () => {
    expect(wrappersOf("state_dict/module.encoder_q.")).toEqual([
      { name: "state_dict", meaning: "saved state" },
      { name: "module", meaning: "DataParallel" },
      { name: "encoder_q", meaning: "MoCo's query encoder" },
    ]);
    expect(wrappersOf("mine.")).toEqual([{ name: "mine", meaning: undefined }]);
    expect(wrappersOf("")).toEqual([]);
  });

  test.each([
    ["DINO", ["student/module.backbone.", "teacher/backbone."], "teacher/backbone."],
    ["DINOv2", ["model/student.backbone.", "model/teacher.backbone."], "model/teacher.backbone."],
    ["MoCo", ["state_dict/module.encoder_q.", "state_dict/module.encoder_k."], "state_dict/module.encoder_q."],
    ["MoCo v3", ["state_dict/module.momentum_encoder.", "state_dict/module.base_encoder."], "state_dict/module.base_encoder."],
    ["BYOL", ["target_network.", "online_network."], "online_network."],
    ["BYOL for audio", ["online_encoder.net.", "target_encoder.net."], "online_encoder.net."],
    ["solo-learn", ["state_dict/momentum_backbone.", "state_dict/backbone."], "state_dict/backbone."],
    ["I-JEPA", ["encoder/module.", "target_encoder/module."], "target_encoder/module."],
    ["ConvNeXt", ["model/", "model_ema/"], "model_ema/"],
    ["timm", ["state_dict/", "state_dict_ema/"], "state_dict_ema/"],
  ])("%s evaluates one of two", (_, prefixes, chosen) => {
    expect(publishedChoice(prefixes)?.prefix).toBe(chosen);
    expect(publishedChoice([...prefixes].reverse())?.prefix).toBe(chosen);
  }); // prettier-ignore

  test("nothing is chosen where no publication tells, or there is only one", () => {
    expect(publishedChoice(["left.", "right."])).toBeUndefined();
    expect(publishedChoice(["teacher.backbone."])).toBeUndefined();
    expect(publishedChoice(["student.", "teacher.", "third."])).toBeUndefined();
  });
});

test.each([
  ["moco_v2_800ep.pth.tar", "resnet50", "state_dict/module.encoder_q.", "moco_v2"],
  ["moco_v2_800ep_pretrain.pth.tar", "resnet50", "", "moco_v2"],
  ["moco_v2_resnet50.pth", "resnet50", "", "moco_v2"],
  ["swav_ResNet-50_400ep.pth", "resnet50", "", "swav"],
  ["dino_rn50_pretrain.pth", "resnet50", "", "dino"],
  ["barlow-twins-r50.pt", "resnet50", "", "barlow-twins"],
  ["resnet18-f37072fd.pth", "resnet18", "", "checkpoint"],
  ["imagenet_vit_small_patch16.safetensors", "vit_small_patch16", "", "imagenet"],
  ["checkpoint.pth", "vit_small", "teacher/backbone.", "dino"],
  ["model_final.torch", "resnet50", "classy_state_dict/base_model/model/trunk/_feature_blocks.", "vissl"],
  ["weights of mine (2).bin", "resnet50", "", "weights_of_mine_2"],
  ["weights.pth", "resnet50", "", "weights"],
])("the title of %s of %s under %s is %s", (file, arch, prefix, title) => {
  expect(proposeTitle({ file, arch, prefix })).toBe(title);
});

describe("reasonUnused", () => {
  const prefix = "state_dict/module.encoder_q.";
  test.each([
    ["state_dict/module.encoder_q.layer1.0.bn1.num_batches_tracked", "counts the steps of training"],
    ["state_dict/module.encoder_q.fc.weight", "classifier"],
    ["state_dict/module.encoder_q.fc.0.weight", "projector of the pretraining"],
    ["state_dict/module.encoder_q.head.last_layer.weight_v", "projector of the pretraining"],
    ["state_dict/module.encoder_q.classifier.6.bias", "classifier"],
    ["state_dict/module.encoder_q.mask_token", "masks patches in training"],
    ["state_dict/module.encoder_q.layers.0.blocks.0.attn.relative_position_index", "is computed, not trained"],
    ["state_dict/module.encoder_q.extra.weight", "resnet50 has no such tensor"],
    ["state_dict/module.encoder_k.conv1.weight", "another network of the same training"],
    ["state_dict/module.queue", "queue of negatives"],
    ["state_dict/module.queue_ptr", "queue of negatives"],
    ["optimizer/state/0/momentum_buffer", "state of the optimizer"],
    ["state_dict/module.predictor.0.weight", "predictor of the pretraining"],
    ["transformer.resblocks.0.attn.in_proj_weight", "text encoder"],
    ["logit_scale", "part of the loss"],
    ["something.else", `does not belong to the network under ${prefix}`],
  ])("%s: %s", (name, reason) => {
    expect(reasonUnused({ name, prefix, arch: "resnet50" })).toBe(reason);
  });
});

test("a transform grows with the images", () => {
  expect(scaledTransform("resize(256,bicubic)|center_crop(224)|normalize(imagenet)", 224, 448)).toBe(
    "resize(512,bicubic)|center_crop(448)|normalize(imagenet)",
  );
  expect(scaledTransform("resize(240x320,bilinear)|normalize(none)", 240, 480)).toBe(
    "resize(480x640,bilinear)|normalize(none)",
  );
});
