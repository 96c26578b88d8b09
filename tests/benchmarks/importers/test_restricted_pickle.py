from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import random

import numpy as np
import pytest

from nas_plugin.benchmarks.importers.restricted_pickle import read_pickle, read_pickles
from nas_plugin.errors import FileError


def read(content):
    return read_pickles(content, 1, "the file")[0]


class Call:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_and_numpy_scalars_are_read(protocol):
    data = {
        "ordered": collections.OrderedDict([(0, 1.5), (1, 2.5)]),
        ("cifar10", 777): [np.float64(0.25), np.float32(0.5), np.int64(-3), np.bool_(True)],
        "set": {1, 2},
        "none": None,
    }
    found = read(pickle.dumps(data, protocol))
    assert found == data
    assert [type(x) for x in found["cifar10", 777]] == [float, float, int, bool]


def test_names_of_older_and_newer_numpy_are_understood():
    content = pickle.dumps(np.float64(0.25), 2)
    renamed = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert renamed != content and read(renamed) == 0.25


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "hostile",
    [
        lambda m: Call(os.system, f"touch {m}"),
        lambda m: Call(eval, f"open({str(m)!r}, 'w')"),
        lambda m: Call(open, str(m), "w"),
        lambda m: Call(getattr, m, "touch"),
        lambda m: Call(collections.defaultdict, list),
        lambda m: {"deep": [Call(os.mkdir, str(m))]},
    ],
)
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path, hostile, protocol):
    marker = tmp_path / "ran"
    content = pickle.dumps(hostile(marker), protocol)
    with pytest.raises(FileError, match="not allowed"):
        read(content)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",  # dotted names
        b"ccollections\nOrderedDict\n}S'_call'\nNs\x86b.",  # gives a reader another state
        b"ccollections\nOrderedDict\nN}S'_call'\nNs\x86b.",
        b"\x82\x01.",  # extension registry
        b"\x80\x05\x97.",  # out-of-band buffer
        b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",  # objects
        b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 8 EiB
        b"",
        b".",
        b"not a pickle",
    ],
)
def test_forged_opcodes_are_refused(content):
    with pytest.raises(FileError, match="refused as a pickle"):
        read(content)


def test_every_truncation_is_refused():
    content = pickle.dumps({"a": [1, 2.5, "text"], "b": np.float64(3.0)}, 2)
    for length in range(len(content)):
        with pytest.raises(FileError):
            read(content[:length])


def test_flipped_bits_give_data_or_a_file_error_and_nothing_else():
    rng = random.Random(0)
    record = {"x": [np.float64(1.0), collections.OrderedDict(a=1)], "y": {(1, "z"): 2.5}}
    for protocol in (0, 2, 4):
        content = pickle.dumps(record, protocol)
        for _ in range(500):
            damaged = bytearray(content)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            with contextlib.suppress(FileError):
                read(bytes(damaged))


def test_a_memo_index_beyond_the_file_is_refused_before_room_is_made_for_it():
    for content in (b"Nr\xff\xff\xff\x7f.", b"Np99999999999\n.", b"Np-1\n."):
        with pytest.raises(FileError, match="memo index"):
            read(content)


def test_pickles_that_follow_one_another_are_read_in_turn():
    content = pickle.dumps([1], 2) + pickle.dumps("two", 0) + pickle.dumps(3.0, 4)
    assert read_pickles(content + b"rest", 3, "the file") == [[1], "two", 3.0]


def test_a_stream_is_left_right_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps({"a": 1}, 2) + b"rest")
    assert read_pickle(stream, "the file") == {"a": 1} and stream.read() == b"rest"


def test_tuples_nested_deeper_than_the_stack_are_refused():
    with pytest.raises(FileError, match="tuples"):
        read(b"}N" + b"\x85" * 200_000 + b"Ns.")
