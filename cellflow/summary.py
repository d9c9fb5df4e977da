"""What a finished sample looks like in a terminal."""

import json
from collections.abc import Iterable
from pathlib import Path

from cellflow.engine.stage import is_current, read_receipt, root_path
from cellflow.stages.report import ORDER

ERROR_MARK = " cellflow: "
"""Before an error in a log, as the command line writes it."""

SCORES = {
    "adapted Rand error": "adapted_rand_error",
    "VOI split (bits)": "voi_split",
    "VOI merge (bits)": "voi_merge",
    "SEG": "seg",
    "mean average precision": "mean_average_precision",
}


def table(folder: Path) -> str:
    """Scores, then seconds and peak memory of each stage, then where to look."""
    rows = [f"{folder.name}", *_scores(folder), ""]
    rows.append(f"  {'stage':<18}{'tasks':>7}{'seconds':>10}{'worker MB':>11}{'main MB':>9}")
    total = 0.0
    for stage in (*ORDER, "report"):
        file = folder / "usage" / f"{stage}.json"
        if is_current(folder, stage) and file.exists():
            usage = json.loads(file.read_text())
            total += usage["seconds"]
            worker = usage["worker_peak_mb"] if usage["tasks"] else "-"
            row = f"  {stage:<18}{usage['tasks']:>7}{usage['seconds']:>10.1f}{worker:>11}"
            rows.append(f"{row}{usage['main_peak_mb']:>9}")
    rows += [f"  {'total':<18}{'':>7}{total:>10.1f}", ""]
    return "\n".join([*rows, f"  volumes  {root_path(folder)}", f"  report   {folder / 'report.html'}"])


def outcome(folders: Iterable[Path]) -> str:
    """The table of every sample that is finished; at the end, where eyes are, why others are not."""
    finished: list[Path] = []
    others: list[Path] = []
    for folder in folders:
        (finished if is_current(folder, "report") else others).append(folder)
    return "\n\n".join([*map(table, finished), *map(stopped, others)])


def done_line(folder: Path, stage: str) -> str:
    """One stage that has ended, for the terminal."""
    usage = json.loads((folder / "usage" / f"{stage}.json").read_text())
    tasks = f"{usage['tasks']} tasks" if usage["tasks"] else ""
    return f"{folder.name:<16}{stage:<20}{tasks:>12}{usage['seconds']:>9.1f} s"


def stopped(folder: Path) -> str:
    """Why a sample is not finished: the last word of every stage that began and has no receipt."""
    logs = [log for log in (folder / "logs").glob("*.log") if not (folder / f"{log.stem}.json").exists()]
    rows = [f"  {log.stem}: {_last_word(log)}" for log in sorted(logs, key=lambda log: log.stat().st_mtime)]
    return "\n".join([f"{folder.name}: not finished; the same command goes on from here", *rows])


def _last_word(log: Path) -> str:
    last = "".join(log.read_text(errors="replace").splitlines()[-1:])
    _, said, error = last.partition(ERROR_MARK)
    return error if said else f"stopped without an error (killed? out of memory?); log: {log}"


def _scores(folder: Path) -> list[str]:
    cells = read_receipt(folder, "clean")["result"]["cells"]
    if not is_current(folder, "scores"):
        return [f"  {'cells found':<24}{cells} (not scored yet)"]
    found = read_receipt(folder, "scores")["result"]
    rows = {"cells found": f"{cells} (no truth to compare with)"}
    if "cells_true" in found:
        rows = {"cells found / true": f"{found['cells_found']} / {found['cells_true']}"}
        rows |= {name: _number(found[key]) for name, key in SCORES.items()}
    if found["seam_excess"] is not None:
        rows["seam score"] = f"{found['seam_excess']:+.4f} ± {found['seam_noise']:.4f}"
    return [f"  {name:<24}{value}" for name, value in rows.items()]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
