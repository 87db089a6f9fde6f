"""Damaged files of every kind: each reader answers with a checked object or one of tracedge's errors (fuzz/contract.py)."""

import warnings
from functools import cache
from random import Random

import pytest
from fuzz.contract import Reader, hold
from fuzz.json_trees import damaged_json
from fuzz.readers import READERS, models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracedge.errors import MAX_MESSAGE, DataError, MissingExtraError, TracedgeError

BUILT = {reader.name for reader in models.READERS}  # these build networks: tens of milliseconds a file
LIGHT = [name for name in READERS if name not in BUILT]

# The same files on every machine and in every run: what is searched for anew is `python -m fuzz`'s.
given_chance = given(chance=st.randoms(use_true_random=False), strokes=st.integers(1, 3))
fixed = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)


@pytest.fixture
def folder(request, tmp_path):
    """With all that the reader's file needs beside it."""
    READERS[request.getfixturevalue("name")].prepare(tmp_path)
    return tmp_path


@cache
def seeds(name):
    return READERS[name].seeds()


def damage_and_hold(name, folder, chance, strokes):
    reader = READERS[name]
    content = chance.choice(seeds(name))
    for _ in range(strokes):
        content = reader.mutate(content, chance)
    hold(reader, content, folder)


@pytest.mark.parametrize("name", LIGHT)
@settings(fixed, max_examples=40)
@given_chance
def test_a_damaged_file_is_read_or_refused(name, folder, chance, strokes):
    damage_and_hold(name, folder, chance, strokes)


@pytest.mark.parametrize("name", LIGHT)
@settings(fixed, max_examples=15)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name, folder, content):
    hold(READERS[name], content, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
@settings(fixed, max_examples=300)
@given_chance
def test_many_damaged_files_are_read_or_refused(name, folder, chance, strokes):
    damage_and_hold(name, folder, chance, strokes)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BUILT))
@settings(fixed, max_examples=40)
@given_chance
def test_a_damaged_model_is_loaded_or_refused(name, folder, chance, strokes):
    damage_and_hold(name, folder, chance, strokes)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in BUILT else name for name in READERS]
)
def test_a_whole_file_is_taken(name, folder):
    """Of each kind at least one: else nothing but refusals would be tested."""
    reader = READERS[name]
    assert any(hold(reader, content, folder) is None for content in seeds(name))


def test_json_that_is_deeper_than_python_goes_is_damaged_all_the_same():
    assert all(damaged_json(b"[" * 900 + b"]" * 900, Random(seed)) for seed in range(5))


# --- the contract itself ----------------------------------------------------------------------------------------------


def reading(read) -> Reader:
    return Reader("made up", "a.txt", lambda: [b""], lambda content, chance: content, read)


def fails(*message, kind=DataError):
    def read(path):
        raise kind(*message)

    return read


def test_the_contract_lets_named_errors_pass(tmp_path):
    assert isinstance(hold(reading(fails("a.txt is damaged.")), b"", tmp_path), TracedgeError)
    assert hold(reading(lambda path: None), b"", tmp_path) is None


def test_the_contract_is_broken_by_other_errors_and_by_silence(tmp_path):
    with pytest.raises(KeyError):
        hold(reading(fails("a.txt", kind=KeyError)), b"", tmp_path)
    with pytest.raises(AssertionError, match=r"a\.txt is not named"):
        hold(reading(fails("something is damaged.")), b"", tmp_path)
    with pytest.raises(AssertionError, match="cannot be printed in one line"):
        hold(reading(fails("a.txt", "is damaged.")), b"", tmp_path)


def test_the_contract_is_broken_by_a_warning_and_by_a_look_elsewhere(tmp_path):
    (tmp_path / "elsewhere").write_text("secret")
    below = tmp_path / "below"
    below.mkdir()
    with pytest.raises(AssertionError, match="warned: careful"):
        hold(reading(lambda path: warnings.warn("careful", stacklevel=1)), b"", below)
    with pytest.raises(AssertionError, match=r"opened outside of its folder: .*elsewhere"):
        hold(reading(lambda path: (path.parents[1] / "elsewhere").read_text()), b"", below)


# --- errors -----------------------------------------------------------------------------------------------------------


@settings(fixed, max_examples=100)
@given(text=st.text(st.characters(), max_size=80), times=st.sampled_from([1, 1, 100]))
def test_whatever_an_error_quotes_it_is_one_printable_line(text, times):
    for kind in (DataError, MissingExtraError):
        message = str(kind(f"a file says {text * times}"))
        assert message.isprintable() and len(message) <= MAX_MESSAGE and str(kind(message)) == message


def test_a_long_message_keeps_its_beginning_and_its_end():
    message = str(DataError(f"a.json has {'x' * 9000}: split it."))
    assert message.startswith("a.json has x") and message.endswith("x: split it.") and " ... " in message
