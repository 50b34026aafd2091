"""The files and options of the generative commands, as scripts and READMEs of the reference expect them."""

# ruff: noqa: F811 (fixtures of the module beside this one)

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deepssim.cli import main
from deepssim.config.choices import Conditioning
from deepssim.config.paper import PAPER_VAE
from deepssim.config.settings import load_config
from deepssim.generative.checkpoints import load_any_unet
from deepssim.images.tree import find_images
from deepssim.reference import continued_tree, generation
from tests.reference.test_generation_commands import autoencoder, dataset, narrow  # noqa: F401


def _train(dataset, narrow, autoencoder, place, *more):
    vae = str(autoencoder / "models" / "autoencoder.pth")
    main(["ldm-train-diff", "--dataset_csv", str(dataset), "--aekl_ckpt", vae, "--config", narrow, "--conditioning", "none",
          "--output_dir", str(place), "--n_epochs", "2", "--batch_size", "4", *more])  # fmt: skip


def _files(place):
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_the_epochs_of_the_autoencoder_are_written_as_in_the_reference(autoencoder):
    models = sorted(path.name for path in (autoencoder / "models").glob("*.pth"))
    assert models == [
        "autoencoder-ep-0.pth", "autoencoder-ep-1.pth", "autoencoder.pth", "discriminator-ep-0.pth", "discriminator-ep-1.pth",
    ]  # fmt: skip
    rows = np.loadtxt(autoencoder / "history.csv", delimiter=",", ndmin=2)
    assert rows.shape == (1, 6)  # four batches: the first has a row
    assert rows[0, 0] == 0
    assert (autoencoder / "plots" / "0-recon.png").stat().st_size > 0
    assert not list(autoencoder.rglob(".part*"))


def test_a_row_holds_the_weighted_losses_since_the_row_before(dataset, narrow, tmp_path, monkeypatch):
    """Two epochs of two batches: a row per batch averages to the epochs' losses, a row per two batches to those rows."""
    rows = {}
    monkeypatch.setattr("deepssim.reference.training_files._BATCHES_PER_STEP", 1)
    for batches in (1, 2):
        monkeypatch.setattr("deepssim.reference.training_files._BATCHES_PER_ROW", batches)
        main(["ldm-train-vae", "--dataset_csv", str(dataset), "--output_dir", str(tmp_path / str(batches)), "--config", narrow,
              "--n_epochs", "2", "--batch_size", "2"])  # fmt: skip
        rows[batches] = np.loadtxt(tmp_path / str(batches) / "history.csv", delimiter=",")
    assert rows[1][:, 0].tolist() == [0, 1, 2, 3]
    assert rows[2][:, 0].tolist() == [0, 2]
    np.testing.assert_array_equal(rows[2][0], rows[1][0])
    np.testing.assert_allclose(rows[2][1, 1:], rows[1][1:3, 1:].mean(axis=0), atol=1.1e-4)  # four digits each
    ours = pd.read_csv(tmp_path / "1" / "training.csv")
    weights = {"l1": 1, "perceptual": 0.1, "adversarial": 0.125, "kl": 1e-6, "discriminator": 0.125}
    for column, (name, weight) in enumerate(weights.items(), 1):
        epochs = rows[1][:, column].reshape(2, 2).mean(axis=1)
        np.testing.assert_allclose(epochs, weight * ours[f"train_loss_{name}"], atol=1.1e-4)
    assert (rows[1] == rows[1].round(4)).all()
    assert (tmp_path / "2" / "plots" / "2-recon.png").exists()


