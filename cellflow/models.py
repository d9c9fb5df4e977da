"""`cellflow models`: which networks there are, what one is like, whether a file can be used."""
# ruff: noqa: PLC0415 - a command imports what it needs: torch alone takes a second

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cellflow.networks.model import Description
    from cellflow.networks.normalisation import Normalisation
    from cellflow.networks.spec import ModelSpec

SHA256 = click.option("--sha256", help="Digest that the file must have; needed for an address.")
ARCHITECTURE = click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    help="YAML file that says what the network looks like, where none lies beside the weights: "
    "`architecture: {name: UNet3D, f_maps: 32, ...}`, or pytorch-3dunet's config_train.yml.",
)


def _examples(*lines: str) -> str:
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


@click.group(short_help="Trained networks: which there are, which can be used.", epilog="""
\b
Examples:
  cellflow models list
  cellflow models describe generic_light_sheet_3D_unet
  cellflow models check trained/best_checkpoint.pytorch
  cellflow models check package.zip                                  from bioimage.io
  cellflow models check https://example.org/net.pytorch --sha256 3f1c... --architecture net.yaml

\b
A model is one of
  a name        of `cellflow models list`: ours, and PlantSeg's networks, which are downloaded once
  a file        weights that torch saved, with config_train.yml or NAME.yaml beside it
  a folder      of pytorch-3dunet or PlantSeg (best_checkpoint.pytorch, config_train.yml)
  a package     of BioImage.IO, folder or zip, with weights for PyTorch
  an address    of a file, with its digest
Weights are data: no code in a file or a package is ever run.
""")  # fmt: skip
def models() -> None:
    """Networks that find boundaries, nuclei, affinities: which there are, and whether one can be used.

    Downloads lie in ~/.cache/cellflow/models ($XDG_CACHE_HOME), are continued where they broke off, and are
    compared with their digest at each use.
    """


@models.command(
    "list", epilog="\b\nExample:\n  cellflow models list", short_help="The models that go by a name."
)
def list_() -> None:
    """List the models that go by a name, and which of them are on this machine already.

    The first come with cellflow and are small; all others are PlantSeg's, published on Zenodo. Take one whose
    voxel size is near that of your volume.
    """
    from cellflow.networks.sources import find, listed, shipped
    from cellflow.networks.spec import ModelSpec

    rows: list[tuple[str, ...]] = [("name", "axes", "predicts", "voxel z y x (um)", "here", "from")]
    for name in shipped():
        found = find(ModelSpec(model=name))
        heads = ", ".join(head.name for head in found.architecture.heads)
        voxel = " ".join(f"{size:g}" for size in found.voxel_size_um or ())
        rows.append((name, f"{found.architecture.dims}D", heads, voxel, "yes", "cellflow"))
    for name, entry in listed().items():
        record = "zenodo " + entry.url.split("/files/")[0].rpartition("/")[2]
        voxel = " ".join(f"{size:g}" for size in entry.voxel_size_um)
        here = "yes" if entry.here else "no"
        rows.append((name, f"{entry.dims}D", entry.predicts, voxel, here, record))
    click.echo("\n".join(_table(rows)))


@models.command(
    "describe",
    epilog=_examples(
        "cellflow models describe generic_confocal_3D_unet", "cellflow models describe package.zip"
    ),
    short_help="What is known of a model, without reading its weights.",
)
@click.argument("model")
@SHA256
@ARCHITECTURE
def describe_(model: str, sha256: str | None, architecture: Path | None) -> None:
    """Say what is known of MODEL: what it predicts, from what images, how tiles must overlap.

    A name of the list is not downloaded for that: what its own files say is added once they are here.
    """
    from cellflow.networks.sources import find, listed

    entry = listed().get(model)
    if entry and not entry.here:
        voxel = " x ".join(f"{size:g}" for size in entry.voxel_size_um)
        click.echo(f"{model}: {entry.description}\npredicts         {entry.predicts}, {entry.dims}D")
        click.echo(
            f"voxel size (um)  {voxel}\nmicroscope       {entry.modality}\nfrom             {entry.url}"
        )
        click.echo(f"here             no; `cellflow models check {model}` downloads it and says the rest")
        return
    found = find(_spec(model, sha256, architecture))
    from cellflow.networks.model import describe

    click.echo("\n".join([f"{model}: {found.about or found.where}", *_lines(describe(found))]))


@models.command(
    epilog=_examples(
        "cellflow models check generic_confocal_3D_unet", "cellflow models check best_checkpoint.pytorch"
    ),
    short_help="Load a model strictly and say what it is like.",
)
@click.argument("model")
@SHA256
@ARCHITECTURE
def check(model: str, sha256: str | None, architecture: Path | None) -> None:
    """Load MODEL, each key in its shape, and say what it is like; downloads it first if that is needed.

    Exit code 2 and one line if it cannot be used: the first key that does not fit, a wrong digest, code in
    the file, no network.
    """
    spec = _spec(model, sha256, architecture)
    from cellflow.networks.model import load_model

    found = load_model(spec, "cpu")
    count = sum(weights.numel() for weights in found.network.parameters())
    click.echo("\n".join([f"{model}: can be used", *_lines(found.description)]))
    click.echo(f"weights          {count:,} numbers, each key in its shape\nsha256           {found.sha256}")


def _spec(model: str, sha256: str | None, architecture: Path | None) -> "ModelSpec":
    from cellflow.core.schema import checked
    from cellflow.networks.sources.trained import architecture_in
    from cellflow.networks.spec import ModelSpec

    shape = architecture_in(architecture) if architecture else None
    return checked(ModelSpec, {"model": model, "sha256": sha256, "architecture": shape}, "model")


def _lines(found: "Description") -> list[str]:
    a = found.architecture
    heads = [f"{h.name}: {h.channels} channel{'s' * (h.channels > 1)}, {h.activation}" for h in found.heads]
    because = " and ".join(found.tile_dependent)
    rows = {
        "network": f"{a.name}, layers {a.layer_order}, {' '.join(map(str, a.maps))} feature maps",
        "channels in": str(found.in_channels),
        "predicts": "; ".join(heads),
        "reach": f"{_by(found.reach)} voxels along z, y, x on each side: the halo of a tile",
        "pooling": f"{_by(found.pooling)}: tiles start at multiples of it, and are as long as multiples",
        "tiles": f"leave seams: {because} looks at the tile" if because else "leave no seams",
        "intensities": _expected(found.normalisation),
        "voxel size (um)": _by(found.voxel_size_um) if found.voxel_size_um else "unknown",
    }
    return [f"{name:<15}  {text}" for name, text in rows.items()]


def _expected(found: "Normalisation") -> str:
    if found.name == "mean_std":
        return "mean 0 and standard deviation 1 over the volume"
    if found.name == "percentile":
        return f"percentiles {found.low:g} and {found.high:g} of the volume become 0 and 1"
    return (
        f"(raw - {found.offset:g}) / {found.scale:g}"
        if (found.offset, found.scale) != (0, 1)
        else "as they are"
    )


def _by(sizes: Iterable[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
