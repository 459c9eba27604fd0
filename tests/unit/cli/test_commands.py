"""The command itself: quick help, readable refusals, the sandbox."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli import main
from hub.cli import status as status_command
from hub.cli import sync as sync_command
from hub.embedded.process import Users, exclusive
from hub.webhooks import sign

RECORD = "01a219ef-64d5-7048-aa66-8bfbe4ba8ee2"
WHO = ["--owner", "Ms Ito", "--reason", "asked by phone"]
#: Importing these takes most of a second; help must not.
HEAVY = ("polars", "aiohttp", "asyncpg", "pydantic", "arq", "rich", "numpy")
COMMANDS = (
    "agreements",
    "demo",
    "doctor",
    "export",
    "guard",
    "migrate",
    "overrides",
    "passback",
    "people",
    "restored",
    "runs",
    "sandbox",
    "serve",
    "survivorship",
    "sync",
    "token",
    "validate",
    "worker",
)


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys, hub.cli\n"
        "try: hub.cli.main(['--help'], prog_name='hub')\n"
        f"finally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert result.stderr.strip() == "[]"
    assert time.monotonic() - started < 10
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


def test_a_worker_delivers_before_it_imports_what_is_no_delivery() -> None:
    others = (
        "hub.api",
        "hub.sync",
        "hub.export",
        "hub.passback",
        "hub.notices",
        "hub.drop",
        "arq",
        "asyncssh",
        "polars",
    )
    code = (
        "import sys, hub.cli.root, hub.logs, hub.metrics.sharing, hub.app, hub.worker.process, hub.worker.supervisor\n"
        f"print([m for m in {others!r} if m in sys.modules])\n"
        "import hub.worker.lanes\n"
        f"print([m for m in {others!r} if m not in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.splitlines() == ["[]", "['hub.api', 'hub.drop']"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])

    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {command}")


def test_contradicting_settings_are_one_line_and_exit_2() -> None:
    environment = {"HUB_DATABASE_URL": "postgresql://owner:geheim@127.0.0.1:1/hub", "HUB_MASTER_KEY": ""}
    for command in ("serve", "worker", "migrate", "demo"):
        result = CliRunner().invoke(main, [command], env=environment)
        assert result.exit_code == 2
        assert result.output.startswith("settings_contradict: ")
        assert "geheim" not in result.output
        assert len(result.output.splitlines()) == 1


def test_a_database_that_is_away_is_said_so_without_its_password() -> None:
    environment = {"HUB_DATABASE_URL": "postgresql://owner:geheim@127.0.0.1:1/hub", "HUB_MASTER_KEY": "k" * 32}
    for command in (["migrate"], ["token", "create", "--role", "operator"], ["token", "list"]):
        result = CliRunner().invoke(main, command, env=environment)
        assert result.exit_code == 2, result.output
        assert result.output.startswith("unavailable: "), result.output
        assert "geheim" not in result.output


def test_a_demo_keeps_off_a_port_and_a_folder_that_are_in_use(tmp_path: Path) -> None:
    environment = {"HUB_DATA_DIR": str(tmp_path), "HUB_DATABASE_URL": "", "HUB_REDIS_URL": ""}
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        taken = str(listener.getsockname()[1])
        result = CliRunner().invoke(main, ["demo", "--port", taken], env=environment)
        assert result.exit_code == 2
        assert result.output.startswith(f"unavailable: Port {taken} of 127.0.0.1 is taken. Name another: --port")
        assert list(tmp_path.iterdir()) == []

    (tmp_path / "demo.json").write_text("{}")
    users = Users(tmp_path / "postgres.users")
    users.enter()
    refused = CliRunner().invoke(main, ["demo", "--fresh", "--port", taken], env=environment)
    users.leave()
    with exclusive(tmp_path / "demo.lock"):
        second = CliRunner().invoke(main, ["demo", "--port", taken], env=environment)
    for result in (refused, second):
        assert result.exit_code == 2
        assert result.output.startswith(f"unavailable: Another process uses {tmp_path}. Stop it first")
    assert (tmp_path / "demo.json").exists()


def test_the_sandbox_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = [
            "sandbox",
            str(tmp_path / name),
            "--students",
            "100",
            "--seed",
            "9",
            "--version",
            "1.1",
            "--changes",
        ]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "OneRoster 1.1" in result.output
        assert "planted: " in result.output
    for file in ("district.zip", "truth.json", "changes.zip", "changes.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_clean_sandbox_has_nothing_planted(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sandbox", str(tmp_path), "--students", "100", "--clean"])

    assert result.exit_code == 0
    assert "planted" not in result.output
    assert CliRunner().invoke(main, ["sandbox", str(tmp_path), "--students", "99"]).exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""), (0.2, "about 1 s left"), (59.4, "about 59 s left"), (61, "about 1 min left"),
        (3600, "about 60 min left"),
    ],
)  # fmt: skip
def test_the_time_that_is_left_is_said_as_people_do(seconds: float | None, words: str) -> None:
    assert sync_command._left(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")]
)
def test_an_age_is_said_in_one_unit(seconds: float, words: str) -> None:
    assert status_command._ago(seconds) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["overrides", "set", "users", RECORD, "email", *WHO], "Give VALUES, or --empty"),
        (["overrides", "set", "users", RECORD, "email", "a@b.example", "--empty", *WHO], "Give VALUES, or --empty"),
        (["overrides", "set", "users", RECORD, "email", "a", "b", *WHO], "email holds one value"),
        (["overrides", "set", "users", RECORD, "roles", "aide", *WHO], "Each value of roles is a JSON object"),
        (["sync", "--source", RECORD, "--transform", __file__], "--transform goes with a PACKAGE"),
        (["source", "schedule", "set", "--source", RECORD], "either --cron or --expected-every-hours"),
        (["source", "schedule", "set", "--source", RECORD, "--cron", "* * * * *", "--expected-every-hours", "3"],
         "either --cron or --expected-every-hours"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_before_the_hub_is_asked(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, [*arguments, "--district", RECORD, "--token", "x", "--url", "http://127.0.0.1:1"])

    assert (result.exit_code, words in result.output) == (2, True), result.output


def _debugged(tmp_path: Path, secret: str, *options: str) -> tuple[int, str]:
    """What ``hub subscriptions debug`` says of a message that lies in two files, with a secret from standard input."""
    arguments = ["subscriptions", "debug", "--headers", str(tmp_path / "h"), "--body", str(tmp_path / "b"), *options]
    result = CliRunner().invoke(main, arguments, input=secret)
    return result.exit_code, result.output


def test_a_signature_is_looked_at_without_a_hub(tmp_path: Path) -> None:
    secret, body, at = sign.new_secret(), b'{"type":"subscriptions.test"}', int(time.time())
    headers = sign.headers([secret], "msg_1", at, body)
    (tmp_path / "h").write_text(json.dumps(headers))
    (tmp_path / "b").write_bytes(body)
    code, out = _debugged(tmp_path, secret + "\n")
    assert (code, out.splitlines()[0]) == (0, "the signature holds")
    assert f"begins with: msg_1.{at}." in out
    code, out = _debugged(tmp_path, f'"{secret}"\n')
    assert (code, "wrong: secret_form: The secret has quotes around it" in out) == (1, True)
    code, out = _debugged(tmp_path, sign.new_secret(), "--computed", "v1,AAAA", "--received-at", "2026-01-01T00:00:00Z")
    assert code == 1
    assert all(f"wrong: {check}: " in out for check in ("mismatch", "computed", "timestamp_skew"))
    assert _debugged(tmp_path, "no secret")[0] == 1
    private = sign.new_private_key()
    (tmp_path / "h").write_text(json.dumps(sign.headers([private], "msg_1", at, body)))
    assert _debugged(tmp_path, sign.public_key(private))[0] == 0
    assert _debugged(tmp_path, secret, "--received-at", "yesterday")[0] == 2
    assert _debugged(tmp_path, secret, "--subscription", RECORD)[0] == 2
    assert secret not in out
