"""Real data sets are read exactly; damaged and hostile files are refused."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_plugin.data import ArrayDataset, load_data, restate
from nas_plugin.data.idx import read_idx
from nas_plugin.errors import DataError, FileError, NasError, OptionError, UnknownNameError


def test_digits_are_embedded_and_split_by_class() -> None:
    train, test = load_data("digits", split="train"), load_data("digits", split="test")

    assert (len(train), len(test)) == (1438, 359)
    assert train.inputs.shape[1:] == (1, 8, 8) and train.num_classes == 10
    assert test.targets.bincount().min() >= 35
    seen = {bytes(x.numpy().tobytes()) for x in train.inputs}
    assert sum(bytes(x.numpy().tobytes()) in seen for x in test.inputs) == 0
    pixels = train.inputs.float() / 255
    assert abs(float(pixels.mean()) - train.mean[0]) < 1e-3
    assert abs(float(pixels.std()) - train.std[0]) < 1e-3


def test_cifar10_mosaics_hold_the_official_bytes(shared_data: Path) -> None:
    test = load_data("cifar10", split="test", root=shared_data)

    assert test.inputs.shape == (10_000, 3, 32, 32)
    assert test.targets.bincount().tolist() == [1000] * 10
    assert test.targets[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert test.inputs[0, :, 0, 0].tolist() == [158, 112, 49]


def test_mnist_is_read_from_idx_files(shared_data: Path) -> None:
    test = load_data("mnist", split="test", root=shared_data)

    assert test.inputs.shape == (10_000, 1, 28, 28)
    assert test.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert test.targets.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return header + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\x00\x00\x0d\x01abcd", "not an idx file"),
        (idx((2, 2), b"abc"), r"array \(2, 2\), but 3 bytes follow"),
        (idx((2, 2), b"abcde"), "5 bytes follow"),
        (idx((2**31, 2**31, 4), b""), "0 bytes follow"),
        (b"\x00\x00\x08\x03\x00\x00", "cut off or damaged"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "images"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(file)


def test_packed_idx_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "images.gz"
    file.write_bytes(gzip.compress(idx((2, 2), b"abcd")))

    assert read_idx(file).tolist() == [[97, 98], [99, 100]]
    file.write_bytes(gzip.compress(idx((2, 2), b"abcd"))[:-9])
    with pytest.raises(FileError, match="cannot be read"):
        read_idx(file)


def cifar_batch(n: int = 3, label_key: bytes = b"labels") -> dict[bytes, Any]:
    images = np.arange(n * 3072, dtype=np.uint64).astype(np.uint8).reshape(n, 3072)
    return {b"data": images, label_key: [i % 10 for i in range(n)], b"batch_label": b"x"}


def archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("protocol", [2, 4])
def test_official_forms_of_cifar_agree(tmp_path: Path, protocol: int) -> None:
    batch = cifar_batch()
    pickled = pickle.dumps(batch, protocol=protocol)
    binary = b"".join(
        bytes([label]) + row.tobytes()
        for row, label in zip(batch[b"data"], batch[b"labels"], strict=True)
    )
    names = [f"data_batch_{i}" for i in range(1, 6)]
    for folder, content, ending in (("py", pickled, ""), ("bin", binary, ".bin")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}{ending}").write_bytes(content)
    (tmp_path / "tar").mkdir()
    archive(tmp_path / "tar" / "cifar-10-python.tar.gz",
            {f"../../cifar-10-batches-py/{name}": pickled for name in names})  # fmt: skip
    found = [load_data("cifar10", root=tmp_path / form) for form in ("py", "bin", "tar")]

    for other in found[1:]:
        assert torch.equal(found[0].inputs, other.inputs)
        assert torch.equal(found[0].targets, other.targets)
    assert len(found[0]) == 15
    assert not list(tmp_path.glob("../cifar-10-batches-py"))


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(pickle.dumps(cifar_batch(label_key=b"fine_labels"), 2))
    assert load_data("cifar100", root=tmp_path).targets.tolist() == [0, 1, 2]
    binary = b"".join(bytes([7, i]) + bytes(3072) for i in (5, 6))
    (tmp_path / "train.bin").write_bytes(binary)
    assert load_data("cifar100", root=tmp_path).targets.tolist() == [5, 6]


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Hostile()), "names .*system, which is not allowed"),
        (pickle.dumps({b"data": Hostile()}), "names .*system, which is not allowed"),
        (b"garbage", "refused as a pickle"),
        (pickle.dumps([1, 2]), "class numbers"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}), "'data'"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}), "'labels'"),
        (pickle.dumps(cifar_batch())[:200], "refused as a pickle"),
    ],
)
def test_hostile_and_damaged_batches_are_refused(
    tmp_path: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(NasError, match=message):
        load_data("cifar10", split="test", root=tmp_path)
    assert not (tmp_path / "hacked").exists()


def test_missing_files_are_listed_with_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Looked in .*cifar-10-batches-bin.*data_batch_1\.bin"):
        load_data("cifar10", root=tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match="no whole number of records of 3073"):
        load_data("cifar10", root=tmp_path)
    archive(tmp_path / "cifar-100-python.tar.gz", {"x": b""})
    with pytest.raises(DataError, match="lacks train"):
        load_data("cifar100", root=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(2)}, "expected x_train and y_train"),
        ({"x_train": np.zeros((2, 3)), "y_train": np.zeros(2, bool)}, "whole numbers .*or floats"),
        ({"x_train": np.zeros((2, 3)), "y_train": np.zeros(3, int)}, "2 inputs and 3 targets"),
        ({"x_train": np.full((2, 3), np.nan), "y_train": np.zeros(2, int)}, "NaN"),
        ({"x_train": np.array(["a", "b"]), "y_train": np.zeros(2, int)}, "must hold numbers"),
        ({"x_train": np.zeros((2, 3)), "y_train": np.array([0, -1])}, "negative"),
        ({"x_train": np.zeros((2, 3)), "y_train": np.zeros((2, 2), int)}, r"shape \(N,\)"),
        ({"x_train": np.zeros((0, 3)), "y_train": np.zeros(0, int)}, "not 0"),
        ({"x_train": np.zeros((2, 8, 8, 3)), "y_train": np.zeros(2, int)}, r"\(N, H, W, C\)"),
        ({"x_train": np.zeros((2, 1, 8, 8), int), "y_train": [0, 1]}, "int64 have no known scale"),
        ({"x_train": np.zeros((2, 8, 8), np.uint16), "y_train": [0, 1]}, "Store bytes .uint8"),
        ({"x_train": np.zeros((2, 3)), "y_train": [0.5, np.inf]}, "targets hold NaN or inf"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(NasError, match=message):
        load_data(str(tmp_path / "d.npz"))


def test_numbers_to_be_predicted_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=-9 * y)
    train, test = (load_data(str(tmp_path / "d.npz"), split=s) for s in ("train", "test"))

    assert train.num_classes is None and test.targets.dtype == torch.float32
    assert np.allclose(train.targets, y) and np.allclose(test.targets, -9 * y)
    part = load_data(str(tmp_path / "d.npz"), limit=10)
    assert part.targets.shape == (10, 2) and part.num_classes is None
    np.savez(tmp_path / "e.npz", x_train=x, y_train=y, x_test=x, y_test=np.arange(40))
    with pytest.raises(DataError, match=r"targets are classes .* those to train on floats"):
        load_data(str(tmp_path / "e.npz"), split="test")


def test_arrays_become_tensors_of_their_own() -> None:
    x = np.arange(12.0).reshape(4, 3)
    x.flags.writeable = False
    data = ArrayDataset(x, np.array([0, 1, 0, 1], np.uint8))

    assert data.inputs.dtype == torch.float32 and data.inputs.tolist() == x.tolist()
    assert data.targets.tolist() == [0, 1, 0, 1] and data.num_classes == 2
    for wrong in ([1.0, 2.0], np.array(["a", "b"])):
        with pytest.raises(DataError, match="inputs must be a tensor or a numpy array of numbers"):
            ArrayDataset(wrong, np.array([0, 1]))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="images of torch.int64 have no known scale"):
        ArrayDataset(torch.zeros(2, 1, 4, 4, dtype=torch.long), np.array([0, 1]))


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.array([Hostile()], dtype=object))
    with pytest.raises(FileError, match="has the type object"):
        load_data(str(tmp_path / "d.npz"))
    (tmp_path / "e.npz").write_bytes(b"PK nonsense")
    with pytest.raises(FileError, match="no archive that can be read"):
        load_data(str(tmp_path / "e.npz"))


def test_arrays_and_limits_work(tmp_path: Path) -> None:
    y = np.repeat([0, 1], 20)
    np.savez(tmp_path / "d.npz", x_train=np.zeros((40, 5, 5), np.uint8), y_train=y)
    data = load_data(str(tmp_path / "d.npz"), limit=10)

    assert data.inputs.shape == (10, 1, 5, 5)
    assert data.targets.bincount().tolist() == [5, 5]
    with pytest.raises(OptionError, match="limit must be a positive"):
        load_data(str(tmp_path / "d.npz"), limit=0)


def test_image_folders_are_read_as_they_are_used(tmp_path: Path) -> None:
    from PIL import Image

    for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (9, 6), colour).save(tmp_path / "train" / name / "a.png")
    data = load_data(str(tmp_path), size=4)

    assert len(data) == 2 and data.classes == ["cat", "dog"]
    image, label = data[1]
    assert image.shape == (3, 4, 4) and label == 1
    assert image[:, 0, 0].tolist() == [0, 0, 255]
    with pytest.raises(DataError, match="no folder test or val or valid"):
        load_data(str(tmp_path), split="test")
    (tmp_path / "train" / "cat" / "a.png").write_bytes(b"no image")
    with pytest.raises(FileError, match=r"a\.png cannot be read"):
        data[0]
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        load_data(str(tmp_path))


def test_both_splits_number_classes_alike(tmp_path: Path) -> None:
    from PIL import Image

    for split, names in (("train", ("ant", "bee", "cat")), ("test", ("ant", "cat"))):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / split / name / "a.png")
    test = load_data(str(tmp_path), split="test", size=4)
    assert test.num_classes == 3 and [label for _, label in test.files] == [0, 2]
    (tmp_path / "test" / "dog").mkdir()
    with pytest.raises(DataError, match=r"classes \['dog'\], which the training set lacks"):
        load_data(str(tmp_path), split="test")

    x = np.zeros((2, 3))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=[0, 4], x_test=x, y_test=[0, 0])
    file = str(tmp_path / "d.npz")
    assert [load_data(file, split=s).num_classes for s in ("train", "test")] == [5, 5]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            {"x_test": np.zeros((2, 1, 4, 4), np.float32)},
            r"x_train holds bytes \(uint8\) and x_test",
        ),
        (
            {"x_test": np.zeros((2, 1, 4, 4), np.int64)},
            "whole numbers .*would be scaled differently",
        ),
        (
            {"x_test": np.zeros((2, 1, 5, 4), np.uint8)},
            r"\(1, 5, 4\), those to train on \(1, 4, 4\)",
        ),
        ({"y_test": np.array([0, 7])}, r"y_test holds the classes \[7\], which y_train lacks"),
    ],
)
def test_a_test_part_that_does_not_fit_the_training_part_is_one_clear_error(
    tmp_path: Path, test: dict[str, Any], message: str
) -> None:
    x, y = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])
    np.savez(tmp_path / "d.npz", **{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **test})

    assert len(load_data(str(tmp_path / "d.npz"))) == 2
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "d.npz"), split="test")


def test_arrays_are_normalised_by_what_the_file_says_or_by_the_training_images(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (9, 2, 4, 4)).astype(np.uint8)
    y = np.arange(9) % 2
    parts = {"x_train": x, "y_train": y, "x_test": 255 - x, "y_test": y}
    np.savez(tmp_path / "computed.npz", **parts)
    np.savez(tmp_path / "said.npz", **parts, mean=[0.1, 0.2], std=[0.5, 0.6], crop=2, flip=True)

    computed = [load_data(str(tmp_path / "computed.npz"), split=s) for s in ("train", "test")]
    said = load_data(str(tmp_path / "said.npz"), split="test")

    mean, std = computed[0].statistics()
    assert np.allclose(mean, (x / 255).mean((0, 2, 3)))
    assert np.allclose(std, (x / 255).std((0, 2, 3)))
    assert computed[1].statistics() == (mean, std)
    assert (computed[0].crop, computed[0].flip) == (0, False)
    assert said.statistics() == ((0.1, 0.2), (0.5, 0.6)) and (said.crop, said.flip) == (2, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [0.1], "std": [0.5]}, "one number per channel"),
        ({"mean": [0.1, 0.2]}, "given together"),
        ({"mean": [0.1, 0.2], "std": [0.5, 0.0]}, "std positive"),
        ({"mean": np.zeros((2, 2)), "std": [1.0, 1.0]}, r"mean must be \(C,\)"),
        ({"crop": 1.5}, "crop must be one whole number"),
        ({"crop": -1}, "crop must not be negative"),
        ({"flip": 1}, "flip must be one truth value"),
    ],
)
def test_settings_of_a_file_that_cannot_be_are_named(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    x = np.zeros((2, 2, 4, 4), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=[0, 1], **settings)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "d.npz"))


def test_what_a_data_set_says_of_its_images_can_be_overridden() -> None:
    data = ArrayDataset(torch.rand(4, 2, 3, 3), torch.zeros(4, dtype=torch.long), crop=1)

    restate(data, mean=[0.1, 0.2], std=[0.3, 0.4], flip=True)

    assert data.statistics() == ((0.1, 0.2), (0.3, 0.4)) and (data.crop, data.flip) == (1, True)
    for wrong in ({"mean": [0.1, 0.2]}, {"mean": [0.1], "std": [0.2]}, {"crop": -1}):
        with pytest.raises(OptionError, match="given together|must not be negative"):
            restate(data, **wrong)
    with pytest.raises(OptionError, match="flip belong to images"):
        restate([1, 2], flip=True)


def test_a_channel_that_never_changes_is_only_shifted() -> None:
    images = torch.full((4, 1, 3, 3), 0.1)
    data = ArrayDataset(images, torch.zeros(4, dtype=torch.long))

    mean, std = data.statistics()
    assert mean == pytest.approx((0.1,)) and std == (1.0,)
    assert ArrayDataset(torch.randn(4, 3), data.targets).statistics() is None


def test_image_folders_are_normalised_by_their_training_images(tmp_path: Path) -> None:
    from PIL import Image

    colours = {"train": (51, 102, 204), "test": (0, 0, 0)}
    for split, (r, g, b) in colours.items():
        for name, factor in (("dark", 0), ("light", 1)):
            (tmp_path / split / name).mkdir(parents=True)
            colour = (r * factor, g * factor, b * factor)
            Image.new("RGB", (4, 4), colour).save(tmp_path / split / name / "a.png")
    test = load_data(str(tmp_path), split="test", size=4)

    assert test.statistics() == (pytest.approx((0.1, 0.2, 0.4)), pytest.approx((0.1, 0.2, 0.4)))
    assert test.flip and test.crop == 0

    settings = tmp_path / "dataset.json"
    settings.write_text('{"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "flip": false}')
    said = load_data(str(tmp_path), size=4)
    assert said.statistics() == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)) and not said.flip
    for text, message in {
        '{"flip": 1}': r"dataset\.json: key 'flip': found 1, expected true or false",
        '{"mean": [0.5], "std": [1, 1, 1]}': "key 'mean': .* a list of 3 numbers",
        '{"mean": [0.5, 0.5, 0.5]}': "give both or neither",
        '{"mirror": true}': "unknown key 'mirror'; known are 'mean', 'std', 'crop', 'flip'",
    }.items():
        settings.write_text(text)
        with pytest.raises(NasError, match=message):
            load_data(str(tmp_path), size=4)


def test_unknown_names_and_splits_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'digit'.*Did you mean 'digits'.*cifar10"):
        load_data("digit")
    with pytest.raises(OptionError, match="split must be train or test"):
        load_data("digits", split="dev")


def test_fake_images_follow_from_the_seed() -> None:
    a, b = load_data("fake", samples=8), load_data("fake", samples=8)

    assert isinstance(a, ArrayDataset)
    assert torch.equal(a.inputs, b.inputs)
    assert not torch.equal(a.inputs, load_data("fake", split="test", samples=8).inputs)
