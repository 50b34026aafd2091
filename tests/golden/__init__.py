"""Results of tiny trainings that tell when what a network learns has changed; `python -m tests.golden` renews them."""
