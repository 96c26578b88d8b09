from __future__ import annotations

import collections
import contextlib
import os
import pickle
import random
import struct
import tracemalloc

import numpy as np
import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import read_pickles


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
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    new = content.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert old != new and read(old) == read(new) == 0.25


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


def test_a_memo_index_beyond_the_file_takes_no_memory():
    tracemalloc.start()
    for content in (b"Nr\xff\xff\xff\x7f.", b"Np99999999999\n."):
        assert read(content) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    with pytest.raises(FileError, match="negative PUT"):
        read(b"Np-1\n.")


def test_pickles_that_follow_one_another_are_read_in_turn():
    content = pickle.dumps([1], 2) + pickle.dumps("two", 0) + pickle.dumps(3.0, 4)
    assert read_pickles(content + b"rest", 3, "the file") == [[1], "two", 3.0]


def tuples(depth, wide=False):
    """Nested tuples as a key: a chain, or a graph in which each holds the one before it twice."""
    step = b"q\x01h\x01\x86" if wide else b"\x85"
    return b"}N" + step * depth + b"Ns."


@pytest.mark.parametrize(
    "content",
    [
        tuples(200_000),  # overflows the stack of the interpreter when it is hashed
        tuples(60, wide=True),  # takes 2^60 steps to hash
        b"(" + b"N" + b"\x85" * 200_000 + b"Nd.",
        b"}(" + tuples(60, wide=True)[1:-2] + b"Nu.",
        b"\x8f(" + tuples(60, wide=True)[1:-2] + b"\x90.",
        b"c__builtin__\nset\n](" + tuples(60, wide=True)[1:-2] + b"e\x85R.",
        b"ccollections\nOrderedDict\n](" + tuples(60, wide=True)[1:-2] + b"N\x86e\x85R.",
    ],
)
def test_keys_whose_hash_would_not_end_are_refused(content):
    with pytest.raises(FileError, match="flat tuple"):
        read(content)


def test_what_a_file_refers_to_many_times_is_not_copied_without_measure():
    text = b"X" + struct.pack("<I", 2**16) + b"a" * 2**16 + b"q\x01"
    content = b"](" + text + b"c_codecs\nencode\nq\x02" + b"h\x02h\x01\x85R" * 5000 + b"e."
    with pytest.raises(FileError, match="too often"):
        read(content)
    items = b"](" + b"".join(b"](K\x01Ne" for _ in range(3000)) + b"eq\x01"
    ordered = b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01\x85R" * 3000
    with pytest.raises(FileError, match="too often"):
        read(b"](" + items + ordered + b"e.")


@pytest.mark.parametrize("protocol", [1, 2, 4])
def test_arrays_come_back_where_their_data_fit_their_shape(protocol):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = pickle.dumps({"data": array}, protocol)
    found = read(content)["data"].array()
    assert found.dtype == np.uint8 and found.tolist() == array.tolist()
    with pytest.raises(FileError, match="shape does not fit"):
        read(content.replace(b"K\x02K\x03", b"K\x02K\x09"))
    with pytest.raises(FileError, match="no plain type"):
        read(pickle.dumps(np.array(["text"]), protocol))
