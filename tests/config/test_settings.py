"""Plain settings become typed ones and plain ones again; a stage gets only what it names."""

import pytest
import yaml

from deepssim.config.base import as_settings
from deepssim.config.choices import Axis, DatasetKind, Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.config.encoders import EncoderConfig
from deepssim.config.generative import MemorizationConfig, VaeConfig
from deepssim.config.settings import Config, load_config, parse_config, typed_settings
from deepssim.errors import ConfigError
from tests.conftest import ROOT

SHIPPED = sorted((ROOT / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_usable(path):
    assert isinstance(load_config(path), Config)


def test_settings_survive_a_round_trip():
    config = parse_config({"dataset": {"kind": "volumes", "path": "x", "volumes": {"axis": "coronal"}}, "seed": 7})
    assert config.dataset.kind is DatasetKind.VOLUMES
    assert config.dataset.volumes.axis is Axis.CORONAL
    assert config.dataset.volumes.step == 1
    assert parse_config(as_settings(config)) == config


def test_a_round_trip_through_yaml_changes_nothing():
    settings = as_settings(Config())
    assert yaml.safe_load(yaml.safe_dump(settings)) == settings
    assert parse_config(yaml.safe_load(yaml.safe_dump(settings))) == Config()


def test_no_settings_are_the_defaults():
    assert parse_config({}) == Config()


def test_a_nested_section_keeps_its_own_defaults():
    changed = parse_config({"ldm": {"memorization": {"images": 5}}}).ldm.memorization
    assert (changed.images, changed.every) == (5, 2)


def test_a_list_of_sections_replaces_the_default():
    config = parse_config({"encoder": {"augmentation": [{"kind": "noise", "probability": 0.2, "strength": 0.1}]}})
    assert [(entry.kind, entry.strength) for entry in config.encoder.augmentation] == [(Distortion.NOISE, 0.1)]
    assert len(config.evaluation.misalignment) == 3
    assert parse_config(as_settings(config)) == config


def test_an_integer_is_usable_as_a_number():
    rate = parse_config({"synthesis": {"guidance_scale": 1}}).synthesis.guidance_scale
    assert isinstance(rate, float)
    assert rate == 1.0


def test_a_stage_gets_only_what_it_names():
    typed = typed_settings({"seed": 3, "vae": {"epochs": 2}})
    assert typed == {"seed": 3, "vae": VaeConfig(epochs=2)}  # missing keys take their defaults


def test_dotted_names_are_single_settings():
    typed = typed_settings(
        {
            "dataset.bit_depth": 16,
            "dataset.image_size": None,
            "dataset.kind": "folder",  # without a path, which only the whole section needs
            "ldm.beta_start": 0.5,  # above the default of beta_end, which is not asked for
            "ldm.memorization": {"images": 5},
            "evaluation.misalignment": [{"kind": "blur", "strength": 2}],
        }
    )
    assert typed == {
        "bit_depth": 16,
        "image_size": None,
        "kind": DatasetKind.FOLDER,
        "beta_start": 0.5,
        "memorization": MemorizationConfig(images=5),
        "misalignment": (DistortionConfig(kind=Distortion.BLUR, strength=2.0),),
    }


def test_every_setting_can_be_named_and_keeps_its_value():
    config = Config()
    for section in (name for name in Config.model_fields if isinstance(as_settings(getattr(config, name)), dict)):
        for key, value in as_settings(getattr(config, section)).items():
            assert typed_settings({f"{section}.{key}": value}) == {key: getattr(getattr(config, section), key)}


def test_typed_settings_survive_a_round_trip():
    settings = {"seed": 3, "similarity": as_settings(Config().similarity), "audit": as_settings(Config().audit)}
    assert as_settings(typed_settings(settings)) == settings


def test_two_settings_of_one_name_are_an_error_of_the_caller():
    with pytest.raises(ValueError, match="called 'valid_fraction'"):
        typed_settings({"dataset.valid_fraction": 0.1, "pairs.valid_fraction": 0.1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lmd": {}}, "'lmd' is not a setting of the config; did you mean 'ldm'?"),
        ({"vae": {"epoch": 2}}, "'epoch' is not a setting of section 'vae'; did you mean 'epochs'?"),
        ({"vae.epoch": 2}, "'epoch' is not a setting of section 'vae'; did you mean 'epochs'?"),
        ({"dataset.volume.axis": "axial"}, "'volume' is not a setting of section 'dataset'; did you mean 'volumes'?"),
        ({"seed.x": 2}, "'x' is not a setting of section 'seed'; known keys are none"),
        ({"": 2}, "'' is not a setting of the config; known keys are seed, device"),
        ({"vae.epochs": "many"}, "vae.epochs is 'many'; it must be a valid integer"),
        ({"vae.epochs": 0}, "vae.epochs is 0; it must be greater than or equal to 1"),
        ({"vae.channels": []}, "vae.channels is []; it must have at least 1 entry"),
        ({"vae.channels": [0]}, "vae.channels.0 is 0; it must be greater than or equal to 1"),
        ({"dataset.bit_depth": 12}, "dataset.bit_depth is 12; it must be 8 or 16"),
        ({"ldm.memorization": {"every": -1}}, "ldm.memorization.every is -1; it must be greater than or equal to 0"),
        ({"ldm.learning_rate": float("nan")}, "ldm.learning_rate is nan; it must be a finite number"),
        ({"vae": 3}, "vae is 3; it must be a section"),
        ({"encoder.augmentation": [{"kin": "flip"}]}, "'kin' is not a setting of section 'encoder.augmentation.0'"),
        (
            {"evaluation.misalignment": [{"kind": "jpeg", "strength": 2}]},
            "strength 2 of distortion 'jpeg' is too large",
        ),
        ({"pairs": {"valid_fraction": 0.5, "test_fraction": 0.5}}, "leave no subjects to train the encoder on"),
    ],
)
def test_typed_settings_are_checked_as_in_a_config_file(settings, message):
    with pytest.raises(ConfigError) as caught:
        typed_settings(settings)
    assert str(caught.value).startswith(message) or message in str(caught.value)


def refusal(read, settings):
    """Return the message with which settings are refused, None if they are usable."""
    try:
        read(settings)
    except ConfigError as error:
        return str(error)
    return None


def test_single_settings_are_refused_with_the_message_of_a_config_file():
    compared = 0
    for section in (name for name in Config.model_fields if isinstance(as_settings(getattr(Config(), name)), dict)):
        for key in type(getattr(Config(), section)).model_fields:
            for value in (None, True, -1, "x", [], [-1], {"x": 1}):
                message = refusal(typed_settings, {f"{section}.{key}": value})
                if message is not None:
                    assert refusal(parse_config, {section: {key: value}}) == message
                    compared += 1
    assert compared > 500


@pytest.mark.parametrize("name", ["brain", "chest"])
def test_the_studies_differ_in_the_encoder_only(name):
    """Beside the paper's recipe stands ours, at the same image size."""
    paper, ours = (load_config(ROOT / "config" / f"{name}{suffix}.yaml") for suffix in ("", "_deepssim"))
    assert ours.encoder == EncoderConfig()
    assert ours.encoder.ssim_features
    assert not paper.encoder.ssim_features
    assert ours.model_dump(exclude={"encoder"}) == paper.model_dump(exclude={"encoder"})
