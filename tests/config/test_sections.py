"""Sections are immutable values that are checked whenever they are made."""

import copy
import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from deepssim.config.base import as_settings
from deepssim.config.choices import Conditioning, Distortion, Keep, Perceptual
from deepssim.config.distortions import MOST_STRENGTH, DistortionConfig, distortions
from deepssim.config.encoders import EncoderConfig
from deepssim.config.generative import LdmConfig, MemorizationConfig, VaeConfig
from deepssim.config.settings import Config
from deepssim.config.training import TrainingConfig
from deepssim.errors import ConfigError


def test_sections_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        VaeConfig().epochs = 3


def test_sections_are_equal_by_value():
    assert VaeConfig() == VaeConfig(epochs=VaeConfig().epochs)
    assert hash(VaeConfig()) == hash(VaeConfig(epochs=VaeConfig().epochs))
    assert VaeConfig() != VaeConfig(epochs=3)
    assert len({Config(), Config(seed=0), Config(seed=1)}) == 2
    assert TrainingConfig() != VaeConfig()


def test_sections_survive_pickling_and_copying():
    config = Config(vae=VaeConfig(keep=Keep.LAST), ldm=LdmConfig(memorization=MemorizationConfig(every=0)))
    for copied in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert copied == config
        assert copied.vae.keep is Keep.LAST


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": "5"}, {"epochs": True}, {"epochs": 5.0}, {"epochs": 0}, {"channels": [8, 16]}, {"keep": "best"},
        {"kl_weight": float("nan")}, {"kl_weight": "1"}, {"compile": 1}, {"epoch": 5}, {"residual_blocks": None},
    ],
    ids=str,
)  # fmt: skip
def test_code_cannot_make_an_unusable_section(values):
    with pytest.raises(ValidationError):
        VaeConfig(**values)


def test_contradictions_are_found_in_code_too():
    with pytest.raises(ValidationError, match="vae.norm_groups 7 does not divide"):
        VaeConfig(norm_groups=7)


def test_with_changes_replaces_some_settings():
    before = VaeConfig(epochs=3)
    after = before.with_changes(perceptual=Perceptual.GRADIENT, kl_weight=1)
    assert after == VaeConfig(epochs=3, perceptual=Perceptual.GRADIENT, kl_weight=1.0)
    assert before == VaeConfig(epochs=3)
    assert Config().with_changes(vae=after).vae is after


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be greater than or equal to 1"),
        ({"epochs": "many"}, "epochs is 'many'; it must be a valid integer"),
        ({"epoch": 1}, "'epoch' is not a setting of VaeConfig; did you mean 'epochs'?"),
        ({"kl_weight": float("nan")}, "kl_weight is nan; it must be a finite number"),
        ({"norm_groups": 7}, "vae.norm_groups 7 does not divide the entry 16 of vae.channels"),
    ],
)
def test_with_changes_checks_the_result(changes, message):
    with pytest.raises(ConfigError) as caught:
        VaeConfig().with_changes(**changes)
    assert str(caught.value) == message


def test_as_settings_returns_what_json_has():
    ldm = LdmConfig(conditioning=Conditioning.TEXT, channels=(16, 32), head_channels=16)
    settings = as_settings({"ldm": ldm, "misalignment": distortions(flip=(0.5, 1.0)), "seed": 3, "path": None})
    assert settings["ldm"]["conditioning"] == "text"
    assert type(settings["ldm"]["conditioning"]) is str
    assert settings["ldm"]["channels"] == [16, 32]
    assert settings["ldm"]["memorization"] == {"every": 2, "images": 48, "stop_above": None}
    assert settings["misalignment"] == [{"kind": "flip", "probability": 0.5, "strength": 1.0}]
    assert (settings["seed"], settings["path"]) == (3, None)


@pytest.mark.parametrize("kind", Distortion)
def test_strength_is_bounded_where_more_makes_no_sense(kind):
    most = MOST_STRENGTH.get(kind)
    if most is None:
        assert DistortionConfig(kind=kind, strength=1000.0).strength == 1000
        return
    assert DistortionConfig(kind=kind, strength=most).strength == most
    with pytest.raises(ValidationError, match=f"of distortion '{kind.value}' is too large"):
        DistortionConfig(kind=kind, strength=1.01 * most)


def test_heads_have_all_channels_of_a_narrow_level():
    assert [LdmConfig().heads_at(level) for level in range(2)] == [48, 96]
    assert EncoderConfig().augmentation == distortions(flip=(0.5, 1.0), rotation=(0.5, 11.0), gamma=(0.5, 0.5))


def test_importing_the_settings_imports_no_numerical_package():
    code = "import sys, deepssim.config.settings; print(*{'numpy', 'torch', 'jsonschema'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == ""
