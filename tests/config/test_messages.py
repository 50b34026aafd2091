"""Unusable settings end with one sentence that names the key and the remedy."""

import datetime

import pytest

from deepssim.config.settings import Config, load_config, parse_config
from deepssim.errors import ConfigError


def message_for(settings):
    with pytest.raises(ConfigError) as caught:
        parse_config(settings)
    text = str(caught.value)
    assert len(text) < 1000
    assert ("\n" in text) is (" settings are not usable:" in text)  # else one sentence
    return text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ldm": {"epoch": 3}}, "'epoch' is not a setting of section 'ldm'; did you mean 'epochs'?"),
        ({"lmd": {}}, "'lmd' is not a setting of the config; did you mean 'ldm'?"),
        (
            {"dataset": {"volumes": {"axes": "axial"}}},
            "'axes' is not a setting of section 'dataset.volumes'; did you mean 'axis'?",
        ),
        (
            {"dar": {"augmentation": [{}, {"kinds": "flip"}]}},
            "'kinds' is not a setting of section 'dar.augmentation.1'; did you mean 'kind'?",
        ),
        (
            {"tracking": {"zzz": 1}},
            "'zzz' is not a setting of section 'tracking'; known keys are wandb_project, wandb_mode",
        ),
        ({"vae": {"epochs": "many"}}, "vae.epochs is 'many'; it must be a valid integer"),
        ({"vae": {"epochs": "5"}}, "vae.epochs is '5'; it must be a valid integer"),
        ({"vae": {"epochs": 5.0}}, "vae.epochs is 5.0; it must be a valid integer"),
        ({"vae": {"epochs": True}}, "vae.epochs is True; it must be a valid integer"),
        ({"vae": {"kl_weight": False}}, "vae.kl_weight is False; it must be a valid number"),
        (
            {"vae": {"kl_weight": "1e-6"}},
            "vae.kl_weight is '1e-6'; it must be a valid number, which is written 1.0e-06 in YAML",
        ),
        ({"vae": {"compile": 1}}, "vae.compile is 1; it must be a valid boolean"),
        ({"vae": {"keep": 1}}, "vae.keep is 1; it must be 'best' or 'last'"),
        ({"vae": 3}, "vae is 3; it must be a section, that is, names of settings with their values"),
        ([1], "the config is [1]; it must be a section, that is, names of settings with their values"),
        ({"vae": {"channels": 16}}, "vae.channels is 16; it must be a list"),
        ({"vae": {"channels": [8, 0]}}, "vae.channels.1 is 0; it must be greater than or equal to 1"),
        ({"vae": {"channels": []}}, "vae.channels is []; it must have at least 1 entry"),
        ({"encoder": {"depths": [1, 1]}}, "encoder.depths is [1, 1]; it must have at least 4 entries"),
        ({"encoder": {"depths": [1] * 5}}, "encoder.depths is [1, 1, 1, 1, 1]; it must have at most 4 entries"),
        ({"encoder": {"backbone": ""}}, "encoder.backbone is ''; it must not be empty"),
        ({"encoder": {"backbone": 5}}, "encoder.backbone is 5; it must be a valid string or null"),
        ({"dataset": {"path": 5}}, "dataset.path is 5; it must be a valid string or null"),
        ({"dataset": {"bit_depth": 12}}, "dataset.bit_depth is 12; it must be 8 or 16"),
        (
            {"published": {"trust": ["x"]}},
            "published.trust.0 is 'x'; it must match the regular expression ^[0-9a-f]{64}$",
        ),
        (
            {"encoder": {"augmentation": [{"kind": "flop"}]}},
            "encoder.augmentation.0.kind is 'flop'; it must be 'flip', ",
        ),
        ({"seed": -1}, "seed is -1; it must be greater than or equal to 0"),
        ({"shards": 1001}, "shards is 1001; it must be less than or equal to 1000"),
        ({"pairs": {"test_fraction": 1}}, "pairs.test_fraction is 1; it must be less than 1"),
        ({"evaluation": {"metrics": ["psnr"]}}, "evaluation.metrics.0 is 'psnr'; it must be 'deepssim', "),
        (
            {"evaluation": {"metrics": ["ssim", "ssim"]}},
            "evaluation.metrics is ['ssim', 'ssim']; it must not contain an entry twice",
        ),
        ({"seed": None}, "seed is None; it must be a valid integer"),
    ],
)
def test_unusable_settings_are_named(settings, message):
    assert message_for(settings).startswith(message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"encoder": {"augmentation": [{"kind": "gamma", "strength": 1.5}]}},
            "strength 1.5 of distortion 'gamma' is too large; it must be at most 0.99",
        ),
        ({"dataset": {"kind": "folder"}}, "dataset.kind is 'folder' but dataset.path is not set"),
        (
            {"dataset": {"valid_fraction": 0.6, "holdout_fraction": 0.6}},
            "dataset.valid_fraction 0.6 and dataset.holdout_fraction 0.6 leave no subjects",
        ),
        ({"dataset": {"intensity_percentiles": [99, 1]}}, "dataset.intensity_percentiles is [99.0, 1.0]; the first"),
        ({"vae": {"norm_groups": 7}}, "vae.norm_groups 7 does not divide the entry 16 of vae.channels"),
        ({"ldm": {"norm_groups": 7}}, "ldm.norm_groups 7 does not divide the entry 48 of ldm.channels"),
        ({"ldm": {"attention_levels": [True]}}, "ldm.attention_levels has 1 entries and ldm.channels 2"),
        ({"ldm": {"head_channels": 40}}, "ldm.head_channels 40 does not divide the 96 channels of level 1"),
        ({"ldm": {"beta_start": 0.5}}, "ldm.beta_start 0.5 must be below ldm.beta_end 0.0205"),
        ({"ldm": {"validate_every": 3}}, "ldm.memorization.every 2 is not a multiple of ldm.validate_every 3"),
        ({"ldm": {"duplication_factor": 2}}, "ldm.duplication_factor is 2, but ldm.duplication is 'none'"),
        ({"ldm": {"condition_dropout": 0.1}}, "ldm.condition_dropout is 0.1, but ldm.conditioning is 'none'"),
        ({"synthesis": {"guidance_scale": 2}}, "synthesis.guidance_scale is 2.0, but ldm.condition_dropout is 0"),
        (
            {"pairs": {"valid_fraction": 0.5, "test_fraction": 0.5}},
            "pairs.valid_fraction 0.5 and pairs.test_fraction 0.5",
        ),
        ({"audit": {"real": "x"}}, "audit.real and audit.synthetic belong together"),
        ({"audit": {"synthetic": "x"}}, "audit.real and audit.synthetic belong together"),
        ({"audit": {"intensity_percentiles": [99, 1]}}, "audit.intensity_percentiles is [99.0, 1.0]; the first"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings, message):
    assert message_for(settings).startswith(message)


