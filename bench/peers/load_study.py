"""Prints what Optuna finds in a study's journal, as JSON; with a third argument it runs so many trials more.

    pip install optuna
    python bench/peers/load_study.py runs/study.jsonl NAME [1]
"""

import json
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
file, name, more = [*sys.argv[1:], "0"][:3]
study = optuna.load_study(storage=JournalStorage(JournalFileBackend(file)), study_name=name)
space = study.trials[0].distributions
for _ in range(int(more)):
    study.tell(study.ask(space), 0.0)
trials = [
    {
        "number": trial.number,
        "parameters": trial.params,
        "state": trial.state.name,
        "value": trial.value,
        "distributions": {key: repr(one) for key, one in trial.distributions.items()},
    }
    for trial in study.trials
]
print(json.dumps({"direction": study.direction.name, "attributes": study.user_attrs, "trials": trials}))
