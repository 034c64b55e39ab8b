"""What a run can have to look at, in the order in which its page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """A picture ``pictures/<name>.png`` or a table ``tables/<name>.csv`` of a run folder.

    Args:
        name: of the file, without its ending.
        title: above it.
        meaning: what it tells, in a sentence or two.
    """

    name: str
    title: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """Pictures and tables that answer one question."""

    title: str
    tables: tuple[Item, ...] = ()
    pictures: tuple[Item, ...] = ()


CONTENTS = (
    Section(
        "How well does it find people again?",
        tables=(
            Item(
                "retrieval",
                "Retrieval on the test set",
                "mAP is the mean over all queries of the average precision of their ranked "
                "gallery; rank k is the share of queries with a match among the nearest k.",
            ),
            Item(
                "camera_pairs",
                "From camera to camera, in numbers",
                "mAP of the queries of one camera among the gallery images of another; a low "
                "number names the pair of places to look at.",
            ),
        ),
        pictures=(
            Item("cmc", "CMC", "Share of queries with a match among their nearest k images."),
            Item(
                "camera_pairs",
                "From camera to camera, in colours",
                "mAP by camera of the query (rows) and of the gallery (columns), in percent; grey "
                "where no query has a match.",
            ),
            Item("map_over_epochs", "mAP over epochs", "Of the sets that were evaluated."),
        ),
    ),
    Section(
        "Whom does it confuse?",
        pictures=(
            Item(
                "worst_rankings",
                "The worst queries",
                "Queries whose first match comes last, each of another person, with their nearest "
                "gallery images and that match. Green frames with a tick match, red ones do not.",
            ),
            Item(
                "typical_rankings",
                "Typical queries",
                "Queries of average precision around the median, with their nearest gallery "
                "images. Green frames with a tick match, red ones do not.",
            ),
            Item(
                "attention",
                "Where it looks",
                "The same queries; brighter parts contribute more to the embedding.",
            ),
        ),
    ),
    Section(
        "Can the pseudo labels be trusted?",
        tables=(
            Item(
                "labels",
                "Every labelling",
                "Statistics of the pseudo labels that were made for each epoch. Epochs count from "
                "0; the labels after the last epoch stand under the number that would come next.",
            ),
        ),
        pictures=(
            Item(
                "clusters_over_epochs",
                "Clusters over epochs",
                "Number of clusters, share of images left out as outliers, and churn: 100 % less "
                "the agreement (adjusted Rand index) with the labelling before.",
            ),
            Item(
                "clusters",
                "Some clusters",
                "The largest, those of most cameras, and the most suspicious: loose ones, which "
                "may hold several people, with the images from their centre outwards.",
            ),
            Item(
                "map_by_camera",
                "The training images by camera",
                "Embeddings of at most some thousands of them in two dimensions (t-SNE). Cameras "
                "that form islands of their own were not bridged.",
            ),
            Item(
                "map_by_cluster",
                "The training images by cluster",
                "The same map; grey points are outliers, and far clusters may share a colour.",
            ),
        ),
    ),
    Section(
        "How did training go?",
        tables=(
            Item(
                "epochs",
                "Every epoch",
                "Mean loss of the epoch's batches (of the first process, if there are several) and "
                "how many seconds it took. Epochs count from 0.",
            ),
        ),
        pictures=(
            Item(
                "loss_over_epochs",
                "Loss over epochs",
                "New labels make a new task: where they change, the loss may rise while the model "
                "gets better.",
            ),
        ),
    ),
)


def picture_file(folder: Path, name: str) -> Path:
    """Where a run folder keeps a picture."""
    return folder / "pictures" / f"{name}.png"


def table_file(folder: Path, name: str) -> Path:
    """Where a run folder keeps a table."""
    return folder / "tables" / f"{name}.csv"


def delete_contents(folder: Path) -> None:
    """Delete the pictures and tables of a run folder, and nothing else that is there."""
    for section in CONTENTS:
        for item in section.pictures:
            picture_file(folder, item.name).unlink(missing_ok=True)
        for item in section.tables:
            table_file(folder, item.name).unlink(missing_ok=True)
