"""The table of an index: which images its embeddings are of, and how to verify these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lightning_reid.data import Samples, Strings
from lightning_reid.errors import InputError
from lightning_reid.npz_files import read_arrays
from lightning_reid.search.embeddings import BUILD_AGAIN, ROWS, Checksums
from lightning_reid.search.listing import Listing
from lightning_reid.whole_files import whole_file

TABLE = "index.npz"

_FORMAT = 2
_LAST_GENERATION = 10**18
# type and number of dimensions of each array
_ARRAYS = {
    "paths": ("|u1", 1),
    "cameras": ("<i8", 1),
    "stamps": ("<i8", 2),
    "checksums": ("<u4", 1),
}


@dataclass(frozen=True)
class Table:
    """Images of an index, in the order of its embeddings.

    Args:
        fingerprint: Of the model that embedded them.
        generation: How often the index had been written, from 1.
        listing: The N images.
        checksums: Of the blocks of embeddings, ``(ceil(N / ROWS),)``, uint32.
    """

    fingerprint: str
    generation: int
    listing: Listing
    checksums: Checksums

    def write(self, folder: Path) -> None:
        """Write the table; it replaces the one before at once.

        Raises:
            OSError: If it cannot be written.
        """
        images = self.listing.images
        facts = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "generation": self.generation,
            "cameras": images.camera_names,
        }
        # no file name holds a zero
        paths = "\0".join(images.paths).encode("utf-8", "surrogateescape")
        with whole_file(folder / TABLE) as stream:
            np.savez(
                stream,
                told=np.array(json.dumps(facts)),
                paths=np.frombuffer(paths, dtype=np.uint8),
                cameras=images.cameras,
                stamps=self.listing.stamps,
                checksums=self.checksums,
            )

    @classmethod
    def read(cls, folder: Path) -> Table:
        """Read what :meth:`write` wrote; nothing in it is trusted.

        Raises:
            InputError: If it cannot be read, or is no such table.
        """
        file = folder / TABLE
        try:
            facts = _read_facts(file)
            listing, checksums = _read_images(file, facts["cameras"])
        except MemoryError as error:
            raise MemoryError(f"{file} has {file.stat().st_size / 1e6:.0f} MB") from error
        except OSError as error:
            _refuse(file, str(error.strerror or error), error)
        except ValueError as error:
            _refuse(file, str(error), error)
        return cls(facts["fingerprint"], facts["generation"], listing, checksums)


def written_generation(folder: Path) -> int | None:
    """Return the generation of the index in a folder; None if no table can be read."""
    try:
        return int(_read_facts(folder / TABLE)["generation"])
    except (OSError, ValueError):
        return None


def _refuse(file: Path, reason: str, error: Exception) -> NoReturn:
    raise InputError(f"the index {file} cannot be read ({reason}): {BUILD_AGAIN}") from error


def _read_facts(file: Path) -> dict[str, Any]:
    """Read what the table says of the whole index; a ValueError says what is wrong with it."""
    text = read_arrays(file, ["told"])["told"]
    _require(text.dtype.kind == "U" and text.ndim == 0, "told is no text")
    try:
        facts: dict[str, Any] = json.loads(str(text))
    except RecursionError as error:
        raise ValueError("told is nested too deeply") from error
    _require(isinstance(facts, dict), "told is no mapping")
    _require(facts.get("format") == _FORMAT, "it is of another version of lightning_reid")
    _require(type(facts.get("fingerprint")) is str, "the fingerprint is no text")
    generation, cameras = facts.get("generation"), facts.get("cameras", ())
    _require(
        type(generation) is int and 0 < generation < _LAST_GENERATION,
        "the generation is no positive number",
    )
    _require(isinstance(cameras, list), "the names of the cameras are no list")
    _require(all(type(name) is str for name in cameras), "the name of a camera is no text")
    _require(len({*cameras}) == len(cameras), "two cameras have the same name")
    for name in cameras:
        name.encode("utf-8", "surrogateescape")
    return facts


def _read_images(file: Path, camera_names: list[str]) -> tuple[Listing, Checksums]:
    """Read what the table says of the images; a ValueError says what is wrong with it."""
    arrays = read_arrays(file, [*_ARRAYS])
    for name, (dtype, ndim) in _ARRAYS.items():
        values = arrays[name]
        _require(
            values.dtype == np.dtype(dtype) and values.ndim == ndim,
            f"{name} has the type {values.dtype} and the shape {values.shape}",
        )
    content = arrays["paths"].tobytes().decode("utf-8", "surrogateescape")
    paths = Strings(content.split("\0") if content else ())
    cameras, stamps, checksums = (arrays[name] for name in ("cameras", "stamps", "checksums"))
    count = len(paths)
    for name, shape in {
        "cameras": (count,),
        "stamps": (count, 2),
        "checksums": (-(-count // ROWS),),
    }.items():
        _require(
            arrays[name].shape == shape,
            f"{name} has the shape {arrays[name].shape}, and should have {shape}",
        )
    known = not count or 0 <= cameras.min() <= cameras.max() < len(camera_names)
    _require(known, "an image is from a camera that has no name")
    return Listing(Samples(paths, cameras, camera_names), stamps), checksums


def _require(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise ValueError(otherwise)
