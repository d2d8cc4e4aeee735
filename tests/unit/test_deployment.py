"""The container files say what the code can do: they are parsed, and their commands are known."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from app.cli.main import app
from app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
BUILT = {name: s for name, s in COMPOSE["services"].items() if "build" in s}


def test_the_services_are_all_there():
    assert set(COMPOSE["services"]) == {
        "postgres", "redis", "migrate", "api", "fit-worker", "suggest-worker", "train-worker",
    }  # fmt: skip
    assert COMPOSE["services"]["train-worker"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_service_builds_a_stage_that_exists_and_waits_for_what_exists(name):
    service = BUILT[name]
    assert service["build"]["target"] in STAGES
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    assert service["read_only"] is True


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - {"migrate"}))
def test_everything_that_stays_up_is_watched(name):
    assert COMPOSE["services"][name]["healthcheck"]["test"]


def test_the_api_waits_for_the_migration():
    migrate = COMPOSE["services"]["api"]["depends_on"]["migrate"]
    assert migrate["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("variable", COMPOSE["x-settings"])
def test_every_setting_is_one_that_is_read(variable):
    assert variable.removeprefix("MIXWRIGHT_").lower() in Settings.model_fields


def commands():
    found = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    found += [str(s["command"])[1:-1] for s in BUILT.values() if "command" in s]
    return [re.findall(r"[\"']([^\"']+)[\"']", text) for text in found]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_known(command):
    assert command[0] == "mixwright"
    words = [word for word in command[1:] if not word.startswith("-")]
    options = {word for word in command if word.startswith("--")}
    depth = 2 if words[0] == "db" else 1
    shown = CliRunner().invoke(app, [*words[:depth], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert all(option in shown.output for option in options)


def test_nothing_runs_as_root():
    final = [stage for stage in STAGES if not stage.startswith(("base", "build"))]
    assert DOCKERFILE.count("USER mixwright") == len(final)
