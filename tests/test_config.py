"""Config classes, schema and config.yaml say the same; bad settings end with one sentence."""

import pytest
import yaml

from deepssim.choices import Axis, DatasetKind, Distortion
from deepssim.config import Config, json_schema, load_config, parse_config, sections
from deepssim.errors import ConfigError
from deepssim.settings import as_settings
from tests.conftest import ROOT

SHIPPED = sorted((ROOT / "config").glob("*.yaml"))


def test_default_config_file_equals_the_classes():
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert settings == as_settings(Config())  # every key, every value


def test_schema_file_equals_the_classes():
    schema = yaml.safe_load((ROOT / "config" / "schemas" / "config.schema.yaml").read_text())
    assert schema == json_schema(), "run `deepssim schema > config/schemas/config.schema.yaml`"


def test_schema_is_closed_everywhere():
    def objects(schema):
        if schema.get("type") == "object":
            yield schema
            for part in schema["properties"].values():
                yield from objects(part)
        elif schema.get("type") == "array":
            yield from objects(schema["items"])

    assert len(list(objects(json_schema()))) == 21
    assert all(schema["additionalProperties"] is False for schema in objects(json_schema()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_usable(path):
    assert isinstance(load_config(path), Config)


def test_settings_survive_a_round_trip():
    config = parse_config({"dataset": {"kind": "volumes", "path": "x", "volumes": {"axis": "coronal"}}, "seed": 7})
    assert config.dataset.kind is DatasetKind.VOLUMES
    assert config.dataset.volumes.axis is Axis.CORONAL
    assert config.dataset.volumes.step == 1
    assert parse_config(as_settings(config)) == config


def test_sections_survive_a_round_trip():
    settings = {"seed": 3, "similarity": as_settings(Config().similarity)}
    assert as_settings(sections(settings)) == settings


def test_a_nested_section_keeps_its_own_defaults():
    changed = parse_config({"ldm": {"memorization": {"images": 5}}}).ldm.memorization
    assert (changed.images, changed.every) == (5, 2)


def test_a_list_of_sections_replaces_the_default():
    config = parse_config({"encoder": {"augmentation": [{"kind": "noise", "probability": 0.2, "strength": 0.1}]}})
    assert [(entry.kind, entry.strength) for entry in config.encoder.augmentation] == [(Distortion.NOISE, 0.1)]
    assert len(config.evaluation.misalignment) == 3
    assert parse_config(as_settings(config)) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ldm": {"epoch": 3}}, "'epoch' is not a setting of section 'ldm'; did you mean 'epochs'"),
        ({"lmd": {}}, "'lmd' is not a setting of the config; did you mean 'ldm'"),
        ({"vae": {"epochs": "many"}}, "vae.epochs is not usable: 'many' is not of type 'integer'"),
        ({"encoder": {"augmentation": [{"kind": "gamma", "strength": 1.5}]}}, "strength 1.5 of 'gamma' is not usable"),
        ({"encoder": {"augmentation": [{"kind": "flop"}]}}, "encoder.augmentation.0.kind is not usable: 'flop'"),
        ({"seed": -1}, "seed is not usable: -1 is less than the minimum"),
        ({"dataset": {"kind": "folder"}}, "dataset.path is not set"),
        ({"dataset": {"valid_fraction": 0.6, "holdout_fraction": 0.6}}, "leave no subject"),
        ({"dataset": {"intensity_percentiles": [99, 1]}}, "the first must be the smaller"),
        ({"vae": {"norm_groups": 7}}, "vae.norm_groups 7 does not divide"),
        ({"ldm": {"attention_levels": [True]}}, "has 1 entries and ldm.channels 2"),
        ({"ldm": {"head_channels": 40}}, "ldm.head_channels 40 does not divide the 96 of level 1"),
        ({"ldm": {"beta_start": 0.5}}, "must be below ldm.beta_end"),
        ({"pairs": {"valid_fraction": 0.5, "test_fraction": 0.5}}, "leave no subject to train the encoder"),
        ({"evaluation": {"metrics": ["psnr"]}}, "'psnr' is not one of"),
        ({"audit": {"real": "x"}}, "audit.real and audit.synthetic belong together"),
        ({"audit": {"intensity_percentiles": [99, 1]}}, "audit.intensity_percentiles is [99"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        parse_config(settings)


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "not valid YAML"), ("", "holds no settings"), ("sed: 1", "did you mean 'seed'")]
)
def test_bad_config_files_are_named(tmp_path, content, message):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"own.yaml.*{message}"):
        load_config(path)


def test_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_a_stage_sees_only_its_sections():
    part = sections({"seed": 3, "vae": {"epochs": 2}})
    assert (part.seed, part.vae.epochs) == (3, 2)
    with pytest.raises(AttributeError):
        part.ldm  # noqa: B018
