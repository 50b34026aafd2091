"""Caches are for their owner only, weights for all that the umask allows."""

import os
import stat

import pytest
import torch

from deepssim.errors import DataError
from deepssim.runtime.private import VARIABLE, cache_folder, close_to_others, owner_only, user_cache
from deepssim.runtime.weights import save_weights


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_made_for_the_owner_are_so_whatever_the_umask(tmp_path, umask):
    with owner_only():
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").touch()
    (tmp_path / "after").touch()
    found = [mode(tmp_path / name) for name in ("folder", "folder/file", "after")]
    assert found == [0o700, 0o600, 0o666 & ~umask]


def test_weights_obey_the_umask(tmp_path, umask):
    save_weights(tmp_path / "x.safetensors", torch.nn.Linear(2, 2), "x", {})
    assert mode(tmp_path / "x.safetensors") == 0o666 & ~umask
    with owner_only():
        save_weights(tmp_path / "y.safetensors", torch.nn.Linear(2, 2), "y", {})
    assert mode(tmp_path / "y.safetensors") == 0o600


def test_what_was_open_is_closed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch(0o644)
    (tmp_path / "elsewhere").touch(0o644)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    close_to_others(tmp_path / "a")
    close_to_others(tmp_path / "none")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/file", "elsewhere")] == [0o700, 0o700, 0o600, 0o644]


def test_the_users_cache_is_where_the_system_has_caches(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache("audit") == tmp_path / "xdg" / "deepssim" / "audit"
    with cache_folder("audit", None) as place:
        assert place == tmp_path / "xdg" / "deepssim" / "audit"
        assert mode(place) == 0o700


def test_a_home_that_cannot_be_written_is_said_and_replaced(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with cache_folder("audit", None) as place:
        assert mode(place) == 0o700
        (place / "x").touch()
    assert not place.exists()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}/file/audit: the cache cannot be written (File exists), so that nothing is kept for the next audit; name a "
        "folder with --cache"
    )


def test_a_folder_that_the_user_named_is_not_replaced(tmp_path):
    (tmp_path / "file").touch()
    message = r"file: cannot be written \(File exists\); name another folder with --cache"
    with pytest.raises(DataError, match=message), cache_folder("audit", tmp_path / "file"):
        pass
