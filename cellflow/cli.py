"""The command line: `cellflow COMMAND --help` explains each."""
# ruff: noqa: PLC0415 - a command imports what it needs, so that `--help` is there at once

import errno
import json
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

import cellflow
from cellflow.core.errors import BadInput, BlocksFailed
from cellflow.models import models
from cellflow.phantom import phantom
from cellflow.train import train

STAGES = (
    "phantom",
    "graph_phantom",
    "ingest",
    "affinities",
    "normalise",
    "predict",
    "supervoxels",
    "nuclei",
    "graph",
    "partition",
    "reconcile",
    "clean",
    "segment",
    "scores",
    "report",
    "train",
    "pick",
)
log = logging.getLogger("cellflow")

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
WORKERS = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Blocks at once.",
)


def _examples(*lines: str) -> str:
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


@click.group(context_settings=SETTINGS, epilog="""
\b
First steps:
  cellflow info data/root.h5             what is in a file, and the lines for a config
  cellflow params supervoxels            what can be set in a stage
  cellflow models list                   which trained networks there are
  cellflow plan my.yaml                  will it fit?

\b
The pipeline is run by Snakemake, in the project's folder:
  snakemake --profile profiles/local                            the demo
  snakemake --profile profiles/local --configfile my.yaml       your volume
  snakemake --profile profiles/local --configfile my.yaml -n    what would run
""")  # fmt: skip
@click.version_option(cellflow.__version__, prog_name="cellflow")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Cell segmentation of volumes too large for one machine."""


@cli.command(
    epilog=_examples("cellflow plan configs/demo.yaml --workers 8"),
    short_help="What a config will need, and whether it fits here.",
)
@click.argument("config", type=click.Path(path_type=Path))
@WORKERS
def plan(config: Path, workers: int) -> None:
    """Say what CONFIG (YAML) will need: blocks, tasks, memory, disk.

    Exit code 2 if it cannot fit, or if anything in the file or its inputs is wrong.
    """
    from cellflow.config import load
    from cellflow.plan import check, check_devices, lines, planned

    chosen = load(config)
    found = planned(chosen)
    click.echo("\n".join(lines(found, workers)))
    check(found, chosen, workers)
    check_devices(chosen)


@cli.command(
    epilog=_examples("cellflow params partition"), short_help="The manual of a stage: what can be set."
)
@click.argument("stage", metavar="STAGE", type=click.Choice([s for s in STAGES if s != "ingest"]))
def params(stage: str) -> None:
    """List the parameters of STAGE: type and range, default, what turning it up does.

    STAGE: phantom, graph_phantom, affinities, normalise, predict, supervoxels, nuclei, graph, partition,
    reconcile, clean, segment, scores, report, train, pick.
    """
    from cellflow.manual import manual

    click.echo(manual(stage, _module(stage).Params))


@cli.command(
    epilog=_examples("cellflow info data/root.h5 --dataset raw", "cellflow info data/stack.tif --axes czyx"),
    short_help="Shape, type, voxel size of a volume; lines for a config.",
)
@click.argument("path")
@click.option("--dataset", help="Array inside an HDF5 or Zarr file.")
@click.option("--axes", help="Axes of the array, such as czyx.")
def info(path: str, dataset: str | None, axes: str | None) -> None:
    """Show shape, type and voxel size of a volume, and the lines to put into a config."""
    from cellflow.engine.formats import Source, open_volume

    volume = open_volume(Source(path=path, dataset=dataset, axes=axes))
    voxel = volume.voxel_size_um
    click.echo(f"shape (z, y, x)  {' x '.join(map(str, volume.shape))}\ntype             {volume.dtype}")
    click.echo(f"voxel size (um)  {' x '.join(map(str, voxel)) if voxel else 'unknown: add voxel_size_um'}")
    inside = f", dataset: {dataset}" if dataset else ""
    click.echo(f"\nsamples:\n  {Path(path).name.split('.')[0]}:\n    raw: {{path: {path}{inside}}}")


@cli.command(
    epilog=_examples("snakemake --profile profiles/local -n -p --quiet host      prints these commands"),
    short_help="Run one stage of one sample, as the Snakemake rules do.",
)
@click.argument("name", metavar="STAGE")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("receipts", nargs=-1, type=click.Path(path_type=Path))
@click.option("--job", "content", required=True, help="JSON with params and storage, as the rules give it.")
@click.option("--speed", default="{}", help="JSON with parameters that only make it faster.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Blocks at once.")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="Where plain lines go.")
def run(  # noqa: PLR0913, PLR0917 - one argument an option
    name: str,
    folder: Path,
    receipts: tuple[Path, ...],
    content: str,
    speed: str,
    workers: int,
    log_file: Path | None,
) -> None:
    """Run one stage of one sample, FOLDER: what every Snakemake rule calls.

    STAGE may carry a suffix (ingest-raw). RECEIPTS are those of the stages it stands on. A run that was
    stopped is continued from its journal.
    """
    from cellflow.engine import heap

    os.environ.update(heap.ONE_HEAP)  # read by what is loaded later
    from cellflow.core.schema import checked
    from cellflow.engine.stage import Job, execute
    from cellflow.engine.store import Storage
    from cellflow.summary import done_line

    if log_file:
        _log_to(log_file)
    module = _module(name.split("-", maxsplit=1)[0])
    given = _job(content)
    for record, values in json.loads(speed).items():
        given["params"][record] |= values
    chosen = checked(module.Params, given["params"], name)
    job = Job(
        name,
        folder,
        chosen,
        checked(Storage, given["storage"], "storage"),
        tuple(sorted(receipt.stem for receipt in receipts)),
        private=getattr(module, "PRIVATE", ()),
        stamp=module.stamp(chosen) if hasattr(module, "stamp") else "",
    )
    execute(module, job, workers)
    click.echo(done_line(folder, name), err=True)


@cli.command(
    epilog=_examples("cellflow summary results/demo/*"),
    short_help="Scores, seconds, memory of finished samples.",
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def summary(folders: tuple[Path, ...]) -> None:
    """Print scores, seconds and peak memory of finished samples: FOLDERS are their results."""
    from cellflow.summary import table

    click.echo("\n\n".join(table(folder) for folder in folders))


cli.add_command(phantom)
cli.add_command(models)
cli.add_command(train)


def main() -> None:
    """Run a command; errors of the user's making end in one line and exit code 2."""
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler())
    logging.raiseExceptions = False  # a log on a full disk must not add a page to the one line
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        log.error("cellflow: interrupted")  # noqa: TRY400 - nobody wants the traceback of a Ctrl-C
        os._exit(130)  # threads that are in a kernel are not waited for
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        code, text = _explained(error)
        log.error("cellflow: %s", text)  # noqa: TRY400 - the traceback is for --debug
        sys.exit(code)


