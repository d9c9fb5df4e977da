"""`cellflow phantom`: make a synthetic tissue, or a graph, with its truth."""
# ruff: noqa: PLC0415 - a command imports what it needs, so that `--help` is there at once

import os
from pathlib import Path
from typing import Any

import click

from cellflow.core.errors import BadInput


@click.command(
    epilog="""
\b
Examples:
  cellflow phantom data/tissue --shape 256 512 512 --seed 3 --set photons=20
  cellflow phantom data/rag --graph --set edges=10000000
""",
    short_help="Make a synthetic tissue, or graph, with its truth.",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--graph", is_flag=True, help="A region adjacency graph in place of a volume.")
@click.option("--shape", nargs=3, type=int, default=(192, 256, 256), show_default=True, help="Voxels z y x.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another phantom.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any of `cellflow params phantom`.")
@click.option("--block", nargs=3, type=int, default=(128, 128, 128), show_default=True, help="Voxels a task.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Blocks at once.",
)
def phantom(  # noqa: PLR0913, PLR0917 - one argument an option
    folder: Path,
    graph: bool,
    shape: tuple[int, ...],
    seed: int,
    more: tuple[str, ...],
    block: tuple[int, ...],
    workers: int,
) -> None:
    """Make a synthetic tissue: FOLDER/phantom/{raw,truth,boundaries,nuclei}, Zarr arrays.

    With --graph a region adjacency graph alone (`cellflow params graph_phantom`): FOLDER/graph/table and its
    receipt, on which `cellflow run partition` can stand. The same seed gives the same bits. Any size.
    """
    from cellflow.core.schema import checked
    from cellflow.engine.stage import Job, execute
    from cellflow.engine.store import Storage
    from cellflow.stages import graph_phantom
    from cellflow.stages import phantom as tissue

    if graph:
        _refuse_voxels(click.get_current_context())
    given = {"seed": seed, **_settings(more)}
    module: Any = graph_phantom if graph else tissue
    chosen = checked(module.Params, given if graph else {"shape": shape, **given}, "phantom")
    storage = checked(Storage, {"block": block, "chunk": [_chunk(b) for b in block]}, "phantom")
    stage, made = ("graph", "table") if graph else ("phantom", "raw, truth, boundaries, nuclei")
    execute(module, Job(stage, folder, chosen, storage), workers)
    click.echo(f"{folder / stage}: {made}")


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says, values read as YAML."""
    import yaml

    try:
        return {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    except yaml.YAMLError as error:
        raise BadInput(f"--set: found {' '.join(pairs)}, expected KEY=VALUE with a YAML value") from error


def _refuse_voxels(context: click.Context) -> None:
    """A graph has no voxels: an option that would do nothing is an error."""
    for name in ("shape", "block"):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise BadInput(f"--{name}: found with --graph, expected without; its size is --set edges=NUMBER")


def _chunk(block: int) -> int:
    """The largest chunk of at most 64 voxels that divides a block."""
    return next(n for n in range(min(64, block), 0, -1) if block % n == 0)
