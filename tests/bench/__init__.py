"""The benchmarks: `python -m tests.bench`. Each figure is compared with rivals measured in the same run on the same disk."""
