"""How long `configs/train_phantom.yaml` takes to train, and how good its network is.

    .venv/bin/python benchmarks/train.py

Scores are of a tissue that was neither learnt from nor looked at: F1 of the boundary target at 0.5, and the
adapted Rand error of cells cut by the pipeline's kernels (supervoxels, GASP), next to those of the membrane
filter and of the perfect target. CPU seconds count all threads; the machine may be shared.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil

CONFIG = Path("configs/train_phantom.yaml")


def main() -> None:
    """Train unless asked not to, then score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=77, help="of the tissue to score on")
    parser.add_argument("--keep", action="store_true", help="score the network that is there")
    chosen = parser.parse_args()
    from cellflow.training import load

    folder = load(CONFIG).folder
    if not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
        train()
    score(folder / "train" / "model.pytorch", chosen.seed)


def train() -> None:
    """Print wall and CPU seconds and the peak of the whole command."""
    wall = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "cellflow", "train", CONFIG])
    cpu, peak = 0.0, 0
    while process.poll() is None:
        try:
            cpu, peak = sum(process.cpu_times()[:2]), max(peak, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.2)
    if process.wait():
        raise SystemExit("the training failed")
    wall = time.perf_counter() - wall
    print(f"trained in {wall:.0f} s of wall time, {cpu:.0f} CPU s, peak {peak / 1e6:.0f} MB")


def score(model: Path, seed: int) -> None:
    """Print F1 and adapted Rand errors."""
    from cellflow.core.contingency import contingency_block, without
    from cellflow.core.metrics import adapted_rand_error
    from cellflow.core.phantom import phantom_block
    from cellflow.networks.model import load_model
    from cellflow.networks.spec import ModelSpec
    from cellflow.networks.training.labels import patch_labels
    from cellflow.networks.training.targets import BoundaryTarget
    from cellflow.networks.training.tiles import predicted_boundaries
    from cellflow.stages.pick.cells import Cut, cells_of
    from cellflow.stages.predict import Membrane
    from cellflow.training import load

    given = load(CONFIG).training.check[0].phantom
    phantom = given.model_copy(update={"seed": seed})
    made = phantom_block(phantom, tuple(slice(0, n) for n in phantom.shape))
    raw, voxel = made.raw.astype(np.float32), phantom.voxel_size_um
    loaded = load_model(ModelSpec(model=str(model)), "cpu")
    start = time.process_time()
    found = predicted_boundaries(loaded, (raw - raw.mean()) / raw.std())
    seconds = time.process_time() - start
    target = (
        BoundaryTarget().maps({"truth": patch_labels(made.labels, None)}, (2.0, 1.0, 1.0), None)[0][0] > 0
    )
    said = found > 127
    f1 = 2 * (said & target).sum() / (said.sum() + target.sum())
    low, high = np.percentile(raw, [1, 99.8])
    filtered = np.rint(Membrane()((raw - low) / (high - low), voxel) * 255).astype(np.uint8)
    print(f"boundary F1 {f1:.3f}; {raw.size / seconds / 1e6:.2f} Mvox a CPU second")
    maps = {"network": found, "membrane filter": filtered, "the target": np.uint8(255) * target}
    for name, boundary in {**maps, "true boundaries": made.boundaries}.items():
        errors = []
        for beta in (0.4, 0.5, 0.6, 0.7):
            cells = cells_of(boundary, Cut(beta=beta), voxel).labels
            errors.append(adapted_rand_error(without(contingency_block(made.labels, cells))).error)
        print(f"adapted Rand error, {name:<16} {min(errors):.3f} (best of beta 0.4, 0.5, 0.6, 0.7)")


if __name__ == "__main__":
    main()
