"""`cellflow train`: train a network, in one process or in several."""
# ruff: noqa: PLC0415 - a command imports what it needs: torch alone takes a second

import os
from pathlib import Path

import click


@click.command(
    epilog="""
\b
Examples:
  cellflow train configs/train_phantom.yaml
  torchrun --max-restarts 3 --nproc-per-node 4 -m cellflow train my.yaml   four GPUs
  snakemake train --profile profiles/local --configfile my.yaml
""",
    short_help="Train a network on volumes with labels.",
)
@click.argument("config", type=click.Path(path_type=Path))
def train(config: Path) -> None:
    """Train the network of CONFIG (YAML); `cellflow params train` lists what can be set.

    A training that was stopped goes on from its last save, to the same bits. One that is finished is not
    done again. RESULTS/train/model.pytorch can then be named as the model of a prediction.
    """
    from cellflow.engine.stage import execute
    from cellflow.stages import train as stage
    from cellflow.training import load

    chosen = load(config)
    made = chosen.folder / "train"
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    if chosen.done():
        if first:
            click.echo(f"{made / 'model.pytorch'}: was done before")
        return
    if not first:
        stage.follow(chosen.folder, chosen.training)
        return
    execute(stage, chosen.stage(), workers=1)
    click.echo(f"{made / 'model.pytorch'}\n{made / 'report.html'}")
