"""A changed setting, input or recipe never finds an older training state."""

from deepssim.runtime.provenance import file_checksum, fingerprint, state_folder, versions


def test_state_belongs_to_settings_inputs_and_recipe(tmp_path):
    data = tmp_path / "data.h5"
    data.write_bytes(b"one")
    output = tmp_path / "vae" / "x.safetensors"
    folders = [state_folder(output, {"epochs": 1}, [data], recipe=1) for _ in range(2)]
    folders.append(state_folder(output, {"epochs": 2}, [data], recipe=1))
    folders.append(state_folder(output, {"epochs": 1}, [data], recipe=2))
    data.write_bytes(b"two")
    folders.append(state_folder(output, {"epochs": 1}, [data], recipe=1))
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4
    assert all(folder.parent == tmp_path / "vae" / "state" for folder in folders)


def test_hashes_are_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_checksum(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_versions_are_those_that_run():
    import numpy

    assert versions()["numpy"] == numpy.__version__
    assert versions()["deepssim"]
