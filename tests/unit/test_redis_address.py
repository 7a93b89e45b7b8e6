"""An address of a Redis: what is wrong with it is said, its password never."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest

from sheaf.broker.address import shown_address
from sheaf.broker.connection import connect
from sheaf.core.errors import SettingsError, UsageError
from sheaf.core.settings import Settings
from sheaf.embedded.cluster import prepare

SECRET = "Hunter2"
WRONG = [
    "redis://:Hunter2#Top/Secret@127.0.0.1:6399/3",
    "redis://app:Hunter2@127.0.0.1:port/3",
    "redis://app:Hunter2/Top@127.0.0.1:6399/3",
    "redis://:123/Hunter2@127.0.0.1:6399/3",
    "redis://:123#Hunter2@127.0.0.1:6399",
    "redis://:123?Hunter2@127.0.0.1:6399",
    "redis://:Hunter2",
    "redis://Hunter2:Hunter2:Hunter2",
    "redis://[::1/Hunter2",
    "redis://127.0.0.1/x?password=Hunter2",
    "redis://127.0.0.1/0?password=x@Hunter2",
    "redis://127.0.0.1/0/1",
    "http://app:Hunter2@127.0.0.1",
    "app:Hunter2@127.0.0.1",
    "Hunter2",
    "unix://app:Hunter2@/x.sock?db=x",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_address_is_refused_without_its_password(url: str) -> None:
    """Whatever in it was meant as what; the traceback that a program prints does not have it either."""
    with pytest.raises(SettingsError, match="%23") as caught:
        connect(Settings(redis_url=url))
    shown = "".join(traceback.format_exception(caught.value))
    assert "SHEAF_REDIS_URL" in str(caught.value)
    assert not any(secret in shown for secret in ("Hunter2", "Top", "Secret", ":123"))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://app:Hunter2@127.0.0.1", "it does not begin with redis://, rediss:// or unix://"),
        ("redis://app:Hunter2@127.0.0.1:port", "its port is not a number"),
        ("redis://127.0.0.1:6379/0#1", "it holds a #"),
        ("redis://app:Hunter2/Top@127.0.0.1", "its port is not a number"),
        ("redis://:123/Hunter2@127.0.0.1", "its password holds a / or a ?"),
        ("redis://127.0.0.1/x", "its database is not a number"),
        ("redis://127.0.0.1/0?db=x", "redis-py does not understand it"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, fault: str) -> None:
    """Before redis-py says it in words of its own, or takes it for something else."""
    with pytest.raises(SettingsError, match=re.escape(f"not a Redis address: {fault}")):
        connect(Settings(redis_url=url))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://app:Hunter2@127.0.0.1:6399/3", "redis://app:***@127.0.0.1:6399/3"),
        ("rediss://:Hunter@2@redis:6379", "rediss://:***@redis:6379"),
        ("redis://Hunter2@redis", "redis://:***@redis"),
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://redis?password=Hunter2", "redis://redis?…"),
        ("unix:///tmp/redis.sock?password=Hunter2", "unix:///tmp/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    """User, host, port and database are enough to see which one is meant; and it can be connected to."""
    assert shown_address(url) == shown
    connect(Settings(redis_url=url)).close()


def test_no_message_of_a_setting_holds_a_password(tmp_path: Path) -> None:
    """`sheaf up` beside an address, settings that are printed, a password where the name of its file belongs."""
    secret = SECRET
    settings = Settings(data_dir=tmp_path, redis_url=f"redis://app:{secret}@127.0.0.1:6399", redis_password=secret)
    with pytest.raises(UsageError, match=r"redis://app:\*\*\*@127\.0\.0\.1:6399") as refused:
        prepare(settings, workers=1)
    with pytest.raises(SettingsError, match="SHEAF_REDIS_PASSWORD_FILE") as unread:
        Settings.from_env({"SHEAF_REDIS_PASSWORD_FILE": secret})
    with pytest.raises(SettingsError, match="/run/secrets/none"):
        Settings.from_env({"SHEAF_REDIS_PASSWORD_FILE": "/run/secrets/none"})

    shown = "".join(traceback.format_exception(unread.value))
    assert not any(secret in text for text in (repr(settings), str(refused.value), shown))
