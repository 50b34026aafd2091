"""What an audit keeps for the next one: decoded images by file content, embeddings by pixels and encoder, candidates.

Every run adds files and changes none, so an interrupted run leaves nothing half done. Images of patients are in here: only
the owner can read the files, and no part of them goes into a report.

Not here: where the cache lies (runtime/private.py).
"""

import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import h5py
import numpy as np

from deepssim.audit.scan_words import said
from deepssim.config.choices import AuditUnit
from deepssim.detection.search import Found
from deepssim.errors import DataError
from deepssim.images.files import attempt_each
from deepssim.images.folders import Decoded, checksums
from deepssim.images.frames import Facts
from deepssim.images.packs import ImagePack
from deepssim.images.scans import Scan
from deepssim.runtime.hdf5 import dataset, open_hdf5, read_keys, write_keys
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.private import close_to_others, owner_only
from deepssim.runtime.provenance import fingerprint
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.similarity.embeddings import Embeddings, read_embeddings, write_embeddings

logger = logging.getLogger(__name__)

_PARTS = ("images", "embeddings", "candidates", "encoders")  # subfolders
_CANDIDATES = tuple(item.name for item in fields(Found))


class AuditCache:
    """The cache of one folder, whose content only its owner can read.

    Attributes:
        unit: what its messages speak of once files have been decoded.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.unit = root, AuditUnit.IMAGE
        for part in _PARTS:  # caches of earlier versions were open to all
            close_to_others(root / part)

    def salt(self) -> bytes:
        """Return the salt of patient hashes: random, made once for this folder."""
        path = self.root / "salt"
        if not path.exists():
            # By rename: another audit at the same time would read an empty one, with which anybody can hash.
            with owner_only(), atomic_outputs({"salt": path}) as outputs:
                Path(outputs["salt"]).write_bytes(secrets.token_bytes(32))
        return path.read_bytes()

    def decoded(
        self,
        scans: Sequence[Scan],
        kind: Sequence[object],
        decode: Callable[[Scan], Decoded],
        *,
        threads: int,
    ) -> list[Decoded | DataError]:
        """Return the images or volumes of files, decoding those whose content is new, or why they cannot be read.

        Args:
            scans: files that are read together.
            kind: plain values that decide the result beside the content of the files.
            decode: reads them.
            threads: scans decoded at a time.
        """
        folder = self.root / "images" / fingerprint(kind)[:16]
        contents = _contents(scans, threads)
        known: dict[str, Decoded | DataError] = dict(
            self._read_decoded(folder, {content for content in contents if isinstance(content, str)})
        )
        # Unreadable files are tried one by one, since each has its own message, and again in each audit.
        new: dict[str, Scan] = {}
        results: list[Decoded | DataError | None] = []
        for scan, content in zip(scans, contents, strict=True):
            if isinstance(content, DataError):
                results.append(content)
                continue
            if content not in known:
                new.setdefault(content, scan)
            results.append(None)
        found = attempt_each(list(new.values()), decode, threads=threads)
        known |= dict(zip(new, found, strict=True))
        usable = {name: item for name, item in zip(new, found, strict=True) if isinstance(item, Decoded)}
        if usable:
            self._write_decoded(folder, list(usable), list(usable.values()))
        self._log("files", "decoded", len(scans), len(new), len(set(contents) - new.keys()))
        return [
            result or _of_scan(known[str(content)], scan)
            for result, content, scan in zip(results, contents, scans, strict=True)
        ]

    def embeddings(
        self, pack: ImagePack, content: Sequence[str], checksum: str, embed: Callable[[ImagePack], Embeddings]
    ) -> Embeddings:
        """Return the embeddings of images, embedding those whose pixels are new to this encoder.

        Args:
            pack: N images.
            content: SHA-256 of the pixels of each.
            checksum: SHA-256 of the encoder.
            embed: embeds a pack.
        """

        folder = self.root / "embeddings" / fingerprint([STAGE_VERSIONS["embed"], checksum])[:32]
        wanted = set(content)
        known: dict[str, np.ndarray] = {}
        for path in sorted(folder.glob("*.h5")):
            earlier = read_embeddings(path)
            known.update((key, value) for key, value in zip(earlier.keys, earlier.values, strict=True) if key in wanted)
        rows = {key: row for row, key in enumerate(content) if key not in known}
        encoder = ""
        if rows:
            part = embed(ImagePack(pack.images[sorted(rows.values())], sorted(rows, key=lambda key: rows[key])))
            known.update(zip(part.keys, part.values, strict=True))
            encoder = part.encoder
            with owner_only(), atomic_outputs({"part": folder / f"{fingerprint(part.keys)[:16]}.h5"}) as outputs:
                write_embeddings(outputs["part"], part)
        self._log("images", "embedded", len(content), len(rows), len(wanted) - len(rows))
        return Embeddings(np.stack([known[key] for key in content]), pack.keys, encoder, checksum)

    def candidates(self, kind: object, contents: Sequence[str], find: Callable[[np.ndarray], Found]) -> Found:
        """Return the candidates of images, sought only for images that are new.

        Args:
            kind: plain values that decide the result beside an image itself: training images, encoder, seed.
            contents: what tells each of N images from all others.
            find: returns the candidates of some of them, given by row, int64 (n,).
        """
        folder = self.root / "candidates" / fingerprint([STAGE_VERSIONS["audit"], kind])[:32]
        wanted: set[str] = set(contents)
        known: dict[str, tuple[Found, int]] = {}
        for path in sorted(folder.glob("*.h5")):
            with open_hdf5(path, needs=("keys", *_CANDIDATES)) as file:
                keys = read_keys(file, "keys", expected=len(dataset(file, "partners")))
                if not wanted.isdisjoint(keys):
                    earlier = Found(*(dataset(file, name)[:] for name in _CANDIDATES))
                    known |= {key: (earlier, row) for row, key in enumerate(keys) if key in wanted}
        rows = {key: row for row, key in enumerate(contents) if key not in known}
        if rows:
            new = find(np.array(sorted(rows.values()), np.int64))
            keys = sorted(rows, key=lambda key: rows[key])
            known |= {key: (new, row) for row, key in enumerate(keys)}
            with (
                owner_only(),
                atomic_outputs({"part": folder / f"{fingerprint(keys)[:16]}.h5"}) as outputs,
                h5py.File(outputs["part"], "w") as file,
            ):
                write_keys(file, "keys", keys)
                for name in _CANDIDATES:
                    file.create_dataset(name, data=getattr(new, name))
        self._log("images", "compared", len(contents), len(rows), len(wanted) - len(rows))
        return Found(*(
            np.stack([getattr(part, name)[row] for part, row in (known[key] for key in contents)]) for name in _CANDIDATES
        ))  # fmt: skip

    def _log(self, what: str, done: str, count: int, new: int, known: int) -> None:
        """Say how many were new, how many an earlier audit knows, and how many equal others."""
        parts = [f"{new:,} {done}"] + ([f"{known:,} known from earlier audits"] if known else [])
        parts += [f"{count - new - known:,} equal to others"] if count > new + known else []
        logger.info("%s", said(f"{count:,} {what}: {', '.join(parts)}", self.unit))

    def _read_decoded(self, folder: Path, wanted: set[str]) -> dict[str, Decoded]:

        known = {}
        for path in sorted(folder.glob("*.h5")):
            with open_hdf5(path, needs=("images", "counts", "sizes", "parts", "files", "about")) as file:
                counts, sizes = dataset(file, "counts")[:], dataset(file, "sizes")[:]
                names = read_keys(file, "files", expected=len(counts))
                parts = read_keys(file, "parts", expected=len(sizes))
                about = read_keys(file, "about", expected=len(counts))
                if wanted.isdisjoint(names):
                    continue
                images = dataset(file, "images")[:]
            stops = np.cumsum(counts)
            for name, stop, count, text in zip(names, stops, counts, about, strict=True):
                if name in wanted:
                    rows = slice(stop - count, stop)
                    further = json.loads(text)
                    facts = further["facts"] | {"notices": tuple(further["facts"]["notices"])}
                    known[name] = Decoded(
                        images[rows], parts[rows], [tuple(map(int, size)) for size in sizes[rows]], further["left_out"],
                        Facts(**facts),
                    )  # fmt: skip
        return known

    def _write_decoded(self, folder: Path, names: list[str], decoded: Sequence[Decoded]) -> None:

        with (
            owner_only(),
            atomic_outputs({"part": folder / f"{fingerprint(names)[:16]}.h5"}) as outputs,
            h5py.File(outputs["part"], "w") as file,
        ):
            file.create_dataset("images", data=np.concatenate([item.images for item in decoded]))
            file.create_dataset("counts", data=np.array([len(item.parts) for item in decoded], np.int64))
            sizes = np.array([size for item in decoded for size in item.sizes], np.int64)
            file.create_dataset("sizes", data=sizes.reshape(-1, decoded[0].images.ndim - 1))
            write_keys(file, "files", names)
            write_keys(file, "parts", [part for item in decoded for part in item.parts])
            about = [json.dumps({"left_out": item.left_out, "facts": asdict(item.facts)}) for item in decoded]
            write_keys(file, "about", about)


def _contents(scans: Sequence[Scan], threads: int) -> list[str | DataError]:
    """Return the checksum of what each scan is read from, or why one of its files cannot be read."""
    found = iter(checksums([path for scan in scans for path in scan.files], threads, with_values=True))
    contents: list[str | DataError] = []
    for scan in scans:
        of_files = [next(found) for _ in scan.files]
        failed = next((item for item in of_files if isinstance(item, DataError)), None)
        contents.append(failed or (of_files[0] if len(of_files) == 1 else fingerprint(of_files)))
    return contents


def _of_scan(content: Decoded | DataError, scan: Scan) -> Decoded | DataError:
    """Return the content of a scan, or the error of a file with the same content under its own name."""
    if isinstance(content, Decoded) or len(scan.files) > 1:
        return content
    return type(content)(f"{scan.name}: {str(content).partition(': ')[2]}")
