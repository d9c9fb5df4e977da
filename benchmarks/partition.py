"""Speed, memory, energy and scores of every solver on three kinds of graphs, next to library calls.

    .venv/bin/python benchmarks/partition.py --edges 1000000 --file neuropil_fibsem.h5
    .venv/bin/python benchmarks/partition.py --file neuropil_fibsem.h5 --tune [--recut]

Each call runs in a fresh process of one thread, on a graph that it is given, after a first call on a tiny
graph. Columns: millions of edges per CPU second and CPU seconds (not wall: other programs may run), peak
bytes an edge above the process that holds the graph, the multicut objective (lower is better; for lifted
problems with their pairs), adapted Rand error and variation of information in bits (split, merge). Lifted
problems are told of some pairs whether they belong together, nine in ten rightly: compare them only with
each other.

`--tune` finds the beta of each call on the first half of the file's volume and scores the second half.
"""

import argparse
import ctypes
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", MALLOC_ARENA_MAX="1")

import numpy as np
import partition_peers as peers
import partition_problems as problems
from partition_problems import Labels, Problem

from cellflow.core.graphs import Graph, cut_edges
from cellflow.solvers import Solver

BETAS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MORE: dict[str, list[dict[str, Any]]] = {"multicut": [{"proposals": 0}, {"proposals": 8}]}
"""Parameters worth a row, beside the defaults and every value of a choice."""
WIDTHS = {"M edges/s": 10, "CPU s": 9, "B/edge": 8, "energy": 16, "error": 8, "split": 8, "merge": 8}
HEAD = "".join(f"{name:>{width}}" for name, width in WIDTHS.items()) + f"{'segments':>10}"


@dataclass(frozen=True)
class Case:
    """One row: a solver of this package with its parameters, or a library call for the same problem."""

    group: str
    library: str
    name: str
    solver: Any = None

    @property
    def lifted(self) -> bool:
        """Whether the problem has lifted pairs."""
        return "lifted" in self.group

    def labels(self, graph: Graph, beta: float) -> Labels:
        """Solve it."""
        if self.solver is None:
            return peers.PEERS[self.group][self.library, self.name](graph, beta)
        return (self.solver.model_copy(update=self.with_beta(graph, beta)))(graph).labels

    def with_beta(self, graph: Graph, beta: float) -> dict[str, float]:
        """Parameters that follow beta; lifted pairs cost what they cost the libraries."""
        if not self.lifted:
            return {"beta": beta} if "beta" in type(self.solver).model_fields else {"threshold": 1 - beta}
        costs = np.abs(peers.costs_of(graph, beta))
        return {"beta": beta, "weight": float(costs.mean() / costs.max())}


def main() -> None:
    """Print a table for each graph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, default=100_000, help="of the graph phantom; 0: none")
    parser.add_argument("--size", type=int, default=192, help="voxels a side of the voxel phantom; 0: none")
    parser.add_argument("--file", type=Path, help="HDF5 file with boundary, supervoxels, label")
    parser.add_argument("--beta", type=float, default=0.5)
    parser.add_argument("--only", nargs="+", help="names of solvers, such as multicut")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a call is stopped")
    parser.add_argument("--tune", action="store_true", help="choose beta on one half, score the other")
    parser.add_argument("--recut", action="store_true", help="with supervoxels of our own, not the file's")
    chosen = parser.parse_args()
    wanted = [c for c in cases() if not chosen.only or c.group in chosen.only]
    if not peers.elf_is_there():
        print("python-elf is not installed: compared without it")
        wanted = [c for c in wanted if c.library != peers.ELF]
    if chosen.tune and not chosen.file:
        parser.error("--tune: found no --file, expected one: the halves are those of its volume")
    if chosen.tune:
        tune(chosen.file, wanted, recut=chosen.recut)
        return
    if chosen.size:
        compare(problems.voxel_phantom(chosen.size), wanted, chosen)
    if chosen.file:
        compare(problems.from_file(chosen.file, recut=chosen.recut), wanted, chosen)
    if chosen.edges:
        compare(problems.graph_phantom(chosen.edges), wanted, chosen)


def cases() -> Iterator[Case]:
    """Every solver of the union, each followed by the library calls for its problem."""
    models = {model.model_fields["name"].default: model for model in get_args(get_args(Solver)[0])}
    for group in sorted({*models, *peers.PEERS}):
        for given in variants(group, models[group]) if group in models else ():
            name = ", ".join(f"{key}={value}" for key, value in given.items()) or "defaults"
            yield Case(group, "cellflow", name, models[group](**given))
        for library, name in peers.PEERS.get(group, {}):
            yield Case(group, library, name)


def variants(group: str, model: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a class of the union
    """The defaults, every other value of every choice, and what is worth a row besides."""
    found: list[dict[str, Any]] = [{}]
    for key, field in model.model_fields.items():
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        values = (False, True) if field.annotation is bool else values
        found += [{key: value} for value in values if value != field.default and key != "name"]
    return found + [given for given in MORE.get(group, []) if given.keys() <= model.model_fields.keys()]


def compare(problem: Problem, wanted: list[Case], chosen: argparse.Namespace) -> None:
    """One table: all cases on one graph."""
    edges = len(problem.graph.edges)
    print(f"\n{problem.name}, {problem.graph.n_nodes:,} nodes, beta {chosen.beta}\n{'':46}{HEAD}")
    with tempfile.TemporaryDirectory() as folder:
        files = {lifted: Path(folder) / f"{lifted}.npz" for lifted in {case.lifted for case in wanted}}
        for lifted, file in files.items():
            problems.save(problems.with_lifted(problem) if lifted else problem, file)
        del problem
        group = ""
        for case in wanted:
            if case.group != group:
                group = case.group
                print(group)
            found = measured(case, files[case.lifted], chosen.beta, chosen.limit)
            print(f"  {case.library:<14}{case.name:<30}{row(found, edges)}", flush=True)


def row(found: dict[str, Any] | str, edges: int) -> str:
    """The columns, or why there are none."""
    if isinstance(found, str):
        return found
    scores = "".join(
        "       -" if found[k] is None else f"{found[k]:>8.4f}" for k in ("error", "split", "merge")
    )
    speed, each = edges / 1e6 / max(found["seconds"], 1e-9), found["bytes"] / edges
    return (
        f"{speed:>10.2f}{found['seconds']:>9.3f}{each:>8.0f}{found['energy']:>16.2f}"
        f"{scores}{found['segments']:>10}"
    )


def measured(case: Case, file: Path, beta: float, limit: float) -> dict[str, Any] | str:
    """What a fresh process found, or why it found nothing."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(case, file, beta, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] | str = here.recv() if here.poll(limit) else f"stopped after {limit:.0f} s"
    except EOFError:
        process.join()
        found = f"ended with exit code {process.exitcode}"  # -9: out of memory
    process.kill()
    process.join()
    return found


