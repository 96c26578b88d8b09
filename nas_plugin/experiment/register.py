"""The tuner under a short name in NNI's list of algorithms."""

from __future__ import annotations

from nas_plugin.errors import OptionError
from nas_plugin.experiment.config import TUNER_CLASS


def register_tuner(name: str) -> None:
    """Registers `NasTuner` with NNI, as ``nnictl algo register`` does.

    Raises:
        OptionError: If the name is one of NNI's own.
    """
    from nni.tools.package_utils import AlgoMeta, get_algo_meta, register_algo_meta

    known = get_algo_meta(name)
    if known is not None and known.is_builtin:
        raise OptionError(f"'{name}' is one of NNI's own tuners; choose another name.")
    meta = {"algoType": "tuner", "builtinName": name, "className": TUNER_CLASS}
    register_algo_meta(AlgoMeta.load(meta))
