"""Writes __tests__/golden/tpe/: what Optuna's multivariate TPE makes of trials, and a study's journal that it wrote.

    pip install optuna
    python bench/peers/golden_tpe.py __tests__/golden/tpe
"""

import json
import math
import pathlib
import sys
import warnings

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)

folder = pathlib.Path(sys.argv[1])
spaces = {
    "logreg": {"lr": FloatDistribution(0.1, 100, log=True), "weightDecay": FloatDistribution(1e-12, 1e-4, log=True)},
    "mixed": {"a": FloatDistribution(-5, 10), "b": FloatDistribution(1e-3, 1, log=True), "c": FloatDistribution(0, 1)},
    "one": {"x": FloatDistribution(-2, 2)},
}
states = {"complete": TrialState.COMPLETE, "running": TrialState.RUNNING, "failed": TrialState.FAIL}


def draw(generator, distribution):
    share = generator.random()
    if distribution.log:
        return float(distribution.low * (distribution.high / distribution.low) ** share)
    return float(distribution.low + (distribution.high - distribution.low) * share)


def told(estimator, space, points):
    mixture = estimator._mixture_distribution
    columns = {name: np.array([point[name] for point in points]) for name in space}
    return {
        "weights": mixture.weights.tolist(),
        "means": [one.mu.tolist() for one in mixture.distributions],
        "sigmas": [one.sigma.tolist() for one in mixture.distributions],
        "logDensities": estimator.log_pdf(columns).tolist(),
    }


def case(name, goal, complete, running, failed):
    space = spaces[name]
    generator = np.random.default_rng(complete)
    kinds = ["complete"] * complete + ["failed"] * failed
    generator.shuffle(kinds)
    kinds += ["running"] * running
    study = optuna.create_study(direction=goal, sampler=TPESampler(multivariate=True, constant_liar=True, seed=0))
    trials = []
    for i, kind in enumerate(kinds):
        parameters = {key: draw(generator, distribution) for key, distribution in space.items()}
        # Each end of the ranges once: in what order NumPy sorts equal parameters is left to it.
        if i in (3, 7):
            parameters = {key: d.low if i == 3 else d.high for key, d in space.items()}
        # Few different values, so that there are equal ones.
        value = float(generator.integers(0, complete)) / 8 if kind == "complete" else None
        study.add_trial(
            optuna.trial.create_trial(state=states[kind], value=value, params=parameters, distributions=space)
        )
        trials.append({"parameters": parameters, "state": kind, **({} if value is None else {"value": value})})
    seen = study.get_trials(states=(TrialState.COMPLETE, TrialState.RUNNING))
    below, above = _split_trials(study, seen, default_gamma(complete))
    points = [{key: draw(generator, distribution) for key, distribution in space.items()} for _ in range(5)]
    build = study.sampler._build_parzen_estimator
    return {
        "space": {key: {"from": d.low, "to": d.high, "scale": "log" if d.log else "linear"} for key, d in space.items()},
        "goal": goal,
        "trials": trials,
        "points": points,
        "good": told(build(study, space, below, handle_below=True), space, points),
        "bad": told(build(study, space, above, handle_below=False), space, points),
    }


cases = [
    case("logreg", "maximize", 10, 0, 0),
    case("logreg", "maximize", 13, 3, 2),
    case("mixed", "minimize", 27, 0, 1),
    case("mixed", "maximize", 46, 4, 0),
    case("one", "minimize", 29, 0, 0),
]
folder.mkdir(parents=True, exist_ok=True)
(folder / "estimators.json").write_text(json.dumps({"optuna": optuna.__version__, "cases": cases}) + "\n")

# The smallest value of 30 trials for each of 100 seeds, of the function in __tests__/search/tpe.test.ts.
bests = []
for seed in range(100):
    study = optuna.create_study(sampler=TPESampler(multivariate=True, constant_liar=True, seed=seed))
    for _ in range(30):
        trial = study.ask(spaces["logreg"])
        lr, decay = trial.params["lr"], trial.params["weightDecay"]
        study.tell(trial, (math.log10(lr) - 1) ** 2 + (math.log10(lr * decay) + 6) ** 2 / 8)
    bests.append(float(f"{study.best_value:.5g}"))
(folder / "bests.json").write_text(json.dumps(bests) + "\n")

journal = folder / "optuna-journal.jsonl"
journal.unlink(missing_ok=True)
storage = JournalStorage(JournalFileBackend(str(journal)))
for name in ["another", "logreg"]:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", sampler=TPESampler(seed=1))
    study.set_user_attr("note", "by Optuna")
    for i in range(5):
        trial = study.ask(spaces["logreg"])
        if i == 2:
            study.tell(trial, state=TrialState.FAIL)
        elif i < 4:
            study.tell(trial, i / 16)
    if name == "another":
        optuna.delete_study(storage=storage, study_name=name)
