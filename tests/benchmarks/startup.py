"""How long the command takes to answer when nothing is to be trained.

python tests/benchmarks/startup.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = (["--help"], ["list"], ["fit", "--help"], ["complete", "fit", "m"])


def seconds(words: list[str]) -> float:
    """Wall time of one fresh process of the installed command."""
    command = [str(Path(sys.executable).with_name("paceline")), *words]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    for words in COMMANDS:
        seconds(words)  # the first fills the disk cache
        times = [seconds(words) for _ in range(rounds)]
        answer = {
            "benchmark": "startup",
            "command": " ".join(["paceline", *words]),
            "seconds": round(statistics.median(times), 3),
            "spread": [round(min(times), 3), round(max(times), 3)],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
