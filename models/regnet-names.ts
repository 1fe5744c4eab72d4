/** A convolution and the batch norm behind it. */
interface Pair {
  convolution: string;
  norm: string;
}

export interface BlockNames {
  /** 1×1 */
  a: Pair;
  /** 3×3, in groups */
  b: Pair;
  /** 1×1 */
  c: Pair;
  projection: Pair;
  squeeze: string;
  excite: string;
}

/** How a program names the tensors of a RegNet. */
export interface Dialect {
  name: string;
  stem: Pair;
  block: (stage: number, index: number) => BlockNames;
  classifier: string;
  /** Of the resize that its networks were evaluated with. */
  filter: "bilinear" | "bicubic";
}

const sequential = (name: string): Pair => ({ convolution: `${name}.0`, norm: `${name}.1` });
const named = (name: string): Pair => ({ convolution: `${name}.conv`, norm: `${name}.bn` });

const torchvision: Dialect = {
  name: "torchvision",
  stem: sequential("stem"),
  block: (stage, index) => {
    const block = `trunk_output.block${stage + 1}.block${stage + 1}-${index}`;
    return {
      a: sequential(`${block}.f.a`),
      b: sequential(`${block}.f.b`),
      c: sequential(`${block}.f.c`),
      projection: sequential(`${block}.proj`),
      squeeze: `${block}.f.se.fc1`,
      excite: `${block}.f.se.fc2`,
    };
  },
  classifier: "fc",
  filter: "bilinear",
};

const timm: Dialect = {
  name: "timm",
  stem: named("stem"),
  block: (stage, index) => {
    const block = `s${stage + 1}.b${index + 1}`;
    return {
      a: named(`${block}.conv1`),
      b: named(`${block}.conv2`),
      c: named(`${block}.conv3`),
      projection: named(`${block}.downsample`),
      squeeze: `${block}.se.fc1`,
      excite: `${block}.se.fc2`,
    };
  },
  classifier: "head.fc",
  filter: "bicubic",
};

function classyBlock(block: string): BlockNames {
  return {
    a: sequential(`${block}.f.a`),
    b: sequential(`${block}.f.b`),
    c: { convolution: `${block}.f.c`, norm: `${block}.f.final_bn` },
    projection: { convolution: `${block}.proj`, norm: `${block}.bn` },
    squeeze: `${block}.f.se.excitation.0`,
    excite: `${block}.f.se.excitation.2`,
  };
}

const classyVision: Dialect = {
  name: "ClassyVision",
  stem: sequential("stem"),
  block: (stage, index) => classyBlock(`trunk_output.block${stage + 1}.block${stage + 1}-${index}`),
  classifier: "fc",
  filter: "bilinear",
};

const vissl: Dialect = {
  name: "VISSL",
  stem: sequential("conv1"),
  block: (stage, index) => classyBlock(`res${stage + 2}.block${stage + 1}-${index}`),
  classifier: "fc",
  filter: "bilinear",
};

export const dialects: Dialect[] = [torchvision, timm, classyVision, vissl];
