"""Image packs of folders, made by hand."""

import numpy as np
import pytest
from PIL import Image

from deepssim.cli import main
from deepssim.datasets.tables import read_csv
from deepssim.images.packs import read_pack
from deepssim.similarity.matrices import read_scores


def picture(path, seed, size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)


def make(folder, role, place, *options):
    main(["pack", "--folder", str(folder), "--role", role, "--image-size", "16", "16", "--pack", str(place / f"{role}.h5"),
          "--images", str(place / f"{role}.csv"), *options])  # fmt: skip
    return read_pack(place / f"{role}.h5"), read_csv(place / f"{role}.csv", needs=("key", "path", "role", "subject"))


def test_a_tree_gives_the_keys_of_the_reference_and_scores(tmp_path):
    for record in ("a", "b"):
        picture(tmp_path / "tree" / record / "training.png", 1)
        for number in (0, 1):
            picture(tmp_path / "tree" / record / f"gen-{number}.png", number + 2)
    real, table = make(tmp_path / "tree", "real", tmp_path)
    assert real.keys == ["a___training", "b___training"]
    assert table["role"].tolist() == ["real"] * 2
    synthetic, table = make(tmp_path / "tree", "synthetic", tmp_path)
    assert (
        synthetic.keys == [f"{record}___gen-{number}" for record in "ab" for number in (0, 1)] == table["key"].tolist()
    )
    assert synthetic.images.shape == (4, 16, 16)
    main(["score-images", "--metric", "ssim", "--real", str(tmp_path / "real.h5"), "--synthetic",
          str(tmp_path / "synthetic.h5"), "--matrix", str(tmp_path / "scores.h5")])  # fmt: skip
    assert read_scores(tmp_path / "scores.h5").synth_keys == synthetic.keys


def test_files_of_any_name_in_any_folder(tmp_path):
    picture(tmp_path / "flat" / "x.png", 0)
    picture(tmp_path / "flat" / "sub" / "y_gen-7.png", 1)
    assert make(tmp_path / "flat", "synthetic", tmp_path)[0].keys == ["sub_y___gen-7", "x___gen-0"]
    assert make(tmp_path / "flat", "real", tmp_path)[0].keys == ["sub_y_gen-7___training", "x___training"]


def test_a_table_names_subjects(tmp_path):
    picture(tmp_path / "x.png", 0)
    picture(tmp_path / "y.png", 1)
    (tmp_path / "images.csv").write_text("image_uid,image_path,subject\n1,x.png,p\n2,y.png,p\n")
    pack, table = make(tmp_path / "images.csv", "real", tmp_path)
    assert pack.keys == ["1___training", "2___training"]
    assert table["subject"].tolist() == ["p", "p"]


def test_one_name_twice_is_refused(tmp_path, capsys):
    picture(tmp_path / "flat" / "x.png", 0)
    picture(tmp_path / "flat" / "x.jpg", 1)
    with pytest.raises(SystemExit) as stop:
        make(tmp_path / "flat", "synthetic", tmp_path)
    assert stop.value.code == 1
    assert "1 image keys occur more than once, first 'x___gen-0'" in capsys.readouterr().err
