"""Every file of a folder is read, left out for a reason, or not read."""

import errno
import os
from pathlib import Path

import pytest

from deepssim.errors import DataError
from deepssim.images.listing import EXCLUDED, HIDDEN_IMAGES, Status, list_folder, path_below, printable
from tests.images.test_folders import picture, write


def reasons(root, **options):
    return {entry.name: (entry.status, entry.reason) for entry in list_folder(root, **options)}


def test_each_file_has_a_status_and_those_not_read_a_reason(tmp_path, random):
    write(tmp_path / "a.png", picture(random))
    for name in ("deep/.hidden.png", ".git/x.png", "@eaDir/x.png"):
        write(tmp_path / name, picture(random))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "list").write_text("a\nb")
    (tmp_path / "utf16").write_bytes("id;name".encode("utf-16"))
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "Thumbs.db").write_bytes(b"\0\1\2")
    (tmp_path / "images.zip").write_bytes(b"PK\3\4\0\0")
    (tmp_path / "pickled").write_bytes(b"\x80\4\x95\0\0")
    os.mkfifo(tmp_path / "pipe")
    assert reasons(tmp_path) == {
        "a.png": (Status.READ, ""),
        "deep/.hidden.png": (Status.LEFT_OUT, HIDDEN_IMAGES),
        ".git": (Status.LEFT_OUT, "hidden"),
        "@eaDir": (Status.LEFT_OUT, "folder of previews"),
        "notes.txt": (Status.LEFT_OUT, "table or text"),
        "list": (Status.LEFT_OUT, "table or text"),
        "utf16": (Status.LEFT_OUT, "table or text"),
        "empty.xyz": (Status.LEFT_OUT, "empty file of no known format"),
        "Thumbs.db": (Status.LEFT_OUT, "file of the operating system"),
        "images.zip": (Status.NOT_READ, "unknown format (.zip)"),
        "pickled": (Status.NOT_READ, "unknown format"),
        "pipe": (Status.LEFT_OUT, "neither a file nor a folder"),
    }


@pytest.mark.parametrize("cut", range(4))
def test_a_long_text_is_a_text_wherever_its_first_bytes_end(tmp_path, cut):
    (tmp_path / "long").write_text("x" * cut + "äöü€𝄞" * 2000, encoding="utf-8")
    assert reasons(tmp_path)["long"] == (Status.LEFT_OUT, "table or text")


def test_links_to_folders_are_entered_once_and_loops_end(tmp_path, random):
    outside = tmp_path / "outside"
    write(outside / "b.png", picture(random))
    root = tmp_path / "root"
    write(root / "sub" / "a.png", picture(random))
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (root / "sub" / "loop").symlink_to(root)
    found = reasons(root)
    assert [name for name, (status, _) in found.items() if status is Status.READ] == ["again/b.png", "sub/a.png"]
    assert found["linked"] == found["sub/loop"] == (Status.LEFT_OUT, "link to a folder that is listed already")


def test_links_without_their_content_name_the_command_that_fetches_it(tmp_path):
    (tmp_path / "a.png").symlink_to("../.git/annex/objects/1/none")
    (tmp_path / "b.png").symlink_to("gone.png")
    found = reasons(tmp_path)
    assert found["a.png"][0] is found["b.png"][0] is Status.NOT_READ
    assert "`git annex get`" in found["a.png"][1]
    assert found["b.png"][1] == "link to a file that does not exist"


def test_patterns_choose_and_what_they_leave_out_is_listed(tmp_path, random):
    for name in ("a.png", "a_mask.png", "previews/b.png", "deep/previews/c.png", "deep/d.PNG"):
        write(tmp_path / name, picture(random))

    def read(**options):
        return [name for name, (status, _) in reasons(tmp_path, **options).items() if status is Status.READ]

    assert read(exclude=["*_mask.png"]) == ["a.png", "deep/d.PNG", "deep/previews/c.png", "previews/b.png"]
    assert read(exclude=["previews/**", "*.PNG"]) == ["a.png", "a_mask.png", "deep/previews/c.png"]
    assert read(include=["deep/**"], exclude=["**/previews/*"]) == ["deep/d.PNG"]
    assert read(patterns=["*/*.png"]) == ["previews/b.png"]
    assert reasons(tmp_path, exclude=["a*"])["a.png"] == (Status.LEFT_OUT, "excluded by pattern")
    with pytest.raises(DataError, match="cannot be searched for '/x'"):
        list_folder(tmp_path, exclude=["/x"])


def test_what_could_not_be_read_can_be_excluded(tmp_path):
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "a.zip").write_bytes(b"PK\3\4\0\0")
    (tmp_path / "notes.txt").write_text("hello")
    assert reasons(tmp_path, exclude=["gone.*", "*.zip", "*.txt"]) == {
        "gone.png": (Status.LEFT_OUT, EXCLUDED),
        "a.zip": (Status.LEFT_OUT, EXCLUDED),
        "notes.txt": (Status.LEFT_OUT, "table or text"),
    }
    assert reasons(tmp_path, include=["*.png"])["gone.png"][0] is Status.NOT_READ


def test_hidden_images_are_told_from_other_hidden_files(tmp_path, random):
    for name in (".samples/deep/a.png", ".a.png", "._a.png", ".git/annex/a.png"):
        write(tmp_path / name, picture(random))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "note.txt").write_text("x")
    (tmp_path / ".b.png.icloud").write_bytes(b"bplist00")
    found = reasons(tmp_path)
    assert {name for name, (_, reason) in found.items() if reason == HIDDEN_IMAGES} == {".samples", ".a.png"}
    assert {name for name, (_, reason) in found.items() if reason == "hidden"} == {"._a.png", ".cache", ".git"}
    assert found[".b.png.icloud"][0] is Status.NOT_READ


def test_names_that_no_table_could_hold_are_escaped(tmp_path, random):
    name = os.fsdecode(b"pati\xe9nt\n1.png")
    write(tmp_path / "plain.png", picture(random))
    (tmp_path / "plain.png").rename(tmp_path / name)
    (entry,) = list_folder(tmp_path)
    assert entry.status is Status.READ
    assert entry.name == r"pati\xe9nt\n1.png" == path_below(tmp_path, entry.path)
    assert printable("Jürgen 图.png") == "Jürgen 图.png"
    assert printable('a"b,c<d>.png') == 'a"b,c<d>.png'


def test_closed_folders_are_not_read(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder):  # root, who runs tests in a container, may open every folder
        if Path(folder).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(tmp_path)["closed"] == (Status.NOT_READ, "folder cannot be opened (Permission denied)")
