"""How good the membrane network is, next to the filter that needs no training.

    .venv/bin/python benchmarks/networks.py noise              # tissues of five noise levels, none trained on
    .venv/bin/python benchmarks/networks.py leave-out root     # a real volume, by a network that never saw it
    .venv/bin/python benchmarks/networks.py leave-out ovule

`noise` cuts cells with the pipeline's kernels (supervoxels, GASP) at four levels of beta, two of threshold;
the best counts, for each map. An untrained network of the same shape is the control. `leave-out` trains as
`configs/tune_membrane.yaml` says, but without that volume, and runs the pipeline on it with both predictors.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import yaml

MODEL = "membrane3d"
TRAINING = Path("configs/tune_membrane.yaml")
FOLDER = Path("results/benchmark")
BETAS, THRESHOLDS = (0.4, 0.5, 0.6, 0.7), (0.25, 0.4)
PHOTONS = (80, 40, 20, 10, 5)
FILTER = {"sigmas": [1], "window": 8, "level": 1.3}
"""Set by hand on a phantom: that of `configs/demo.yaml`."""


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["noise", "leave-out"])
    parser.add_argument("sample", nargs="?", choices=["root", "ovule"])
    parser.add_argument("--model", default=MODEL, help="of noise: the network")
    parser.add_argument("--keep", action="store_true", help="of leave-out: use the network that is there")
    chosen = parser.parse_args()
    if chosen.what == "noise":
        noise(chosen.model)
    else:
        leave_out(chosen.sample, keep=chosen.keep)


def noise(model: str) -> None:
    """Adapted Rand error by photons."""
    from cellflow.core.phantom import Phantom, phantom_block
    from cellflow.stages.predict import Membrane

    trained, untrained = networks(model)
    print(f"{'photons':>8}{'network':>10}{'filter':>10}{'untrained':>11}{'true boundaries':>17}")
    for photons in PHOTONS:
        errors = []
        for seed in (901, 902):
            phantom = Phantom(shape=(64, 160, 160), photons=photons, seed=seed)
            made = phantom_block(phantom, tuple(slice(0, n) for n in phantom.shape))
            raw, voxel = made.raw.astype(np.float32), phantom.voxel_size_um
            low, high = np.percentile(raw, [1, 99.8])
            image = (raw - raw.mean()) / raw.std()
            filtered = np.rint(Membrane(**FILTER)((raw - low) / (high - low), voxel) * 255).astype(np.uint8)
            maps = (trained(image), filtered, untrained(image), made.boundaries)
            errors.append([error(one, made.labels, voxel) for one in maps])
        a, b, c, d = np.mean(errors, axis=0)
        print(f"{photons:>8}{a:>10.3f}{b:>10.3f}{c:>11.3f}{d:>17.3f}", flush=True)


def networks(model: str):  # noqa: ANN201
    """What makes boundary maps (uint8) of normalised images: the model, and one with random weights."""
    import torch

    from cellflow.networks.model import load_model
    from cellflow.networks.spec import ModelSpec
    from cellflow.networks.training.tiles import predicted_boundaries

    trained, untrained = (load_model(ModelSpec(model=model), "cpu") for _ in range(2))
    torch.manual_seed(0)
    for module in untrained.network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return (lambda image: predicted_boundaries(trained, image)), (
        lambda image: predicted_boundaries(untrained, image)
    )


def error(boundary, truth, voxel) -> float:  # noqa: ANN001
    """The lowest adapted Rand error of these cuts."""
    from cellflow.core.contingency import contingency_block, without
    from cellflow.core.metrics import adapted_rand_error
    from cellflow.stages.pick.cells import Cut, cells_of

    cuts = [Cut(beta=beta, threshold=threshold) for beta in BETAS for threshold in THRESHOLDS]
    cut = [cells_of(boundary, one, voxel).labels for one in cuts]
    return min(adapted_rand_error(without(contingency_block(truth, cells))).error for cells in cut)


def leave_out(sample: str, *, keep: bool) -> None:
    """Train without a volume, then segment it with that network and with the filter of its config."""
    training = yaml.safe_load(TRAINING.read_text())
    kept = [one for one in training["training"]["train"] if sample not in one.get("raw", {}).get("path", "")]
    if len(kept) == len(training["training"]["train"]):
        raise SystemExit(f"{TRAINING}: found no volume of {sample}")
    training["training"]["train"] = kept
    training["results"] = str(FOLDER / f"train-without-{sample}")
    model = Path(training["results"]) / "train" / "model.pytorch"
    if not (keep and model.exists()):
        run("-m", "cellflow", "train", written(training, f"train-without-{sample}"))
    config = yaml.safe_load(Path(f"configs/{sample}.yaml").read_text())
    for name, predictor in (
        ("filter", config["stages"].get("predict", {}).get("predictor", {"name": "membrane"})),
        ("network", {"name": "network", "model": str(model)}),
    ):
        one = json.loads(json.dumps(config))
        one["results"] = str(FOLDER / f"{sample}-{name}")
        one["stages"]["predict"] = {"predictor": predictor}
        if name == "network":
            one["stages"].pop("normalise", None)  # it knows what it was trained on
        path = written(one, f"{sample}-{name}")
        run("-m", "snakemake", "--profile", "profiles/local", "--configfile", path)
        scores = json.loads((Path(one["results"]) / sample / "scores.json").read_text())["result"]
        print(f"{sample}, {name}: adapted Rand error {scores['adapted_rand_error']:.3f}", flush=True)


def written(config: dict, name: str) -> str:  # type: ignore[type-arg]
    """The path of a config made for this."""
    path = FOLDER / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return str(path)


def run(*arguments: str) -> None:
    """A command of this environment."""
    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == "__main__":
    main()
