"""The prediction stage beside the bare forward passes of the same tiles, and how much of a tile is useful.

    .venv/bin/python benchmarks/predict.py
    .venv/bin/python benchmarks/predict.py --size 1024 --f-maps 32 --levels 4 --device cuda --workers 8

The stage is the command that Snakemake runs: it starts Python and workers, loads torch and the model, tries a
tile, reads a Zarr and writes one with its pyramid. The forward passes run in as many processes, which are
ready before the clock starts, on noise in memory. Both take turns; ratios are medians. Asked: the stage makes
at least 0.85 of the voxels per second of the bare passes on 2 CPU cores, 0.9 on a GPU. On a machine that is
shared, seconds of CPU say more than those of the clock.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import suppress
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

os.environ.update(OMP_NUM_THREADS="1")

FOLDER = Path("results/benchmark/predict")
ASKED = {"cpu": 0.85, "cuda": 0.9}


def main() -> None:
    """Run and print the table; exit code 1 if the stage is slower than asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, help="voxels a side of the phantom")
    parser.add_argument("--f-maps", type=int, default=16, help="of the network's first level")
    parser.add_argument("--levels", type=int, default=3, help="of the network")
    parser.add_argument("--block", type=int, default=128, help="voxels a side of a block")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--repeat", type=int, default=1)
    chosen = parser.parse_args()
    predictor = {"name": "network", "model": model(chosen.f_maps, chosen.levels), "device": chosen.device}
    predictor |= {"precision": chosen.precision}
    folder, storage = sample(chosen.size, chosen.block)
    rounds = []
    for _ in range(chosen.repeat):
        staged, receipt = stage(folder, predictor, storage, chosen.workers)
        tiles = {"core": receipt["tile"], "size": chosen.size, "predictor": predictor}
        bare = passes(tiles, receipt["processes"])
        rounds.append((staged, bare))
    sys.exit(0 if table(rounds, receipt, chosen) else 1)


def model(f_maps: int, levels: int) -> str:
    """A network of random weights: how fast it is does not depend on them."""
    import torch
    import yaml

    from cellflow.networks.architecture import Architecture
    from cellflow.networks.unet import UNet

    path = FOLDER / f"f{f_maps}-l{levels}" / "model.pytorch"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    a = Architecture.model_validate({"f_maps": f_maps, "num_levels": levels, "heads": [{"name": "boundary"}]})
    torch.save({"model_state_dict": UNet(a).state_dict()}, path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump({"architecture": a.model_dump(mode="json")}))
    return str(path)


def sample(size: int, block: int) -> tuple[Path, dict[str, Any]]:
    """A folder that has all that a prediction stands on."""
    folder = FOLDER / f"tissue-{size}"
    storage = {"block": [block] * 3, "chunk": [min(64, block)] * 3}
    raw = folder / "phantom" / "raw"
    for stage_, params, before in [
        ("phantom", {"shape": [size] * 3}, []),
        ("ingest-raw", {"role": "raw", "source": {"path": str(raw)}}, ["phantom"]),
        ("normalise", {}, ["ingest-raw"]),
    ]:
        if not (folder / f"{stage_}.json").exists():
            run(folder, stage_, {"params": params, "storage": storage}, before)
    return folder, storage


def run(
    folder: Path, name: str, job: dict[str, Any], before: list[str], workers: int = 2
) -> dict[str, float]:
    """A stage, as Snakemake runs it: seconds of the whole command and of its CPUs."""
    command = [sys.executable, "-m", "cellflow", "run", name, str(folder)]
    command += [str(folder / f"{stage_}.json") for stage_ in before]
    command += ["--job", json.dumps(job), "--workers", str(workers), "--log", str(folder / "log")]
    start = time.perf_counter()
    process = psutil.Popen(command)
    cpu: dict[int, float] = {}
    # Workers are not waited for by the command, so their seconds are looked up while they run.
    while process.poll() is None:
        with suppress(psutil.Error):
            cpu |= {one.pid: cpu_seconds(one) for one in (process, *process.children(recursive=True))}
        time.sleep(0.2)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"wall": time.perf_counter() - start, "cpu": sum(cpu.values())}


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process so far."""
    used = process.cpu_times()
    return used.user + used.system


def stage(
    folder: Path, predictor: dict[str, Any], storage: dict[str, Any], workers: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds of the stage, and what its receipt says."""
    job = {"params": {"predictor": predictor}, "storage": storage}
    (folder / "predict.json").unlink(missing_ok=True)
    spent = run(folder, "predict", job, ["normalise"], workers)
    receipt = json.loads((folder / "predict.json").read_text())["result"]
    on_cpu = predictor["device"] == "cpu"
    return spent, receipt | {"processes": min(workers, receipt["tiles"]) if on_cpu else 1}


