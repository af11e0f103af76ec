"""Many clients at once, in a process of their own: what became of each request.

python client.py PORT CLIENTS SECONDS [KEEP]   sends until the time is over, or nobody listens.

A client keeps its connection (KEEP) or makes one for each request. It prints one JSON object:
`answered`, `refused` (nobody listened: the request was never sent), `lost` (sent, and no answer),
`wrong` (an answer that is not the model's), `statuses`, `seconds`, `latencies` (ms, quantiles).
"""

from __future__ import annotations

import collections
import http.client
import json
import statistics
import sys
import threading
import time

ROWS = 4


class Client(threading.Thread):
    """Sends one request after another."""

    def __init__(self, port: int, seconds: float, number: int, keep: bool):
        super().__init__(daemon=True)
        self.port, self.until, self.keep = port, time.monotonic() + seconds, keep
        self.number = number
        self.counts: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.latencies: list[float] = []

    def run(self) -> None:
        connection = None
        rows = [[(8 * i + j + self.number) % 16 / 16 for j in range(8)] for i in range(8)]
        body = json.dumps({"inputs": [[rows]] * ROWS}).encode()
        while time.monotonic() < self.until:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                try:
                    connection.connect()
                except OSError:
                    self.counts["refused"] += 1
                    return
            connection = self.ask(connection, body)

    def ask(self, connection: http.client.HTTPConnection, body: bytes):
        began = time.monotonic()
        self.counts["sent"] += 1
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/invocations", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.counts["lost"] += 1
            self.statuses[type(error).__name__] += 1
            return None
        self.latencies.append(time.monotonic() - began)
        self.counts["answered"] += 1
        self.statuses[str(answer.status)] += 1
        if answer.status == 200:
            rows = json.loads(content)["predictions"]
            same = len(rows) == ROWS and all(row == rows[0] for row in rows)
            self.counts["wrong"] += not same
        if self.keep and answer.getheader("connection", "").lower() != "close":
            return connection
        connection.close()
        return None


def main() -> None:
    """Send, and tell."""
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    keep = len(sys.argv) > 4
    began = time.monotonic()
    clients = [Client(port, seconds, number, keep) for number in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(seconds + 70)
    counts = sum((client.counts for client in clients), collections.Counter())
    statuses = sum((client.statuses for client in clients), collections.Counter())
    latencies = sorted(s * 1000 for client in clients for s in client.latencies) or [0.0, 0.0]
    names = ("sent", "answered", "refused", "lost", "wrong")
    found = {name: counts[name] for name in names} | {"statuses": dict(statuses)}
    cuts = statistics.quantiles(latencies, n=100)
    found["latencies"] = {"p50": cuts[49], "p99": cuts[98], "max": latencies[-1]}
    found["hung"] = sum(client.is_alive() for client in clients)
    print(json.dumps(found | {"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
