"""Settings of a run: typed models, closed choices, JSON schema and the paper's presets."""
