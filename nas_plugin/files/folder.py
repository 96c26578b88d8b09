"""Whether a folder can be written into, asked before hours of work depend on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nas_plugin.errors import OptionError
from nas_plugin.files.read import PathLike
from nas_plugin.files.write import unwritable


def check_folder(folder: PathLike) -> None:
    """Checks that files can be written into a folder, which need not exist yet.

    Nothing is left behind: the folder is not made, and a file without content is removed at once.
    Permissions alone would not tell, for example on a file system that is read-only.

    Args:
        folder: The folder; missing parents can be made, too.

    Raises:
        OptionError: If the folder or one of its parents is a file, or nothing can be written.
    """
    path = Path(os.path.realpath(folder))
    nearest = next(p for p in (path, *path.parents) if os.path.lexists(p) or p == p.parent)
    if not nearest.is_dir():
        raise OptionError(
            f"{folder} cannot be a folder, because {nearest} is a file. Give a folder "
            "(checkpoint_dir, --out) that exists or can be made."
        )
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise OptionError(
            f"{folder} cannot be written to: {error.strerror} in {nearest}. Give a folder "
            "(checkpoint_dir, --out) that you may write into."
        ) from error


def make_folder(folder: PathLike) -> Path:
    """Makes a folder and its parents, where they are missing, and returns it.

    Raises:
        FileError: If it cannot be made.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path
