"""Files made to do harm: code in pickles, bombs, paths that lead elsewhere."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deepssim.config.settings import load_config
from deepssim.datasets.tables import read_csv
from deepssim.errors import ConfigError, DataError, DeepssimError
from deepssim.images.dicom import read_dicom
from deepssim.images.files import read_image
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.nifti import read_volume
from deepssim.images.packs import open_pack, read_pack
from deepssim.images.tree import image_path
from deepssim.runtime.hdf5 import write_keys
from deepssim.runtime.npz import read_npz
from deepssim.runtime.weights import read_state_dict
from deepssim.similarity.embeddings import read_embeddings
from deepssim.training.driver import read_checkpoint
from tests.fuzz.readers import READERS, SECONDS, Reader, attempt, limited, spoiled

PERCENTILES = (0.5, 99.5)
MOST_MEMORY = 50_000_000  # bytes that refusing a file may take


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.fixture
def cheap():
    """Check that a test takes little memory."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MOST_MEMORY


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [read_state_dict, read_checkpoint])
def test_code_in_a_checkpoint_is_not_run(tmp_path, read, legacy):
    torch.save({"state_dict": Attack(tmp_path / "harm")}, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"x\.pt: "):
        read(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("read", [read_state_dict, read_checkpoint])
def test_code_in_a_plain_pickle_is_not_run(tmp_path, read):
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Attack(tmp_path / "harm")))
    with pytest.raises(DataError, match=r"x\.pt: "):
        read(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


def test_code_in_an_npz_is_not_run(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.array([Attack(tmp_path / "harm")], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz: holds no array 'data' .*allow_pickle"):
        read_npz(tmp_path / "x.npz", "data", max_bytes=10**6)
    assert not (tmp_path / "harm").exists()


def test_an_npz_that_unpacks_to_much_more_is_refused(tmp_path, cheap):
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2 * 10**7,)})
        for _ in range(20):
            file.write(bytes(8 * 10**6))
    assert (tmp_path / "x.npz").stat().st_size < 10**6
    with pytest.raises(DataError, match="'data' is larger than the limit of 1,000,000 bytes"):
        read_npz(tmp_path / "x.npz", "data", max_bytes=10**6)


def test_an_npz_that_claims_more_than_it_holds_is_refused(tmp_path, cheap):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("data.npy", content.getvalue())
    with pytest.raises(DataError, match=r"'data' declares shape \(1000000000000,\), but is only \d+ bytes"):
        read_npz(tmp_path / "x.npz", "data", max_bytes=10**6)


def test_a_checkpoint_that_unpacks_to_much_more_is_refused(tmp_path, cheap):
    with (
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x/data/0", "w") as file,
    ):
        for _ in range(100):
            file.write(bytes(10**6))
    with pytest.raises(DataError, match="would unpack to 100,000,000 bytes"):
        read_state_dict(tmp_path / "x.pt")


def test_a_picture_of_a_thousand_million_pixels_is_refused(tmp_path, cheap):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 32000, 32000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(10**6))
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match="too large to be a slice|exceeds limit"):
        read_image(tmp_path / "x.png", percentiles=PERCENTILES)


def test_postscript_called_png_is_not_handed_to_another_program(tmp_path):
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="is not an image"):
        read_image(tmp_path / "x.png", percentiles=PERCENTILES)


def nifti_header(shape, offset=352.0):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<f", header, 108, offset)
    header[344:348] = b"n+1\0"
    return bytes(header)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_that_claims_more_than_it_holds_is_refused(tmp_path, suffix, cheap):
    content = nifti_header((30000, 30000, 30000))
    (tmp_path / f"x{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(DataError, match="declares 27,000,000,000,000 pixels or voxels, more than 268,435,456"):
        read_volume(tmp_path / f"x{suffix}")


def test_a_packed_volume_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deepssim.images.nifti.MAX_BYTES", 10**7)
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(nifti_header((30, 30, 30)) + bytes(10**8)))
    with pytest.raises(DataError, match="too much for one volume"):
        read_volume(tmp_path / "x.nii.gz")


def test_a_volume_that_says_it_is_larger_than_its_file_takes_no_memory(tmp_path, cheap):
    for name in ("x.nii", "x.nii.gz"):
        content = nifti_header((600, 600, 600))
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        with pytest.raises(DataError, match="fewer than the 864,000,352 bytes"):
            read_volume(tmp_path / name)


