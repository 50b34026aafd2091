"""The one driver of a training run: callbacks, data, tracking, resuming."""
