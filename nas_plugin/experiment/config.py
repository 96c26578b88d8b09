"""NNI's experiment file: read through the door for reading, checked before anything starts."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas_plugin.errors import ConfigError, NasError
from nas_plugin.experiment.nni_tuners import PREFIX, canonical_name
from nas_plugin.experiment.proposer import check_whole, make_proposer
from nas_plugin.experiment.space_format import from_nni
from nas_plugin.files import read_json, read_yaml

TUNER_CLASS = "nas_plugin.experiment.NasTuner"

#: Services that nni 3.0's manager can run; "openpai" has a configuration class and no server code.
_PLATFORMS = ("local", "remote", "kubeflow", "frameworkcontroller", "dlc", "aml")
#: NNI's loader looks up classes and runs pickled bytes by keys of this form.
_LOADER_KEY = re.compile(r"__\w+__")
_REFERENCE = "https://nni.readthedocs.io/en/stable/reference/experiment_config.html"


def load_config(path: Path) -> Any:
    """Returns NNI's configuration object of a YAML file, checked.

    NNI wants a ``codeDirectory`` beside every ``className``; ours needs none and gets one here.
    NNI's own tuners come behind our adapter, and the search space is read here, not by NNI.

    Raises:
        ConfigError: If a setting is not allowed, or NNI does not accept the file.
    """
    from nni.experiment.config import ExperimentConfig, utils

    try:
        content = read_yaml(path)
        if not isinstance(content, Mapping):
            raise ConfigError(f"{path} must hold a mapping, found {type(content).__name__}.")
        content = _checked(dict(content), path.resolve().parent)
    except NasError as error:
        raise ConfigError(_naming(path, error)) from error
    utils.set_base_path(path.resolve().parent)
    try:
        config = ExperimentConfig(**content)
        config.canonical_copy()
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: NNI does not accept the configuration: {_cause(error)}. See {_REFERENCE}"
        ) from error
    finally:
        utils.unset_base_path()
    return config


def has_journal(config: Any) -> bool:
    """Says whether the experiment's tuner is known to be nas_plugin's."""
    return getattr(config.tuner, "class_name", None) == TUNER_CLASS


def _checked(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    _check_numbers(content)
    _check_services(content.get("trainingService"))
    _refuse_loader_keys(content, "")
    content = _with_space(content, folder)
    tuner, advisor = content.get("tuner"), content.get("advisor")
    if isinstance(advisor, Mapping) and advisor.get("name") is not None:
        canonical_name(advisor["name"])
    if isinstance(tuner, Mapping):
        content["tuner"] = _tuner(tuner, content.get("searchSpace"))
    return content


def _check_numbers(content: Mapping[str, Any]) -> None:
    for key in ("trialConcurrency", "maxTrialNumber"):
        if content.get(key) is not None:
            check_whole(key, content[key], least=1)


def _check_services(services: Any) -> None:
    for service in services if isinstance(services, list) else [services]:
        if not isinstance(service, Mapping) or "platform" not in service:
            continue  # NNI says what is missing
        if service["platform"] not in _PLATFORMS:
            raise ConfigError(
                f"trainingService: platform '{service['platform']}' is not one that nni 3.0 runs. "
                f"Allowed: {', '.join(_PLATFORMS)}, or a list of them."
            )


def _refuse_loader_keys(value: Any, where: str) -> None:
    """Refuses the keys by which NNI's loader makes objects, and runs code, out of JSON."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if isinstance(key, str) and _LOADER_KEY.fullmatch(key):
                raise ConfigError(
                    f"{where or 'the file'} holds the key '{key}', which NNI's loader runs as "
                    "code. Write plain names, numbers and lists."
                )
            _refuse_loader_keys(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _refuse_loader_keys(part, f"{where}[{index}]")


def _with_space(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the content with the search space in place of its file."""
    named = content.pop("searchSpaceFile", None)
    if named is None:
        return content
    if "searchSpace" in content:
        raise ConfigError("searchSpace and searchSpaceFile are both given. Remove one.")
    path = folder / Path(str(named)).expanduser()
    read = read_yaml if path.suffix in (".yml", ".yaml") else read_json
    space = read(path)
    _refuse_loader_keys(space, str(path))
    return content | {"searchSpace": space}


def _tuner(tuner: Mapping[str, Any], space: Any) -> Mapping[str, Any]:
    """Returns the tuner's entry: ours and NNI's built-in ones behind `NasTuner`, checked."""
    name, arguments = tuner.get("name"), tuner.get("classArgs") or {}
    known = canonical_name(name) if name is not None else None
    if known is not None:
        if not isinstance(arguments, Mapping):
            raise ConfigError(f"classArgs must be a mapping, got {arguments!r}.")
        tuner = {"className": TUNER_CLASS, "classArgs": {"strategy": PREFIX + known, **arguments}}
    if tuner.get("className") != TUNER_CLASS:
        return tuner
    tuner = {"codeDirectory": ".", **tuner}
    arguments = tuner.get("classArgs") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"classArgs must be a mapping, got {arguments!r}.")
    options = dict(arguments)
    strategy = options.pop("strategy", "regularized_evolution")
    seed = check_whole("seed", options.pop("seed", 0))
    check_whole("retries", options.pop("retries", 2))
    if space is not None:
        with _quiet():
            make_proposer(str(strategy), from_nni(space), seed=seed, options=options)
    return tuner


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps NNI's tuners from printing their notes: this one is only made to be checked."""
    logger = logging.getLogger("nni")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _cause(error: Exception) -> str:
    """Returns an error's text; of a bare assertion its condition."""
    if str(error):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    condition = (frame.line or "").removeprefix("assert ").strip()
    return f"this does not hold: {condition}" if condition else type(error).__name__


def _naming(path: Path, error: NasError) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"
