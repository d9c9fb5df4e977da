# Before and after a run: is there room, is the folder free, and what is said.
import logging

from snakemake.logging import LogEvent, logger
from snakemake.settings.enums import Quietness

from cellflow.plan import check, check_devices, planned
from cellflow.summary import outcome


onstart:
    # Here and not above: a dry run neither needs the folder to itself nor room for the results.
    try:
        lock.hold(Path(RESULTS) / ".locks" / "run", f"results folder {RESULTS}")
        check(planned(CONFIG), CONFIG, workflow.cores or 1)
        if workflow.local_exec:  # elsewhere jobs may run on nodes that have a GPU
            check_devices(CONFIG)
    except BadInput as error:
        raise WorkflowError(str(error)) from None
    if Quietness.RULES in workflow.output_settings.quiet:
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(worth_a_line)


onsuccess:
    print(outcome(map(CONFIG.folder, CONFIG.samples)))


onerror:
    print(outcome(map(CONFIG.folder, CONFIG.samples)))


def worth_a_line(record):
    """Of what Snakemake says while stages run: how many are done, warnings, errors that no stage explains."""
    if getattr(record, "exception", None) == "RuleException":
        return False  # the whole command again; the stage has said what was wrong
    return record.levelno > logging.INFO or getattr(record, "event", None) == LogEvent.PROGRESS
