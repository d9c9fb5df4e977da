"""Cell segmentation of volumes too large for one machine."""

__version__ = "0.1.0"
