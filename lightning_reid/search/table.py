"""The table of an index: which images its embeddings are of, and how to verify these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_reid.array_files import read_arrays
from lightning_reid.data import Samples, Strings
from lightning_reid.errors import InputError, reading
from lightning_reid.search.embeddings import BUILD_AGAIN, ROWS, Checksums
from lightning_reid.search.listing import Listing
from lightning_reid.whole_files import whole_file

TABLE = "index.npz"

_FORMAT = 2
_LAST_GENERATION = 10**18
_TYPES = {"paths": np.uint8, "cameras": np.int64, "stamps": np.int64, "checksums": np.uint32}


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
            InputError: If it cannot be written.
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
                cameras=images.cameras.astype(np.int64),
                stamps=self.listing.stamps.astype(np.int64),
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
            _read_facts(file)  # first: other versions have other arrays
            arrays = read_arrays(file, ["told", *_TYPES], compressed=False)
            with reading(f"{file} cannot be read", user_errors=True):
                facts = _facts(arrays)
                listing, checksums = _images(arrays, facts["cameras"])
        except OSError as error:
            told = f"{file} cannot be read: {error.strerror}"
            raise InputError(f"the index {told}: {BUILD_AGAIN}") from error
        except InputError as error:
            raise InputError(f"the index {error}: {BUILD_AGAIN}") from error
        except MemoryError as error:
            raise MemoryError(f"{file} has {file.stat().st_size / 1e6:.0f} MB") from error
        return cls(facts["fingerprint"], facts["generation"], listing, checksums)


def written_generation(folder: Path) -> int | None:
    """Return the generation of the index in a folder; None if no table can be read."""
    try:
        return int(_read_facts(folder / TABLE)["generation"])
    except (OSError, ValueError):
        return None


def _read_facts(file: Path) -> dict[str, Any]:
    arrays = read_arrays(file, ["told"], compressed=False)
    with reading(f"{file} cannot be read", user_errors=True):
        return _facts(arrays)


def _facts(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return what a table says of the whole index; an InputError says what is wrong with it."""
    text = arrays["told"]
    _require(text.dtype.kind == "U" and text.ndim == 0, "told is no text")
    facts: dict[str, Any] = json.loads(str(text))
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


def _images(
    arrays: Mapping[str, npt.NDArray[Any]], camera_names: list[str]
) -> tuple[Listing, Checksums]:
    """Return what a table says of the images; an InputError says what is wrong with it."""
    content = arrays["paths"].tobytes().decode("utf-8", "surrogateescape")
    paths = Strings(content.split("\0") if content else ())
    count = len(paths)
    shapes = {
        "paths": (arrays["paths"].nbytes,),
        "cameras": (count,),
        "stamps": (count, 2),
        "checksums": (-(-count // ROWS),),
    }
    for name, shape in shapes.items():
        values = arrays[name]
        _require(
            values.dtype == _TYPES[name] and values.shape == shape,
            f"{name} is of type {values.dtype} and shape {values.shape}, and should be of type "
            f"{np.dtype(_TYPES[name])} and shape {shape}",
        )
    cameras = arrays["cameras"]
    known = not count or 0 <= cameras.min() <= cameras.max() < len(camera_names)
    _require(known, "an image is from a camera that has no name")
    listing = Listing(Samples(paths, cameras, camera_names), arrays["stamps"])
    return listing, arrays["checksums"]


def _require(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise InputError(otherwise)
