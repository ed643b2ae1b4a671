"""Runs the graphs of a newly written bundle in a separate Python process, so that the check depends only on the bundle's files."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recoserve import errors
from recoserve.bundle.arrays import Rows
from recoserve.errors import ExportRefused
from recoserve_export.verify.bundle_graphs import BundleGraphs, GraphOutputs
from recoserve_export.verify.self_check import SelfCheck, self_check, user_and_item_counts

# The child's first argument has the folders in which this process found recoserve and recoserve_export, so that the child finds
# both even if they are not installed. They come last on its path, and -P leaves the working directory out: a user's own file called
# numpy.py must not be imported instead of the library.
CHILD_CODE = (
    "import os, sys; sys.path += sys.argv.pop(1).split(os.pathsep); from recoserve_export.verify.fresh_process import main; main()"
)
MAX_REASON = 500  # characters of the child's last line that an error message quotes


def run_graphs(
    folder: Path, user_rows: Rows, item_rows: Rows, k: int, child_code: str = CHILD_CODE
) -> tuple[GraphOutputs, SelfCheck]:
    """The outputs of the graphs in `folder`, and the results of `self_check`, which needs no model to compare with.

    `user_rows` is int64 [S], `item_rows` int64 [M]. The outputs are the k best items of each of the S users, and the score of each
    of these users with each of the M items. Raises ExportRefused if the process fails.
    """
    packages = [Path(errors.__file__).resolve().parent, Path(__file__).resolve().parents[1]]
    import_paths = os.pathsep.join(str(package.parent) for package in packages)
    with tempfile.TemporaryDirectory() as scratch:
        inputs_path, outputs_path = Path(scratch, "inputs.npz"), Path(scratch, "outputs.npz")
        np.savez(inputs_path, users=user_rows, items=item_rows, k=np.array([k]))
        command = [sys.executable, "-P", "-c", child_code, import_paths, str(folder), str(inputs_path), str(outputs_path)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own interpreter and arguments
        # The exit code too: a child that dies while it writes leaves a part of the file.
        if process.returncode or not outputs_path.exists():
            reason = _last_line(process.stderr, process.returncode)
            raise ExportRefused(
                f"parity could not be checked, so no bundle was written: the process that runs the graphs failed: {reason}"
            )
        with np.load(outputs_path) as arrays:
            return GraphOutputs(**arrays), SelfCheck(**json.loads(process.stdout))


def _last_line(stderr: str, exit_code: int) -> str:
    """The last line that a failed process wrote to stderr, cut to `MAX_REASON`; of a traceback it names the exception.

    For a process that wrote nothing, a sentence with its exit code.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:MAX_REASON] if lines else f"it ended with exit code {exit_code} and no message; did it run out of memory?"


def main() -> None:
    """Check a bundle's folder and run its graphs, in the child process.

    The arguments are the folder, the .npz file of user rows, item rows and k, and the .npz file to write the outputs to. The
    results of the check are printed as JSON.
    """
    folder, inputs_path, outputs_path = (Path(argument) for argument in sys.argv[1:])
    graphs = BundleGraphs(folder)
    check = self_check(folder, graphs)
    sys.stdout.write(json.dumps(asdict(check)) + os.linesep)
    _, item_count = user_and_item_counts(folder)
    with np.load(inputs_path) as arrays:
        outputs = graphs.outputs(arrays["users"], arrays["items"], int(arrays["k"][0]), item_count)
    np.savez(outputs_path, **vars(outputs))
