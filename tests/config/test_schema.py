"""The classes, their schema and config.yaml say the same."""

import copy
from enum import StrEnum
from typing import get_args

import jsonschema
import pytest
import yaml

from deepssim.config.base import as_settings
from deepssim.config.reading import section_in
from deepssim.config.schema import commented_yaml, json_schema
from deepssim.config.settings import Config, load_config, parse_config
from deepssim.errors import ConfigError
from tests.conftest import ROOT

PATHS = sorted((ROOT / "config").glob("*.yaml"))
# One setting of every kind of rule, beyond it.
BEYOND = [
    {"sed": 1}, {"seed": -1}, {"seed": "1"}, {"seed": True}, {"seed": 1.5}, {"seed": None}, {"shards": 1001},
    {"device": "gpu"}, {"vae": 3}, {"vae": None}, {"vae": {"epoch": 1}}, {"vae": {"learning_rate": 0}},
    {"vae": {"channels": []}}, {"vae": {"channels": [0]}}, {"vae": {"compile": "yes"}}, {"ldm": {"ema_decay": 1}},
    {"dataset": {"bit_depth": 12}}, {"dataset": {"image_size": [64]}}, {"dataset": {"image_size": [64, 64, 64, 64]}},
    {"dataset": {"image_size": [64, 7]}}, {"dataset": {"file_patterns": [""]}},
    {"dataset": {"volumes": {"axis": "up"}}}, {"evaluation": {"metrics": ["ssim", "ssim"]}},
    {"evaluation": {"metrics": []}}, {"encoder": {"backbone": ""}},
    {"encoder": {"augmentation": [{"kind": "flop"}]}}, {"encoder": {"augmentation": [{"chance": 1}]}},
    {"ldm": {"memorization": {"stop_above": 1.1}}}, {"published": {"trust": ["A" * 64]}},
]  # fmt: skip


def sections(section=Config, name="the config"):
    """Yield every section with its name, those of lists included."""
    yield name, section
    for key, setting in section.model_fields.items():
        if section_in(setting):
            yield from sections(section_in(setting), key)


def all_settings():
    return [(f"{name}.{key}", setting) for name, section in sections() for key, setting in section.model_fields.items()]


def objects(schema):
    """Yield every part of a schema that describes a mapping."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" or "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)
    if isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def test_default_config_file_is_written_from_the_classes():
    text = (ROOT / "config" / "config.yaml").read_text()
    assert text == commented_yaml(), "write config/config.yaml anew, see config/README.md"


def test_default_config_file_has_every_setting_with_its_default():
    assert yaml.safe_load(commented_yaml()) == as_settings(Config())
    assert load_config(ROOT / "config" / "config.yaml") == Config()


def test_schema_file_is_written_from_the_classes():
    schema = yaml.safe_load((ROOT / "config" / "schemas" / "config.schema.yaml").read_text())
    assert schema == json_schema(), "write config/schemas/config.schema.yaml anew, see config/README.md"


def test_schema_is_closed_everywhere():
    closed = [schema["additionalProperties"] is False for schema in objects(json_schema())]
    # The config, its 13 sections, 4 sections in these and the entries of lists.
    assert closed == [True] * 19


def test_schema_has_every_description_and_default():
    schema = json_schema()
    found = {name: schema["$defs"].get(section.__name__, schema)["properties"] for name, section in sections()}
    for name, section in sections():
        for key, setting in section.model_fields.items():
            assert found[name][key]["description"] == setting.description
            if setting.default_factory is None:
                assert found[name][key]["default"] == as_settings(setting.default)


@pytest.mark.parametrize(("name", "setting"), all_settings(), ids=[name for name, _ in all_settings()])
def test_every_setting_is_described(name, setting):
    assert setting.description
    assert setting.description == setting.description.strip()
    for kind in (setting.annotation, *get_args(setting.annotation)):
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            missing = [choice.value for choice in kind if choice.value not in setting.description]
            assert not missing, f"{name} does not say what {missing} do"


def test_every_description_is_in_the_default_config_file():
    lines = commented_yaml().splitlines()
    comments = " ".join(" ".join(line.partition("# ")[2] for line in lines).split())
    missing = [name for name, setting in all_settings() if " ".join(setting.description.split()) not in comments]
    assert missing == []
    assert max(map(len, lines)) <= 120


def test_long_comments_are_not_repeated():
    comments = [line.strip() for line in commented_yaml().splitlines() if line.strip().startswith("# ")]
    assert sum(line.startswith("# Number format of the training") for line in comments) == 1


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_schema_allows_the_shipped_configs(path):
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []


@pytest.mark.parametrize("settings", BEYOND, ids=str)
def test_schema_and_classes_refuse_the_same(settings):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(settings, json_schema())
    with pytest.raises(ConfigError):
        parse_config(settings)


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_schema_is_made_anew():
    before = copy.deepcopy(json_schema())
    json_schema()["properties"].clear()
    assert json_schema() == before
