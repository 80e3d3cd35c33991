"""Stacks of films, slice by slice: memory does not grow with the number of slices."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial.image_headers import TiffPage, read_image_size, read_tiff_pages
from medvial.metaimage import MetaHeader, Vector, check_slice_size, read_meta_header
from medvial.metaimage_writer import ImageGeometry
from medvial.pixel_sources import RawSource, ZlibSource

STACK_SUFFIXES = (".mha", ".tif", ".tiff")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

_MAX_ZLIB_RATIO = 1032  # of deflate, https://zlib.net/zlib_tech.html
_UNCHANGED = int(cv2.IMREAD_UNCHANGED)
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

Slice = NDArray[Any] | InputError
Reader = Callable[[], Generator[Slice, None, None]]


@dataclass(frozen=True)
class StackInfo:
    """What is known of a stack before its pixels are read."""

    path: Path
    count: int
    """Slices that the file says it has; whether they can be read shows when they are."""
    height: int
    width: int
    """Of the first slice; the pages of a TIFF may differ."""
    channels: int
    dtype: np.dtype[Any]
    """uint8 or uint16: what the slices come as."""
    spacing_mm: Vector
    """(x, y, z); 1.0 where the file says nothing, as always for .png, .jpg, .bmp and z of .tif."""
    origin_mm: Vector
    """World coordinates (x, y, z) of the centre of the first pixel of the first slice."""
    direction: tuple[Vector, Vector, Vector]
    """Matrix whose columns are the directions of x, y, z in the world."""
    dimensions: Literal[2, 3] = 3
    """2 for a file without a third axis."""

    @property
    def geometry(self) -> ImageGeometry:
        """Where the pixels lie in the world; what an image made of this one must repeat."""
        return ImageGeometry(
            size_xyz=(self.width, self.height, self.count),
            spacing_mm=self.spacing_mm,
            origin_mm=self.origin_mm,
            direction=self.direction,
            dimensions=self.dimensions,
        )


class ImageStack:
    """A stack that is read anew, slice by slice, each time it is iterated.

    A slice is (H, W) or (H, W, C) with C = 3 (RGB) or 4 (RGBA), uint8 or uint16. One that cannot
    be read comes as an `InputError` object in its place, and the rest goes on.
    """

    def __init__(self, info: StackInfo, reader: Reader) -> None:
        self.info = info
        self._reader = reader
        self._running: Generator[Slice, None, None] | None = None

    def __len__(self) -> int:
        return self.info.count

    def __iter__(self) -> Iterator[Slice]:
        self.close()
        self._running = self._reader()
        return self._running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it is being read."""
        if self._running is not None:
            self._running.close()
            self._running = None


def open_stack(path: Path, *, suffix: str | None = None) -> ImageStack:
    """Open a stack or a single film; reads its header only.

    Reads `.mha` (8 or 16 bit, 1, 3 or 4 channels, plain or zlib-compressed; signed 16 bit if
    no value is negative), `.tif` of one or several pages, `.png`, `.jpg` and `.bmp`. An
    orientation noted in a photo's EXIF data is not applied: landmarks refer to stored pixels. A
    page of a TIFF that asks to be turned is refused.

    Args:
        path: The file.
        suffix: What to read it as; by default, the path's own.

    Raises:
        InputError: The file is missing, empty, of another kind, or holds not one whole slice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected an image file, found none at {path}.")
    suffix = (suffix or path.suffix).lower()
    if suffix not in STACK_SUFFIXES + IMAGE_SUFFIXES:
        known = ", ".join(STACK_SUFFIXES + IMAGE_SUFFIXES)
        raise InputError(f"{path}: expected a file that ends with {known}. Convert it to .mha.")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: expected an image, got an empty file.")
        if suffix == ".mha":
            return _open_mha(path)
        return _open_tiff(path) if suffix in STACK_SUFFIXES else _open_image(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error


def find_image_files(folder: Path) -> list[Path]:
    """The stacks of an input folder, sorted by name; hidden files are left out.

    Raises:
        InputError: There is no such folder, or no stack in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Expected a folder with .mha or .tif files, found none at {folder}.")
    names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in names if path.is_file() and path.suffix.lower() in STACK_SUFFIXES]
    if not files:
        there = ", ".join(path.name for path in names[:5]) or "nothing"
        raise InputError(
            f"Expected a file that ends with {', '.join(STACK_SUFFIXES)} in {folder}, found "
            f"{there}{' and more' if len(names) > 5 else ''}."
        )
    return files


def _open_mha(path: Path) -> ImageStack:
    with path.open("rb") as file:
        header = read_meta_header(file, path)
    stored = path.stat().st_size - header.data_offset
    most = stored * _MAX_ZLIB_RATIO if header.compressed else stored
    if most < header.slice_bytes:
        raise InputError(
            f"{path}: expected {header.slice_bytes} bytes a slice after the header, got {stored} "
            f"{'compressed ' if header.compressed else ''}bytes in all: not one slice is whole. "
            "Was it copied completely?"
        )
    info = StackInfo(
        path,
        header.count,
        header.height,
        header.width,
        header.channels,
        np.dtype(np.uint8 if header.dtype.itemsize == 1 else np.uint16),
        header.spacing_mm,
        header.origin_mm,
        header.direction,
        header.dimensions,
    )
    return ImageStack(info, lambda: _read_mha(path, header))


