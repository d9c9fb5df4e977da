"""What a TIFF file says about its axes and its voxel size."""

import tifffile

from cellflow.engine.formats.units import micrometres

_GUESS = {2: "yx", 3: "zyx", 4: "tzyx"}


def axes_of(axes: str) -> str | None:
    """Our letters for tifffile's; samples (RGB) are channels. None where the file does not name its axes.

    A plain stack has pages of unknown meaning (I, Q): next to samples they are taken as z, else the
    caller's default decides.
    """
    ours = axes.lower().replace("s", "c")
    if set(ours) <= set("tczyx"):
        return ours
    if axes.count("S") == 1 and len(axes) - 1 in _GUESS:
        rest = iter(_GUESS[len(axes) - 1])
        return "".join("c" if a == "S" else next(rest) for a in axes)
    return None


def sizes_um(file: tifffile.TiffFile) -> dict[str, float]:
    """Voxel size by axis letter, where OME or ImageJ metadata give it.

    The resolution of a plain TIFF is not believed: it is that of a printer (72 dpi).
    """
    if file.is_ome:
        found = _ome(file)
    elif file.is_imagej:
        found = _imagej(file)
    else:
        return {}
    return {axis: size for axis, size in found.items() if size is not None}


def _ome(file: tifffile.TiffFile) -> dict[str, float | None]:
    image = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    return {
        axis.lower(): micrometres(
            pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")
        )
        for axis in "ZYX"
    }


def _imagej(file: tifffile.TiffFile) -> dict[str, float | None]:
    metadata, tags = file.imagej_metadata or {}, file.pages.first.tags
    unit = metadata.get("unit")
    found = {"z": micrometres(metadata.get("spacing"), unit)}
    for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
        pixels, length = tags.valueof(tag, default=(0, 1))
        found[axis] = micrometres(length / pixels, unit) if pixels else None
    return found
