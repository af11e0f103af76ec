"""Side by side: requests answered in a second, `paceline serve` against `mlflow models serve`.

Both serve the same exported perceptron (digits, 1 x 8 x 8) from one folder, each in a process of
its own; the clients are a third. Four clients keep their connections and send four examples at a
time. Rounds alternate the order. The peer opens its model as it does by default; ours adds the
checks of host, origin, size and shape, and the answer that is one message.

    python tests/benchmarks/serving.py [--rounds 3] [--seconds 6] [--clients 4]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paceline.platform.ports import free_port

CLIENT = Path(__file__).parents[1] / "deploy" / "serving" / "client.py"
BIN = Path(sys.executable).parent


def save_model(folder: Path) -> None:
    """A perceptron with its first weights."""
    from paceline.platform.configuration.config import load
    from paceline.platform.tracking.export import save_exported
    from paceline.platform.training.fitting import prepare

    save_exported(prepare(load("mlp", {"seed_everything": (1, "")})).model, folder)


@contextlib.contextmanager
def server(command: list[str], port: int) -> Iterator[None]:
    """A serving process, until it is no longer needed."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--port", str(port)], start_new_session=True, **quiet)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            time.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(60)


def measure(port: int, clients: int, seconds: float) -> dict[str, Any]:
    """What the clients were told."""
    command = [sys.executable, str(CLIENT), str(port), str(clients), str(seconds), "keep"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["lost"] == found["wrong"] == 0, found
    assert set(found["statuses"]) == {"200"}, found
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
        os.environ |= {"PACELINE_HOME": home, "MLFLOW_DISABLE_TELEMETRY": "true"}
        folder = Path(home) / "model"
        save_model(folder)
        address = f"sqlite:///{home}/mlflow.db"
        ports = {"ours": free_port(), "peer": free_port()}
        ours = [str(BIN / "paceline"), "serve", str(folder), "--tracking-uri", address]
        peer = [str(BIN / "mlflow"), "models", "serve", "-m", str(folder), "--env-manager", "local"]
        stack.enter_context(server(ours, ports["ours"]))
        stack.enter_context(server(peer, ports["peer"]))
        rates: dict[str, list[float]] = {name: [] for name in ports}
        tails: dict[str, list[float]] = {name: [] for name in ports}
        for number in range(options.rounds + 1):
            for name in sorted(ports, reverse=number % 2 == 1):
                found = measure(ports[name], options.clients, options.seconds)
                if number:  # the first warms both up
                    rates[name].append(found["answered"] / found["seconds"])
                    tails[name].append(found["latencies"]["p99"])
        ratios = [a / b for a, b in zip(rates["ours"], rates["peer"], strict=True)]
        answer = {
            "benchmark": "serving",
            "clients": options.clients,
            "ours_requests_per_s": round(statistics.median(rates["ours"]), 1),
            "peer_requests_per_s": round(statistics.median(rates["peer"]), 1),
            "ours_p99_ms": round(statistics.median(tails["ours"]), 1),
            "peer_p99_ms": round(statistics.median(tails["peer"]), 1),
            "ratio": round(statistics.median(ratios), 3),
            "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