def _log_to(file: Path) -> None:
    """Plain lines go to the file with the time; the terminal keeps the bar, warnings and errors."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for terminal in log.handlers:
        terminal.setLevel(logging.WARNING)
    log.addHandler(handler)


def _job(content: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(content)
        return {"params": found["params"], "storage": found["storage"]}
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"--job: found {content!r:.80}, expected JSON with params and storage") from error


def _explained(error: Exception) -> tuple[int, str]:
    if isinstance(error, BadInput):
        return 2, str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" at {error.filename}" if error.filename else ""
        return 2, f"disk full{where}: free some space and run the same command again; it continues from here"
    if isinstance(error, PermissionError):
        return 2, f"{error.filename}: no permission; expected a folder you may write to"
    if isinstance(error, OSError) and error.filename:
        return 2, f"{error.filename}: {error.strerror}"
    if isinstance(error, BlocksFailed):
        return 1, str(error)
    text = " ".join(str(error).split()) or "no message"
    return 1, f"{type(error).__name__}: {text} (cellflow --debug COMMAND shows where)"


def _module(stage: str) -> ModuleType:
    if stage not in STAGES:
        raise BadInput(f"stage {stage!r}: unknown; expected one of {', '.join(STAGES)}")
    found: Any = import_module(f"cellflow.stages.{stage}")
    return found  # type: ignore[no-any-return]
