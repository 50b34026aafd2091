"""Speed and memory of this library beside what users would otherwise do; `python -m benchmarks.run`."""
