"""Which texts and tables may hold an image, and which are left out as such."""

import base64
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from deepssim.images.listing import Status, list_folder

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)


def encoded() -> str:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def rows(image: np.ndarray, separator: str = " ") -> str:
    return "\n".join(separator.join(map(str, row)) for row in image.tolist())


def status(tmp_path, name: str, content: str | bytes) -> Status:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (entry,) = list_folder(tmp_path)
    assert entry.status is not Status.READ
    return entry.status


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({"image": encoded()})),
        ("a.svg", f'<svg><image href="data:image/png;base64,{encoded()}"/></svg>'),
        ("a.html", "<p>x</p>" * 2000 + f'<img src="data:image/png;base64,{encoded()}">'),
        ("a.csv", "label," + ",".join(f"pixel{i}" for i in range(1024)) + "\n7," + rows(PIXELS.reshape(1, -1), ",")),
        ("a.txt", rows(PIXELS)),
        ("a.txt", rows(PIXELS).encode("utf-16")),
        ("a.b64", base64.encodebytes(np.random.default_rng(1).bytes(9000))),
        ("a.json", json.dumps(PIXELS.tolist(), indent=1)),
        ("a", "P2\n# a comment\n32 32\n255\n" + rows(PIXELS)),
        ("a.eps", "%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("a.fits", "SIMPLE  =                    T".ljust(5760)),
        ("a.vtk", "# vtk DataFile Version 3.0\n"),
        ("a.pkl", pickle.dumps([[1, 2]], protocol=0)),
        ("a.log", PIXELS.tobytes()),
        ("a.parquet", b"PAR1\0\0PAR1"),
        ("a.tar", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        ("a.dvc", "outs:\n- path: a\n"),
    ],
)
def test_texts_that_may_hold_an_image_are_not_passed_over(tmp_path, name, content):
    assert status(tmp_path, name, content) is Status.NOT_READ


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({"loss": list(range(500)), "files": [f"images/{i:08d}.png" for i in range(2000)]})),
        ("a.csv", "id," + ",".join(f"feature{i}" for i in range(120)) + "\np1," + ",".join(["0.5"] * 120)),
        ("a.csv", "\n".join(f"{i},{i / 7},{i * 3}" for i in range(5000))),
        ("a.csv", "Müller;1\n".encode("latin-1")),
        ("a.bvec", rows(PIXELS / 255)),
        ("checksums", "\n".join(f"{i:064x}  a{i}.png" for i in range(100))),
        ("a.svg", "<svg><rect width='3'/></svg>"),
    ],
)
def test_other_texts_are_left_out(tmp_path, name, content):
    assert status(tmp_path, name, content) is Status.LEFT_OUT


def test_documents_with_pictures_are_not_passed_over(tmp_path):
    for name, inside in (("a.docx", "word/media/image1.png"), ("b.xlsx", "xl/workbook.xml")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, b"x")
    assert [entry.status for entry in list_folder(tmp_path)] == [Status.NOT_READ, Status.LEFT_OUT]
