"""A trial that costs nothing: the score is a function of the architecture.

FAULTS in the environment makes some trials die, by a coin that the trial's number throws.
"""

import hashlib
import os
import signal

from nas_plugin.experiment import next_architecture, report_final, report_intermediate
from nas_plugin.space import Choice, SearchSpace

SCORES = {"conv3x3": 4, "conv5x5": 3, "skip": 2, "pool": 1}
SPACE = SearchSpace(Choice(f"cell/edge{i}", "layer", tuple(SCORES)) for i in range(6))


def score(architecture):
    return sum(
        SCORES[value] * (1 + 0.1 * i) for i, (_, value) in enumerate(sorted(architecture.items()))
    )


def coin(name):
    digest = hashlib.sha256((os.environ.get("NNI_TRIAL_SEQ_ID", "") + name).encode()).digest()
    return digest[0] / 256


def main():
    faults = float(os.environ.get("FAULTS", "0"))
    dies = coin("dies") < faults
    if dies and coin("when") < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    architecture = next_architecture(SPACE)
    value = score(architecture)
    report_intermediate(value / 2)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    report_intermediate(value)
    report_final({"default": value, "params": 10 * len(set(architecture.values()))})


if __name__ == "__main__":
    main()
