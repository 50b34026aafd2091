"""Two folders to a verdict: inventory, subjects, retrieval, evidence, calibration, controls, figures, page."""
