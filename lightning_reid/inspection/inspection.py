"""From a data module to everything that there is to say about its data."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_reid.datamodules import ReIDDataModule
from lightning_reid.errors import require
from lightning_reid.inspection.contact_sheet import choose_images
from lightning_reid.inspection.dataset import Inspected, Listing
from lightning_reid.inspection.duplicates import LARGEST_DISTANCE
from lightning_reid.inspection.file_findings import findings_of_files
from lightning_reid.inspection.finding import SEVERITIES, Finding
from lightning_reid.inspection.image_findings import findings_of_images
from lightning_reid.inspection.images import measure
from lightning_reid.inspection.listing_findings import findings_of_listing
from lightning_reid.inspection.methods import Suitability, suitable_methods
from lightning_reid.inspection.quality_findings import findings_of_quality


@dataclass(frozen=True)
class Inspection:
    """What is known about a data set.

    Args:
        data: its images and what they are like.
        findings: what is wrong or remarkable, the gravest first.
        methods: which methods it can be used with; none where ``fit`` refuses it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from lightning_reid.datamodules import Market1501
        >>> with TemporaryDirectory() as folder:
        ...     seen = inspect(Market1501(folder), num_workers=0)
        >>> seen.works, seen.findings[0].severity, seen.methods  # an empty folder
        (False, 'error', [])
    """

    data: Inspected
    findings: list[Finding]
    methods: list[Suitability]

    @property
    def works(self) -> bool:
        """Whether nothing keeps training and testing from working."""
        return all(finding.severity != "error" for finding in self.findings)


def inspect(
    datamodule: ReIDDataModule, near: int = 3, num_workers: int | None = None
) -> Inspection:
    """Look at every image of a data set once.

    Identities are read: this is no training, and nothing of it reaches one.

    Args:
        datamodule: of the data set; is set up for ``fit`` where it can be.
        near: images whose 64-bit difference hashes differ in at most so many bits count as near
            duplicates; from 0 (none) to 8.
        num_workers: processes that decode images; None: as many as there are cores, at most 16.

    Returns:
        The images and what they are like, findings, and the methods that can use them.

    Raises:
        InputError: if ``near`` or ``num_workers`` is out of its range. What is wrong with the data
            is a finding.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> from lightning_reid.datamodules import ManifestData
        >>> with TemporaryDirectory() as folder:
        ...     for number, camera in enumerate(["gate", "hall"]):
        ...         Path(folder, camera).mkdir()
        ...         Image.effect_noise((32, 64), 9 + number).save(f"{folder}/{camera}/1.png")
        ...     seen = inspect(ManifestData(folder, pattern="{camera}/*.png"), num_workers=0)
        >>> seen.works, seen.findings[0].found
        (True, 'There are 2 training images, fewer than the 32 of a batch.')
        >>> [answer.method for answer in seen.methods if answer.runs]
        ['CALR', 'CAP', 'O2CAP', 'ReliableSoftLabels']
    """
    require("near", near, 0, LARGEST_DISTANCE)
    if num_workers is not None:
        require("num_workers", num_workers, 0)
    listing = Listing.of(datamodule)
    keep = choose_images(listing.cameras)
    measured = measure(
        listing.samples.paths, keep, num_workers, datamodule.size, datamodule.max_pixels
    )
    data = Inspected.of(listing, measured, near)
    methods = suitable_methods(datamodule) if listing.trainable else []
    findings = sorted(
        [
            *findings_of_listing(listing),
            *findings_of_files(data),
            *findings_of_quality(data),
            *findings_of_images(data),
        ],
        key=lambda finding: SEVERITIES.index(finding.severity),
    )
    return Inspection(data, findings, methods)
