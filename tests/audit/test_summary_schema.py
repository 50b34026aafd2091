"""The published schema of summary.json: it is written from the models, and real summaries fit it."""

import json
import re

import jsonschema
import pytest

import deepssim
from deepssim.audit.summary_schema import SCHEMA_VERSION, AuditSummary, summary_schema
from deepssim.cli import main
from tests.audit.folders import gather, make_folders
from tests.audit.test_run import PATTERN, QUICK
from tests.conftest import ROOT

PUBLISHED = ROOT / "config" / "schemas" / "audit-summary.schema.json"
CLAIMS = re.compile(r"\b(private|anonymous|safe)\b", re.IGNORECASE)  # nothing that an audit could promise
CONTEXT = {
    "generator": "a diffusion model",
    "parameters": 1000,
    "training_images": 100,
    "release": ["images", "weights"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Reports without, with few, with many and with unusable held-out images, the last one de-identified."""
    root, cache = make_folders(tmp_path_factory.mktemp("made"), holdout=44), tmp_path_factory.mktemp("cache")
    few = make_folders(tmp_path_factory.mktemp("few"), real=8, synthetic=6, holdout=6, copies=0)
    common = QUICK | {"subject_pattern": PATTERN, "cache": cache}

    def audit(folder, out, **settings):
        deepssim.audit(folder / "real", folder / "synthetic", root / out, **common | settings)

    audit(root, "without", context=CONTEXT)
    audit(root, "with", holdout=root / "holdout", card=True)
    gather(few / "holdout")
    audit(few, "few", holdout=few / "holdout", subject_pattern=None)
    audit(few, "hidden", de_identified=True, context={"date": "2026-03-01"})
    return root


REPORTS = ("without", "with", "few", "hidden")


def summary_of(made, name):
    return json.loads((made / name / "summary.json").read_text())


@pytest.mark.parametrize("name", REPORTS)
def test_real_summaries_fit_the_published_schema(made, name):
    published = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    summary = summary_of(made, name)
    jsonschema.Draft202012Validator(published).validate(summary)
    assert summary["schema_version"] == SCHEMA_VERSION
    assert AuditSummary.model_validate_json(json.dumps(summary)).verdict.result == summary["verdict"]["result"]


@pytest.mark.parametrize("change", [{"verdict": {}}, {"schema_version": 2}, {"unheard": 1}, {"images_sha256": "0"}])
def test_another_form_does_not_fit(made, change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary_of(made, "with") | change, summary_schema())


def test_a_missing_entry_does_not_fit(made):
    summary = summary_of(made, "with")
    del summary["further"]["fidelity"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, summary_schema())


def test_the_published_schema_is_written_from_the_models(capsys):
    main(["schema", "--of", "audit-summary"])
    assert capsys.readouterr().out == PUBLISHED.read_text(), "write the schema anew, see config/README.md"