def passes(tiles: dict[str, Any], processes: int) -> dict[str, float]:
    """Seconds of all tiles through the network and of their CPUs, shared out among the processes."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes + 1), context.SimpleQueue()
    workers = [
        context.Process(target=forward, args=(tiles, range(i, 1 << 30, processes), ready, results))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    wall = time.perf_counter()
    cpu = sum(results.get() for _ in workers)
    wall = time.perf_counter() - wall
    for worker in workers:
        worker.join()
    return {"wall": wall, "cpu": cpu}


def forward(tiles: dict[str, Any], numbers: range, ready: "Barrier", results: "SimpleQueue[float]") -> None:
    """Compute these tiles, nothing else; tell the CPU seconds."""
    import torch

    from cellflow.core.tiles import Tile
    from cellflow.networks.outputs import Setting
    from cellflow.networks.session import Session
    from cellflow.stages.predict.network import Network, facts_of

    p = Network.model_validate(tiles["predictor"])
    facts = facts_of(p)
    lattice = facts.lattice((tiles["size"],) * 3, p, tuple(tiles["core"]))
    running = Session(p.spec, Setting(facts.outputs, p.device, p.precision))
    torch.set_num_threads(1)
    kind = p.device.split(":", maxsplit=1)[0]
    noise = torch.randn(1, 1, *lattice.largest_outer, device=p.device)

    def one(tile: Tile) -> None:
        z, y, x = tile.outer_shape
        running.forward(noise[:, :, :z, :y, :x], tile.inner)

    mine = [lattice[number] for number in range(len(lattice)) if number in numbers]
    with torch.inference_mode():
        one(mine[-1])
        wait = torch.cuda.synchronize if kind == "cuda" else lambda: None
        wait()
        ready.wait()
        cpu = time.process_time()
        for tile in mine:
            one(tile)
        wait()
        results.put(time.process_time() - cpu)


def table(rounds: list[Any], receipt: dict[str, Any], chosen: argparse.Namespace) -> bool:
    """Print what was measured; whether the stage is as fast as asked."""
    voxels = chosen.size**3
    sides = zip(receipt["tile"], receipt["halo"], strict=True)
    outer = [min(core, chosen.size) + 2 * halo for core, halo in sides]
    useful = prod(min(core, chosen.size) for core in receipt["tile"]) / prod(outer)
    print(f"\n{receipt['tiles']} tiles of {receipt['tile']}, halo {receipt['halo']}: {useful:.1%} useful")
    print(f"{'':22}{'clock s':>9}{'CPU s':>9}{'Mvox/s':>9}{'Mvox/CPU s':>12}")
    for name, i in (("stage", 0), ("bare forward passes", 1)):
        wall, cpu = (median(one[i][kind] for one in rounds) for kind in ("wall", "cpu"))
        speed = voxels / 1e6
        print(f"{name:22}{wall:>9.1f}{cpu:>9.1f}{speed / wall:>9.2f}{speed / cpu:>12.3f}")
    ratios = {kind: [bare[kind] / staged[kind] for staged, bare in rounds] for kind in ("wall", "cpu")}
    for kind, found in ratios.items():
        each = ", ".join(f"{one:.2f}" for one in found)
        print(f"stage over bare passes by {'the clock' if kind == 'wall' else 'CPU seconds'}: "
              f"{median(found):.2f} ({each})")  # fmt: skip
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return median(ratios["wall"]) >= ASKED[chosen.device.split(":", maxsplit=1)[0]]


if __name__ == "__main__":
    main()
