"""The errors of nas_plugin: each names what was found, what is allowed and what to do."""

from __future__ import annotations


class NasError(Exception):
    """Base of every error that nas_plugin raises on purpose.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class OptionError(NasError, ValueError):
    """An argument, flag or setting has a value that is not allowed."""

    exit_code = 2


class UnknownNameError(OptionError):
    """A name is not in the registry that it was looked up in."""


class ConfigError(OptionError):
    """An experiment file is not valid."""


class ChoiceError(NasError):
    """A choice block is declared or used wrongly."""


class SpaceError(NasError):
    """A search space is empty, contradictory or not the expected one."""


class ArchitectureError(NasError):
    """An architecture does not fit its search space."""


class DescriptionError(NasError):
    """A model description is wrong.

    Args:
        message: What was found, what is allowed, what to do.
        path: The names of the node and of those that enclose it, from the outermost.
    """

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type[DescriptionError], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.path)


class FileError(NasError):
    """A file is missing, malformed, too large or not trusted."""


class LockedError(FileError):
    """Another run uses the folder or file."""


class CheckpointError(FileError):
    """A checkpoint is damaged or belongs to another run."""


class DataError(NasError):
    """A data set is missing, malformed or unusable."""


class TrainingError(NasError):
    """Training cannot continue, for example because the loss is not finite."""


class BenchmarkError(NasError):
    """A tabular benchmark cannot answer a query."""


class StrategyError(NasError):
    """A search strategy cannot propose, or was told something impossible."""


class ExperimentError(NasError):
    """An NNI experiment cannot be created, reached or brought to its end."""
