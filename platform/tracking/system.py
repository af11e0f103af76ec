"""System metrics beside the training metrics: CPU, memory, disk, network, GPU.

MLflow's own monitors measure them, so that its page finds every name it knows; its thread does not
run here, because it asks the store for the run's status at each sample and writes past our batches.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psutil

from .client import MlflowException, connect
from .writer import MetricWriter

logger = logging.getLogger("paceline.tracking")


class SystemMonitor:
    """Samples the machine from a thread of its own into a run's writer.

    The step of a sample is the second of the run, so that a run which was interrupted goes on
    behind its earlier samples.

    Args:
        writer: The run's writer.
        interval_s: Seconds between samples; a first one is taken after 1 s, a last one at the end.
        node: Name of the machine when several write into one run, each under its own.
    """

    def __init__(
        self,
        writer: MetricWriter,
        *,
        interval_s: float = 5.0,
        node: str = "",
    ):
        self.writer, self.interval_s = writer, interval_s
        self.prefix = f"system/{node}/" if node else "system/"
        self._monitors = _monitors()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="paceline-system-metrics", daemon=True
        )

    def start(self) -> SystemMonitor:
        """Begin to sample."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take a last sample and end. The writer stays open."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def sample(self) -> dict[str, float]:
        """Measure once: MLflow's metric name -> value (percent, megabytes, watts)."""
        metrics: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            metrics |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return {self.prefix + name: value for name, value in metrics.items()}

    def _run(self) -> None:
        # psutil measures the CPU since this thread asked last; the first answer would be 0.
        psutil.cpu_percent()
        wait_s = min(1.0, self.interval_s)
        last_s, stopped = 0.0, False
        run_start_s = self._run_start_s()
        while not stopped:
            stopped = self._stop.wait(wait_s)
            wait_s = self.interval_s
            # A last sample right behind another would measure the CPU over next to no time.
            if stopped and time.monotonic() - last_s < 0.5:
                return
            last_s = time.monotonic()
            try:
                self.writer.add(self.sample(), int(time.time() - run_start_s))
            except Exception as error:  # a sensor that fails must not end the run
                logger.warning("System metrics stopped: %r", error)
                return

    def _run_start_s(self) -> float:
        """When the run was created, in s since 1970; now when the store does not say."""
        try:
            run = connect(self.writer.uri).get_run(self.writer.run_id)
        except MlflowException:
            return time.time()
        return run.info.start_time / 1000


def _monitors() -> list[Any]:
    """MLflow's monitors; the GPU's only where there is one and its library is installed."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except Exception as error:  # ImportError without the library, the driver's own without a GPU
        logger.debug("No GPU metrics: %r", error)
    return monitors