def _read_mha(path: Path, header: MetaHeader) -> Generator[Slice, None, None]:
    """Slices of a .mha; once one is cut off or damaged, so are all after it.

    A wrong checksum of compressed data comes in the place of the last slice: it is known only
    then, and which slice is damaged is not known at all.
    """
    with FileIO(path) as file:
        file.seek(header.data_offset)
        source = ZlibSource(file) if header.compressed else RawSource(file)
        failure: str | None = None
        for number in range(1, header.count + 1):
            where = f"{path}, slice {number} of {header.count}"
            filled = 0
            if failure is None:
                # Taken anew for each slice: whoever reads the stack may keep what it got.
                pixels = np.empty(header.slice_bytes, dtype=np.uint8)
                filled, failure = source.fill(pixels.data)
                if failure is None and number == header.count:
                    failure = source.check_end()
                if failure is None:
                    yield _as_slice(pixels, header, where)
                del pixels
            if failure is not None:
                yield InputError(
                    f"{where}: expected {header.slice_bytes} bytes, got {filled}: {failure}."
                )


def _as_slice(pixels: NDArray[np.uint8], header: MetaHeader, where: str) -> Slice:
    shape: tuple[int, ...] = (header.height, header.width)
    if header.channels > 1:
        shape = (*shape, header.channels)
    values = pixels.view(header.dtype).reshape(shape)
    if header.dtype.kind == "i":
        if (lowest := int(values.min())) < 0:
            return InputError(
                f"{where}: expected a film of unsigned values, got signed ones down to {lowest}. "
                "Shift them to 0 and above and write the stack as unsigned 16 bit."
            )
        return values.astype(np.uint16)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _open_tiff(path: Path) -> ImageStack:
    pages = read_tiff_pages(path)
    first = pages[0]
    check_slice_size(path, first.height, first.width, first.channels, first.dtype.itemsize)
    info = _plain_info(path, len(pages), first.height, first.width, first.channels, first.dtype)
    if all(page.spacing_mm == first.spacing_mm for page in pages):  # else no one says it for all
        info = replace(info, spacing_mm=(*first.spacing_mm, 1.0))

    def read() -> Generator[Slice, None, None]:
        for number, page in enumerate(pages, start=1):
            yield _read_page(path, page, f"{path}, slice {number} of {len(pages)}")

    return ImageStack(info, read)


def _read_page(path: Path, page: TiffPage, where: str) -> Slice:
    """One page. OpenCV does not say when the data of a compressed strip are damaged."""
    try:
        check_slice_size(path, page.height, page.width, page.channels, page.dtype.itemsize)
        if page.pixels_end > (size := path.stat().st_size):
            return InputError(
                f"{where}: expected pixels up to byte {page.pixels_end}, the file ends at {size}."
            )
        if page.orientation not in (0, 1):  # 0 is no value of it, and written by some
            return InputError(
                f"{where}: expected pixels that are stored as they are shown (Orientation 1), got "
                f"Orientation {page.orientation}. Save the image without it."
            )
        _, decoded = cv2.imreadmulti(str(path), page.index, 1, flags=_UNCHANGED)
    except (InputError, OSError, cv2.error) as error:
        return InputError(f"{where}: cannot be read: {error}")
    image = _checked(decoded[0] if len(decoded) else None, where)
    if page.white_is_zero and isinstance(image, np.ndarray) and image.dtype == np.uint16:
        return np.iinfo(np.uint16).max - image  # OpenCV does so with 8 bits only
    return image


def _open_image(path: Path) -> ImageStack:
    height, width, channels, dtype = read_image_size(path)
    check_slice_size(path, height, width, channels, dtype.itemsize)

    def read() -> Generator[Slice, None, None]:
        try:
            data = np.fromfile(path, dtype=np.uint8)  # not imread: any characters in the path
            image = cv2.imdecode(data, _UNCHANGED)
        except (OSError, cv2.error) as error:
            yield InputError(f"{path}: cannot be read: {error}")
            return
        yield _checked(image, str(path))

    return ImageStack(_plain_info(path, 1, height, width, channels, dtype), read)


def _plain_info(
    path: Path, count: int, height: int, width: int, channels: int, dtype: np.dtype[Any]
) -> StackInfo:
    one, zero = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    dimensions: Literal[2, 3] = 2 if count == 1 else 3
    return StackInfo(path, count, height, width, channels, dtype, one, zero, _IDENTITY, dimensions)


def _checked(image: NDArray[Any] | None, where: str) -> Slice:
    """A decoded image as RGB, or what is wrong with it."""
    if image is None or image.size == 0:
        return InputError(f"{where}: expected an image, its data are damaged or cut off.")
    if image.dtype not in (np.uint8, np.uint16):
        return InputError(f"{where}: expected 8 or 16 bit unsigned pixels, got {image.dtype}.")
    if image.ndim == 3 and image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if image.ndim == 3 and image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    if image.ndim == 2:
        return image
    return InputError(f"{where}: expected 1, 3 or 4 channels, got shape {image.shape}.")
