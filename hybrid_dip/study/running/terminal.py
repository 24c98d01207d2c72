"""A study run in front of a person: with a board, and with a sentence on how it ended."""

from concurrent.futures import Executor

from hybrid_dip.errors import Interrupted, SettingsError, interruptible
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.running.board import Board
from hybrid_dip.study.running.machine import core_count
from hybrid_dip.study.running.run import Tally, run_study
from hybrid_dip.study.running.store import Store


def run_with_board(plan: Plan, store: Store, executor: Executor, count: int, *, retry_failed: bool, quiet: bool) -> Tally:
    """Do the runs of a study, and show how it goes on. Ctrl-C has what is going on saved.

    Args:
        plan: The study.
        store: Its folder.
        executor: Where runs are submitted.
        count: Runs at a time; 0 where the executor decides.
        retry_failed: Whether to do those again that ended with an error.
        quiet: Whether to show nothing.

    Returns:
        What was done.
    """
    with interruptible() as pressed:
        board = None if quiet else Board(plan, store, count or core_count())
        try:
            return run_study(
                plan, store, executor, at_once=count or None, retry_failed=retry_failed, halt=pressed, watcher=board
            )
        finally:
            if board is not None:
                board.close()


def print_end(tally: Tally, plan: Plan, store: Store, quiet: bool) -> None:
    """Print how many runs are done, and where to look.

    Args:
        tally: What was done.
        plan: The study.
        store: Its folder.
        quiet: Whether to print nothing.

    Raises:
        Interrupted: The user pressed Ctrl-C.
    """
    if tally.reason == "interrupted":
        raise Interrupted(f"Interrupted with {tally.left} of {tally.total} runs left; repeat the command to go on.")
    if quiet:
        return
    parts = [f"{tally.done} of {tally.total} runs done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed (see results.csv; --retry-failed does them again)")
    if tally.reason == "budget":
        parts.append(f"the budget of {plan.study.budget.hours:g} hours is used up; repeat the command to go on")
    print("; ".join(parts) + ".")
    print(f"Look at {store.path / 'results.csv'}, or make a report: hybrid-dip study report {plan.study.path} -o {store.path}")


def first_failure(plan: Plan, store: Store, tally: Tally) -> SettingsError | None:
    """What went wrong in a study.

    Args:
        plan: The study.
        store: Its folder.
        tally: What was done.

    Returns:
        The first fit that failed, in a sentence, or None where all went well.
    """
    failed = next((row for row in store.records(plan.unique).values() if row["error"]), None)
    if failed is None:
        return None
    return SettingsError(
        f"{tally.failed} of {tally.total} fits failed; the first, of {failed['image']} by {failed['arm']}: {failed['error']}"
    )
