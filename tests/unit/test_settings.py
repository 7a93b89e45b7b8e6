"""Settings come from the environment once, and a wrong one names its variable."""

from pathlib import Path

import pytest

from sheaf.core.errors import SettingsError
from sheaf.core.settings import Settings


def test_values_are_converted_to_their_fields_types() -> None:
    """Text in the environment becomes an int, a float or a path, and what is not set keeps its default."""
    settings = Settings.from_env({"SHEAF_POOL_SIZE": "3", "SHEAF_COMMIT_S": "0.5", "SHEAF_DATA_DIR": "/volume"})

    assert (settings.pool_size, settings.commit_s, settings.data_dir) == (3, 0.5, Path("/volume"))
    assert settings.redis_url is None


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose passes `${X:-}` as an empty string."""
    assert Settings.from_env({"SHEAF_POOL_SIZE": ""}).pool_size == 0


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SHEAF_POOL_SIZE": "many"}, "SHEAF_POOL_SIZE='many'"),
        ({"SHEAF_POOL_SIZE": "-1"}, "SHEAF_POOL_SIZE=-1"),
        ({"SHEAF_COMMIT_S": "0"}, "SHEAF_COMMIT_S=0"),
        ({"SHEAF_QUEUE_BATCHES": "0"}, "SHEAF_QUEUE_BATCHES=0"),
        ({"SHEAF_LOG_LEVEL": "loud"}, "SHEAF_LOG_LEVEL='loud'"),
        ({"SHEAF_HEARTBEAT_S": "14"}, "SHEAF_HEARTBEAT_S=14"),
        ({"SHEAF_REDIS_PASSWORD_FILE": "/no/such/file"}, "SHEAF_REDIS_PASSWORD_FILE='/no/such/file'"),
    ],
)
def test_a_bad_value_names_its_variable(environment: dict[str, str], named: str) -> None:
    """The error's reader knows which variable to correct."""
    with pytest.raises(SettingsError, match=named):
        Settings.from_env(environment)


def test_a_secret_is_read_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    """SHEAF_X_FILE holds the path of a file with the value of SHEAF_X; the newline at its end is no part of it."""
    (tmp_path / "password").write_text("open sesame\n")

    settings = Settings.from_env({"SHEAF_REDIS_PASSWORD_FILE": str(tmp_path / "password")})

    assert settings.redis_password == "open sesame"


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two would count must not be a guess."""
    (tmp_path / "password").write_text("one")
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_env(
            {"SHEAF_REDIS_PASSWORD": "two", "SHEAF_REDIS_PASSWORD_FILE": str(tmp_path / "password")},
        )
