"""What deploy/ hands to Kubernetes, Docker and systemd fits their schemas, and the commands, ports and settings of the
code."""

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings.gateway import GatewaySettings
from gateway.settings.reading import read_gateway_settings
from pipeline.runs.settings import read_pipeline_settings
from tests.support.commands import wrong_words

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE, OVERLAYS = DEPLOY / "kubernetes" / "base", DEPLOY / "kubernetes" / "overlays"
VERSION = "1.31"


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def merged(into: Any, patch: Any) -> Any:
    """A strategic merge as far as these overlays use it: maps by key, lists of named things by their name."""
    if isinstance(into, dict) and isinstance(patch, dict):
        return into | {key: merged(into.get(key), value) for key, value in patch.items()}
    named = isinstance(into, list) and isinstance(patch, list) and all("name" in one for one in [*into, *patch])
    if named:
        names = {one["name"]: one for one in into}
        return list((names | {one["name"]: merged(names.get(one["name"]), one) for one in patch}).values())
    return copy.deepcopy(patch)


def composed(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization, its patches applied; every file that it names is there."""
    [kustomization] = documents(folder / "kustomization.yaml")
    found: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        found += composed(path) if path.is_dir() else documents(path)
    for generated in kustomization.get("configMapGenerator", ()):
        data = {Path(one).name: (folder / one).read_text() for one in generated["files"]}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data}
        found.append(made)
    for patch in kustomization.get("patches", ()):
        for change in documents(folder / patch["path"]):
            [place] = [k for k, one in enumerate(found) if key(one) == key(change)]
            found[place] = merged(found[place], change)
    return found


def key(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for one in objects:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(spec["template"]["spec"])
    return found


FLEET, SINGLE = composed(OVERLAYS / "fleet"), composed(OVERLAYS / "single")


@pytest.mark.parametrize("one", [*FLEET, *SINGLE], ids=lambda one: "-".join(key(one)))
def test_every_object_fits_the_schema_of_kubernetes(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, VERSION, strict=True)


@pytest.mark.parametrize("objects", [FLEET, SINGLE], ids=["fleet", "single"])
def test_names_that_objects_give_each_other_are_there(objects: list[dict[str, Any]]) -> None:
    names = {key(one) for one in objects}
    for pod in pods(objects):
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        volumes = {one["name"] for one in pod.get("volumes", ())}
        assert mounted - volumes <= {"data"}, "what a StatefulSet claims"
        for volume in pod.get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["resources"]["limits"]["memory"]
    scalers = [one for one in objects if one["kind"] == "HorizontalPodAutoscaler"]
    assert len(scalers) == (objects is FLEET)
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names


def commands() -> list[list[str]]:
    """The words after `tandem` of everything that deploy/ starts."""
    found = [c["args"] for pod in pods(FLEET) for c in pod["containers"] if c["image"] == "tandem"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    found += [one["command"] for one in compose["services"].values() if one["image"] == "tandem"]
    docker = (DEPLOY / "image" / "Dockerfile").read_text()
    found += [yaml.safe_load(line.removeprefix("CMD ")) for line in docker.splitlines() if line.startswith("CMD ")]
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        found += [shlex.split(one)[1:] for one in re.findall(r"^Exec(?:Start|StartPre)=(.*)$", unit.read_text(), re.M)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one(words: list[str]) -> None:
    assert wrong_words([str(one) for one in words]) is None


def test_settings_ports_and_paths_are_those_of_the_code(tmp_path: Path) -> None:
    settings = read_gateway_settings(BASE / "settings" / "gateway.yaml", {}, {})
    [deployment] = [one for one in FLEET if key(one) == ("Deployment", "tandem-gateway")]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert settings.metrics is not None
    assert ports == {"grpc": settings.port, "metrics": settings.metrics.port}
    assert settings.port == GatewaySettings().port
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert str(settings.workspace) == mounts["workspace"]
    assert str(settings.populations) == f"{mounts['settings']}/populations.yaml"
    probes = {container[name]["grpc"]["port"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {settings.port}
    environment = {one["name"]: one["value"] for one in container["env"]}
    changed = read_gateway_settings(BASE / "settings" / "gateway.yaml", {}, environment)
    assert changed.workers == 4 and changed.timelines.store == "redis"
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > settings.drain_seconds
    allowed = {
        rule["port"]
        for one in FLEET
        if one["kind"] == "NetworkPolicy"
        for way in one["spec"].get("ingress", ())
        for rule in way.get("ports", ())
    }
    assert {settings.port, settings.metrics.port} <= allowed <= {settings.port, settings.metrics.port, 6379}
    pipeline = read_pipeline_settings(BASE / "settings" / "pipeline.yaml")
    assert pipeline.workspace == settings.workspace
    jobs = [one for one in FLEET if one["kind"] == "CronJob"]
    assert len(jobs) == 2
    for job in jobs:
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        paths = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
        assert str(pipeline.imports.catalog).startswith(paths["imports"])
    docker = (DEPLOY / "image" / "Dockerfile").read_text()
    exposed = {int(one) for one in re.search(r"^EXPOSE (.*)$", docker, re.M)[1].split()}  # type: ignore[index]
    assert exposed >= {settings.port, settings.metrics.port}


def test_the_image_holds_every_part_of_the_package() -> None:
    """What the Dockerfile copies is there, and the build context lets it in."""
    docker = (DEPLOY / "image" / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", docker, re.M) for word in line.split()[:-1]}
    let_in = {one[1:] for one in (ROOT / ".dockerignore").read_text().splitlines() if one.startswith("!")}
    assert copied == let_in
    assert all((ROOT / one).exists() for one in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages <= copied


def test_an_overlays_patch_changes_what_it_names_and_keeps_the_rest() -> None:
    [one] = [one for one in SINGLE if key(one) == ("Deployment", "tandem-gateway")]
    [many] = [one for one in FLEET if key(one) == ("Deployment", "tandem-gateway")]
    assert (one["spec"]["replicas"], many["spec"]["replicas"]) == (1, 3)
    assert many["spec"]["strategy"] == one["spec"]["strategy"]
    [claim] = [one for one in FLEET if key(one) == ("PersistentVolumeClaim", "tandem-workspace")]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
