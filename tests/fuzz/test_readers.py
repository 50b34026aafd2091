"""Spoiled files of every kind give something or one sentence; `python -m tests.fuzz.run` tries many more."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.readers import READERS, attempt, spoiled, valid


@pytest.mark.parametrize("name", READERS)
def test_spoiled_files_are_refused_in_one_sentence(name, tmp_path):
    reader, outcomes = READERS[name], []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(content=spoiled(valid(reader)))
    def try_one(content):
        outcomes.append(attempt(reader, tmp_path / f"spoiled{reader.suffix}", content))

    try_one()
    assert any(outcomes)
