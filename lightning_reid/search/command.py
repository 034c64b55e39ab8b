"""The command ``lightning-reid search --ckpt_path ... --gallery ... --query ...``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from lightning_reid.commands import add_model_arguments
from lightning_reid.data import OnError
from lightning_reid.data.images import MAX_PIXELS
from lightning_reid.errors import InputError
from lightning_reid.lightning import rank_zero_info
from lightning_reid.models.trained import TrainedModel
from lightning_reid.option_errors import BriefErrors
from lightning_reid.run_claim import hold
from lightning_reid.run_folder import run_of
from lightning_reid.search.embedder import Embedder
from lightning_reid.search.gallery import Change, Gallery
from lightning_reid.search.listing import list_images
from lightning_reid.search.results import format_of, print_results, write_results

_DESCRIPTION = """\
Find the images of a gallery that are nearest to a query. The gallery is embedded once and kept in
the run folder; the next search embeds only images that are new or have changed, and forgets those
that are gone. Needs a checkpoint and its run's config.yaml, not the data that it was trained on.
"""


def run(arguments: Sequence[str]) -> int:
    """Search a gallery; see ``lightning-reid search --help``.

    Returns:
        0; what cannot be used raises an error.
    """
    config = _parser().parse_args(list(arguments))
    queries = [path for query in config.query for path in list_images(query).images.paths]
    model = TrainedModel.load(config.ckpt_path, config.size)
    index = config.index or run_of(model.source) / "search" / _name_of(config.gallery)
    picture = Path(config.output or Path(index) / "results.png").resolve()
    format_of(picture)
    _require_file_place(picture)
    names = ("device", "batch_size", "num_workers", "on_error", "max_pixels")
    embedder = Embedder(model, **{name: config[name] for name in names})
    gallery = Gallery(embedder, index, config.rebuild)
    if config.refresh:
        _tell(gallery, gallery.hold(config.gallery, config.pattern, config.columns))
    found = gallery.search_all(queries, config.top, config.exclude_camera)
    if not found:
        raise InputError(f"none of the {len(queries)} queries can be read")
    print_results(found)
    with hold(picture, f"Waiting for another process that writes {picture}"):
        write_results(found, picture)
    rank_zero_info(f"As a picture: {picture}")
    return 0


def _parser() -> BriefErrors:
    parser = BriefErrors(prog="lightning-reid search", description=_DESCRIPTION, allow_abbrev=False)
    add_model_arguments(parser)
    parser.add_argument(
        "--gallery",
        type=str,
        required=True,
        help="Folder of images, with all below it, or a list (CSV or Parquet) with the columns "
        "path and camera",
    )
    parser.add_argument(
        "--query",
        type=str,
        nargs="+",
        required=True,
        help="Images, or folders of images, to search for",
    )
    parser.add_argument("--top", type=int, default=10, help="Images to find for each query")
    parser.add_argument(
        "--pattern",
        type=str | None,
        default=None,
        help='Of the paths in the gallery folder, such as "{camera}/*.jpg"; tells the cameras, and '
        "leaves other files out",
    )
    parser.add_argument(
        "--columns",
        type=dict[str, str] | None,
        default=None,
        help="What the gallery's list calls the columns path and camera, where it differs, such as "
        '"{path: file, camera: cam}"',
    )
    parser.add_argument(
        "--exclude_camera",
        type=str | None,
        default=None,
        help="Leave out images of this camera, such as the one that took the query; 'own': of each "
        "query's, for queries that are in the gallery themselves",
    )
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        help="Picture of queries and results (.png, .jpg, .webp); the table goes beside it as CSV. "
        "Default: results.png in the folder of the index",
    )
    parser.add_argument(
        "--index",
        type=str | None,
        default=None,
        help="Folder of the embedded gallery. Default: search/<gallery> in the run folder",
    )
    parser.add_argument("--rebuild", type=bool, default=False, help="Embed the whole gallery again")
    parser.add_argument(
        "--refresh",
        type=bool,
        default=True,
        help="Look for new, changed and vanished images first; false searches what was embedded "
        "before, which saves some seconds with a million images",
    )
    parser.add_argument(
        "--on_error",
        type=OnError,
        default="stop",
        help="What to do about an image that cannot be read: stop, or skip it with a warning",
    )
    parser.add_argument(
        "--max_pixels",
        type=int,
        default=MAX_PIXELS,
        help="Largest height times width of an image file; a larger one counts as unreadable",
    )
    parser.add_argument(
        "--device", type=str | None, default=None, help="Default: the GPU, where there is one"
    )
    parser.add_argument("--batch_size", type=int, default=128, help="Images embedded at a time")
    parser.add_argument(
        "--num_workers",
        type=int | None,
        default=None,
        help="Processes that load images. Default: as many as there are cores, at most 16",
    )
    return parser


def _name_of(gallery: str) -> str:
    """A folder name for each gallery: its own, and some letters that tell two of one name apart."""
    path = os.path.abspath(gallery)  # noqa: PTH100  # as it is written: links have names of theirs
    name = re.sub(r"[^\w-]+", "_", Path(path).stem)[:40] or "gallery"
    return f"{name}-{blake2b(os.fsencode(path), digest_size=3).hexdigest()}"


def _require_file_place(picture: Path) -> None:
    """Before anything is embedded."""
    folder = next(path for path in picture.parents if path.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise InputError(f"cannot write {picture}; give another place with --output")


def _tell(gallery: Gallery, change: Change) -> None:
    parts = [f"{change.embedded} embedded now"] if change.embedded else []
    parts += [f"{change.removed} removed"] if change.removed else []
    told = f" ({', '.join(parts)})" if parts else ""
    rank_zero_info(f"{len(gallery)} images{told} in {gallery.folder}")
