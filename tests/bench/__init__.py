"""The benchmarks: `python -m tests.bench`. Every figure stands beside its rivals of the same run, on the same disk."""