def test_guidance_is_usable_with_a_model_trained_for_it():
    ldm = {"conditioning": "variables", "condition_dropout": 0.1}
    assert parse_config({"ldm": ldm, "synthesis": {"guidance_scale": 2}}).synthesis.guidance_scale == 2


def test_all_problems_are_listed_at_once_those_of_one_section_too():
    settings = {
        "vae": {"epochs": 0, "passes": 0}, "seed": -1, "ldm": {"norm_groups": 7, "beta_start": 0.5},
        "dataset": {"kind": "folder", "valid_fraction": 0.6, "holdout_fraction": 0.6},
    }  # fmt: skip
    assert message_for(settings).split("\n  ") == [
        "7 settings are not usable:",
        "dataset.kind is 'folder' but dataset.path is not set; name the folder or CSV file",
        "dataset.valid_fraction 0.6 and dataset.holdout_fraction 0.6 leave no subjects for training; their sum must be below 1",
        "ldm.norm_groups 7 does not divide the entry 48 of ldm.channels",
        "ldm.beta_start 0.5 must be below ldm.beta_end 0.0205",
        "seed is -1; it must be greater than or equal to 0",
        "vae.epochs is 0; it must be greater than or equal to 1",
        "vae.passes is 0; it must be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": {"image_size": [50, 50]}}, "images of 50x50 cannot be halved 3 times by the autoencoder; set "
         "dataset.image_size to multiples of 8 or give vae.channels fewer entries"),
        ({"vae": {"adversarial_weight": 0.1, "discriminator_layers": 5}}, "images of 48x48 are too small for a discriminator "
         "of 5 layers, which needs 96x96; lower vae.discriminator_layers or set vae.adversarial_weight to 0"),
        ({"dataset": {"image_size": None}}, "dataset.image_size is null, but virtual patients need a size; set it, for example "
         "[64, 64]"),
    ],
)  # fmt: skip
def test_sizes_that_no_network_takes_are_found_without_an_image(settings, message):
    assert message_for(settings) == message


