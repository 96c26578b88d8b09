"""What NNI 1.x and 2.x call arguments that have another name here."""

from __future__ import annotations

from collections.abc import Mapping

#: NNI's name → the name here. One that a trainer has itself is left alone.
NNI_NAMES: Mapping[str, str] = {
    "arc_learning_rate": "arch_learning_rate",
    "arch_optim_lr": "arch_learning_rate",
    "ctrl_lr": "arch_learning_rate",
    "ctrl_steps_aggregate": "mutator_steps_aggregate",
    "epochs": "num_epochs",
    "mutator_lr": "arch_learning_rate",
    "n_epochs": "num_epochs",
    "steps_per_epoch": "limit_batches",
    "train_loader": "dataset_train",
    "valid_loader": "dataset_valid",
}
