import { run, runHere, temporaryFolder } from "../command-line.js";

const folder = temporaryFolder();

test("zoo list shows names, architectures, publishers, licences and scores", async () => {
  const { status, stdout } = await run("frozen-eval", ["zoo", "list", "--match", "mocov2*"], folder);
  expect(status).toBe(0);
  expect(stdout).toMatch(/mocov2-800ep_resnet50 +resnet50 +MoCo +CC-BY-NC-4\.0 +71\.1 linear/);
  expect(stdout).toContain("2 checkpoints.");
});

test("zoo list --json is for programs", async () => {
  const { stdout } = await run("frozen-eval", ["zoo", "list", "--match", "efficientnet-lite0", "--json"], folder);
  expect(JSON.parse(stdout)).toMatchObject([
    {
      name: "imagenet1k_efficientnet_lite0",
      title: "imagenet1k",
      arch: "efficientnet_lite0",
      convertible: true,
      bytes: 18826032,
      scores: { top1: 75.1 },
    },
  ]);
});

test.each([
  [["zoo", "get"], "Expected a name of the zoo for NAME but received nothing"],
  [["zoo", "list", "swav"], 'Expected no name after list but received "swav"'],
  [["zoo", "get", "swav_resnet05"], 'Expected a name of the zoo but received "swav_resnet05"'],
  [["zoo", "fetch"], 'Expected list or get for list|get but received "fetch"'],
  [["zoo", "get", "nat_m4"], "but nat_m4 is none; nothing was fetched"],
])("%j is answered with a sentence", async (argv, message) => {
  const { status, stderr } = await runHere("frozen-eval", argv, folder);
  expect(stderr).toContain(message);
  expect(status).toBe(2);
});
