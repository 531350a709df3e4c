"""Public data sets that can be downloaded by name: where they lie, how big they are, under which licence.

Addresses and checksums are those that MONAI publishes in ``monai.apps.DecathlonDataset``.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_ssl_seg.errors import UserError

_DECATHLON = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
_CITATION = "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128, 2022"


@dataclass(frozen=True)
class DatasetInfo:
    """One public set.

    Attributes
    ----------
    name : str
        What the user types.
    title, description : str
    url : str
        An https address of one tar archive.
    folder : str
        The archive's only top-level folder; becomes the downloaded folder's name.
    size : int
        Bytes of the archive, about; the server tells the exact number.
    checksum : str
        ``md5:...`` or ``sha256:...`` of the archive.
    licence, licence_url, citation : str
        To be shown before a download starts.
    """

    name: str
    title: str
    description: str
    url: str
    folder: str
    size: int
    checksum: str
    licence: str
    licence_url: str
    citation: str

    def size_text(self) -> str:
        """The size for people: ``about 28 MB``."""
        if self.size >= 10**9:
            return f"about {self.size / 1e9:.1f} GB"
        return f"about {max(self.size / 1e6, 0.1):.{0 if self.size >= 10**7 else 1}f} MB"

    def notice(self) -> str:
        """What a user should read before the download starts."""
        return (
            f"{self.title}: {self.description}\n"
            f"{self.size_text()} from {self.url}\n"
            f"Licence: {self.licence} ({self.licence_url}); cite {self.citation}"
        )


def list_datasets() -> dict[str, DatasetInfo]:
    """Every set that `fetch` knows, smallest first, by name."""
    return {info.name: info for info in sorted(_ALL, key=lambda info: info.size)}


def get_dataset(name: str) -> DatasetInfo:
    """The set named ``name`` (capitals do not matter; the Decathlon's own ``Task04_Hippocampus`` is understood too).

    Raises
    ------
    UserError
        When there is none; the message lists those that there are.
    """
    wanted = name.strip().lower()
    for info in _ALL:
        if wanted in (info.name.lower(), info.folder.lower(), info.folder.lower().partition("_")[2]):
            return info
    raise UserError(f"there is no public set named {name!r}; choose one of {', '.join(list_datasets())}")


def _decathlon(name: str, task: str, size: int, md5: str, title: str, description: str) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        title=f"{title} (Medical Segmentation Decathlon)",
        description=description,
        url=f"{_DECATHLON}/{task}.tar",
        folder=task,
        size=size,
        checksum=f"md5:{md5}",
        licence="CC BY-SA 4.0",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        citation=_CITATION,
    )


_ALL = (
    _decathlon(
        "hippocampus",
        "Task04_Hippocampus",
        28_400_000,
        "9d24dba78a72977dbd1d2e110310f31b",
        "Hippocampus",
        "260 labelled and 130 unlabelled T1 MR boxes of 1 mm voxels; anterior and posterior hippocampus",
    ),
    _decathlon(
        "heart",
        "Task02_Heart",
        456_000_000,
        "06ee59366e1e5124267b774dbd654057",
        "Heart",
        "20 labelled and 10 unlabelled MR scans of the whole heart; left atrium",
    ),
    _decathlon(
        "prostate",
        "Task05_Prostate",
        240_000_000,
        "35138f08b1efaef89d7424d2bcc928db",
        "Prostate",
        "32 labelled and 16 unlabelled MR scans of two channels (T2, ADC); peripheral and transition zone",
    ),
    _decathlon(
        "spleen",
        "Task09_Spleen",
        1_610_000_000,
        "410d4a301da4e5b2f6f86ec3ddba524e",
        "Spleen",
        "41 labelled and 20 unlabelled portal venous CT scans; spleen",
    ),
)
