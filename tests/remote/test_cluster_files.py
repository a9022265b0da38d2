"""The cluster files of the guide in docs/scale.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs Ray, which installs PyYAML")

pytestmark = pytest.mark.remote

FOLDER = Path(__file__).parents[2] / "docs" / "cluster"

CHECK = """
import json, sys, yaml
from ray.autoscaler._private.util import prepare_config, validate_config
config = prepare_config(yaml.safe_load(open(sys.argv[1])))
validate_config(config)
print(json.dumps(config["provider"]))
"""


def test_ray_accepts_the_file_for_ray_up() -> None:
    path = FOLDER / "ray-up.yaml"
    result = subprocess.run(
        [sys.executable, "-c", CHECK, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["type"] == "local"


@pytest.fixture
def resources() -> dict[tuple[str, str], Any]:
    """The objects of the manifest by their kinds and names."""
    documents = yaml.safe_load_all((FOLDER / "kuberay.yaml").read_text())
    return {(item["kind"], item["metadata"]["name"]): item for item in documents}


def test_the_service_and_the_nodes_share_the_folder_of_the_jobs(
    resources: dict[tuple[str, str], Any],
) -> None:
    service = resources["Deployment", "ftkit"]["spec"]["template"]["spec"]
    (group,) = resources["RayCluster", "ftkit"]["spec"]["workerGroupSpecs"]
    node = group["template"]["spec"]
    for pod in (service, node):
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        jobs = volumes[mounts["/srv/ftkit/jobs"]]
        assert jobs["persistentVolumeClaim"]["claimName"] == "ftkit-jobs"
        assert "/srv/ftkit" in mounts
        assert container["image"] == service["containers"][0]["image"]
        assert pod["securityContext"] == service["securityContext"]
    claim = resources["PersistentVolumeClaim", "ftkit-jobs"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]


def test_the_names_and_ports_of_the_manifest_agree(resources: dict[tuple[str, str], Any]) -> None:
    deployment = resources["Deployment", "ftkit"]["spec"]
    service = resources["Service", "ftkit"]["spec"]
    command = deployment["template"]["spec"]["containers"][0]["command"]
    cluster = resources["RayCluster", "ftkit"]
    # KubeRay names the service of a head after its cluster.
    assert f"--runner=ray=http://{cluster['metadata']['name']}-head-svc:8265" in command
    assert f"--public-url=http://ftkit:{service['ports'][0]['port']}" in command
    assert service["selector"] == deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == service["selector"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    version = cluster["spec"]["rayVersion"]
    assert f"rayproject/ray:{version}-" in (FOLDER / "Dockerfile").read_text()
    assert f"ray[default]=={version}" in (FOLDER / "ray-up.yaml").read_text()
