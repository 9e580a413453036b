"""What lies in deploy/ fits its schemas, names settings that exist, and runs commands that exist.

No container engine is needed, so no image is built here.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml

import akin
from ingest.settings import Settings

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
OF_THE_SERVERS = {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
COMMANDS = set(typer.main.get_command(akin.app).commands)
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
MANIFESTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")
    for path in sorted(DEPLOY.glob("kubernetes/*.yaml"))
    if path.stem != "kustomization"
    for document in yaml.safe_load_all(path.read_text())
]


def variables(text):
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def known_setting(name):
    return name.startswith("AKIN_") and name.removeprefix("AKIN_").lower() in Settings.model_fields


def test_the_example_of_the_environment_names_settings_that_exist(monkeypatch):
    given = variables((DEPLOY / "env.example").read_text())
    settings = {name for name in given if name.startswith("AKIN_")}

    assert {name for name in settings if not known_setting(name)} == set()
    assert set(given) - settings == OF_THE_SERVERS
    for name in settings:
        monkeypatch.setenv(name, given[name].strip("'"))
    read = Settings()
    assert not read.embedded
    assert read.attributes["year"]
    assert all("change-me" in given[name] for name in given if "PASSWORD" in name or "KEY" in name)


def test_the_commented_settings_exist_too():
    named = re.findall(r"AKIN_[A-Z_]+(?==)", (DEPLOY / "env.example").read_text())

    assert all(map(known_setting, named))
    assert "AKIN_RATE_LIMIT_URL" in named


def test_a_shell_reads_the_example_as_systemd_and_compose_do():
    # The forms that mean the same to all three: nothing that any of them cuts off, expands or takes for an escape.
    form = re.compile(r"([A-Z_]+)=(?:([\w:/.%@+-]*)|'([^'\\\\$]*)')")
    text = (DEPLOY / "env.example").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    alike = {found[1]: found[2] or found[3] or "" for found in map(form.fullmatch, lines) if found}

    assert len(alike) == len(lines)
    assert alike["AKIN_ATTRIBUTES"] == '{"year": "integer"}'
    assert set(alike.items()) <= set(variables_of(f"set -a; . {DEPLOY / 'env.example'}; env -0").items())


def test_a_command_run_by_hand_has_the_settings_of_the_units(tmp_path):
    # given the settings as the README has them made, and a program that says what it is told
    settings = tmp_path / "env"
    settings.write_text((DEPLOY / "env.example").read_text().replace("# AKIN_HOME", "AKIN_HOME"))
    told = tmp_path / "akin"
    told.write_text("#!/bin/sh\nprintf 'TOLD=%s\\0' \"$*\"\nenv -0\n")
    told.chmod(0o755)
    [command] = re.findall(r"^sudo -u akin (sh -c .*)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)

    # when the README's command is run
    command = command.replace("/etc/akin/env", str(settings)).replace("/opt/akin/bin/akin", str(told))
    read = variables_of(command)

    # then it has every setting of the file, those with spaces and quotes too, and none but the file sets them
    assert read["TOLD"] == "doctor"
    assert read["AKIN_HOME"] == "/var/lib/akin"
    assert read["AKIN_REINDEX_CRONTAB"] == "0 3 * * *"
    assert read["AKIN_ATTRIBUTES"] == '{"year": "integer"}'
    assert all("EnvironmentFile=/etc/akin/env" in unit.read_text() for unit in UNITS)
    assert not any("Environment=" in unit.read_text() for unit in UNITS)


def variables_of(command):
    """What a command of a shell prints, separated by zeros; it is given nothing but a path."""
    shell = ["sh", "-c", command]
    found = subprocess.run(shell, check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}).stdout
    return dict(variable.split("=", 1) for variable in found.split("\0") if variable)


def test_the_compose_file_fits_its_schema():
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(DEPLOY / "compose.yaml"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_every_profile_is_there_and_what_a_service_waits_for_is_in_its_profiles(compose):
    services = compose["services"]

    assert {p for s in services.values() for p in s["profiles"]} == {
        "minimal", "rabbitmq", "redis", "observability", "export",
    }  # fmt: skip
    for service in services.values():
        for name, condition in (service.get("depends_on") or {}).items():
            assert condition.get("required") is False or set(service["profiles"]) <= set(services[name]["profiles"])
    assert {"api", "worker", "beat", "migrate", "qdrant", "postgres"} <= {
        name for name, s in services.items() if "redis" in s["profiles"] and "rabbitmq" in s["profiles"]
    }


def test_akin_runs_without_rights_on_a_root_it_cannot_write(compose):
    for name in ("up", "migrate", "api", "worker", "beat"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_secret_stands_in_a_file(compose):
    text = (DEPLOY / "compose.yaml").read_text() + "".join(
        path.read_text() for path in DEPLOY.glob("kubernetes/*.yaml") if path.name != "secret.example.yaml"
    )

    assert "change-me" not in text
    assert all("${" in str(v) for s in compose["services"].values() for v in passwords(s.get("environment", {})))


def passwords(environment):
    if isinstance(environment, list):
        return []
    return [value for name, value in environment.items() if "PASS" in name or "KEY" in name]


def test_every_command_is_one_of_the_programs(compose):
    given = [
        service["command"] for service in compose["services"].values() if service.get("command", [""])[0] == "akin"
    ]
    given += [re.search(r"ExecStart=/opt/akin/bin/(.*)", unit.read_text())[1].split() for unit in UNITS]
    given += [
        json.loads(found)
        for found in re.findall(r"^CMD (\[\"akin.*\])", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    ]
    given += [
        container["command"]
        for parameter in MANIFESTS
        for container in containers(parameter.values[0])
        if container["command"][0] == "akin"
    ]

    assert len(given) >= 14
    assert {command[1] for command in given} <= COMMANDS


def containers(document):
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec.get("template", {}).get("spec", {}).get("containers", [])


@pytest.mark.parametrize("document", MANIFESTS)
def test_kubernetes_manifests_fit_their_schemas(document):
    kubernetes_validate.validate(document, "1.33", strict=True)


@pytest.mark.parametrize("document", [p for p in MANIFESTS if containers(p.values[0])])
def test_every_pod_is_bounded_and_without_rights(document):
    for container in containers(document):
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_every_file_of_the_kustomization_is_there_and_none_is_left_out():
    listed = set(yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"])
    there = {path.name for path in DEPLOY.glob("kubernetes/*.yaml")}

    assert there - listed == {"kustomization.yaml", "secret.example.yaml"}
    assert listed <= there


def test_settings_named_in_manifests_exist():
    for parameter in MANIFESTS:
        document = parameter.values[0]
        data = {**document.get("data", {}), **document.get("stringData", {})}
        assert all(known_setting(name) for name in data if name.startswith("AKIN_"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_hardened_and_well_formed(unit, tmp_path):
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str
    parsed.read_string(unit.read_text())

    service = parsed["Service"]
    assert service["User"] == "akin"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    named = re.findall(r"AKIN_[A-Z_]+", unit.read_text())
    assert all(map(known_setting, named))
    if shutil.which("systemd-analyze"):
        # It also looks whether the program is there, which it is not: a stand-in takes its place.
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/akin/bin/akin", shutil.which("true")))
        verified = subprocess.run(["systemd-analyze", "verify", copy], check=False, capture_output=True, text=True)
        assert verified.stderr == ""


def test_the_image_that_serves_has_no_torch_and_no_root():
    stages = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")
    build = next(stage for stage in stages if " AS build" in stage.splitlines()[0])
    runtime = next(stage for stage in stages if " AS runtime" in stage.splitlines()[0])

    assert "export" not in re.search(r"install '\.\[(.*)\]'", build)[1]
    assert "! /opt/akin/bin/python -c 'import torch'" in build
    assert "USER 10001:10001" in runtime
    assert {"api", "worker", "exporter"} <= {stage.splitlines()[0].split()[-1] for stage in stages if " AS " in stage}
    for name in re.findall(r"AKIN_[A-Z_]+", (DEPLOY / "Dockerfile").read_text()):
        assert known_setting(name)
