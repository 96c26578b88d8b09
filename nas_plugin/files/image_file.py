"""Images from outside: a few formats, known by content, of bounded size."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike, open_bounded

if TYPE_CHECKING:
    from PIL.Image import Image

#: Formats that Pillow decodes by itself; EPS, for one, would start Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 64 * 2**20
MAX_IMAGE_BYTES = 256 * 2**20


def read_image(path: PathLike, max_pixels: int = MAX_PIXELS) -> Image:
    """Returns an image in RGB; of several frames, the first.

    Raises:
        FileError: If it is damaged, of another format, or has more than `max_pixels`.
    """
    from PIL import Image

    # The size stands in the header, so nothing is decoded before it is known.
    with open_bounded(path, MAX_IMAGE_BYTES, packed=False) as stream:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, about sizes that are checked here
                with Image.open(stream, formats=FORMATS) as image:
                    width, height = image.size
                    if width * height > max_pixels:
                        raise FileError(
                            f"{path} has {width} x {height} pixels; {max_pixels} is the most "
                            "accepted. Scale it down."
                        )
                    return image.convert("RGB")
        except FileError:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds for damaged files
            raise FileError(
                f"{path} cannot be read as an image of the formats {', '.join(FORMATS)}: "
                f"{str(error)[:200]}. Check or replace the file."
            ) from error
