"""``hybrid-dip restore FOLDER``: all images of a folder, some at a time, as a study of one arm."""

import sys
from pathlib import Path

from hybrid_dip.cli.asked import Restoration
from hybrid_dip.cli.method import Fusion
from hybrid_dip.cli.options import entry
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.masks import to_fill_in
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.ready_made.command import plan_content, run_content
from hybrid_dip.study.running.status import PLAN
from hybrid_dip.study.running.terminal import first_failure


def restore_folder(folder: Path, asked: Restoration) -> None:
    """Restore all images of a folder.

    Args:
        folder: Folder of degraded images.
        asked: What the user asked for; --reference names a folder of clean images of the same names.

    Raises:
        SettingsError: An option is for one image only, the folder of results holds other files, or a fit failed.
    """
    from hybrid_dip.study.ready_made.many import many_content, processes, put_together, side_for_all
    from hybrid_dip.study.reporting.results import write_results

    _check_folder(asked)
    out, quiet, where, source = asked.output.out, asked.output.quiet, asked.where, asked.source
    fitted = {name: value for name, value in vars(asked.method).items() if name != "seed"}
    arm = entry({**fitted, "fuse": asked.fusion.fuse, "presets": asked.fusion.arm}) | where.entry()
    content = many_content(folder, source.reference, asked.wrong.entry(), arm, source.crop)
    content |= {"seeds": [asked.method.seed]} | entry({"threads": where.threads})
    content |= {} if where.time_budget is None else {"budget": {"seconds_per_run": where.time_budget}}
    made = plan_content(content, out, device=where.device)
    count = processes(made, where.workers)
    if not {"tile", "fuse"} & set(arm):
        # Images go on in the tiles that they began with, whatever is free now.
        earlier = made.study.path
        side = read_study(earlier).arms[0].tile if earlier.is_file() else side_for_all(made, count)
        if side is not None:
            content["arms"][0]["tile"] = side
            made = plan_content(content, out, device=where.device)
            if side and not quiet:
                print(f"Not all images fit into memory as a whole: in tiles of at most {side} pixels.", file=sys.stderr)
    filled = to_fill_in(made.runs[0].subject().task)  # one mask is for all images
    if filled and not quiet:
        print(filled, file=sys.stderr)
    store, done = run_content(made, content, workers=count, quiet=quiet)
    write_results(made, store)
    written = put_together(made, store)
    if not quiet and written:
        print(f"{len(written)} of {len(made.runs)} images restored: look at {written[0]} and beside it; {out / 'results.csv'}.")
    failed = first_failure(made, store, done)
    if failed is not None:
        raise failed


def _check_folder(asked: Restoration) -> None:
    output, where, fusion = asked.output, asked.where, asked.fusion
    for_one_image = {
        "--gif": output.gif,
        "--log": output.log,
        "--resume": output.resume,
        "--overwrite": output.overwrite,
        "--precision auto": where.precision == "auto",
        "--compile auto": where.compile == "auto",
        "--graph auto": where.graph == "auto",
        "--fuse": fusion.fuse not in (None, "stack"),
        "--held-out-share": fusion.held_out_share != Fusion().held_out_share,
    }
    for name, given in for_one_image.items():
        if given:
            hint = "; a folder goes on where it stopped by the same command" if name in ("--resume", "--overwrite") else ""
            raise SettingsError(f"{name} is for one image, and a folder was given{hint}.")
    if output.out.is_dir() and any(output.out.iterdir()) and not (output.out / PLAN).is_file():
        raise SettingsError(f"{output.out} holds other files, which the restored images might replace: name a new folder.")
