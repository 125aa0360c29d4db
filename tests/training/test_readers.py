"""Readers, on small files in the true layouts."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.datasets.generated import CLASSES
from training.datasets.magnetic_tile import read_magnetic_tile, write_generated
from training.datasets.sample import DatasetError
from training.datasets.shards import read_classes, read_shards


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    write_generated(tmp_path, count=12, seed=3)
    return tmp_path


def test_magnetic_tile_layout_is_read_whole(tiles: Path) -> None:
    samples = read_magnetic_tile(tiles)
    assert len(samples) == 12
    assert sum(sample.defective for sample in samples) == 6
    for sample in samples:
        label_map = sample.label_map()
        assert label_map is not None
        assert label_map.shape == sample.pixels().shape
        number = CLASSES.index(sample.picture_class) + 1 if sample.defective else 0
        assert set(np.unique(label_map)) == {0, number}


def test_defective_picture_with_an_empty_mask_has_no_known_pixels(tiles: Path) -> None:
    mask = next((tiles / "MT_Crack/Imgs").glob("*.png"))
    cv2.imwrite(str(mask), np.zeros_like(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)))
    sample = next(each for each in read_magnetic_tile(tiles) if each.picture_class == "crack")
    assert sample.label_map() is None


def test_what_is_missing_is_named(tiles: Path) -> None:
    mask = next((tiles / "MT_Crack/Imgs").glob("*.png"))
    mask.unlink()
    with pytest.raises(DatasetError, match=r"has no mask; .*\.png is expected"):
        read_magnetic_tile(tiles)
    (tiles / "groups.csv").write_text("file,group\n")
    with pytest.raises(DatasetError, match="names no group"):
        read_magnetic_tile(tiles)
    (tiles / "groups.csv").unlink()
    with pytest.raises(DatasetError, match="would leak"):
        read_magnetic_tile(tiles)
    with pytest.raises(DatasetError, match="holds none of MT_Blowhole"):
        read_magnetic_tile(tiles / "elsewhere")


def test_unreadable_picture_is_named(tiles: Path) -> None:
    sample = read_magnetic_tile(tiles)[0]
    whole = sample.image.read()
    for data, what in ((b"not a picture", "none of JPEG, PNG"), (whole[: len(whole) // 2], "ends before")):
        sample.image.path.write_bytes(data)
        with pytest.raises(DatasetError, match=f"{sample.image.path.name}.*{what}"):
            sample.pixels()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    return bytes(cv2.imencode(kind, pixels)[1])


def test_shards_are_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "crack", "2": "pit"}')
    pixels = np.full((64, 64), 128, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:16, 8:16] = 2
    facts = {"group": "g", "source": "set", "classes": []}
    with tarfile.open(tmp_path / "large-000.tar", "w") as tar:
        for key, extra in (("good", {"defective": False}), ("pit", {"defective": True, "classes": ["pit"]})):
            _add(tar, f"{key}.jpg", _encoded(pixels, ".jpg"))
            _add(tar, f"{key}.mask.png", _encoded(mask if extra["defective"] else mask * 0, ".png"))
            _add(tar, f"{key}.json", json.dumps(facts | extra).encode())
        _add(tar, "roll.jpg", _encoded(pixels, ".jpg"))
        _add(tar, "roll.json", json.dumps(facts | {"defective": True, "picture_class": "roll"}).encode())
    assert read_classes(tmp_path) == ("crack", "pit")
    good, pit, roll = read_shards(tmp_path, "large-*.tar")
    assert (good.defective, good.picture_class) == (False, "good")
    assert pit.pixels().shape == (64, 64)
    np.testing.assert_array_equal(pit.label_map(), mask)
    assert roll.defective
    assert roll.label_map() is None  # a picture-level label: no pixel is known
    with pytest.raises(DatasetError, match="holds no shard"):
        read_shards(tmp_path, "small-*.tar")


def test_broken_shard_and_classes_are_named(tmp_path: Path) -> None:
    (tmp_path / "large-000.tar").write_bytes(b"x" * 600)
    with pytest.raises(DatasetError, match="not a plain tar shard"):
        read_shards(tmp_path, "*.tar")
    (tmp_path / "classes.json").write_text('{"1": "crack", "3": "pit"}')
    with pytest.raises(DatasetError, match="without a gap"):
        read_classes(tmp_path)
