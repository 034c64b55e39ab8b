"""Read the tensors of a checkpoint file without executing anything in it."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.local_paths import local_path
from lightning_reid.messages import listed
from lightning_reid.models.checkpoint_limits import require_limits
from lightning_reid.models.plain_values import PLAIN_VALUES
from lightning_reid.resources import is_out_of_memory

_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl")
_RUN_CHECKPOINT = Path("checkpoints", "last.ckpt")

# How a file begins that is something else, and what to do about it.
_OTHER_FILES = (
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (rb"\s*<(!doctype|html|\?xml)", "a web page; download the file itself, by its direct link"),
    (rb"\x1f\x8b", "compressed with gzip; unpack it first"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a compressed file; unpack it first"),
    (rb"(?s).{257}ustar", "a tar archive; unpack it and give the file inside"),
    (rb"\x89HDF", "an HDF5 file; convert it to PyTorch first"),
)
_BLOCK = 2**20  # bytes that are read at a time
_HEAD = 512  # bytes that tell the kind of a file
_MAGIC_PICKLES = 3  # before the checkpoint in files from before torch 1.6
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


def is_checkpoint_path(weights: str | Path) -> bool:
    """Return whether `weights` means a file (by its folder, its ending or presence), not a name."""
    if isinstance(weights, Path) or "/" in weights or os.sep in weights:
        return True
    path = local_path(weights)
    return path.suffix in _SUFFIXES or path.is_file() or (path / _RUN_CHECKPOINT).is_file()


def read_checkpoint(source: Path | IO[bytes], map_location: Any = "cpu") -> Any:
    """Read a checkpoint; code inside it is never executed.

    Beside tensors and containers it may hold plain values: numbers, text, dates, paths,
    `argparse.Namespace`, NumPy scalars and arrays of numbers or text.

    Args:
        source: A file written by `torch.save` or a safetensors file (needs that package), the
            folder of a run, or an open file.
        map_location: Where tensors are put, see `torch.load`; the CPU by default.

    Raises:
        FileNotFoundError: There is no such file.
        MissingPackageError: A safetensors file, and the package is not installed.
        InputError: Not a checkpoint, or one with other objects; the message says what it is and
            how to convert it.
    """
    if not isinstance(source, Path):
        return _load(source, "the open file", map_location, source.seek(0, os.SEEK_END))
    path = local_path(source)
    if path.is_dir() and (path / _RUN_CHECKPOINT).is_file():
        path /= _RUN_CHECKPOINT
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a file: give the checkpoint file itself")
    if not path.exists():
        raise FileNotFoundError(f"weights file not found: {path}")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, os.SEEK_END)
    if path.suffix == ".safetensors" or _is_safetensors(head, size):
        return _read_safetensors(path)
    _require_torch_file(path, head)
    with path.open("rb") as file:
        return _load(file, path, map_location, size)


def find_state_dicts(checkpoint: object) -> Iterator[dict[str, Tensor]]:
    """Find every dictionary of named tensors in a checkpoint, however it is wrapped.

    Args:
        checkpoint: What `read_checkpoint` returned: a state dict, or dictionaries around one or
            several ("state_dict", "model", "net", "teacher", ...). NumPy arrays of numbers count
            as tensors.

    Yields:
        The outermost first. Of self-distillation's two networks the student comes last, as it is
        the teacher that is meant to be used.
    """
    yield from _state_dicts(checkpoint, set())


def tensors_only(content: object) -> Any:
    """Keep the tensors of an object that was loaded without protection.

    This converts a checkpoint that holds a model or other objects into one that can be read
    without executing code.

    Args:
        content: A module, a tensor, or dictionaries of these.

    Returns:
        A module's state dict; a dictionary of the parts that hold tensors, under their names;
        None if there are no tensors.

    Example:
        >>> kept = tensors_only({"net": torch.nn.Linear(2, 1), "epoch": 3, "author": object()})
        >>> {name: [*tensors] for name, tensors in kept.items()}
        {'net': ['weight', 'bias']}
    """
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if isinstance(content, Mapping):
        kept = {name: tensors_only(value) for name, value in content.items()}
        return {name: value for name, value in kept.items() if value is not None} or None
    return content.detach() if isinstance(content, Tensor) else None


def _state_dicts(checkpoint: object, seen: set[int]) -> Iterator[dict[str, Tensor]]:
    if not isinstance(checkpoint, Mapping) or id(checkpoint) in seen:
        return
    seen.add(id(checkpoint))  # a dictionary may contain itself
    named = {key: value for key, value in checkpoint.items() if isinstance(key, str)}
    tensors = {
        key: tensor for key, value in named.items() if (tensor := _tensor(value)) is not None
    }
    if tensors:
        yield tensors
    for key in sorted(named, key=lambda key: key == "student"):
        yield from _state_dicts(named[key], seen)


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
    return value if isinstance(value, Tensor) else None


def _load(file: IO[bytes], name: str | Path, map_location: Any, size: int) -> Any:
    file.seek(0)
    try:
        with torch.serialization.safe_globals(PLAIN_VALUES):
            content = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        file.seek(0)
        if isinstance(name, Path) and (whole := _pickled_class(file)):
            raise _unsafe(f"{name} is a whole pickled model ({whole})", name) from error
        blocked = _blocked_object(str(error))
        raise _unsafe(f"{name} holds more than tensors ({blocked})", Path(str(name))) from error
    except Exception as error:  # a damaged file can fail anywhere in the reader
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [""])[0].split(". ")[0]
        raise InputError(
            f"{name} is not a checkpoint written by torch.save, or is damaged "
            f"({type(error).__name__}: {reason})"
        ) from error
    require_limits(content, str(name), size)
    return content


def _require_torch_file(path: Path, head: bytes) -> None:
    """Raise an InputError unless a file begins like one that `torch.save` wrote."""
    if not head:
        raise InputError(f"{path} is not a checkpoint: it is empty; copy or download it again")
    for beginning, kind in _OTHER_FILES:
        if re.match(beginning, head, re.IGNORECASE):
            raise InputError(f"{path} is not a checkpoint but {kind}")
    if zipfile.is_zipfile(path):
        members = _members(path)
        names = [member.filename for member in members]
        if any(name.endswith("/constants.pkl") for name in names):
            load = f"torch.jit.load({str(path)!r}, map_location='cpu')"
            raise _unsafe(
                f"{path} is a TorchScript archive, a program rather than weights", path, load
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise InputError(
                f"{path} is not a checkpoint but a zip archive of {', '.join(names[:3])}; unpack "
                "it and give the checkpoint inside"
            )
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise InputError(
                f"{path} is not a checkpoint written by torch.save: it is a compressed archive; "
                "unpack it, and pack it without compression"
            )
        _require_checksums(path, members)
    elif head.startswith(b"\x80") and not head.startswith(_MAGIC):
        load = f"pickle.load(open({str(path)!r}, 'rb'))"
        raise _unsafe(f"{path} is a pickle that torch.save did not write", path, load)
    elif not head.startswith(_MAGIC):
        damaged = ", or is damaged or incomplete" if head.startswith(b"PK") else ""
        raise InputError(f"{path} is not a checkpoint written by torch.save{damaged}")


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise InputError(
            f"{path} is not a checkpoint written by torch.save, or is damaged ({error})"
        ) from error


def _require_checksums(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise an InputError if a member differs from its checksum, which torch does not look at.

    A file in which none fits was written without (`torch.serialization.set_crc32_options`).
    """
    with zipfile.ZipFile(path) as archive:
        damaged = [member.filename for member in members if not _is_intact(archive, member)]
    if damaged and len(damaged) < len(members):
        raise InputError(
            f"{path} is damaged: {listed(damaged, 3)} in it changed after it was written; copy or "
            "download it again"
        )


