import { linearSettings } from "../../lib/settings/linear.js";
import { readFlags } from "../../lib/settings/flags.js";
import { loadSettings } from "../../lib/settings/load.js";
import { trainingOf } from "../../lib/settings/training.js";

async function load(...argv: string[]) {
  const definition = linearSettings;
  const flags = readFlags({ definition, argv: ["--features", "somewhere", ...argv] });
  return trainingOf((await loadSettings({ definition, flags })).settings);
}

describe("settings of training that are refused, each in a sentence", () => {
  const mistakes: [what: string, argv: string[], message: RegExp, hint?: RegExp][] = [
    ["a head that there is not", ["--heads", "bn_fcc"], /^Expected a head for --heads but received "bn_fcc"$/, /Did you mean bn_fc/],
    ["an MLP without a width", ["--heads", "mlp(0)"], /^Expected a head for --heads but received "mlp\(0\)"$/],
    ["an unknown optimizer", ["--optimizer", "adm"], /^Expected sgd, adam, .* for --optimizer but received "adm"$/, /^Did you mean adam or adamw\?$/],
    ["one unknown among several", ["--optimizer", "sgd,larz"], /but received "larz"$/, /^Did you mean lars\?$/],
    ["an unknown schedule", ["--schedule", "cosin"], /^Expected multistep, .* for --schedule but received "cosin"$/, /^Did you mean cosine\?$/],
    ["an unknown search", ["--search", "halvin"], /^Expected grid, random, halving or tpe for --search but received "halvin"$/, /^Did you mean halving\?$/],
    ["a name that is like none", ["--search", "xxxxxxxxxxx"], /^Expected grid, random, halving or tpe/, /^All settings of the grid/],
    ["a milestone beyond the epochs", ["--epochs", "10", "--milestones", "5,12"], /^Expected epochs below 10, that of the end for .*milestones but received \[12\]$/],
    ["a milestone in a schedule in full", ["--epochs", "3", "--set", "schedule.kind=[{kind: multistep, milestones: [2, 9], gamma: 0.1}]"], /milestones but received \[9\]$/],
    ["milestones that fall", ["--milestones", "8,4"], /^Expected rising epochs above 0 for .*milestones but received \[8,4\]$/],
    ["no head", ["--set", "heads=[]"], /^Expected a list of at least 1 .* for --set heads but received \[\]$/],
    ["no learning rate", ["--set", "optimizer.lr=[]"], /optimizer\.lr but received \[\]$/],
    ["no optimizer", ["--set", "optimizer.kind=[]"], /optimizer\.kind but received \[\]$/],
    ["no schedule", ["--set", "schedule.kind=[]"], /schedule\.kind but received \[\]$/],
    ["no seed", ["--set", "seeds=[]"], /seeds but received \[\]$/],
    ["no batch size", ["--set", "batchSize=[]"], /batchSize but received \[\]$/],
    ["a rate of 0", ["--lr", "0"], /^Expected numbers above 0 for --lr but received 0$/],
    ["a range from the larger to the smaller", ["--lr", "log(1,0.1)"], /^Expected a lower end below the upper one for the range of --lr but received \[1,0\.1\]$/, /Exchange/],
    ["a logarithmic range from 0", ["--weight-decay", "log(0,1)"], /^Expected a lower end above 0 for the range of --weight-decay but received 0$/],
    ["a range of an unknown scale", ["--lr", "lgo(0.1,1)"], /^Expected log\(from,to\).* for --lr but received "lgo\(0\.1,1\)"$/],
    ["a momentum of 1", ["--momentum", "1"], /^Expected numbers in \[0, 1\) for --momentum but received 1$/],
    ["Nesterov without momentum", ["--momentum", "0"], /^Expected a number above 0 for --momentum but received 0$/, /--no-nesterov/],
    ["a batch of one", ["--batch-size", "1"], /^Expected a whole number of at least 2 for --batch-size but received 1$/],
    ["a head without width", ["--head-width", "0"], /^Expected a whole number of at least 1 for --head-width but received 0$/],
    ["no process", ["--processes", "0"], /^Expected a whole number of at least 1 for --processes but received 0$/],
    ["no epochs between savings", ["--checkpoint-every", "0"], /^Expected a whole number of at least 1 for --checkpoint-every but received 0$/],
    ["smoothing all away", ["--label-smoothing", "1"], /^Expected a number in \[0, 1\) for --label-smoothing but received 1$/],
    ["nothing but warm-up", ["--epochs", "5", "--warmup", "5"], /^Expected fewer epochs than 5, that are all, for --warmup but received 5$/],
    ["a random search of nobody knows how many", ["--search", "random"], /^Expected a number for --trials but received nothing$/],
    ["a range in a grid that tells no number of points", ["--lr", "log(0.01,1)"], /^Expected a number of points for the range of --lr, as a grid has, but received none$/, /log\(0\.01,1,5\)/],
    ["a sweep of momentum that no optimizer has", ["--optimizer", "adam", "--momentum", "0.5,0.9"], /^Expected an optimizer with momentum \(sgd, lars\) for a sweep of --momentum/],
    ["a number of trials of a grid", ["--trials", "3"], /^Expected --search random, halving or tpe beside --trials but received grid$/],
  ]; // prettier-ignore

  // Jest would take a fourth parameter that is not given for a callback.
  test.each(mistakes)("%s", async (_, ...[argv, message, hint]) => {
    const error = await load(...argv).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "UserError", message: expect.stringMatching(message) as string });
    if (hint) expect(error).toMatchObject({ hint: expect.stringMatching(hint) as string });
  });
});

describe("momentum", () => {
  test("is of the optimizers that are named and have one", async () => {
    expect((await load("--optimizer", "sgd,adam")).optimizer.momentum).toEqual([0.9]);
    expect((await load("--optimizer", "adam")).optimizer.momentum).toBeUndefined();
  });

  test("of an optimizer in full is its own", async () => {
    const full = "optimizer.kind=[{kind: sgd, momentum: 0.5, nesterov: false}]";
    expect((await load("--set", full)).optimizer.momentum).toBeUndefined();
    expect((await load("--set", full, "--momentum", "0,0.9")).optimizer.momentum).toEqual([0, 0.9]);
  });

  test("may be 0 without Nesterov", async () => {
    expect((await load("--momentum", "0", "--no-nesterov")).optimizer.momentum).toEqual([0]);
  });
});