def test_weights_of_epochs_load_strictly_in_monai_generative(dataset, narrow, autoencoder, tmp_path):
    nets = pytest.importorskip("generative.networks.nets")
    vae, ldm = load_config(narrow).vae, load_config(narrow).ldm
    network = nets.AutoencoderKL(
        spatial_dims=2, in_channels=1, out_channels=1, latent_channels=3, num_channels=vae.channels, num_res_blocks=2,
        norm_num_groups=vae.norm_groups, norm_eps=1e-6, attention_levels=(False, False, False),
        with_decoder_nonlocal_attn=False, with_encoder_nonlocal_attn=False,
    )  # fmt: skip
    discriminator = nets.PatchDiscriminator(
        spatial_dims=2, num_layers_d=3, num_channels=vae.discriminator_channels, in_channels=1, out_channels=1
    )
    for name, module in (("autoencoder", network), ("discriminator", discriminator)):
        module.load_state_dict(torch.load(autoencoder / "models" / f"{name}-ep-1.pth", weights_only=True), strict=True)
    for conditioning in ("none", "variables"):
        place = tmp_path / conditioning
        _train(dataset, narrow, autoencoder, place, "--conditioning", conditioning)
        context = {"with_conditioning": True, "cross_attention_dim": 6} if conditioning != "none" else {}
        unet = nets.DiffusionModelUNet(
            spatial_dims=2, in_channels=3, out_channels=3, num_res_blocks=2, num_channels=ldm.channels,
            attention_levels=(False, True, True), norm_num_groups=ldm.norm_groups, norm_eps=1e-6, resblock_updown=True,
            num_head_channels=(0, 32, 48), transformer_num_layers=1, upcast_attention=True, **context,
        )  # fmt: skip
        unet.load_state_dict(torch.load(place / "models" / "unet-ep-0.pth", weights_only=True), strict=True)