def _is_intact(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(member) as stream:
            while stream.read(_BLOCK):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError):
        return False
    return True


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file begins with the length of a JSON header and that header."""
    return head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= size


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingPackageError(
            f"reading {path} needs safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file ({error})") from error


def _pickled_class(file: IO[bytes]) -> str | None:
    """Return the class of the object that a file written by `torch.save` consists of.

    It is None for a dictionary, or if the file cannot be parsed. Nothing is loaded.
    """
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
                opcodes = pickletools.genops(archive.read(name))
        else:
            file.seek(0)
            for _ in range(_MAGIC_PICKLES):
                for _ in pickletools.genops(file):
                    pass
            opcodes = pickletools.genops(file)
        names = ((opcode.name, argument) for opcode, argument, _ in opcodes)
        made = next(name for name in names if name[0] in ("EMPTY_DICT", "DICT", "GLOBAL"))[1]
    except (ValueError, StopIteration, zipfile.BadZipFile):
        return None
    return None if made is None or made.startswith("collections ") else made.replace(" ", ".")


def _blocked_object(message: str) -> str:
    """Return which object weights-only loading refused, according to its message."""
    refused = re.search(
        r"GLOBAL (\S+)|[Uu]nsupported class (NumPy array of .*?)(?:$|\.?\n)"
        r"|[Uu]nsupported (?:class|global)[: ]+(?!GLOBAL )(\S+)",
        message,
    )
    names = (name for name in refused.groups() if name) if refused else iter(())
    return next(names, "an object of unknown type")


def _unsafe(what: str, path: Path, load: str | None = None) -> InputError:
    """Return the error for a file that could execute code, and how to convert one that is trusted.

    Args:
        what: What the file is.
        path: The file.
        load: Code that reads it, unless `torch.load` does.
    """
    load = load or f"torch.load({str(path)!r}, map_location='cpu', weights_only=False)"
    converted = str(path.with_name(f"{path.stem}-tensors.pth"))
    return InputError(
        f"{what}, and loading it could execute code, so it was not loaded. If you trust where the "
        "file came from, convert it once, where the code that it was saved with can be imported:",
        f"  import {'pickle, ' if load.startswith('pickle') else ''}torch",
        "  from lightning_reid.models import tensors_only",
        f"  torch.save(tensors_only({load}), {converted!r})",
        f"and pass {converted}",
    )
