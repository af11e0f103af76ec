"""The README's section "From laptop to cluster", in one shell, from a fresh home."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
BLOCK = re.compile(r"^```sh cluster\n(.*?)^```$", re.M | re.S)
LINES = "".join(BLOCK.findall(README.read_text()))
# Where the reader looks at MLflow's page: until two trials are through.
LOOK = """
for _ in $(seq 60); do
    if paceline show far --json 2>/dev/null | grep -qE '"finished": ([2-9]|[1-9][0-9])'; then
        break
    fi
    sleep 1
done
"""
WATCH = """
set -e
trap 'paceline cluster down >/dev/null 2>&1 || true' EXIT
{lines}
"""


@pytest.mark.slow
@pytest.mark.skipif(not LINES, reason="the README has no `sh cluster` block")
def test_section_of_the_readme_is_run_from_up_to_down(tmp_path: Path):
    for name in ("ray", "moto", "boto3"):
        pytest.importorskip(name, reason="needs pip install 'paceline[test]'")
    folder = tmp_path / "project"
    folder.mkdir()
    lines = LINES.replace(
        "paceline cluster down\n",
        "paceline show far --json >far.json\npaceline show near --json >near.json\n"
        "cp $PACELINE_HOME/cluster/local.json .\npaceline cluster down\n",
    )
    lines = lines.replace("paceline cluster kill", f"{LOOK}paceline cluster kill")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PACELINE_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        ["bash", "-e", "-c", WATCH.format(lines=lines)],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    near, far = (json.loads((folder / f"{name}.json").read_text()) for name in ("near", "far"))
    assert (near["status"], near["trials"]) == ("finished", 4)
    assert (far["status"], far["trials"], far["failed"]) == ("finished", 16, 0)
    # Both can be browsed on the cluster's own page, the one that the laptop drove too.
    assert near["tracking_uri"] == far["tracking_uri"]
    assert near["tracking_uri"].startswith("http://127.0.0.1:")
    from paceline.deploy.local.processes import of_cluster

    cluster = json.loads((folder / "local.json").read_text())
    assert of_cluster(cluster["id"]) == {}
    assert not (tmp_path / "home" / "cluster").exists()
    assert not Path(cluster["runtime"]).exists()
