"""A changed setting, input or stage version never finds an older training state."""

from deepssim.runtime.provenance import file_checksum, fingerprint, state_folder, versions
from deepssim.runtime.stage_versions import STAGE_VERSIONS


def test_state_belongs_to_stage_settings_inputs_and_version(tmp_path, monkeypatch):
    data = tmp_path / "data.h5"
    data.write_bytes(b"one")
    output = tmp_path / "vae" / "x.safetensors"
    folders = [state_folder("train_vae", output, {"epochs": 1}, [data]) for _ in range(2)]
    folders.append(state_folder("train_vae", output, {"epochs": 2}, [data]))
    folders.append(state_folder("train_ldm", output, {"epochs": 1}, [data]))
    data.write_bytes(b"two")
    folders.append(state_folder("train_vae", output, {"epochs": 1}, [data]))
    data.write_bytes(b"one")
    monkeypatch.setitem(STAGE_VERSIONS, "train_vae", STAGE_VERSIONS["train_vae"] + 1)
    folders.append(state_folder("train_vae", output, {"epochs": 1}, [data]))
    assert folders[0] == folders[1]
    assert len(set(folders)) == 5
    assert all(folder.parent == tmp_path / "vae" / "state" for folder in folders)


def test_hashes_are_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_checksum(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_versions_are_those_that_run():
    import numpy

    assert versions()["numpy"] == numpy.__version__
    assert versions()["deepssim"]
