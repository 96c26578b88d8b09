"""Trials that end in every way that there is, in the order of their numbers."""

import json
import os
import signal
import sys
import time

from nas_plugin.experiment import next_architecture, report_final, report_intermediate
from nas_plugin.experiment.trial import current_trial
from tests.experiment.scripts.light import SPACE

WAYS = (
    "number",
    "dict",
    "exit code",
    "exception",
    "killed",
    "killed before asking",
    "no result",
    "nan",
    "inf",
    "string",
    "list",
    "nan past us",
    "interrupted",
    "number",
)


def main():
    way = (
        WAYS[int(os.environ["NNI_TRIAL_SEQ_ID"]) % len(WAYS)]
        if "NNI_TRIAL_SEQ_ID" in os.environ
        else "number"
    )
    if way == "killed before asking":
        os.kill(os.getpid(), signal.SIGKILL)
    next_architecture(SPACE)
    report_intermediate(0.25)
    if way == "exit code":
        os._exit(3)
    elif way == "exception":
        raise RuntimeError("out of luck")
    elif way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    elif way == "nan past us":  # as nni's own report function would send it
        trial = current_trial()
        trial._connection().send(
            {
                "parameter_id": trial._claimed()["parameter"],
                "trial_job_id": trial.id,
                "type": "FINAL",
                "sequence": 0,
                "value": json.dumps(float("nan")),
            }
        )
    elif way != "no result":
        values = {
            "dict": {"default": 0.75, "params": 10},
            "nan": float("nan"),
            "inf": float("inf"),
            "string": "0.5",
            "list": [0.5],
        }
        report_final(values.get(way, 0.5))


if __name__ == "__main__":
    sys.exit(main())
