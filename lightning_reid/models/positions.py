"""Position embeddings that were saved for images of another size.

A vision transformer learns a vector for each patch of its training images. A file does not say
whether 128 of them were 16 x 8 or 8 x 16 patches, and a network for other images has other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from math import isqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lightning_reid.errors import InputError
from lightning_reid.messages import listed

Grid = tuple[int, int]
"""Rows and columns of patches."""

GRID = "position_grid"
"""Name of the buffer that tells the grid in a state dict: rows and columns, float32."""

_POSITIONS = re.compile(
    r"(?:^|\.)(?:absolute_)?(?:pos_embed|pos_embedding|position_embeddings?|positional_embedding)$"
)
_BIASES = "relative_position_bias_table"
_TOKENS = ("cls_token", "class_token", "dist_token", "distillation_token", "reg_token")
_TALL = (1.8, 2.2)  # height by width of person images in patches, about 2 to 1
_NEAR = 1.15  # how far the aspect of a grid may be from that of the images
_SHOWN = 6  # grids in a message


class FittedPositions(NamedTuple):
    """Position embeddings of a file, as they are to be loaded.

    Attributes:
        tensors: By the network's names.
        notes: A line about each that was not loaded as it stands.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def grid_of(count: int, image_size: tuple[int, int] | None = None) -> Grid | None:
    """Arrange patches in rows and columns.

    Args:
        count: Number of patches.
        image_size: Height and width of the images in pixels. Without it the grid is square, or
            twice as high as wide as person images are.

    Returns:
        Rows and columns; None if no arrangement, or more than one, is likely.

    Example:
        >>> grid_of(196), grid_of(128), grid_of(192), grid_of(192, (384, 128))
        ((14, 14), (16, 8), None, (24, 8))
    """
    grids = _grids(count)
    if image_size is not None:
        aspect = image_size[0] / image_size[1]
        near = {max(h / w / aspect, w / h * aspect): (h, w) for h, w in grids}
        return near[min(near)] if near and min(near) <= _NEAR else None
    if count and isqrt(count) ** 2 == count:
        return isqrt(count), isqrt(count)
    tall = [(h, w) for h, w in grids if _TALL[0] <= h / w <= _TALL[1]]
    return tall[0] if len(tall) == 1 else None


