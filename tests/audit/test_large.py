"""Audits of many images: memory that does not grow with their pixels, and work that goes on where it was stopped."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import deepssim
from deepssim.audit import cache
from deepssim.audit.cache import AuditCache
from deepssim.audit.engine import embed_patterns
from deepssim.audit.inventory import folders_of, take_inventory
from deepssim.audit.memory import require_memory
from deepssim.config.audit import AuditConfig
from deepssim.config.settings import parse_config
from deepssim.detection.search import Found
from deepssim.errors import ConfigError
from deepssim.images import on_disk
from deepssim.images.folders import Decoded, collect
from deepssim.images.packs import ImagePack
from deepssim.images.scans import Scan
from tests.audit.folders import make_folders
from tests.audit.test_run import QUICK

SIDE = 64
FACTS = 2500  # bytes that may be known of an image beside its pixels


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(cache, "_BATCH_BYTES", 64 * SIDE**2)
    monkeypatch.setattr(on_disk, "_BLOCK", 64 * SIDE**2)


def scans_of(folder, count):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:05d}" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return [Scan((path,), path) for path in paths]


def decode(scan: Scan) -> Decoded:
    """Make an image of the number in a file."""
    pixels = np.random.default_rng(int(scan.name.read_text())).integers(0, 255, (1, SIDE, SIDE), np.uint8)
    return Decoded(pixels, [""], [(SIDE, SIDE)])


def found_of(rows: np.ndarray) -> Found:
    places = np.repeat(rows[:, None], 9, axis=1)
    return Found(
        places, np.repeat(places[..., None], 5, axis=2).astype(np.float32), places.astype(np.float32), places > 5
    )


class Work:
    """Reads, embeds and compares the images of a folder as an audit does, and counts what it did."""

    def __init__(self, root: Path, folder: Path, scans: list[Scan], stop: dict[str, int] | None = None) -> None:
        self.store, self.folder, self.scans, self.stop = AuditCache(root), folder, scans, stop or {}
        self.done = {"decoded": 0, "embedded": 0, "compared": 0}

    def _count(self, kind: str, number: int = 1) -> None:
        if self.done[kind] >= self.stop.get(kind, 10**9):
            raise KeyboardInterrupt
        self.done[kind] += number

    def decode(self, scan: Scan) -> Decoded:
        self._count("decoded")
        return decode(scan)

    def embed(self, pack):
        self._count("embedded", len(pack.keys))
        return embed_patterns(pack)

    def find(self, rows):
        self._count("compared", len(rows))
        return found_of(rows)

    def run(self):
        decoded = self.store.decoded(self.scans, ["kind"], self.decode, threads=1)
        collection = collect(self.folder, [scan.name for scan in self.scans], decoded)
        pack, hashes = collection.pack, collection.pixel_hashes
        embeddings = self.store.embeddings(pack, hashes, "", self.embed)
        return collection, embeddings, self.store.candidates("kind", hashes, pack.images, self.find)


def peak_of(root, count):
    folder = root / f"{count}"
    scans = scans_of(folder, count)
    tracemalloc.start()
    try:
        kept = Work(root / f"cache-{count}", folder, scans).run()
        assert len(kept[0].pack.keys) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_by_what_is_known_of_an_image_and_not_by_its_pixels(tmp_path):
    peak_of(tmp_path, 40)  # what is imported and made once
    few, many = peak_of(tmp_path, 300), peak_of(tmp_path, 1100)
    assert (many - few) / 800 < FACTS < SIDE**2


@pytest.mark.parametrize("kind", ["decoded", "embedded", "compared"])
def test_an_interrupted_audit_goes_on_after_its_last_batch(tmp_path, kind):
    scans = scans_of(tmp_path / "files", 200)
    whole = Work(tmp_path / "whole", tmp_path / "files", scans).run()
    stopped = Work(tmp_path / "cache", tmp_path / "files", scans, {kind: 150})
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    later = Work(tmp_path / "cache", tmp_path / "files", scans)
    collection, embeddings, found = later.run()
    kept = {"decoded": 128, "embedded": 192, "compared": 192}  # whole batches of 64, or the last one that was begun
    assert later.done[kind] == 200 - kept[kind]
    np.testing.assert_array_equal(collection.pack.images, whole[0].pack.images)
    assert collection.pixel_hashes == whole[0].pixel_hashes
    np.testing.assert_array_equal(embeddings.values, whole[1].values)
    np.testing.assert_array_equal(found.cues, whole[2].cues)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) <= 12
    assert not any(path.stat().st_mode & 0o077 for path in files)


def test_an_audit_that_goes_on_writes_the_same_report(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "made", real=8, synthetic=70, holdout=24, copies=3)
    monkeypatch.setattr(cache, "_BATCH_BYTES", 32 * SIDE**2)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    added, add = [], cache._add

    def interrupted(rows, path, names):
        added.append(path.parent.parent.name)
        if added.count("candidates") == 4:  # the second of three batches of synthetic images
            raise KeyboardInterrupt
        add(rows, path, names)

    def audit(out, store):
        deepssim.audit(
            root / "real", root / "synthetic", tmp_path / out, holdout=root / "holdout", cache=tmp_path / store, threads=1,
            **QUICK | {"subject_pattern": r"^([a-z]\d+)"},
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit("later", "stopped")
    audit("later", "stopped")
    audit("whole", "own")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir() if path.is_file())
    assert "index.html" in names
    for name in names:
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_equal_images_are_embedded_and_compared_once(tmp_path, random):
    images = random.integers(0, 255, (150, SIDE, SIDE), np.uint8)
    which = np.arange(300) % 150
    pack, hashes = ImagePack(images[which], [f"image{row}" for row in range(300)]), [f"content{row}" for row in which]
    store, seen = AuditCache(tmp_path), []

    def embed(part):
        seen.extend(part.keys)
        return embed_patterns(part)

    first, second = (store.embeddings(pack, hashes, "", embed).values for _ in range(2))
    assert len(seen) == len(set(seen)) == 150
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, embed_patterns(pack).values)
    found = store.candidates("kind", hashes, pack.images, found_of)
    np.testing.assert_array_equal(found.partners[:][:, 0], which + 150)  # the last of equal images stands for all


def test_more_images_than_fit_into_memory_are_refused_before_they_are_read(tmp_path):
    root = make_folders(tmp_path, real=2, synthetic=3, copies=0)
    config = parse_config(
        {"audit": {"real": str(root / "real"), "synthetic": str(root / "synthetic"), "max_memory_gb": 0.3}}
    )
    store = AuditCache(tmp_path / "cache")
    with pytest.raises(
        ConfigError, match=r"max_memory_gb 0\.3 is too little for 3 synthetic images, .* set it to 0\.31 or more"
    ):
        take_inventory(folders_of(config.audit), store, config.audit, 1)
    assert not list((tmp_path / "cache").rglob("*.h5"))
    array = tmp_path / "array"
    array.mkdir()
    np.save(array / "many.npy", np.random.default_rng(0).integers(0, 255, (40, 32, 32), np.uint8))
    options = config.audit.with_changes(synthetic=str(array), max_memory_gb=0.30001)  # of one file, which holds 40
    with pytest.raises(ConfigError, match="too little for 40 synthetic images"):
        take_inventory(folders_of(options), store, options, 1)


def test_a_million_images_fit_into_the_default(tmp_path):
    require_memory(1_000_000, AuditConfig())
    with pytest.raises(ConfigError, match=r"set it to 6\.3 or more"):
        require_memory(3_000_000, AuditConfig())
