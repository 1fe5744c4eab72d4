import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { UserError } from "../../lib/errors.js";
import { parseTransform } from "../../lib/images/transform.js";
import { findEntry, matching, readZoo } from "../../lib/zoo/read.js";

describe("the zoo that comes with the toolkit", () => {
  test("tells what a person and a program need of each checkpoint", async () => {
    const entries = await readZoo();
    expect(entries.length).toBeGreaterThanOrEqual(60);
    for (const { name, origin, transform, source } of entries) {
      const address = origin.kind === "url" ? origin.url : origin.kind === "page" ? origin.page : "https://pypi.org";
      expect([name, address, source]).toEqual([
        name,
        expect.stringMatching(/^https:/),
        expect.stringMatching(/^https:/),
      ]);
      expect(parseTransform(transform!).random).toBe(false);
    }
    const files = entries.flatMap(({ origin }) => (origin.kind === "url" ? [origin.url] : []));
    expect(files).toEqual([...new Set(files)]);
  });

  test("has digests that agree with what file names tell", async () => {
    const told = (await readZoo()).flatMap(({ origin, digest }) => {
      const digits = origin.kind === "url" && /-([0-9a-f]{8})\.(pth|pt)$/.exec(origin.url)?.[1];
      return digits ? [[`sha256:${digits}`, digest]] : [];
    });
    expect(told.length).toBeGreaterThan(60);
    for (const [inName, digest] of told) expect(digest).toBe(inName);
  });

  test("finds all models of ImageNet-CoG by the names that it gave them", async () => {
    const entries = await readZoo();
    // Of prepare_models/README.md in naver/cog.
    const resnets =
      `sup ssup swsup simclrv2 byol mocov2 mochi infomin swav dino obow barlow compress mixup manifold-mixup
      cutmix relabel advrobust mealv2 mopro clip`.split(/\s+/);
    const others =
      `sup_resnet152 sup_inception-v3 sup_vgg19 deit_small deit_small_distilled deit_base_distilled_384 nat_m4
      efficientnet_b1 efficientnet_b4 t2tvit_t14`.split(/\s+/);
    const names = [...resnets.map((title) => `${title}_resnet50`), ...others];
    expect(names).toHaveLength(31);
    for (const name of names) expect(findEntry(entries, name)).toBeDefined();
  });

  test("is searched by name, other name, architecture, publisher and licence", async () => {
    const entries = await readZoo();
    const names = (glob: string) => matching(entries, glob).map(({ name }) => name);
    expect(names("MOCOV?-*_resnet50")).toHaveLength(6);
    expect(names("efficientnet-lite1")).toEqual(["imagenet1k_efficientnet_lite1"]);
    expect(names("vicreg")).toHaveLength(3);
    expect(names("SEER*")).toHaveLength(4);
    expect(() => names("nothing*")).toThrow(
      'Expected a glob that matches something of the zoo for --match but received "nothing*"',
    );
    expect(() => findEntry(entries, "mocov2-800ep_resnet5")).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("mocov2-800ep_resnet50") as string }) as Error,
    );
  });
});

describe("a list with a mistake", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-zoo-"))));
  afterEach(() => rmSync(folder, { recursive: true }));
  const head = ["publisher: Someone", "source: https://example.com/list", "checkpoints:"];
  const good = ["  - title: a", "    arch: b", "    url: https://example.com/a.pth"];
  const complaint = async (lines: string[]) => {
    writeFileSync(path.join(folder, "someone.yaml"), `${lines.join("\n")}\n`);
    const error: unknown = await readZoo(folder).catch((thrown: unknown) => thrown);
    if (!(error instanceof UserError)) throw new Error(`${lines.join(" ")} was accepted`);
    return { message: error.message.replaceAll(path.join(folder, "someone.yaml"), "someone.yaml"), hint: error.hint };
  };

  test.each([
    [["    digest: crc:12"], 'Expected sha256: or md5: and hexadecimal digits for digest of a_b (someone.yaml:7) but received "crc:12"'],
    [["    bytes: many"], 'Expected a number of bytes for bytes of a_b (someone.yaml:7) but received "many"'],
    [["    scores: { top1: 101 }"], "Expected a number of percent for scores.top1 of a_b (someone.yaml:7) but received 101"],
    [["    names: [../up]"], 'Expected letters, digits, points, dashes and underscores for names.0 of a_b (someone.yaml:7) but received "../up"'],
    [["    digset: md5:000000"], 'Expected a known field of a_b (someone.yaml:7) but received "digset"'],
  ])("names entry, field and line: %s", async (lines, message) => {
    expect((await complaint([...head, ...good, ...lines])).message).toBe(message);
  }); // prettier-ignore

  test("is told where a checkpoint has no address or two, and where a name comes twice", async () => {
    const without = await complaint([...head, "  - title: a", "    arch: b"]);
    expect(without.message).toMatch(/^Expected one of url, page and package for the origin of a_b \(someone.yaml:4\)/);
    const two = await complaint([...head, ...good, "    page: https://example.com/"]);
    expect(two.message).toMatch(/^Expected one of url, page and package/);
    const wheel = await complaint([...head, "  - title: a", "    arch: b", "    package: pypi:a==1"]);
    expect(wheel.message).toMatch(/^Expected wheel, wheel_sha256, file, digest and bytes beside package/);
    const twice = await complaint([...head, ...good, ...good]);
    expect(twice.message).toBe("Expected one checkpoint of a name but a_b is at someone.yaml:4 and at someone.yaml:7");
    const incomplete = await complaint([...head, "  - arch: b"]);
    expect(incomplete.message).toMatch(/ for title of checkpoint 1 \(someone.yaml:4\) but received nothing$/);
  });

  test("is told where it is no list, no YAML, or not there", async () => {
    expect((await complaint(["checkpoints: 3", ...head.slice(0, 2)])).message).toBe(
      "Expected a list of checkpoints for checkpoints (someone.yaml:1) but received 3",
    );
    expect((await complaint(["publisher: [", ...head])).message).toMatch(/^Expected YAML at someone.yaml:\d/);
    expect((await complaint([...head.slice(1)])).message).toMatch(/^Expected the publisher's name for publisher/);
    await expect(readZoo(path.join(folder, "none"))).rejects.toMatchObject({ name: "UserError" });
  });
});
