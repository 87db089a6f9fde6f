"""Fuzzing of everything that reads files: seeds made by code, mutations that know the formats, one contract for all readers.

`contract.py` says what must hold for any bytes, `readers/` what is read, `mutations.py` and `containers.py` how valid files are
damaged. The tests (tests/test_fuzz_*.py) draw from these with hypothesis; `python -m fuzz` lets atheris search by coverage.
"""
