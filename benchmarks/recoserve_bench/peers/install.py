"""Each peer in a virtual environment of its own, so that no two of them have to agree on versions.

    python -m recoserve_bench.peers.install [--only faiss,litserve] [--root build/peers]

Makes ROOT/NAME from NAME.txt beside this file. An environment that was made of the same requirements is left as it is.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERS = tuple(sorted(path.stem for path in HERE.glob("*.txt")))
ROOT = Path("build/peers")
STAMP = "installed.txt"


def interpreter(root: Path, peer: str) -> Path | None:
    """The Python of a peer's environment; None where it isn't installed, or its installation was interrupted."""
    return root / peer / "bin" / "python" if (root / peer / STAMP).exists() else None


def install(root: Path, peer: str) -> bool:
    """Make one environment; returns False where it was made before. Raises CalledProcessError where pip fails."""
    requirements, stamp = (HERE / f"{peer}.txt").read_text(), root / peer / STAMP
    if stamp.exists() and stamp.read_text() == requirements:
        return False
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(root / peer)], check=True)
    pip = [str(root / peer / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(HERE / f"{peer}.txt")], check=True)
    stamp.write_text(requirements)
    return True


def main() -> None:
    """Install the peers that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PEERS), help="names with commas between")
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    failed = []
    for name in names:
        try:
            print(f"{name}: {'installed' if install(options.root, name) else 'there already'}", flush=True)
        except subprocess.CalledProcessError:
            failed.append(name)
    if failed:
        sys.exit(f"error: pip could not install {', '.join(failed)}; its output is above")


if __name__ == "__main__":
    main()
