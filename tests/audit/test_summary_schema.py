"""The published schema of summary.json: it is written from the models, and real summaries fit it."""

import json

import jsonschema
import pytest

from deepssim.audit.summary_schema import SCHEMA_VERSION, AuditSummary, summary_schema
from deepssim.cli import main
from tests.audit.conftest import REPORTS
from tests.conftest import ROOT

PUBLISHED = ROOT / "config" / "schemas" / "audit-summary.schema.json"
CONTEXT = {
    "generator": "a diffusion model",
    "parameters": 1000,
    "training_images": 100,
    "release": ["images", "weights"],
}


def summary_of(reports, name):
    return json.loads((reports / name / "summary.json").read_text())


@pytest.mark.parametrize("name", REPORTS)
def test_real_summaries_fit_the_published_schema(reports, name):
    published = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    summary = summary_of(reports, name)
    jsonschema.Draft202012Validator(published).validate(summary)
    assert summary["schema_version"] == SCHEMA_VERSION
    assert AuditSummary.model_validate_json(json.dumps(summary)).verdict.result == summary["verdict"]["result"]


@pytest.mark.parametrize("change", [{"verdict": {}}, {"schema_version": 1}, {"unheard": 1}, {"images_sha256": "0"}])
def test_another_form_does_not_fit(reports, change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary_of(reports, "with") | change, summary_schema())


def test_a_missing_entry_does_not_fit(reports):
    summary = summary_of(reports, "with")
    del summary["further"]["fidelity"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, summary_schema())


def test_the_published_schema_is_written_from_the_models(capsys):
    main(["schema", "--of", "audit-summary"])
    assert capsys.readouterr().out == PUBLISHED.read_text(), "write the schema anew, see config/README.md"