def resample(vectors: Tensor, old: Grid, new: Grid) -> Tensor:
    """Interpolate vectors from one grid to another: bicubic, antialiased, as timm does.

    Args:
        vectors: One per patch, row by row, ``(1, rows * columns, C)``.
        old: Their grid.
        new: Grid of what is returned.

    Returns:
        ``(1, rows * columns, C)`` of the same dtype.
    """
    if old == new:
        return vectors
    maps = vectors.float().transpose(1, 2).reshape(len(vectors), -1, *old)
    resized = interpolate(maps, new, mode="bicubic", antialias=True, align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(vectors.dtype)


def adapt_on_load(module: nn.Module, parameter: str, grid_attribute: str) -> None:
    """Let a module take position embeddings for any grid when a state dict is loaded.

    The module must resample them to the grid of the images itself. Their grid is kept in the state
    dict, as the buffer ``position_grid``.

    Args:
        module: Has the parameter, ``(1, tokens + rows * columns, C)``.
        parameter: Its name.
        grid_attribute: Where the module looks up rows and columns, such as
            ``"patch_embed.grid_size"``.
    """
    holder, name = grid_attribute.rpartition(".")[::2]
    rows, columns = getattr(module.get_submodule(holder), name)
    grid = torch.tensor([rows, columns], dtype=torch.float32)
    module.get_submodule(parameter.rpartition(".")[0]).register_buffer(GRID, grid)
    tokens = module.get_parameter(parameter).shape[1] - rows * columns
    hook = partial(_adapt, parameter=parameter, tokens=tokens, grid_attribute=grid_attribute)
    module.register_load_state_dict_pre_hook(hook)  # type: ignore[no-untyped-call]
    module.position_parameter = parameter  # type: ignore[assignment]


def adaptable_names(network: nn.Module) -> set[str]:
    """Return names in a network's state dict of tensors that take any grid when loaded."""
    return {
        f"{name}.{each}" if name else each
        for name, module in network.named_modules()
        if isinstance(parameter := getattr(module, "position_parameter", None), str)
        for each in (parameter, _beside(parameter, GRID))
    }


def fit_positions(
    trunk: nn.Module,
    offered: Mapping[str, Tensor],
    source: str,
    image_size: tuple[int, int] | None = None,
    run_size: tuple[int, int] | None = None,
) -> FittedPositions:
    """Fit the position embeddings of a file to a network.

    A network that takes any grid gets them as they are; others get them resampled. What belongs to
    class, distillation and register tokens is kept apart.

    Args:
        trunk: The network.
        offered: Tensors of the file under the network's names.
        source: What to call the file in messages.
        image_size: Height and width in pixels of the images that they were trained on, if known.
        run_size: Those of the run that wrote the file, where it lies in one.

    Raises:
        InputError: It cannot be told how the patches were arranged, or not as ``image_size`` says.
    """
    adaptable = adaptable_names(trunk)
    tensors: dict[str, Tensor] = {}
    notes: list[str] = []
    for name, own in trunk.state_dict().items():
        saved = offered.get(name)
        if saved is None or saved.ndim != own.ndim:
            continue
        same = saved.shape == own.shape
        if _POSITIONS.search(name) and own.ndim == 3 and saved.shape[-1] == own.shape[-1]:
            if same and not (name in adaptable and (image_size or _beside(name, GRID) in offered)):
                continue
            new = _own_layout(trunk, name, own)
            hints = [image_size] if image_size else [run_size, None]
            old = _saved_layout(offered, name, new.tokens, hints)
            if old is None:
                raise _unknown_layout(source, name, saved.shape[1] - new.tokens, image_size)
            kept = old.grid if name in adaptable else new.grid
            tensors[name] = _with_tokens(saved, own, old, new.tokens, kept)
            if name in adaptable:
                tensors[_beside(name, GRID)] = torch.tensor(old.grid, dtype=torch.float32)
            class_token = next((_beside(name, t) for t in _TOKENS[:2]), "")
            if old.tokens and not new.tokens and class_token in offered:
                tensors[class_token] = offered[class_token] + saved[:, :1]
            notes.append(f"{name}: {_named(old.grid)} patches to {_named(kept)}")
        elif not same and (resampled := _resampled(trunk, name, saved, own)) is not None:
            tensors[name] = resampled
            notes.append(f"{name}: {tuple(saved.shape)} to {tuple(own.shape)}")
    return FittedPositions(tensors, tuple(notes))


class _Layout(NamedTuple):
    """Number of tokens before the patches, and the grid of the patches."""

    tokens: int
    grid: Grid


def _own_layout(trunk: nn.Module, name: str, own: Tensor) -> _Layout:
    """Return the layout of a network's positions, from its patch embedding if it has one."""
    patches = getattr(trunk.get_submodule(name.rpartition(".")[0]), "patch_embed", None)
    sides = (getattr(patches, "num_y", None), getattr(patches, "num_x", None))  # TransReID's names
    grid = getattr(patches, "grid_size", sides)
    if isinstance(rows := grid[0], int) and isinstance(columns := grid[1], int):
        return _Layout(own.shape[1] - rows * columns, (rows, columns))
    return _saved_layout(trunk.state_dict(), name, 0, [None]) or _Layout(0, (own.shape[1], 1))


def _saved_layout(
    offered: Mapping[str, Tensor],
    name: str,
    tokens: int,
    image_sizes: Iterable[tuple[int, int] | None],
) -> _Layout | None:
    """Return the layout of saved positions; None if it cannot be told.

    It is assumed that they have as many tokens as the network, else as many as the file.
    """
    length = offered[name].shape[1]
    told = offered.get(_beside(name, GRID))
    if told is not None and told.numel() == 2 and told.isfinite().all():
        rows, columns = (round(side) for side in told.tolist())
        if 0 < rows * columns <= length:
            return _Layout(length - rows * columns, (rows, columns))
    counts = [tokens, 0]
    for each in _TOKENS:
        if (token := offered.get(_beside(name, each))) is not None and token.ndim > 1:
            counts.append(counts[-1] + token.shape[-2])
    layouts = (
        _Layout(count, grid)
        for size in image_sizes
        for count in counts
        if (grid := grid_of(length - count, size)) is not None
    )
    return next(layouts, None)


def _with_tokens(saved: Tensor, own: Tensor, old: _Layout, tokens: int, grid: Grid) -> Tensor:
    """Return saved positions for another number of tokens and another grid.

    Tokens that were not saved keep their values.
    """
    kept = saved[:, : min(old.tokens, tokens)]
    added = own[:, kept.shape[1] : tokens].to(saved)
    return torch.cat([kept, added, resample(saved[:, old.tokens :], old.grid, grid)], dim=1)


def _resampled(trunk: nn.Module, name: str, saved: Tensor, own: Tensor) -> Tensor | None:
    """Return maps of positions or of relative positions in another size; None if it is neither."""
    if _POSITIONS.search(name) and own.ndim == 4:
        if saved.shape[-1] == own.shape[-1]:  # (1, rows, columns, C)
            return _resized(saved.permute(0, 3, 1, 2), own.shape[1:3]).permute(0, 2, 3, 1)
        return _resized(saved, own.shape[2:]) if saved.shape[1] == own.shape[1] else None
    if not name.endswith(_BIASES):
        return None
    if own.ndim == 3 and saved.shape[0] == own.shape[0]:  # (heads, rows, columns)
        return _resized(saved[None], own.shape[1:])[0]
    window = getattr(trunk.get_submodule(name.rpartition(".")[0]), "window_size", None)
    if own.ndim != 2 or saved.shape[1] != own.shape[1] or not isinstance(window, tuple | list):
        return None
    new = (2 * window[0] - 1, 2 * window[-1] - 1)
    tokens = own.shape[0] - new[0] * new[1]  # of the class token, which come last
    side = isqrt(max(saved.shape[0] - tokens, 0))
    if side * side != saved.shape[0] - tokens:
        return None
    offsets = resample(saved[None, : side * side], (side, side), new)[0]
    return torch.cat([offsets, saved[side * side :]])


def _resized(maps: Tensor, size: Iterable[int]) -> Tensor:
    rows, columns = size
    vectors = maps.flatten(2).transpose(1, 2)
    old = (maps.shape[2], maps.shape[3])
    resized = resample(vectors, old, (rows, columns))
    return resized.transpose(1, 2).reshape(*maps.shape[:2], rows, columns)


def _adapt(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    *_: Any,
    parameter: str,
    tokens: int,
    grid_attribute: str,
) -> None:
    """Give a module the grid of the positions that it is about to load."""
    saved, own = state_dict.get(prefix + parameter), module.get_parameter(parameter)
    told = prefix + _beside(parameter, GRID)
    holder, leaf = parameter.rpartition(".")[::2]
    grid = module.get_submodule(holder).get_buffer(GRID)
    if isinstance(saved, Tensor) and saved.ndim == 3 and saved.shape[-1] == own.shape[-1]:
        if told in state_dict or saved.shape != own.shape:
            layout = _saved_layout(state_dict, prefix + parameter, tokens, [None])
            if layout is None or layout.tokens != tokens:
                count = saved.shape[1] - tokens
                raise _unknown_layout("the state dict", prefix + parameter, count, None)
            grid = torch.tensor(layout.grid, dtype=torch.float32)
            place, attribute = grid_attribute.rpartition(".")[::2]
            setattr(module.get_submodule(place), attribute, layout.grid)
        if saved.shape != own.shape:
            values = nn.Parameter(own.new_empty(saved.shape), own.requires_grad)
            setattr(module.get_submodule(holder), leaf, values)
    state_dict[told] = grid


def _unknown_layout(
    source: str, name: str, count: int, image_size: tuple[int, int] | None
) -> InputError:
    grids = listed([_named(grid) for grid in _grids(count)], _SHOWN)
    if image_size is not None:
        return InputError(
            f"weights_size {list(image_size)} does not fit {source}: {name} has {count} patches, "
            f"which may be {grids}"
        )
    return InputError(
        f"{source} does not tell how the {count} patches of {name} are arranged ({grids}): give "
        "the height and width of the images that it was trained on, such as "
        '--model.weights_size "[384,128]"'
    )


def _grids(count: int) -> list[Grid]:
    """Return every arrangement of patches, those nearest to a square first."""
    grids = [(count // w, w) for w in range(1, count + 1) if count % w == 0]
    return sorted(grids, key=lambda grid: max(grid))


def _named(grid: Grid) -> str:
    return f"{grid[0]}x{grid[1]}"


def _beside(name: str, other: str) -> str:
    """Return the name of another tensor of the same module."""
    parent = name.rpartition(".")[0]
    return f"{parent}.{other}" if parent else other
