import { mkdirSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import { prepareBackend } from "../../lib/backend/backend.js";
import { exportClassifier, type ExportedClassifier } from "../../lib/classifiers/export-classifier.js";
import { applyTransform, parseTransform } from "../../lib/images/transform.js";
import { temporaryFolder } from "../command-line.js";
import { root } from "../golden.js";
import { noChromium, openPage } from "./chromium.js";
import { evaluateSmall, predictionsOf, type Prediction, type SmallRun } from "./small-run.js";

// A browser is started on a machine that may have other work.
jest.setTimeout(240_000);

const script = "https://cdn.jsdelivr.net/npm/@tensorflow/tfjs@4.22.0/dist/tf.min.js";

/** Classifies the preprocessed images of `inputs.bin`, on the backend that the address names. */
const checkPage = `<!doctype html>
<script src="tf.min.js"></script>
<pre id="answers"></pre>
<script type="module">
  const told = {};
  try {
    await tf.setBackend(new URLSearchParams(location.search).get("backend"));
    const [manifest, bytes] = await Promise.all([
      fetch("classifier.json").then((response) => response.json()),
      fetch("inputs.bin").then((response) => response.arrayBuffer()),
    ]);
    const { input, outputs, classes } = manifest;
    const model = await tf.loadGraphModel("model.json");
    const pixels = tf.tensor(new Float32Array(bytes), [bytes.byteLength / 4 / input.height / input.width / 3, input.height, input.width, 3]);
    told.backend = tf.getBackend();
    told.classes = classes;
    // Not array(): the browser's virtual time may end before WebGL tells that it is done.
    told.probabilities = model.execute(pixels, outputs.probabilities).arraySync();
  } catch (error) {
    told.error = String(error);
  }
  document.getElementById("answers").textContent = JSON.stringify(told);
</script>
`;

(noChromium ? describe.skip : describe)(`in a browser${noChromium ? ` (${noChromium})` : ""}`, () => {
  const folder = temporaryFolder();
  const of = { layer: "block1:avg_pool(4x4,2,0)", head: "bn_fc" };
  let small: SmallRun;
  let predictions: Prediction[];
  let classifier: ExportedClassifier;
  let server: http.Server;
  let address: string;
  let profiles = 0;

  beforeAll(async () => {
    await prepareBackend({ device: "wasm" });
    // No resize, in which a browser differs from Pillow: the page's own way from a file to pixels is then exact.
    const transform = "center_crop(32)|channels(bgr)|normalize(imagenet)";
    small = await evaluateSmall({ folder, layers: [of.layer], heads: ["bn_fc"], transform });
    predictions = predictionsOf(small, of);
    classifier = await exportClassifier({ run: small.run, ...of });
    const sources = predictions.map(({ id }) => ({ kind: "file" as const, path: path.join(small.images, id) }));
    const seen = await Promise.all(
      sources.map((source) => applyTransform({ transform: parseTransform(transform), source })),
    );
    const { dir } = classifier;
    await fs.writeFile(path.join(dir, "inputs.bin"), Buffer.concat(seen.map(({ data }) => Buffer.from(data.buffer))));
    await fs.writeFile(path.join(dir, "check.html"), checkPage);
    const page = readFileSync(path.join(root, "docs", "classifier.html"), "utf8");
    expect(page).toContain(script);
    await fs.writeFile(path.join(dir, "classifier.html"), page.replace(script, "tf.min.js"));
    await fs.copyFile(require.resolve("@tensorflow/tfjs/dist/tf.min.js"), path.join(dir, "tf.min.js"));
    server = http.createServer((request, response) => void serve(request, response, [dir, small.images]));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const open = (place: string) => {
    const profile = path.join(folder, `profile${profiles++}`);
    mkdirSync(profile);
    return openPage({ url: `${address}/${place}`, profile });
  };

  test.each(["cpu", "webgl"])("the exported model gives the run's predictions on %s", async (backend) => {
    const html = await open(`check.html?backend=${backend}`);
    const told = JSON.parse(/<pre id="answers">(.*?)<\/pre>/s.exec(html)![1]!) as {
      error?: string;
      backend: string;
      classes: string[];
      probabilities: number[][];
    };
    expect(told.error).toBeUndefined();
    expect(told.backend).toBe(backend);
    expect(told.probabilities).toHaveLength(predictions.length);
    expect(Math.min(...predictions.map(({ probability }) => probability))).toBeLessThan(0.9);
    predictions.forEach(({ predicted, probability }, i) => {
      const ofImage = told.probabilities[i]!;
      const best = ofImage.indexOf(Math.max(...ofImage));
      expect(told.classes[best]).toBe(predicted);
      expect(Math.abs(ofImage[best]! - probability)).toBeLessThan(1e-3);
    });
  });

  test("the page of the documentation classifies a picture", async () => {
    const { id, predicted, probability } = predictions[0]!;
    const html = await open(`classifier.html?image=${encodeURIComponent(id)}`);
    expect(html).toContain("small/convnet up to block1:avg_pool(4x4,2,0), bn_fc, trained on photos: 6 classes");
    const rows = [...html.matchAll(/<tr><td>([^<]*)<\/td><td>([\d.]+) %<\/td><\/tr>/g)];
    expect(rows).toHaveLength(6);
    expect(rows[0]![1]).toBe(predicted);
    expect(Math.abs(Number(rows[0]![2]) / 100 - probability)).toBeLessThan(1e-3);
  });

  test("the page says what is wrong", async () => {
    const html = await open("classifier.html?model=elsewhere");
    expect(html).toMatch(/It does not work: .*elsewhere\/classifier\.json: 404/);
  });
});

const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json" };

async function serve(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  folders: readonly string[],
): Promise<void> {
  const name = decodeURIComponent(new URL(request.url!, "http://localhost").pathname);
  for (const folder of folders) {
    const content = await fs.readFile(path.join(folder, name)).catch(() => undefined);
    if (!content) continue;
    response.setHeader("Content-Type", types[path.extname(name)] ?? "application/octet-stream");
    response.end(content);
    return;
  }
  response.statusCode = 404;
  response.end();
}