def child(case: Case, file: Path, beta: float, answer: Connection) -> None:
    """Solve a tiny problem for the compiler, then the one in the file for the clock."""
    try:
        tiny = problems.graph_phantom(2000)
        case.labels((problems.with_lifted(tiny) if case.lifted else tiny).graph, beta)
        problem = problems.load(file)
        labels, seconds, peak = timed(case, problem.graph, beta)
        # Of short times the best of several; the first may have compiled what a tiny graph has no use for.
        for _ in range(1 if 1 < seconds < 60 else 4 if seconds < 1 else 0):
            _, again, other = timed(case, problem.graph, beta)
            seconds, peak = min(seconds, again), min(peak, other)
        found = {"seconds": seconds, "bytes": peak, "segments": len(np.unique(labels))}
        answer.send({**found, "energy": energy(problem.graph, labels, beta), **problem.scores(labels)})
    except Exception as error:  # noqa: BLE001 - libraries raise what they like; the row says it
        answer.send(f"{type(error).__name__}: {error}"[:90])


def timed(case: Case, graph: Graph, beta: float) -> tuple[Labels, float, int]:
    """Labels, CPU seconds, and peak bytes above those of the process before."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before, start = start_of_peak(), time.process_time()
    labels = case.labels(graph, beta)
    return labels, time.process_time() - start, resident("VmHWM") - before


def start_of_peak() -> int:
    """Bytes of this process now; from here on its peak is counted (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(what: str) -> int:
    """Bytes that the system counts for this process: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


def energy(graph: Graph, labels: Labels, beta: float) -> float:
    """Costs of the edges and of the lifted pairs that are cut, by the costs that all are given."""
    total = peers.costs_of(graph, beta).sum(where=cut_edges(graph, labels))
    if graph.lifted is not None:
        u, v = graph.lifted.edges.T
        total += peers.lifted_costs_of(graph, beta).sum(where=labels[u] != labels[v])
    return float(total)


def tune(file: Path, wanted: list[Case], *, recut: bool) -> None:
    """Adapted Rand error by beta on the first half; that of the best beta on the second."""
    first, second = (problems.from_file(file, part, recut=recut) for part in ("first", "second"))
    print(f"{first.name}: adapted Rand error by beta; {second.name}: scores at the best\n")
    columns = "".join(f"{beta:>7}" for beta in BETAS)
    print(f"{'':46}{columns}{'best':>8}{'error':>9}{'split':>8}{'merge':>8}")
    for case in wanted:
        halves = [problems.with_lifted(half) if case.lifted else half for half in (first, second)]
        errors = [halves[0].scores(case.labels(halves[0].graph, beta))["error"] for beta in BETAS]
        best = BETAS[min(range(len(BETAS)), key=lambda i: errors[i])]
        scores = halves[1].scores(case.labels(halves[1].graph, best))
        cells = "".join(f"{error:>7.3f}" for error in errors)
        last = f"{best:>8}{scores['error']:>9.3f}{scores['split']:>8.3f}{scores['merge']:>8.3f}"
        print(f"{case.group:<16}{case.library[:12]:<13}{case.name[:16]:<17}{cells}{last}", flush=True)


if __name__ == "__main__":
    main()
