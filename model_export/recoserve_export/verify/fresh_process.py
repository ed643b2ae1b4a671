"""The graphs of a folder, run in a new process that has never seen the model and has nothing but the files to go by."""

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
from recoserve_export.verify.self_check import SelfCheck, row_counts, self_check

# The child finds both packages where this process found them, also where they are not installed. They come last on its path, and -P
# leaves the working directory out: a user's own file called numpy.py must not stand in for the library.
CHILD = (
    "import os, sys; sys.path += sys.argv.pop(1).split(os.pathsep); from recoserve_export.verify.fresh_process import main; main()"
)


def run_graphs(folder: Path, user_rows: Rows, item_rows: Rows, k: int) -> tuple[GraphOutputs, SelfCheck]:
    """The graphs' outputs for these rows, and what the folder's own check shows; raises ExportRefused where they can't be run."""
    packages = [Path(errors.__file__).resolve().parent, Path(__file__).resolve().parents[1]]
    homes = os.pathsep.join(str(package.parent) for package in packages)
    with tempfile.TemporaryDirectory() as scratch:
        request, outputs = Path(scratch, "request.npz"), Path(scratch, "outputs.npz")
        np.savez(request, users=user_rows, items=item_rows, k=np.array([k]))
        command = [sys.executable, "-P", "-c", CHILD, homes, str(folder), str(request), str(outputs)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own interpreter and arguments
        if not outputs.exists():
            raise ExportRefused(f"parity failed: the graphs can't be run: {_last_line(process.stderr)}")
        with np.load(outputs) as arrays:
            return GraphOutputs(**arrays), SelfCheck(**json.loads(process.stdout))


def _last_line(stderr: str) -> str:
    """The last line that a failed process wrote, which of a traceback is the reason."""
    lines = [line for line in stderr.splitlines() if line.strip()] or ["it ended without a word; was its memory enough?"]
    return lines[-1].strip()[:500]


def main() -> None:
    """In the child: check the folder, print what that shows, and write the outputs for the rows of the request file."""
    folder, request, target = (Path(argument) for argument in sys.argv[1:])
    graphs = BundleGraphs(folder)
    check = self_check(folder, graphs)
    sys.stdout.write(json.dumps(asdict(check)) + os.linesep)
    with np.load(request) as arrays:
        outputs = graphs.outputs(arrays["users"], arrays["items"], int(arrays["k"][0]), row_counts(folder)[1])
    np.savez(target, **vars(outputs))
