"""Load pretrained weights into a backbone, whatever layout they were saved in."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from lightning_reid.errors import DownloadError, InputError
from lightning_reid.messages import listed, printable
from lightning_reid.models.checkpoint_content import run_image_size
from lightning_reid.models.checkpoint_files import (
    find_state_dicts,
    is_checkpoint_path,
    read_checkpoint,
)
from lightning_reid.models.ibn import is_ibn_tensor, plain_name
from lightning_reid.models.interface import Backbone
from lightning_reid.models.positions import GRID, FittedPositions, fit_positions
from lightning_reid.models.tensor_names import unwrapped_name
from lightning_reid.models.timm_trunks import TIMM_PREFIX, timm_state_dict
from lightning_reid.models.torchvision_trunks import torchvision_names

_logger = logging.getLogger(__name__)

# Fewer matching tensors than this mean another architecture rather than a few odd layers.
_MIN_MATCHED = 0.9

# Names in published files that torchvision has changed since.
_RENAMED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)"), r"\1\2"),
    (re.compile(r"mlp\.linear_1\."), "mlp.0."),
    (re.compile(r"mlp\.linear_2\."), "mlp.3."),
)

_SHOWN = 5  # names per line of a report


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file and of a backbone.

    Attributes:
        source: File or name of the weights, and the part of the file that was used.
        loaded: Names (the backbone's) of the tensors that were loaded.
        missing: Names of the backbone's tensors that the source lacks; they keep their values.
        unused: Names (the source's) of the tensors that the backbone lacks, such as heads.
        mismatched: "name: shape in the source, shape in the backbone" of tensors that share a
            name only; they keep the backbone's values.
        resampled: "name: patches in the source to patches in the backbone" of position embeddings
            that were made for images of another size.
        initial: Share of the backbone's values that were not loaded, from 0 to 1.

    Example:
        >>> report = LoadReport("people.pth", ("weight",), ("bias",), unused=(), mismatched=())
        >>> print(report)
        weights from people.pth: 1 tensors loaded
          missing in the source (1): bias
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    resampled: tuple[str, ...] = ()
    initial: float = 0.0

    def __str__(self) -> str:
        lines = [f"weights from {self.source}: {len(self.loaded)} tensors loaded"]
        lines += _listed("missing in the source", self.missing)
        lines += _listed("not used", self.unused)
        lines += _listed("of another shape", self.mismatched)
        lines += _listed("made for other images", self.resampled)
        if self.initial:
            lines.append(
                f"  {max(self.initial, 1e-4):.2%} of the backbone's values were not loaded and are "
                "as they were, random in a new backbone: if that is not wanted, choose the "
                "backbone that these weights were saved from"
            )
        return "\n".join(map(printable, lines))


def load_weights(
    backbone: nn.Module,
    weights: str | Path,
    name: str,
    image_size: tuple[int, int] | None = None,
) -> LoadReport:
    """Load weights into a backbone and report what was left over.

    Layouts of files are not told apart: among all dictionaries in the file and all prefixes in
    front of the tensors' names, those are taken that match most names and shapes of the backbone.
    This covers plain torchvision files, fast-reid, torchreid, MoCo and LUPerson as well as this
    library's own checkpoints. The report is logged, as a warning if the backbone got less than all.

    Position embeddings of vision transformers may be those of images of another size: torchvision's
    and timm's transformers take them as they are, others get them resampled.

    Args:
        backbone: The network without its classifier, changed in place.
        weights: A checkpoint file; or the name of published weights: torchvision's such as
            "IMAGENET1K_V1", a tag of timm's, or "DEFAULT".
        name: The backbone's name, which published weights are looked up by.
        image_size: Height and width in pixels of the images that the weights were trained on. It is
            needed only for position embeddings whose patches are not in a square and not in twice
            as many rows as columns.

    Returns:
        What was loaded and what was left over.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: timm or safetensors is needed and not installed.
        RuntimeError: Published weights could not be downloaded; the message says what to do.
        InputError: Unknown name, not a checkpoint, less than 90 % of the backbone's floating-point
            tensors are in it (not counting IBN layers), or the grid of a position embedding cannot
            be told.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> trained, backbone = torch.nn.Conv2d(3, 8, 5), torch.nn.Conv2d(3, 8, 5)
        >>> with TemporaryDirectory() as folder:
        ...     saved = {f"module.backbone.{k}": v for k, v in trained.state_dict().items()}
        ...     torch.save(saved, f"{folder}/people.pth")
        ...     report = load_weights(backbone, f"{folder}/people.pth", "my convolution")
        >>> report.loaded, torch.equal(backbone.weight, trained.weight)
        (('weight', 'bias'), True)
    """
    trunk = backbone.trunk if isinstance(backbone, Backbone) else backbone
    if is_checkpoint_path(weights):
        source = str(weights)
        state_dicts: Iterable[dict[str, Tensor]] = find_state_dicts(read_checkpoint(Path(weights)))
    else:
        source = f"{weights} of {name}"
        state_dicts = [_published_state_dict(str(weights), name)]
    wanted = trunk.state_dict()
    state_dict, prefix = _best_match([_renamed(each) for each in state_dicts], wanted)
    if prefix:
        source += f", names under '{prefix}'"
    run_size = _run_image_size(Path(weights)) if is_checkpoint_path(weights) else None
    fitted = fit_positions(trunk, _offered(state_dict, prefix), source, image_size, run_size)
    report, tensors = _compare(source, state_dict, prefix, wanted, fitted)
    _require_fit(report, wanted, name)
    trunk.load_state_dict(tensors, strict=False)
    partial = report.missing or report.mismatched or _is_trunk_cut(report, prefix)
    _logger.log(logging.WARNING if partial else logging.INFO, "%s", report)
    return report


def _run_image_size(file: Path) -> tuple[int, int] | None:
    """Return the height and width of the images of the run that a file lies in, if it does."""
    try:
        return run_image_size(file)
    except InputError:
        return None


def _published_state_dict(weights: str, name: str) -> dict[str, Tensor]:
    if name.startswith(TIMM_PREFIX):
        return timm_state_dict(name, weights)
    if name not in torchvision_names():
        raise InputError(
            f"there are no published weights '{weights}' for {name}: pass a local file, or null to "
            "keep its values"
        )
    return _download(_torchvision_weights(weights, name).url)


def _torchvision_weights(weights: str, name: str) -> Any:
    """The member of torchvision's enumeration: address and description of the weights."""
    known = torchvision.models.get_model_weights(plain_name(name))
    names = [*known.__members__]
    if weights not in names:
        raise InputError(
            f"torchvision has no weights '{weights}' for '{name}'; there are {', '.join(names)}. "
            f"A file is recognised by its ending or by being there, and {weights} is not"
        )
    return known[weights]


