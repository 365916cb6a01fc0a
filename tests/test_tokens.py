"""The tokens file: valid and invalid content, reloading, `token create` and `token list`."""

import hashlib
import json
import logging
import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import KEY, keeps_silent
from tests.support.harness import FrozenClock
from tests.support.inprocess_http_server import Front, holds_none_of, served
from tests.support.processes import environment, run_here
from tests.support.subprocess_http_server import tokens_line
from usage_cost_mcp.auth import tokens_file
from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.auth.tokens_file import new_token, read_records, sha256_of
from usage_cost_mcp.errors import ConfigurationError

pytestmark = pytest.mark.anyio

ANA, BOB = new_token(), new_token()
HASH = sha256_of(ANA)


def record(name: str = "ana", token: str = ANA, **more: Any) -> str:
    return tokens_line(name, token, **more)


def rewrite(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one token."""
    path = tmp_path / "tokens.jsonl"
    path.write_text(record())
    return path


@asynccontextmanager
async def serving(file: Path, clock: FrozenClock) -> AsyncGenerator[Front]:
    async with served(clock, tokens_file=file) as front:
        yield front


async def status(front: Front, token: str) -> int:
    return (await front.post(token)).status_code


# --- the file at the start -------------------------------------------------------------------------------------------

GOOD: dict[str, tuple[str, Principal]] = {
    "a name and a hash": (record(), Principal("ana")),
    "empty lines around": (f"\n\n  {record()}\n\t\n", Principal("ana")),
    "no line end": (record().strip(), Principal("ana")),
    "line ends of another system": (record().replace("\n", "\r\n"), Principal("ana")),
    "a byte order mark": ("\ufeff" + record(), Principal("ana")),
    "a name like an address": (record("ana.b-c_d@demo.example"), Principal("ana.b-c_d@demo.example")),
    "a hash in capitals": (record().replace(HASH, HASH.upper()), Principal("ana")),
    "an expiry in another zone": (record(expires="2027-01-31T00:00:00.5+05:30"), Principal("ana")),
    "workspaces": (
        record(workspaces=["wrkspc_01AbC", "default"]),
        Principal("ana", frozenset({"wrkspc_01AbC", None})),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_valid_tokens_file_is_accepted(case: str, tmp_path: Path) -> None:
    text, principal = GOOD[case]
    file = tmp_path / "tokens"
    file.write_bytes(text.encode())
    (holder,) = read_records(file)
    assert holder.principal == principal
    assert holder.sha256 == HASH


NAMED = "of the tokens file (USAGE_COST_MCP_TOKENS_FILE): "

LINES: dict[str, tuple[str, str]] = {
    "nothing": ("", "holds no token; create one with: usage-cost-mcp token create NAME"),
    "empty lines alone": ("\n \n", "holds no token"),
    "something else than JSON": (f"{record()}name: bob\n", f"Line 2 {NAMED}it is not JSON"),
    "JSON that nests too deep": ("[" * 100_000, "it is not JSON"),
    "a list": ("[]", "it is not a JSON object"),
    "a token alone": (f'"{ANA}"', "it is not a JSON object"),
    "an unknown field": (record(scope="x"), "it has an unknown field; accepted: name, sha256, expires, workspaces"),
    "a field twice": ('{"name": "ana", "name": "bob"}', "it has the same field twice"),
    "no name": (f'{{"sha256": "{HASH}"}}', "name must be 1 to 64 letters, digits or . _ @ -"),
    "a name with a space": (record("ana b"), "name must be 1 to 64"),
    "a name with a colon": (record("oauth:ana"), "name must be 1 to 64"),
    "a name with other letters": (record("аna"), "name must be 1 to 64"),  # noqa: RUF001 - the point
    "an empty name": (record(""), "name must be 1 to 64"),
    "a long name": (record("a" * 65), "name must be 1 to 64"),
    "a number for a name": (record(7), "name must be 1 to 64"),  # pyright: ignore[reportArgumentType]
    "a key for a name": (record(KEY[:60]), "name looks like a key or a token"),
    "a token for a name": (record(ANA), "name looks like a key or a token"),
    "a name twice": (f"{record()}\n{record(token=BOB)}", f"Line 3 {NAMED}name is the same as in line 1"),
    "a hash twice": (record() + record("bob"), "sha256 is the same as in line 1"),
    "no hash": ('{"name": "ana"}', "sha256 must be 64 hexadecimal digits"),
    "half a hash": (record().replace(HASH, HASH[:32]), "sha256 must be 64 hexadecimal digits"),
    "a hash in base64": (record().replace(HASH, "q" * 64), "sha256 must be 64 hexadecimal digits"),
    "a token for a hash": (record().replace(HASH, ANA), "sha256 contains a token or key instead of its hash"),
    "an Anthropic key for a hash": (record().replace(HASH, KEY), "sha256 contains a token or key instead of its hash"),
    "an expiry without a zone": (record(expires="2027-01-31T00:00:00"), "expires must be a time with its time zone"),
    "an expiry without a time": (record(expires="2027-01-31"), "expires must be a time with its time zone"),
    "an expiry on no day": (record(expires="2027-02-30T00:00:00Z"), "expires must be a time with its time zone"),
    "an expiry as a number": (record(expires=1801353600), "expires must be a time with its time zone"),
    "an expiry of null": (record(expires=None), "expires must be a time with its time zone"),
    "no workspace": (record(workspaces=[]), "workspaces must be a list of ids"),
    "one workspace, not in a list": (record(workspaces="wrkspc_01AbC"), "workspaces must be a list of ids"),
    "the name of a workspace": (record(workspaces=["Production"]), "not of names"),
    "a workspace of null": (record(workspaces=[None]), "workspaces must be a list of ids"),
    "workspaces of null": (record(workspaces=None), "workspaces must be a list of ids"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
async def test_a_server_does_not_start_with_invalid_records(case: str, tmp_path: Path, clock: FrozenClock) -> None:
    text, sentence = LINES[case]
    file = tmp_path / "tokens"
    rewrite(file, text)
    text = await startup_error(file, clock)
    assert sentence in text
    assert holds_none_of(ANA, text)
    assert holds_none_of(HASH, text)
    assert keeps_silent(text)


async def startup_error(file: Path, clock: FrozenClock) -> str:
    with pytest.raises(ConfigurationError) as failed:
        async with serving(file, clock):
            pass
    return str(failed.value)


def remove(file: Path) -> None:
    file.unlink()


def make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_large(file: Path) -> None:
    file.write_text(record() + "\n" * 2**20)


def write_bytes(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")


def for_the_group(file: Path) -> None:
    file.chmod(0o620)


def for_everyone(file: Path) -> None:
    file.chmod(0o602)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "is missing": (remove, "cannot be read: No such file or directory"),
    "is a folder": (make_a_folder, "is not a regular file"),
    "is a pipe": (make_a_pipe, "is not a regular file"),
    "is too large": (make_large, "is larger than 1 MiB"),
    "is not text": (write_bytes, "is not text"),
    "can be changed by the group": (for_the_group, "can be written by users other than its owner"),
    "can be changed by anyone": (for_everyone, "can be written by users other than its owner"),
}


@pytest.mark.parametrize("case", FILES)
async def test_a_server_does_not_start_with_an_unusable_tokens_file(case: str, file: Path, clock: FrozenClock) -> None:
    spoil, sentence = FILES[case]
    spoil(file)
    text = await startup_error(file, clock)
    assert text.startswith("The tokens file (USAGE_COST_MCP_TOKENS_FILE) ")
    assert sentence in text


# --- the table of bad tokens -----------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, str, str]] = {
    "wrong": (new_token(), "unknown", "Unknown token: it is wrong or was revoked."),
    "nearly right": (ANA[:-1], "unknown", "Unknown token"),
    "right but for its case": (ANA.upper(), "unknown", "Unknown token"),
    "the hash itself": (HASH, "unknown", "Unknown token"),
    "behind another blank": (f" {ANA}", "unknown", "Unknown token"),
    "expired": (BOB, "expired", "The token has expired."),
    "a JWT without a configured issuer": (f"eyJhbGciOiJub25lIn0.e30.{'x' * 20}", "unknown", "Unknown token"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_token_is_rejected_and_not_repeated(
    case: str,
    file: Path,
    clock: FrozenClock,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    token, why, sentence = BAD[case]
    rewrite(file, record() + record("bob", BOB, expires="2026-11-22T14:30:00Z"))
    async with serving(file, clock) as front:
        answer = await front.post(token)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="usage-cost-mcp", error="invalid_token", error_description="')
    assert "resource_metadata" not in challenge, "there is no issuer to discover"
    assert answer.json()["error"] == "invalid_token"
    assert answer.json()["error_description"].startswith(sentence)
    out, err = capfd.readouterr()
    assert json.loads(err) == {"at": "2026-11-22T14:30:00.000Z", "principal": None, "outcome": "refused", "why": why}
    assert holds_none_of(token, challenge, answer.text, out, err, caplog.text)


async def test_a_token_in_the_query_string_is_rejected(
    file: Path, clock: FrozenClock, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(file, clock) as front:
        answer = await front.post(params={"key": ANA})
    assert answer.status_code == 400
    out, err = capfd.readouterr()
    assert holds_none_of(ANA, str(answer.headers), answer.text, out, err, caplog.text)


# --- while it runs ---------------------------------------------------------------------------------------------------


async def test_a_token_is_valid_until_it_expires(file: Path, clock: FrozenClock) -> None:
    rewrite(file, record(expires="2026-11-22T14:31:00Z"))
    async with serving(file, clock) as front:
        assert await status(front, ANA) == 200
        clock.advance(59)
        assert await status(front, ANA) == 200
        clock.advance(1)
        assert await status(front, ANA) == 401


def replace(file: Path, text: str) -> None:
    """Replace the file by another one, as editors do, and as mounted secrets change."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


def rewrite_in_same_tick(file: Path, text: str) -> None:
    """Change the content but neither the length nor the time of the file."""
    status_before = file.stat()
    rewrite(file, text)
    os.utime(file, ns=(status_before.st_atime_ns, status_before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, replace, rewrite_in_same_tick])
async def test_revoked_and_new_tokens_take_effect_at_once(
    change: Callable[[Path, str], None], file: Path, clock: FrozenClock
) -> None:
    async with serving(file, clock) as front:
        assert await status(front, ANA) == 200
        assert await status(front, BOB) == 401
        change(file, record("bob", BOB))
        assert await status(front, ANA) == 401
        assert await status(front, BOB) == 200
        change(file, record("ana", ANA))
        assert await status(front, ANA) == 200


async def test_an_unchanged_file_is_not_read_again(
    file: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Any:
        read.append(path)
        return read_records(path)

    monkeypatch.setattr(tokens_file, "read_records", reading)
    monkeypatch.setattr(tokens_file, "_SETTLED_NS", 0)
    async with serving(file, clock) as front:
        for _ in range(5):
            assert await status(front, ANA) == 200
        assert len(read) <= 2
        rewrite(file, record() + record("bob", BOB))
        assert await status(front, BOB) == 200


UNUSABLE: dict[str, Callable[[Path], None]] = {
    **{case: spoil for case, (spoil, _) in FILES.items()},
    "is half written": lambda file: rewrite(file, record() + record("bob", BOB)[:40]),
    "is empty": lambda file: rewrite(file, ""),
}


def repair(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    file.unlink(missing_ok=True)
    rewrite(file, record())


@pytest.mark.parametrize("case", UNUSABLE)
async def test_no_token_is_accepted_while_the_file_is_unusable(
    case: str, file: Path, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(file, clock) as front:
        assert await status(front, ANA) == 200
        UNUSABLE[case](file)
        for token in (ANA, BOB, ANA):
            answer = await front.post(token)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "30"
        (text,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
        assert "(USAGE_COST_MCP_TOKENS_FILE)" in text
        assert text.endswith("Until it is fixed, no token in that file is accepted.")
        repair(file)
        assert await status(front, ANA) == 200, "repaired without a restart"


async def test_an_invalid_line_is_logged_by_number_without_its_content(
    file: Path, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(file, clock) as front:
        rewrite(file, record() + "\n" + record("bob").replace(HASH, BOB))
        assert await status(front, ANA) == 503
    (text,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert text.startswith("Line 3 of the tokens file (USAGE_COST_MCP_TOKENS_FILE): sha256 contains a token")
    assert holds_none_of(BOB, text, caplog.text)


# --- token create ----------------------------------------------------------------------------------------------------


def run(*words: str, file: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line, without an Admin key."""
    named = {"USAGE_COST_MCP_TOKENS_FILE": str(file)} if file else {}
    return run_here("token", "create", *words, env=environment(**named, COLUMNS="200"))


async def test_a_new_token_works_at_once(file: Path, clock: FrozenClock) -> None:
    async with serving(file, clock) as front:
        made = run("bob", file=file)
        assert made.returncode == 0, made.stderr
        assert await status(front, made.stdout.strip()) == 200
        assert await status(front, ANA) == 200


def test_a_new_token_is_printed_alone_on_stdout_and_nowhere_else(file: Path) -> None:
    made = run("bob", "--workspaces", "wrkspc_01AbC, default", "--days", "30", file=file)
    (token,) = made.stdout.splitlines()
    assert token.startswith("ucm_")
    assert len(token) == 47
    assert holds_none_of(token, made.stderr, file.read_text())
    bob = json.loads(file.read_text().splitlines()[1])
    assert bob["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert bob["workspaces"] == ["wrkspc_01AbC", "default"]
    assert [holder.principal.name for holder in read_records(file)] == ["ana", "bob"]


def test_a_new_tokens_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "tokens.jsonl"
    assert run("ana", file=file).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_record_is_added_on_a_new_line(file: Path) -> None:
    file.write_text(record().strip())
    assert run("bob", file=file).returncode == 0
    assert len(read_records(file)) == 2


def test_without_a_tokens_file_the_record_is_printed_on_stderr(tmp_path: Path) -> None:
    made = run("ana")
    file = tmp_path / "tokens.jsonl"
    file.write_text(next(line for line in made.stderr.splitlines() if line.startswith("{")))
    (holder,) = read_records(file)
    assert holder.sha256 == sha256_of(made.stdout.strip())
    assert "USAGE_COST_MCP_TOKENS_FILE is not set" in made.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ana"], "ana already has one"),
        (["a b"], "name must be 1 to 64 letters"),
        ([KEY], "name must be 1 to 64 letters"),
        ([KEY[:50]], "name looks like a key or a token"),
        (["bob", "--days", "0"], "days must be a number from 1 to 3650"),
        (["bob", "--days", "99999999999"], "days must be a number from 1 to 3650"),
        (["bob", "--days", "soon"], "invalid int value"),
        (["bob", "--workspaces", "Production"], "not of names"),
        (["bob", "--workspaces", ""], "must be a list of ids"),
        ([], "the following arguments are required: NAME"),
    ],
)
def test_no_token_is_created_from_invalid_arguments(words: list[str], sentence: str, file: Path) -> None:
    made = run(*words, file=file)
    assert made.returncode == 2
    assert sentence in made.stderr
    assert not made.stdout
    assert file.read_text() == record()
    assert keeps_silent(made.stderr)


@pytest.mark.parametrize("case", ["is a folder", "is not text", "can be changed by anyone", "is too large"])
def test_no_token_is_added_to_an_unusable_file(case: str, file: Path) -> None:
    spoil, sentence = FILES[case]
    spoil(file)
    made = run("bob", file=file)
    assert (made.returncode, made.stdout) == (2, "")
    assert sentence in made.stderr


def test_no_token_is_added_to_a_file_with_an_invalid_line(file: Path) -> None:
    file.write_text(f"{record()}nonsense\n")
    made = run("bob", file=file)
    assert (made.returncode, made.stdout) == (2, "")
    assert "Line 2" in made.stderr
    assert file.read_text() == f"{record()}nonsense\n"


def test_tokens_are_unique() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


def test_token_new_is_an_alias_of_token_create(file: Path) -> None:
    made = run_here("token", "new", "bob", env=environment(USAGE_COST_MCP_TOKENS_FILE=str(file)))
    assert made.returncode == 0
    assert made.stdout.startswith("ucm_")


# --- token list ------------------------------------------------------------------------------------------------------


def test_token_list_shows_names_expiry_and_workspaces_but_no_hash(file: Path) -> None:
    file.write_text(
        record()
        + record("bob", BOB, expires="2020-01-31T00:00:00+01:00")
        + record("eva", new_token(), expires="2099-01-31T00:00:00Z", workspaces=["wrkspc_01AbC", "default"])
    )
    listed = run_here("token", "list", env=environment(USAGE_COST_MCP_TOKENS_FILE=str(file)))
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.split(maxsplit=2) for line in listed.stdout.splitlines()] == [
        ["NAME", "EXPIRES", "WORKSPACES"],
        ["ana", "never", "all"],
        ["bob", "2020-01-30T23:00:00Z", "(expired)  all"],
        ["eva", "2099-01-31T00:00:00Z", "default,wrkspc_01AbC"],
    ]
    assert holds_none_of(HASH, listed.stdout)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "USAGE_COST_MCP_TOKENS_FILE is not set"),
        ("", "holds no token"),
        ("x", "Line 1 of the tokens file"),
    ],
)
def test_token_list_needs_a_valid_tokens_file(text: str | None, sentence: str, file: Path) -> None:
    file.write_text(text or "")
    named = {} if text is None else {"USAGE_COST_MCP_TOKENS_FILE": str(file)}
    listed = run_here("token", "list", env=environment(**named))
    assert (listed.returncode, listed.stdout) == (2, "")
    assert sentence in listed.stderr
