"""What an audit keeps for the next one: decoded images by file content, embeddings by pixels and encoder, candidates.

Every run adds files and changes none, one for each batch of images, so an interrupted run leaves nothing half done and the next one
goes on after its last batch. Pixels, embeddings and candidates are read from the files when they are used. Images of patients are in
here: only the owner can read the files, and no part of them goes into a report.

Not here: where the cache lies (runtime/private.py).
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepssim.audit.kept_rows import KeptRows
from deepssim.audit.pixels import DecodedParts, write_part
from deepssim.audit.scan_words import said
from deepssim.config.choices import AuditUnit
from deepssim.detection.search import Found
from deepssim.errors import DataError
from deepssim.images.files import attempt_in_turn
from deepssim.images.folders import Decoded, checksums
from deepssim.images.on_disk import batches
from deepssim.images.packs import ImagePack
from deepssim.images.scans import Scan
from deepssim.runtime.hdf5 import dataset, open_hdf5, read_keys, write_keys
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.private import close_to_others, owner_only
from deepssim.runtime.progress import Pace
from deepssim.runtime.provenance import fingerprint
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.similarity.embeddings import Embeddings, write_embeddings

logger = logging.getLogger(__name__)

_PARTS = ("images", "embeddings", "candidates", "encoders")  # subfolders
_BATCH_BYTES = 2**26  # pixels of the images that are decoded, embedded or compared before the result is kept
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
        contents, parts = _contents(scans, threads), DecodedParts()
        wanted = {content for content in contents if isinstance(content, str)}
        known: dict[str, Decoded | DataError] = {}
        for path in sorted(folder.glob("*.h5")):
            known.update(parts.read(path, wanted))
        # Unreadable files are tried one by one, since each has its own message, and again in each audit.
        new: dict[str, Scan] = {}
        for content, scan in zip(contents, scans, strict=True):
            if isinstance(content, str) and content not in known:
                new.setdefault(content, scan)
        pace = Pace(len(new))
        for batch in _in_batches(new, attempt_in_turn(list(new.values()), decode, threads=threads)):
            known |= {name: item for name, item in batch.items() if isinstance(item, DataError)}
            usable = {name: item for name, item in batch.items() if isinstance(item, Decoded)}
            if usable:
                path = folder / f"{fingerprint(list(usable))[:16]}.h5"
                with owner_only(), atomic_outputs({"part": path}) as outputs:
                    write_part(outputs["part"], list(usable), list(usable.values()))
                known |= parts.read(path, usable)  # without the pixels
            pace.report(len(batch), "files decoded and kept for the next audit")
        self._log("files", "decoded", len(scans), len(new), len(set(contents) - new.keys()))
        return [
            content if isinstance(content, DataError) else _of_scan(known[content], scan)
            for content, scan in zip(contents, scans, strict=True)
        ]

    def embeddings(
        self, pack: ImagePack, content: Sequence[str], checksum: str, embed: Callable[[ImagePack], Embeddings]
    ) -> Embeddings:
        """Return the embeddings of images, which stay in files, embedding those whose pixels are new to this encoder.

        Args:
            pack: N images.
            content: SHA-256 of the pixels of each.
            checksum: SHA-256 of the encoder.
            embed: embeds a pack.
        """

        folder = self.root / "embeddings" / fingerprint([STAGE_VERSIONS["embed"], checksum])[:32]
        rows, encoder = KeptRows(content, ("embeddings",)), ""
        for path in sorted(folder.glob("*.h5")):
            _add(rows, path, ("embeddings",))
        new = rows.left()
        pace = Pace(len(new))
        for some in batches(pack.images, new, _BATCH_BYTES):
            part = embed(ImagePack(pack.images[some], [content[row] for row in some.tolist()]))
            encoder, path = part.encoder, folder / f"{fingerprint(part.keys)[:16]}.h5"
            with owner_only(), atomic_outputs({"part": path}) as outputs:
                write_embeddings(outputs["part"], part)
            _add(rows, path, ("embeddings",))
            pace.report(len(some), "images embedded and kept for the next audit")
        self._log("images", "embedded", len(content), len(new), rows.different - len(new))
        return Embeddings(rows.values("embeddings"), pack.keys, encoder, checksum)  # type: ignore[arg-type]

    def candidates(
        self, kind: object, contents: Sequence[str], images: Any, find: Callable[[np.ndarray], Found]
    ) -> Found:
        """Return the candidates of images, which stay in files, sought only for images that are new.

        Args:
            kind: plain values that decide the result beside an image itself: training images, encoder, seed.
            contents: what tells each of N images from all others.
            images: the images, whose size decides how many are sought at a time.
            find: returns the candidates of some of them, given by row, int64 (n,).
        """
        folder = self.root / "candidates" / fingerprint([STAGE_VERSIONS["audit"], kind])[:32]
        rows = KeptRows(contents, _CANDIDATES)
        for path in sorted(folder.glob("*.h5")):
            _add(rows, path, _CANDIDATES)
        new = rows.left()
        for some in batches(images, new, _BATCH_BYTES):
            keys, found = [contents[row] for row in some.tolist()], find(some)
            path = folder / f"{fingerprint(keys)[:16]}.h5"
            with (
                owner_only(),
                atomic_outputs({"part": path}) as outputs,
                h5py.File(outputs["part"], "w") as file,
            ):
                write_keys(file, "keys", keys)
                for name in _CANDIDATES:
                    file.create_dataset(name, data=getattr(found, name))
            _add(rows, path, _CANDIDATES)
        self._log("images", "compared", len(contents), len(new), rows.different - len(new))
        return Found(*(rows.values(name) for name in _CANDIDATES))  # type: ignore[arg-type]

    def _log(self, what: str, done: str, count: int, new: int, known: int) -> None:
        """Say how many were new, how many an earlier audit knows, and how many equal others."""
        parts = [f"{new:,} {done}"] + ([f"{known:,} known from earlier audits"] if known else [])
        parts += [f"{count - new - known:,} equal to others"] if count > new + known else []
        logger.info("%s", said(f"{count:,} {what}: {', '.join(parts)}", self.unit))


def _add(rows: KeptRows, path: Path, names: Sequence[str]) -> None:
    """Take the values that a file holds."""
    with open_hdf5(path, needs=("keys", *names)) as file:
        values = {name: dataset(file, name) for name in names}
        rows.add(path, read_keys(file, "keys", expected=len(values[names[0]])), values)


def _in_batches(
    names: Iterable[str], decoded: Iterable[Decoded | DataError]
) -> Iterator[dict[str, Decoded | DataError]]:
    """Yield decoded files by name, in batches whose pixels take some memory."""
    batch: dict[str, Decoded | DataError] = {}
    size = 0
    for name, item in zip(names, decoded, strict=True):
        batch[name] = item
        size += item.images.nbytes if isinstance(item, Decoded) else 0
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    yield batch


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