def _download(url: str) -> dict[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, no space, a broken file: the advice is the same
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise DownloadError(
            f"could not get {url} ({type(error).__name__}: {error}). Either download it elsewhere "
            f"and place it as {url.rpartition('/')[2]} in {folder} (the environment variable "
            "TORCH_HOME moves that folder), or pass a local file as weights, or pass null for "
            "random initialisation"
        ) from error


def _renamed(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring names of older torchvision files up to date, and remove those of wrappers."""
    names = [unwrapped_name(name) for name in state_dict]
    for old, new in _RENAMED:
        names = [old.sub(new, name) for name in names]
    return dict(zip(names, state_dict.values(), strict=True))


def _best_match(
    state_dicts: list[dict[str, Tensor]], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """The dictionary and prefix that share most names and shapes with the backbone."""
    best: tuple[dict[str, Tensor], str] = ({}, "")
    best_score = (0, 0)
    for state_dict in state_dicts:
        for prefix, score in _prefix_scores(state_dict, wanted).items():
            if score > best_score:  # of equals the first: MoCo's query encoder before its key's
                best, best_score = (state_dict, prefix), score
    return best


def _prefix_scores(
    state_dict: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    """For every prefix: how many tensors behind it match in name and shape, and in name."""
    fitting: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for name, tensor in state_dict.items():
        starts = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        for start in starts:
            if (target := wanted.get(name[start:])) is not None:
                named[name[:start]] += 1
                fitting[name[:start]] += target.shape == tensor.shape
    return {prefix: (fitting[prefix], named[prefix]) for prefix in named}


def _offered(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors behind a prefix, under their names without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state_dict.items()
        if name.startswith(prefix)
    }


def _compare(
    source: str,
    state_dict: Mapping[str, Tensor],
    prefix: str,
    wanted: Mapping[str, Tensor],
    fitted: FittedPositions,
) -> tuple[LoadReport, dict[str, Tensor]]:
    """Return a report on a match, and the tensors to load under the backbone's names."""
    offered = _offered(state_dict, prefix)
    common = [name for name in wanted if name in offered]
    tensors = {name: offered[name] for name in common if offered[name].shape == wanted[name].shape}
    tensors |= fitted.tensors
    values = {name: each.numel() for name, each in wanted.items() if each.is_floating_point()}
    initial = sum(count for name, count in values.items() if name not in tensors)
    report = LoadReport(
        source=source,
        loaded=tuple(name for name in tensors if not name.endswith(GRID)),
        missing=tuple(
            name
            for name in wanted
            if name not in offered and not name.endswith(("num_batches_tracked", GRID))
        ),
        unused=tuple(
            name
            for name in state_dict
            if not (name.startswith(prefix) and name.removeprefix(prefix) in wanted)
        ),
        mismatched=tuple(
            f"{name}: {tuple(offered[name].shape)} in the source, "
            f"{tuple(wanted[name].shape)} in the backbone"
            for name in common
            if name not in tensors
        ),
        resampled=fitted.notes,
        initial=initial / sum(values.values()) if values else 0.0,
    )
    return report, tensors


def _require_fit(report: LoadReport, wanted: Mapping[str, Tensor], name: str) -> None:
    loaded = set(report.loaded)
    expected = [
        each
        for each, tensor in wanted.items()
        if tensor.is_floating_point()
        and not each.endswith(GRID)
        and (each in loaded or not is_ibn_tensor(each))
    ]
    matched = sum(each in loaded for each in expected)
    if matched < _MIN_MATCHED * len(expected):
        raise InputError(
            f"{report.source} does not fit the backbone {name}: only {matched} of its "
            f"{len(expected)} tensors match",
            *str(report).splitlines(),
        )


def _is_trunk_cut(report: LoadReport, prefix: str) -> bool:
    """Whether a part of the backbone has more tensors in the source, as in a deeper network."""
    parts = {name.split(".")[0] for name in report.loaded}
    return any(
        name.startswith(prefix) and name.removeprefix(prefix).split(".")[0] in parts
        for name in report.unused
    )


def _listed(title: str, names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    return [f"  {title} ({len(names)}): {listed(names, _SHOWN)}"]
