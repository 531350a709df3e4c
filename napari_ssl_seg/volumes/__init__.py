"""Reading and writing volumes, their geometry, and the normalisation of their intensities.

Only numpy is imported here: nibabel, SimpleITK and psutil load when a file is first opened.
"""

from napari_ssl_seg.volumes.geometry import Geometry, SourceGrid, geometry_mismatch
from napari_ssl_seg.volumes.intensity import Normalised, list_normalisations, normalise
from napari_ssl_seg.volumes.layers import layer_kwargs
from napari_ssl_seg.volumes.names import find_volumes, is_volume_file, natural_key, volume_stem
from napari_ssl_seg.volumes.read import read_header, read_volume
from napari_ssl_seg.volumes.volume import Volume, VolumeHeader
from napari_ssl_seg.volumes.write import write_volume

__all__ = [
    "Geometry",
    "Normalised",
    "SourceGrid",
    "Volume",
    "VolumeHeader",
    "find_volumes",
    "geometry_mismatch",
    "is_volume_file",
    "layer_kwargs",
    "list_normalisations",
    "natural_key",
    "normalise",
    "read_header",
    "read_volume",
    "volume_stem",
    "write_volume",
]
