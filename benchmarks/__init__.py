"""What the project costs, in one run: `make bench`, or `python -m benchmarks --help`.

Every figure is measured in a fresh process. Collecting is measured against a sandbox exchange in a process of its own;
writing and searching on each engine that there is, in a database of its own.
"""