def test_the_diffusion_model_is_written_where_the_validation_loss_improved(dataset, narrow, autoencoder, tmp_path):
    _train(dataset, narrow, autoencoder, tmp_path, "--n_epochs", "4", "--lr", "1e-3")
    history = pd.read_csv(tmp_path / "history.csv")
    assert history.columns.tolist() == ["epoch", "mode", "loss"]
    assert history["epoch"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert history["mode"].tolist() == ["train", "valid"] * 4
    ours = pd.read_csv(tmp_path / "training.csv")
    for mode in ("train", "valid"):
        np.testing.assert_allclose(history.loc[history["mode"] == mode, "loss"], ours[f"{mode}_loss"], rtol=1e-6)
    losses = ours["valid_loss"].tolist()
    improved = [epoch for epoch, loss in enumerate(losses) if epoch == 0 or loss < min(losses[:epoch])]
    written = sorted(int(path.stem.rpartition("-")[2]) for path in (tmp_path / "models").glob("unet-ep-*.pth"))
    assert written == improved
    assert {"plots/gen_0_train.png", "plots/gen_3_train.png", "plots/samples.png"} <= set(_files(tmp_path))
    if improved[-1] == 3:  # the last epoch is also the result
        last, result = (
            load_any_unet(tmp_path / "models" / name, load_config(narrow).ldm, 3, 0)[0].state_dict()
            for name in ("unet-ep-3.pth", "unet.pth")
        )
        assert all(torch.equal(last[name], result[name]) for name in result)


def test_an_interrupted_training_has_the_histories_of_an_uninterrupted_one(
    dataset, narrow, autoencoder, tmp_path, monkeypatch
):
    from deepssim.reference.training_files import AutoencoderFiles, DiffusionFiles

    def stop_after_one_epoch(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    def arguments(place):
        return ["ldm-train-vae", "--dataset_csv", str(dataset), "--output_dir", str(place), "--config", narrow,
                "--n_epochs", "3", "--batch_size", "2"]  # fmt: skip

    monkeypatch.setattr("deepssim.reference.training_files._BATCHES_PER_ROW", 3)
    for kind, run in ((AutoencoderFiles, lambda place: main(arguments(place))),
                      (DiffusionFiles, lambda place: _train(dataset, narrow, autoencoder, place, "--n_epochs", "3"))):  # fmt: skip
        whole, place = tmp_path / f"whole-{kind.__name__}", tmp_path / f"resumed-{kind.__name__}"
        run(whole)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "on_train_epoch_start", stop_after_one_epoch)
            with pytest.raises((KeyboardInterrupt, SystemExit)):
                run(place)
        run(place)
        assert (place / "history.csv").read_text() == (whole / "history.csv").read_text()
        epochs = [path.name for path in sorted((whole / "models").glob("*-ep-*.pth"))]
        assert [path.name for path in sorted((place / "models").glob("*-ep-*.pth"))] == epochs


def test_every_copy_has_its_row(dataset, narrow, autoencoder, tmp_path):
    _train(dataset, narrow, autoencoder, tmp_path, "--duplication", "low")
    copies = pd.read_csv(tmp_path / "copies.csv").set_index("key")["copies"]
    used, table = pd.read_csv(tmp_path / "train-used.csv"), pd.read_csv(dataset)
    assert used.columns.tolist() == table.columns.tolist()
    assert len(used) == copies.sum()
    for uid, rows in used.groupby("image_uid"):
        assert len(rows) == copies[f"{uid}___training"]
        original = table[table["image_uid"] == uid]
        pd.testing.assert_frame_equal(rows.drop_duplicates().reset_index(drop=True), original.reset_index(drop=True))


@pytest.fixture(scope="module")
def unet(dataset, narrow, autoencoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("ldm")
    _train(dataset, narrow, autoencoder, place)
    return place / "models" / "unet.pth"


def _generate(dataset, narrow, autoencoder, unet, tree, *more):
    main(["ldm-generate", "--dataset_csv", str(dataset), "--config", narrow, "--aekl_ckpt",
          str(autoencoder / "models" / "autoencoder.pth"), "--diff_ckpt", str(unet), "--output_path", str(tree),
          "--conditioning", "none", *more])  # fmt: skip


def test_an_interrupted_generation_continues_and_leaves_nothing_else(
    dataset, narrow, autoencoder, unet, tmp_path, monkeypatch, capsys
):
    whole, tree = tmp_path / "whole", tmp_path / "tree"
    monkeypatch.setattr(continued_tree, "_IMAGES_AT_A_TIME", 6)  # two records
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    _generate(dataset, narrow, autoencoder, unet, whole, "--n_gen_per_record", "3")
    with monkeypatch.context() as patch:
        calls = []

        def interrupted(*arguments, **options):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return generate(*arguments, **options)

        generate = generation.sampling.generate
        patch.setattr(generation.sampling, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _generate(dataset, narrow, autoencoder, unet, tree, "--n_gen_per_record", "3")
    assert _files(tree) == sorted(
        f"r{n}/{name}.png" for n in (0, 1) for name in ("training", "gen-0", "gen-1", "gen-2")
    )
    torn = tree / "r1" / "gen-2.png"  # as a killed run or a full disk leaves it
    torn.write_bytes(torn.read_bytes()[:-5])
    capsys.readouterr()
    _generate(dataset, narrow, autoencoder, unet, tree, "--n_gen_per_record", "3")
    assert "1 of 6 records already have all their images" in capsys.readouterr().err
    assert _files(tree) == _files(whole)
    for name in _files(whole):
        assert (tree / name).read_bytes() == (whole / name).read_bytes()
    assert not list((tmp_path / "temporary").iterdir())
    assert len(find_images(tree)) == 24


def test_batches_are_not_larger_than_needed(dataset, narrow, autoencoder, unet, tmp_path, monkeypatch):
    sizes = []

    def recorded(keys, *arguments, **options):
        sizes.append((len(keys), options["options"].batch_size))
        return generate(keys, *arguments, **options)

    generate = generation.sampling.generate
    monkeypatch.setattr(generation.sampling, "generate", recorded)
    _generate(dataset, narrow, autoencoder, unet, tmp_path / "1", "--n_gen_per_record", "1")
    _generate(dataset, narrow, autoencoder, unet, tmp_path / "3", "--n_gen_per_record", "3")
    assert sizes == [(6, 6), (18, 6)]  # the config says 8 at a time


def test_rows_of_other_splits_are_generated_for_but_not_trained_on(dataset, narrow, autoencoder, unet, tmp_path):
    table = pd.read_csv(dataset)
    table.loc[3, "split"] = "test"
    table.loc[2, "split"] = np.nan
    for row in range(len(table)):  # the table lies elsewhere now
        shutil.copy(dataset.with_name(f"{row}.png"), tmp_path)
    table.to_csv(tmp_path / "dataset.csv", index=False)
    _train(tmp_path / "dataset.csv", narrow, autoencoder, tmp_path / "ldm")
    assert pd.read_csv(tmp_path / "ldm" / "train-used.csv")["image_uid"].tolist() == ["r0", "r1"]
    _generate(tmp_path / "dataset.csv", narrow, autoencoder, unet, tmp_path / "tree", "--n_gen_per_record", "1")
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == [f"r{n}" for n in range(6)]
    table[:1].drop(columns="split").to_csv(
        tmp_path / "one.csv", index=False
    )  # the reference's needs no split, and one record
    _generate(tmp_path / "one.csv", narrow, autoencoder, unet, tmp_path / "one", "--n_gen_per_record", "1")
    assert _files(tmp_path / "one") == ["r0/gen-0.png", "r0/training.png"]


def test_a_training_without_rows_to_train_on_is_one_sentence(dataset, narrow, tmp_path, capsys):
    table = pd.read_csv(dataset).assign(split="test", image_path=[str(dataset.with_name(f"{n}.png")) for n in range(6)])
    table.to_csv(tmp_path / "dataset.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        main(["ldm-train-vae", "--dataset_csv", str(tmp_path / "dataset.csv"), "--output_dir", str(tmp_path / "out"), "--config",
              narrow])  # fmt: skip
    assert stopped.value.code == 1
    assert "no row has the split 'train'" in capsys.readouterr().err


def test_the_word_of_the_readme_means_text(dataset, narrow, autoencoder, tmp_path):
    _train(dataset, narrow, autoencoder, tmp_path, "--conditioning", "conditioning")
    settings = generation.load_unet(tmp_path / "models" / "unet.safetensors")[1]
    assert settings.conditioning is Conditioning.TEXT


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], (16, 1)),
        (["--max_batch_size", "8"], (8, 2)),
        (["--batch_size", "32", "--max_batch_size", "8"], (8, 4)),
        (["--batch_size", "4"], (4, 1)),
        (["--batch_size", "4", "--max_batch_size", "8"], (4, 1)),
    ],
)
def test_images_at_a_time(given, expected, monkeypatch):
    called = {}
    monkeypatch.setattr(generation, "ldm_train_vae", lambda **options: called.update(options))
    main(["ldm-train-vae", "--dataset_csv", "x.csv", "--output_dir", "out", *given])
    vae = called["config"].vae
    assert (vae.batch_size, vae.accumulate) == expected
    assert vae.with_changes(batch_size=16, accumulate=1) == PAPER_VAE


