"""Sentences and templates of audits of volumes speak of scans, and names stay what they are."""

import jinja2
import pytest

from deepssim.audit.scan_words import extensions, said, summary_said
from deepssim.config.choices import AuditUnit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 of 10 synthetic images are called copies.", "3 of 10 synthetic scans are called copies."),
        ("An image that resembles an image", "A scan that resembles a scan"),
        ("identical to a training image in every pixel.", "identical to a training scan in every voxel."),
        ("Images of others", "Scans of others"),
        ("--image-size, audit.image_size and image_003.nii", "--image-size, audit.image_size and image_003.nii"),
        ("real/image.nii, figures.images", "real/image.nii, figures.images"),
        ("<image href=", "<image href="),
        ("reduced to 128 pixels", "reduced to 128 pixels"),
    ],
)
def test_words_change_and_names_do_not(text, expected):
    assert said(text, AuditUnit.VOLUME) == expected
    assert said(text, AuditUnit.IMAGE) == text


def test_templates_change_in_text_and_in_expressions_but_not_in_programs():
    style, script = "<style>.image { }</style>", "<script>image.style = 1; // an image</script>"
    source = f"{style}<p class=\"x\">Images of {{{{ name }}}}{{{{ ', one image' if unit == 'image' }}}}</p>{script}"
    expected = {
        AuditUnit.IMAGE: '<p class="x">Images of image 7, one image</p>',
        AuditUnit.VOLUME: '<p class="x">Scans of image 7, one scan</p>',
    }
    for unit, wanted in expected.items():
        environment = jinja2.Environment(extensions=extensions(unit), autoescape=True)
        assert environment.from_string(source).render(name="image 7", unit="image") == f"{style}{wanted}{script}"


def test_a_summary_keeps_names_and_settings():
    summary = {
        "rule": {"calibrated_on": "held-out images", "images": 3},
        "preflight": [{"kind": "constant images", "message": "1 image is constant", "items": [["an image.nii"]], "hides": False}],
        "subjects": [{"best_image": "image 3"}],
        "settings": {"audit": {"include": ["image 3"]}},
    }  # fmt: skip
    found = summary_said(summary, AuditUnit.VOLUME)
    assert found["rule"] == {"calibrated_on": "held-out scans", "images": 3}
    assert found["preflight"] == [
        {"kind": "constant scans", "message": "1 scan is constant", "items": [["an image.nii"]], "hides": False}
    ]
    assert (found["subjects"], found["settings"]) == (summary["subjects"], summary["settings"])
    assert summary_said(summary, AuditUnit.IMAGE) is summary