def test_an_audit_trains_no_autoencoder():
    assert parse_config({"dataset": {"image_size": [50, 50]}, "audit": {"real": "a", "synthetic": "b"}})


def test_a_misspelt_key_comes_before_unusable_values_of_its_section():
    text = message_for({"vae": {"batch_size": 0, "epoch": 3}})
    assert text.split("\n  ")[1] == "'epoch' is not a setting of section 'vae'; did you mean 'epochs'?"


def test_an_unusable_entry_does_not_count_as_a_missing_one():
    assert message_for({"encoder": {"depths": [1, 1, 1, 0]}}).endswith("greater than or equal to 1")


def test_a_long_value_is_shortened():
    assert "'xxx" in message_for({"vae": {"epochs": "x" * 100_000}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "vae.kl_weight is nan; it must be a finite number"),
        (float("inf"), "vae.kl_weight is inf; it must be a finite number"),
        pytest.param(10**5000, "vae.kl_weight is a number of more than 100 digits", id="huge"),
        pytest.param(-(10**5000), "vae.kl_weight is a number of more than 100 digits", id="huge and negative"),
        (datetime.date(2026, 1, 1), "vae.kl_weight is a date; it must be text, a number"),
        ({1, 2}, "vae.kl_weight is a set; it must be text, a number"),
        (b"x", "vae.kl_weight is a bytes; it must be text, a number"),
        ("\ud800", r"vae.kl_weight is '\ud800'; it must be valid Unicode text"),
        ({1: 2}, "1 is not the name of a setting; names are text"),
        ([[0]] * 10_000, "the config has more than 10000 entries"),
    ],
)
def test_values_that_are_not_plain_are_refused(value, message):
    assert message_for({"vae": {"kl_weight": value}}).startswith(message)


def test_a_circle_is_refused():
    circle = [1]
    circle.append(circle)
    assert message_for({"vae": {"channels": circle}}) == (
        "vae.channels contains itself or is nested more than 20 levels deep"
    )


BOMB = "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("[" * 10_000, "is not valid YAML"),
        (f"seed: {'9' * 10_000}", "is not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("", "contains no settings; see config/config.yaml"),
        ("- seed", "contains no settings; see config/config.yaml"),
        ("sed: 1", "'sed' is not a setting of the config; did you mean 'seed'?"),
        ("1: 2", "1 is not the name of a setting"),
        ("seed: .nan", "seed is nan; it must be a finite number"),
        ("seed: 1.0e+400", "seed is inf; it must be a finite number"),
        ("seed: 2026-01-01", "seed is a date; it must be text"),
        (f"seed: 0x{'f' * 10_000}", "seed is a number of more than 100 digits"),
        (BOMB, "the config has more than 10000 entries"),
        ("vae: &a {channels: [*a]}", "vae.channels contains itself"),
    ],
)
def test_unusable_config_files_are_named(tmp_path, content, message):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: {message}")
    assert len(text) < 1000
    assert "\n" not in text


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"own\.yaml: is not valid YAML"):
        load_config(tmp_path / "own.yaml")


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_a_config_file_is_read(tmp_path):
    (tmp_path / "own.yaml").write_text("vae: {kl_weight: 1.0e-5}\n")
    assert load_config(tmp_path / "own.yaml").vae == Config().vae.with_changes(kl_weight=1e-5)
