"""Read any microscopy volume lazily: HDF5, Zarr, OME-Zarr, TIFF, folders of TIFF slices.

Each format has one module, which answers with `Stored`; `volume` puts the axes in order. Inputs are
opened read-only.
"""

from cellflow.engine.formats.fingerprint import fingerprint
from cellflow.engine.formats.volume import Source, Volume, open_volume

__all__ = ["Source", "Volume", "fingerprint", "open_volume"]
