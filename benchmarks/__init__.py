"""What the project costs, in one run: `make bench`, or `python -m benchmarks --help`.

Everything is asked of a sandbox exchange in a process of its own, and every figure is measured in a fresh process.
"""
