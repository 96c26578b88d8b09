"""The experiment of ``digits.yml`` from Python, by nni's own `Experiment`.

python examples/nni/from_python.py --trials 20
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from nas_plugin.experiment.guard import guard_environment
from nas_plugin.experiment.launch import free_port
from nas_plugin.experiment.show import experiment_table, report

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=2)
    args = parser.parse_args()

    # The manager inherits this: its portal listens on this machine only.
    os.environ.update(guard_environment())

    from nni.experiment import Experiment
    from nni.experiment.config import CustomAlgorithmConfig

    experiment = Experiment("local")
    experiment.config.experiment_name = "digits, from Python"
    experiment.config.search_space = json.loads((HERE / "digits_space.json").read_text())
    experiment.config.trial_command = "python digits.py"
    experiment.config.trial_code_directory = HERE
    experiment.config.trial_concurrency = args.concurrency
    experiment.config.max_trial_number = args.trials
    experiment.config.tuner = CustomAlgorithmConfig(
        class_name="nas_plugin.experiment.NasTuner",
        code_directory=HERE,
        class_args={"strategy": "regularized_evolution", "seed": 0, "population": 8},
    )
    done = experiment.run(free_port())
    folder = Path(experiment.config.canonical_copy().experiment_working_directory) / experiment.id
    experiment.stop()
    print(report(experiment_table(str(folder)), n=3))
    raise SystemExit(0 if done else 1)


if __name__ == "__main__":
    main()
