import sys
import traceback
from dataclasses import asdict
from pathlib import Path

import pytest

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.settings import Settings

KEY = "ANTHROPIC_ADMIN_API_KEY"
KEY_FILE = "ANTHROPIC_ADMIN_API_KEY_FILE"
BASE_URL = "USAGE_COST_MCP_BASE_URL"
CHARACTERS = "USAGE_COST_MCP_MAX_ANSWER_CHARACTERS"
LOG_LEVEL = "USAGE_COST_MCP_LOG_LEVEL"
REDIS_URL = "USAGE_COST_MCP_REDIS_URL"

ADMIN_KEY = "sk-ant-admin01-Unmistakable_42"


def read(**environ: str) -> Settings:
    """Settings with a valid key."""
    return Settings.from_environ({KEY: ADMIN_KEY, **environ})


def refusal(environ: dict[str, str]) -> str:
    """The error of the settings, after a check that no value leaks, not even into a traceback."""
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environ(environ)
    shown = "".join(traceback.format_exception(refused.value))
    assert [name for name, value in environ.items() if value.strip() and value in shown] == []
    return str(refused.value)


def test_a_key_is_all_that_is_needed() -> None:
    settings = read()
    assert settings.admin_key.get_secret_value() == ADMIN_KEY
    assert settings.key_source == KEY
    assert settings.base_url == "https://api.anthropic.com"
    assert settings.max_answer_characters == 40_000
    assert settings.log_level == "WARNING"
    assert settings.redis_url is None
    assert not settings.demo


def test_the_key_is_never_printed() -> None:
    settings = read()
    shown = f"{settings!r} {settings} {asdict(settings)} {settings.admin_key}"
    assert ADMIN_KEY not in shown
    assert "Unmistakable" not in shown


