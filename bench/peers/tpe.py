"""Optuna's multivariate TPE for bench/tpe.ts: many studies in step, asked and told by lines of JSON."""

import json
import sys
import time
import warnings

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from scipy.stats import ks_2samp, mannwhitneyu

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
print(f"Optuna {optuna.__version__}", flush=True)

studies, running, space = [], [], {}
processor = 0.0
for line in sys.stdin:
    message = json.loads(line)
    begun = time.process_time()
    if "space" in message:
        space = {
            name: FloatDistribution(one["from"], one["to"], log=one["scale"] == "log")
            for name, one in message["space"].items()
        }
        studies = [
            optuna.create_study(sampler=TPESampler(multivariate=True, constant_liar=True, seed=seed))
            for seed in message["seeds"]
        ]
        running = [[] for _ in studies]
        answer = True
    elif "count" in message:
        for study, trials, values in zip(studies, running, message["values"]):
            for trial, value in zip(trials, values):
                study.tell(trial, value)
        running = [[study.ask(space) for _ in range(message["count"])] for study in studies]
        answer = [[trial.params for trial in trials] for trials in running]
    elif "compare" in message:
        ours, optunas = message["compare"]
        answer = [mannwhitneyu(ours, optunas).pvalue, ks_2samp(ours, optunas).pvalue]
    else:
        answer = {"processor": processor}
    if "compare" not in message:
        processor += time.process_time() - begun
    print(json.dumps(answer), flush=True)
