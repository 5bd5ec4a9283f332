"""Pictures in and out: files, Pillow's images and numpy's arrays."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from retouch_client.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

# Quoted, since Pillow and numpy are optional.
Picture: TypeAlias = Union[str, "os.PathLike[str]", bytes, "Image", "NDArray[Any]"]
"""A picture: a file's path, its bytes, an image of Pillow, or an array of numpy (uint8; height, width[, channels])."""

# What PNG holds as it is; Pillow would refuse others, or change them.
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def encoded(picture: Picture, *, is_mask: bool = False) -> bytes:
    """The file to send: a file as it is, pixels as PNG, which loses none of them."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, (str, os.PathLike)):
        return Path(picture).read_bytes()
    # Told apart without importing what may not be there; Pillow's images offer themselves as arrays, too.
    pixels: Any = picture
    if hasattr(pixels, "save") and hasattr(pixels, "mode"):
        return _png(pixels)
    if hasattr(pixels, "__array_interface__"):
        return _png(_from_array(pixels, is_mask))
    raise InputError(f"a {type(picture).__name__} is no picture: give a path, bytes, a Pillow image or a numpy array")


def decoded(file: bytes) -> Image:
    """A file as Pillow reads it, all of its pixels loaded."""
    from PIL import Image

    image = Image.open(io.BytesIO(file))
    image.load()
    return image


def array(file: bytes) -> NDArray[np.uint8]:
    """A file's pixels: height, width and channels, or height and width of a gray one."""
    import numpy as np

    return np.asarray(decoded(file), dtype=np.uint8)


def mask_array(file: bytes) -> NDArray[np.bool_]:
    """A mask's pixels, true where the picture may change."""
    import numpy as np

    return np.asarray(decoded(file).convert("L")) >= 128


def _from_array(array: Any, is_mask: bool) -> Image:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(array)
    if is_mask and pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8:
        kinds = "uint8 (0 to 255) or bool" if is_mask else "uint8 (0 to 255)"
        raise InputError(f"an array of {pixels.dtype} is no {'mask' if is_mask else 'picture'}: give {kinds}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        shape = "×".join(map(str, pixels.shape))
        raise InputError(f"an array of {shape} is no picture: give height, width, and 3 or 4 channels or none")
    if 0 in pixels.shape:
        raise InputError("the array is empty")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _png(image: Image) -> bytes:
    if image.mode not in MODES:
        raise InputError(f'a Pillow image of mode {image.mode} does not fit into a PNG: convert it, as to "RGB"')
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