@pytest.mark.parametrize("environ", [{}, {KEY: ""}, {KEY: " \n", KEY_FILE: " "}])
def test_without_a_key_the_reader_learns_what_to_set_and_where_to_get_it(environ: dict[str, str]) -> None:
    message = refusal(environ)
    assert all(word in message for word in (KEY, KEY_FILE, "sk-ant-admin", "Claude Console", "usage-cost-mcp demo"))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sk-ant-api03-Unmistakable", "contains an ordinary API key"),
        ("sk-Unmistakable", "does not contain an Admin key"),
        ("Bearer sk-ant-admin01-Unmistakable", "does not contain an Admin key"),
        ("sk-ant-admin01-Unmis takable", "characters that a key cannot have"),
        ("sk-ant-admin01-Unmis\ttakable", "characters that a key cannot have"),
        ("sk-ant-admin01-Unmis\ntakable", "characters that a key cannot have"),
        ("sk-ant-admin01-Unmis\u00a0takable", "characters that a key cannot have"),
        ("sk-ant-admin01-Unmistakabl\u00e9", "characters that a key cannot have"),
        ("sk-ant-admin01-Unmis\u200btakable", "characters that a key cannot have"),
    ],
)
def test_a_value_that_is_not_an_admin_key_is_refused_from_every_source(key: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(key, encoding="utf-8")
    inline, from_file = refusal({KEY: key}), refusal({KEY_FILE: str(file)})
    assert message in inline
    assert inline.startswith(f"{KEY} ")
    assert from_file == inline.replace(KEY, KEY_FILE)
    assert "Unmis" not in inline


@pytest.mark.parametrize("around", ["{}", "{}\n", "{}\r\n", "\n  {}  \n\n"])
def test_whitespace_around_a_key_is_ignored(around: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(around.format(ADMIN_KEY), encoding="utf-8", newline="")
    from_file = Settings.from_environ({KEY_FILE: str(file)})
    assert from_file.admin_key.get_secret_value() == ADMIN_KEY
    assert from_file.key_source == KEY_FILE
    assert read(**{KEY: around.format(ADMIN_KEY)}).admin_key.get_secret_value() == ADMIN_KEY


def test_a_key_and_a_key_file_together_are_refused(tmp_path: Path) -> None:
    assert "keep one of them" in refusal({KEY: ADMIN_KEY, KEY_FILE: str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "No such file"), ("folder", "Is a directory"), ("picture", "it is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read_says_why(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    message = refusal({KEY_FILE: str(tmp_path / name)})
    assert KEY_FILE in message
    assert reason in message


def test_an_empty_file_holds_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    assert "does not contain an Admin key" in refusal({KEY_FILE: str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "https://api.anthropic.com"),
        ("https://gateway.example", "https://gateway.example"),
        ("https://gateway.example/", "https://gateway.example"),
        (" https://gateway.example:8443\n", "https://gateway.example:8443"),
        ("HTTPS://gateway.example", "https://gateway.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_base_url_is_https_or_loopback(given: str, url: str) -> None:
    assert read(**{BASE_URL: given}).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://gateway.example", "http://10.1.2.3", "http://localhost.example", "http://127.0.0.1.example"),
        *("http://0.0.0.0:80", "http://[::2]", "ftp://gateway.example", "ws://localhost", "//gateway.example"),
    ],
)
def test_any_other_http_url_is_refused(url: str) -> None:
    assert "must use https" in refusal({KEY: ADMIN_KEY, BASE_URL: url})


@pytest.mark.parametrize(
    "url",
    [
        *("gateway.example", "localhost:8080", "https:///v1", "https:gateway.example", "https://:443"),
        *("https://user@gateway.example", "https://user:word@gateway.example", "http://user@localhost"),
        *("https://gateway.example/v1", "https://gateway.example//", "https://gateway.example?region=eu"),
        *("https://gateway.example#top", "https://gateway.example:port", "https://gateway.example:70000"),
        *("https://gateway.example:-1", "https://[::1", "https://[gateway]"),
    ],
)
def test_a_url_with_more_than_an_origin_is_refused(url: str) -> None:
    assert "without a path" in refusal({KEY: ADMIN_KEY, BASE_URL: url})


@pytest.mark.parametrize(("given", "number"), [("", 40_000), ("4000", 4000), (" 1000000 ", 1_000_000)])
def test_the_length_of_an_answer_is_a_whole_number(given: str, number: int) -> None:
    assert read(**{CHARACTERS: given}).max_answer_characters == number


@pytest.mark.parametrize(
    "given", ["1789", "3999", "-9000", "+9000", "9000.5", "9e5", "9_000", "9 000", "many", "\uff19\uff10\uff10\uff10"]
)
def test_any_other_length_is_refused(given: str) -> None:
    assert f"{CHARACTERS} must be a whole number of at least 4000" in refusal({KEY: ADMIN_KEY, CHARACTERS: given})


@pytest.mark.parametrize(("given", "level"), [("", "WARNING"), ("DEBUG", "DEBUG"), (" info\n", "INFO")])
def test_the_log_level_is_one_of_pythons(given: str, level: str) -> None:
    assert read(**{LOG_LEVEL: given}).log_level == level


@pytest.mark.parametrize("given", ["LOUD", "NOTSET", "debug,info", "-10"])
def test_any_other_log_level_is_refused(given: str) -> None:
    assert f"{LOG_LEVEL} must be one of DEBUG, INFO, WARNING" in refusal({KEY: ADMIN_KEY, LOG_LEVEL: given})


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://cache",
            "redis://cache:6380/2",
            "rediss://cache.example/0",
            "redis://10.1.2.3/",
            "redis://[::1]:6379",
        ),
        *(
            "redis://:a%2Fword@team_cache:6379",
            "rediss://user:word@cache.example:6379/0",
            "REDIS://CACHE",
            "redis://c?db=3",
        ),
        *("rediss://cache?ssl_ca_certs=/etc/ca.pem", "unix:///run/redis.sock", "unix://:word@/run/redis.sock?db=1"),
    ],
)
def test_the_shared_cache_is_where_a_redis_address_says(url: str) -> None:
    given = read(**{REDIS_URL: f" {url}\n"}).redis_url
    assert given is not None
    assert given.get_secret_value() == url
    assert Settings.for_demo({REDIS_URL: url}, "http://127.0.0.1:1").redis_url == given
    assert url not in f"{read(**{REDIS_URL: url})!r}"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "cache:6379",
            "http://cache:6379",
            "redis:cache",
            "redis:///0",
            "redis://:6379",
            "redis://cache/one",
            "//cache",
        ),
        *(
            "redis://cache:port",
            "redis://cache:70000",
            "redis://[::1",
            "redis://cache#top",
            "redis://ca che",
            "unix:?db=0",
        ),
        *(
            "redis://cache?socket_timeout=60",
            "redis://cache?db=one",
            "redis://cache?ssl_cert_reqs=none",
            "redis://cache//",
        ),
        *("unix://host/run/redis.sock", "redis-sentinel://cache", "redis://:secret-word@cache/0/1", "unix:///?db=1"),
    ],
)
def test_any_other_address_of_a_shared_cache_is_refused(url: str) -> None:
    message = refusal({KEY: ADMIN_KEY, REDIS_URL: url})
    assert f"{REDIS_URL} must be a URL such as redis://" in message
    assert "secret-word" not in message


def test_a_shared_cache_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    message = refusal({KEY: ADMIN_KEY, REDIS_URL: "redis://cache.example"})
    assert message == f"{REDIS_URL} requires the redis extra: pip install 'usage-cost-mcp[redis]'."


def test_the_demo_needs_no_key_but_valid_settings() -> None:
    settings = Settings.for_demo({LOG_LEVEL: "debug", CHARACTERS: "5000"}, "http://127.0.0.1:1")
    assert settings.demo
    assert (settings.log_level, settings.max_answer_characters) == ("DEBUG", 5000)
    with pytest.raises(ConfigurationError, match=CHARACTERS):
        Settings.for_demo({CHARACTERS: "few"}, "http://127.0.0.1:1")


def test_variables_that_point_other_programs_elsewhere_are_not_read() -> None:
    assert read(ANTHROPIC_BASE_URL="https://gateway.example").base_url == "https://api.anthropic.com"