def test_without_a_config_the_diffusion_model_is_validated_every_epoch(monkeypatch):
    called = {}
    monkeypatch.setattr(generation, "ldm_train_diff", lambda **options: called.update(options))
    main(["ldm-train-diff", "--dataset_csv", "x.csv", "--output_dir", "out", "--aekl_ckpt", "x", "--n_epochs", "3"])
    assert (called["config"].ldm.validate_every, called["config"].ldm.epochs) == (1, 3)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", "0"),
        ("batch_size", "-1"),
        ("max_batch_size", "0"),
        ("n_epochs", "0"),
        ("n_workers", "-3"),
        ("batch_size", "x"),
    ],
)
def test_impossible_numbers_are_refused(option, value, dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "ldm-train-vae",
                "--dataset_csv",
                str(dataset),
                "--output_dir",
                str(tmp_path / "out"),
                f"--{option}",
                value,
            ]
        )
    assert stopped.value.code == 2
    assert f"{value!r} is not a whole number of at least" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_named_before_any_work(dataset, narrow, autoencoder, unet, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        _generate(dataset, narrow, autoencoder, unet, tmp_path / "file" / "tree")
    assert stopped.value.code == 1
    assert f"{tmp_path / 'file'} is a file; name a folder" in capsys.readouterr().err


def test_a_batch_size_beyond_the_images_takes_all_of_them(dataset, narrow, tmp_path):
    main(["ldm-train-vae", "--dataset_csv", str(dataset), "--output_dir", str(tmp_path), "--config", narrow, "--n_epochs", "1",
          "--batch_size", "1000000"])  # fmt: skip
    assert pd.read_csv(tmp_path / "training.csv")["step"].tolist() == [1]


def test_missing_lpips_says_what_to_add_to_the_line(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(SystemExit) as stopped:
        main(["ldm-train-vae", "--dataset_csv", str(dataset), "--output_dir", str(tmp_path / "out")])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "--perceptual gradient" in error
    assert "pip install 'deepssim[lpips]'" in error
    assert not (tmp_path / "out").exists()


def test_tables_of_a_readme_name_files_below_the_working_directory(
    dataset, narrow, autoencoder, unet, tmp_path, monkeypatch
):
    """`data_chest/dataset.csv` that lists `data_chest/images/...`, used from the folder above."""
    images = tmp_path / "data_chest" / "images"
    images.mkdir(parents=True)
    table = pd.read_csv(dataset)[:1].assign(image_path="data_chest/images/0.png")
    table.to_csv(tmp_path / "data_chest" / "dataset.csv", index=False)
    shutil.copy(dataset.with_name("0.png"), images)
    monkeypatch.chdir(tmp_path)
    _generate("data_chest/dataset.csv", narrow, autoencoder, unet, "tree", "--n_gen_per_record", "1")
    np.testing.assert_array_equal(*(np.sort(np.asarray(Image.open(path)).shape)
                                    for path in (images / "0.png", "tree/r0/training.png")))  # fmt: skip
