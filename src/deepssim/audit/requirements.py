"""What an audit needs before it decodes an image: folders, patterns, tables and weight files that can be used.

Not here: what is wrong with the images (preflight.py, comparability.py).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zipfile import is_zipfile

from deepssim.audit.inventory import folders_of
from deepssim.audit.readers import require_ratings
from deepssim.audit.subjects import read_subject_table
from deepssim.config.audit import AuditConfig
from deepssim.datasets.subjects import subject_finder
from deepssim.errors import DataError, DeepssimError, joined
from deepssim.images.listing import require_patterns


def require_usable(options: AuditConfig, trust: Sequence[str]) -> None:
    """Check that everything that section `audit` names can be used.

    Args:
        options: section `audit`.
        trust: SHA-256 of files that may be loaded though they can run code.

    Raises:
        DataError: listing all that cannot.
    """
    found = list(dict.fromkeys(unusable(options, trust)))
    if found:
        raise DataError(joined(found, "things that the audit was given cannot be used"))


def unusable(options: AuditConfig, trust: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for everything that section `audit` names and that cannot be used.

    Args:
        options, trust: see `require_usable`.
    """
    checks: list[Callable[[], object]] = []
    try:
        checks += [lambda root=root: _require_folder(root) for root in folders_of(options).values()]  # type: ignore[misc]
    except DeepssimError as error:
        yield str(error)
    checks.append(lambda: require_patterns([*options.include, *options.exclude], "the folders"))
    if options.subjects is not None:
        checks.append(lambda: read_subject_table(Path(str(options.subjects))))
    elif options.subject_pattern is not None:
        checks.append(lambda: subject_finder(str(options.subject_pattern), "audit.subject_pattern"))
    checks.append(lambda: require_ratings(options.ratings))
    if options.encoder is not None:
        checks.append(lambda: _require_encoder(str(options.encoder), trust))
    if options.autoencoder is not None:
        checks.append(lambda: _require_autoencoder(str(options.autoencoder)))
    for check in checks:
        try:
            check()
        except DeepssimError as error:
            yield str(error)


def _require_encoder(path: str, trust: Sequence[str]) -> None:
    # torch takes seconds to import, which an audit without an encoder saves.
    from deepssim.encoders.deepssim import NAME
    from deepssim.encoders.published import trusted_checksum
    from deepssim.runtime.weights import read_metadata

    _require_file(path, "encoder")
    kind = read_metadata(path).get("kind")
    if kind is None and Path(path).suffix == ".safetensors":
        raise DataError(
            f"{path}: is not an encoder of this program; name a file that `deepssim train` or the workflow wrote"
        )
    if kind not in (None, NAME):
        raise DataError(f"{path}: holds weights of kind {kind!r}; name a DeepSSIM encoder")
    if kind is None and not is_zipfile(path):  # as torch writes them
        raise DataError(f"{path}: is neither safetensors nor TorchScript; name an encoder file")
    if kind is None:
        trusted_checksum(path, trust)


def _require_autoencoder(path: str) -> None:
    from deepssim.runtime.weights import read_metadata

    _require_file(path, "autoencoder")
    kind = read_metadata(path).get("kind")
    if kind != "autoencoder":
        raise DataError(f"{path}: is not an autoencoder of this program; name its autoencoder.safetensors")


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder; name a folder with images")


def _require_file(path: str, what: str) -> None:
    if not Path(path).is_file():
        raise DataError(f"{path}: does not exist; name an existing {what} file")
