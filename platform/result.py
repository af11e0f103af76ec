"""What a verb answers: the object of `--json`, and the lines that a person reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .tracking.uri import public_uri

Status = Literal["finished", "failed", "killed", "running"]


@dataclass
class RunResult:
    """The answer of `fit`, `validate`, `test` and `predict`.

    Args:
        name: Name of the run.
        run_id: MLflow's id.
        status: How it stands.
        metrics: Name -> value; of `fit`, those of the best checkpoint's epoch.
        checkpoint: Path of the best checkpoint.
        tracking_uri: MLflow store or server.
        seconds: Wall time.
        link: Address of the run's page.
        extra: What one verb adds, such as `predictions` or the runs behind `--seeds`.
    """

    name: str
    run_id: str
    status: Status
    metrics: dict[str, float]
    checkpoint: str | None
    tracking_uri: str
    seconds: float
    link: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        fields = asdict(self)
        extra = fields.pop("extra")
        fields.pop("link")
        public = {"tracking_uri": public_uri(self.tracking_uri)}
        return fields | public | {"seconds": round(self.seconds, 3)} | extra

    def text(self, go_on: str) -> str:
        """What a person reads at the end.

        Args:
            go_on: The command to go on with.
        """
        lines = [f"{self.name}: {self.status} in {self.seconds:.1f} s"]
        lines += [f"  {name:<13} {_number(value)}" for name, value in sorted(self.metrics.items())]
        lines += [f"  {name:<13} {value}" for name, value in self.extra.items() if _is_short(value)]
        if self.checkpoint:
            lines.append(f"  checkpoint    {self.checkpoint}")
        if self.link:
            lines.append(f"  MLflow        {self.link}")
        lines.append(f"  go on         {go_on}")
        return "\n".join(lines)


def next_verb(status: str) -> str:
    """What goes on with a training: one that was ended is resumed, another tested."""
    return "resume" if status == "killed" else "test"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_short(value: Any) -> bool:
    return isinstance(value, (str, int, float))
