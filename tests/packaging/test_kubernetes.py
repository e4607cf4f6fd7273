"""The Kubernetes manifests: valid; ports, routes, times and names agree with each other and the code."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import recipe
import yaml
from recipe import ROOT

from fd_router import __version__
from fd_router.config import Config, load_config
from fd_router.edge.routes import ROUTES, paths_of

FILE = ROOT / "config" / "kubernetes" / "fd-router.yaml"
VERSIONS = ("1.25", kubernetes_validate.latest_version())
"""The oldest and the newest whose schema is known."""


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(FILE.read_text()))


@pytest.fixture(scope="module")
def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (spec,) = (each["spec"] for each in objects if each["kind"] == "Deployment")
    return dict(spec)


@pytest.fixture(scope="module")
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment["template"]["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return dict(container)


@pytest.fixture
def config(objects: list[dict[str, Any]], tmp_path: Any) -> Config:
    (data,) = (each["data"] for each in objects if each["kind"] == "ConfigMap")
    path = tmp_path / "config.yaml"
    path.write_text(data["config.yaml"])
    config, notices = load_config(str(path), port=None, splitwise=False)
    assert notices == []
    return config


def services(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Service"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("spoiled", [{"ports": "http"}, {"nonsense": 1}])
def test_the_schema_sees(objects: list[dict[str, Any]], spoiled: dict[str, object]) -> None:
    service = next(each for each in objects if each["kind"] == "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**service, "spec": {**service["spec"], **spoiled}}, VERSIONS[-1], strict=True
        )


def test_names_are_of_this_project_and_unique(objects: list[dict[str, Any]]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert all(name.startswith("fd-router") for _, name in names)
    assert len(set(names)) == len(names)


def test_one_router_because_its_state_is_in_memory(deployment: dict[str, Any]) -> None:
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_selectors_find_the_pod(objects: list[dict[str, Any]], deployment: dict[str, Any]) -> None:
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        *(each["selector"] for each in services(objects).values()),
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_ports_agree(
    objects: list[dict[str, Any]], deployment: dict[str, Any], container: dict[str, Any], config: Config
) -> None:
    (port,) = container["ports"]
    assert port["containerPort"] == config.server.port
    for spec in services(objects).values():
        assert [(each["port"], each["targetPort"]) for each in spec["ports"]] == [
            (config.server.port, port["name"])
        ]
    annotations = deployment["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(config.server.port)
    assert annotations["prometheus.io/path"] in paths_of(ROUTES)


def test_probes_ask_routes_that_exist(container: dict[str, Any]) -> None:
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/health",
        "livenessProbe": "/health",
        "readinessProbe": "/ready",
    }
    assert {probe["path"] for probe in asked.values()} <= set(paths_of(ROUTES))
    assert {probe["port"] for probe in asked.values()} == {port["name"] for port in container["ports"]}


def test_there_is_time_to_drain(pod: dict[str, Any], container: dict[str, Any], config: Config) -> None:
    program, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert pod["terminationGracePeriodSeconds"] > float(pause) + config.server.drain_timeout_secs
    probe = container["readinessProbe"]
    assert float(pause) > probe["periodSeconds"] * probe["failureThreshold"]


def test_engines_can_register_with_a_router_that_is_not_ready(objects: list[dict[str, Any]]) -> None:
    found = services(objects)
    assert found["fd-router-registration"]["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in found["fd-router"]


def test_configuration_is_mounted_where_it_is_read(
    objects: list[dict[str, Any]], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    (config_map,) = (each for each in objects if each["kind"] == "ConfigMap")
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounts) == set(volumes)
    assert volumes["config"]["configMap"]["name"] == config_map["metadata"]["name"]
    (key,) = config_map["data"]
    assert container["args"] == ["--config_path", f"{mounts['config']}/{key}"]


def test_the_state_is_where_the_image_has_it(container: dict[str, Any]) -> None:
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert recipe.stages()[-1].all("ENV") == [f"STATE_DIRECTORY={mounts['state']}"]


def test_image_is_this_version_and_its_user(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert container["image"] == f"fd-router:{__version__}"
    final = recipe.stages()[-1]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert [f"{context['runAsUser']}:{context['runAsGroup']}"] == final.all("USER")


def test_the_container_may_do_little(pod: dict[str, Any], container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


def test_memory_holds_the_tree(container: dict[str, Any], config: Config) -> None:
    asked, limit = (container["resources"][which]["memory"] for which in ("requests", "limits"))
    assert int(asked.removesuffix("Gi")) * 1_024 > config.scheduler.cache_max_memory_mb
    assert int(limit.removesuffix("Gi")) >= int(asked.removesuffix("Gi"))