@pytest.fixture
def pack(tmp_path):
    """An HDF5 file that still lacks its images."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_keys(file, "keys", ["a___training"])
        file.create_dataset("secret", data=np.zeros((1, 8, 8), np.uint8))
    return tmp_path / "x.h5"


def test_data_without_end_is_refused(pack, cheap):
    with h5py.File(pack, "r+") as file:
        file.create_dataset("images", (10**7, 512, 512), np.uint8, chunks=(1, 512, 512))
    with pytest.raises(DataError, match="declares 2,621,440,000,000 bytes, but only 0 are stored"):
        read_pack(pack)


def external(file, folder):
    (folder / "secret.bin").write_bytes(bytes(64))
    file.create_dataset("images", (1, 8, 8), np.uint8, external=[(str(folder / "secret.bin"), 0, 64)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((1, 8, 8), np.uint8)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "images", (1, 8, 8))
    file.create_virtual_dataset("images", layout)


def linked(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["images"] = np.zeros((1, 8, 8), np.uint8)
    file["images"] = h5py.ExternalLink(str(folder / "other.h5"), "images")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(external, "is stored in other files"), (virtual, "is a virtual dataset"), (linked, "is a link")],
)
def test_data_of_other_files_is_refused(pack, spoil, reason):
    with h5py.File(pack, "r+") as file:
        spoil(file, pack.parent)
    with pytest.raises(DataError, match=reason), open_pack(pack):
        pass


def test_a_group_in_place_of_data_and_foreign_types_are_refused(pack):
    with h5py.File(pack, "r+") as file:
        file.create_group("images")
        file["embeddings"] = np.array([["text"]], dtype="S4")
    with pytest.raises(DataError, match="'images' is not an HDF5 dataset"):
        read_pack(pack)
    with pytest.raises(DataError, match=r"'embeddings' holds \|S4 of shape \(1, 1\), which this step cannot use"):
        read_embeddings(pack)


LAUGHS = "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LAUGHS, "more than 10000 entries"),
        ("vae: &a {channels: [*a]}", "vae.channels contains itself or is nested"),
        ("[" * 1000, "is not valid YAML|contains no settings"),
        (f"seed: {'9' * 10000}", "is not valid YAML"),
        ("vae: {learning_rate: .nan}", "vae.learning_rate is nan; it must be a finite number"),
        ("vae: {kl_weight: .inf}", "vae.kl_weight is inf"),
        ("shards: 1.0e+300", "shards is 1e.300; it must be a valid integer"),
        ("seed: !!python/object/apply:os.mkdir [harm]", "is not valid YAML"),
    ],
)
def test_a_config_without_end_is_refused(tmp_path, monkeypatch, content, reason, cheap):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(tmp_path / "x.yaml")
    assert len(str(caught.value)) < 2000
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.csv", "s3://bucket/x.csv"])
def test_an_address_in_place_of_a_table_is_not_fetched(address):
    with pytest.raises(DataError, match="does not exist"):
        read_csv(address, needs=())


@settings(deadline=None)  # time says nothing on a busy machine
@given(uid=st.text(), name=st.text(), number=st.integers(0, 10**9))
def test_no_key_leads_out_of_its_folder(uid, name, number):
    root = Path("/images")
    for make in (lambda: real_key(uid), lambda: synthetic_key(uid, number), lambda: f"{uid}___{name}"):
        try:
            path = image_path(root, make())
        except DeepssimError:
            continue
        parts = Path(os.path.normpath(path)).relative_to(root).parts
        assert len(parts) == 2 or (len(parts) == 3 and parts[1].startswith("gen-from-"))


@pytest.fixture
def scan(tmp_path):
    """A DICOM file and its data set, to be spoiled."""
    READERS["dicom"].make(tmp_path / "x.dcm")
    return tmp_path / "x.dcm", pydicom.dcmread(tmp_path / "x.dcm")


def test_a_scan_that_claims_more_than_it_holds_is_refused(scan, cheap):
    path, data = scan
    data.Rows, data.Columns, data.NumberOfFrames = 60000, 60000, 1000
    data.save_as(path)
    with pytest.raises(DataError, match="declares 3,600,000,000,000 pixels or voxels"):
        read_dicom(path, percentiles=PERCENTILES)


def keys_of_variable_length(file):
    del file["keys"]
    file.create_dataset("keys", data=["a___training"], dtype=h5py.string_dtype())
    file["images"] = np.zeros((1, 8, 8), np.uint8)


def virtual_images(file):
    virtual(file, Path("absent"))


@pytest.mark.parametrize("size", [0, 2**64 - 16])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (keys_of_variable_length, "'keys' has values of variable length, as files of an older version do; rerun the"),
        (virtual_images, "'images' is a virtual dataset"),
    ],
)
def test_a_heap_that_would_be_followed_for_ever_is_refused_unread(pack, make, reason, size):
    """The first object of the heap is marked as free, or as the last of all memory: the next one is itself."""
    with h5py.File(pack, "r+") as file:
        make(file)
    content = bytearray(pack.read_bytes())
    heap = content.index(b"GCOL") + 16
    content[heap + 8 : heap + 16] = size.to_bytes(8, "little")
    if not size:
        content[heap : heap + 2] = b"\0\0"
    pack.write_bytes(content)
    with limited(SECONDS), pytest.raises(DataError, match=reason), open_pack(pack):
        pass


@pytest.mark.parametrize("make", [keys_of_variable_length, virtual_images])
def test_spoiled_files_with_heaps_are_refused_in_one_sentence(pack, make):
    with h5py.File(pack, "r+") as file:
        make(file)
        file.attrs["note"] = "text of variable length"
    reader, outcomes = Reader(".h5", lambda path: None, read_pack), []

    @settings(max_examples=200, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content=spoiled(pack.read_bytes()))
    def try_one(content):
        outcomes.append(attempt(reader, pack, content))

    try_one()
    assert any(outcomes)


def test_keys_longer_than_the_file_take_no_memory(tmp_path, cheap):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("keys", (1,), "S1000000000", chunks=(1,))
        file.create_dataset("images", data=np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(DataError, match="'keys' declares 1,000,000,000 bytes, but only 0 are stored"):
        read_pack(tmp_path / "x.h5")
