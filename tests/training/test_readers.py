"""Readers, on small files in the true layouts."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.inspection.inspector import Inspector
from tests.tiny_bundle import write_tiny_bundle
from training.data.audit import check
from training.data.layouts.magnetic_tile import read_magnetic_tile, write_generated
from training.data.layouts.shards import read_shards
from training.data.pictures import load_pictures
from training.data.registry import read_dataset
from training.data.sample import DatasetError, class_bit
from training.data.synthesis.tiles import CLASSES
from training.evaluation.compared import compare_samples
from training.thresholds.predictions import score


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    write_generated(tmp_path, count=12, seed=3)
    return tmp_path


def test_magnetic_tile_layout_is_read_whole(tiles: Path) -> None:
    dataset = read_magnetic_tile(tiles)
    samples = dataset.samples
    assert dataset.classes == CLASSES
    assert len(samples) == 12
    assert sum(sample.defective for sample in samples) == 6
    for sample in samples:
        pixels = sample.pixels()
        bits = sample.class_bits((pixels.shape[0], pixels.shape[1]))
        assert bits is not None
        assert bits.shape == pixels.shape
        bit = class_bit(CLASSES.index(sample.picture_class) + 1) if sample.defective else 0
        assert set(np.unique(bits)) == {0, bit}


def test_defective_picture_with_an_empty_mask_has_no_known_pixels(tiles: Path) -> None:
    mask = next((tiles / "MT_Crack/Imgs").glob("*.png"))
    cv2.imwrite(str(mask), np.zeros_like(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)))
    sample = next(each for each in read_magnetic_tile(tiles).samples if each.picture_class == "crack")
    height, width = sample.pixels().shape
    assert sample.class_bits((height, width)) is None


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
    sample = read_magnetic_tile(tiles).samples[0]
    whole = sample.image.read()
    for data, what in ((b"not an image", "none of JPEG, PNG"), (whole[: len(whole) // 2], "ends before")):
        sample.image.path.write_bytes(data)
        with pytest.raises(DatasetError, match=f"{sample.image.path.name}.*{what}"):
            sample.pixels()


def test_pictures_of_any_jpeg_suffix_are_read(tiles: Path) -> None:
    groups = (tiles / "groups.csv").read_text()
    pictures = sorted((tiles / "MT_Free/Imgs").glob("*.jpg"))[:2]
    for picture, suffix in zip(pictures, (".JPG", ".jpeg"), strict=True):
        renamed = picture.rename(picture.with_suffix(suffix))
        groups = groups.replace(f"/{picture.name},", f"/{renamed.name},")
    (tiles / "groups.csv").write_text(groups, encoding="utf-8-sig")
    (tiles / "MT_Free/Imgs/README.md").write_text("good tiles")
    assert len(read_magnetic_tile(tiles).samples) == 12


@pytest.mark.parametrize("name", ["MT_Free/Imgs/lone.png", "MT_Free/Imgs/a.tif", "MT_Free/Imgs/a.PNG"])
def test_file_that_would_be_left_out_is_named(tiles: Path, name: str) -> None:
    (tiles / name).touch()
    with pytest.raises(DatasetError, match=Path(name).name):
        read_magnetic_tile(tiles)


def test_folder_that_would_be_left_out_is_named(tiles: Path) -> None:
    (tiles / "MT_Scratch").mkdir()
    with pytest.raises(DatasetError, match="MT_Scratch is of no known class"):
        read_magnetic_tile(tiles)
    (tiles / "MT_Scratch").rmdir()
    (tiles / "MT_Free/Imgs").rename(tiles / "MT_Free/images")
    with pytest.raises(DatasetError, match="MT_Free has no folder Imgs"):
        read_magnetic_tile(tiles)


def test_set_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MT_Free/Imgs").mkdir(parents=True)
    (tmp_path / "groups.csv").write_text("file,group\n")
    with pytest.raises(DatasetError, match="holds no images"):
        read_magnetic_tile(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("MT_Free/Imgs/gone.jpg,g", r"names MT_Free/Imgs/gone\.jpg, which is missing"),
        ("MT_Free/Imgs/gone.jpg,", "line 14 needs both"),
        ("MT_Free/Imgs/gone.jpg", "line 14 needs both"),
        ("a,g\na,h", "line 15 puts a into h, an earlier line into g"),
    ],
)
def test_bad_line_of_groups_is_named(tiles: Path, line: str, message: str) -> None:
    with (tiles / "groups.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=message):
        read_magnetic_tile(tiles)


def test_groups_in_another_encoding_are_refused(tiles: Path) -> None:
    (tiles / "groups.csv").write_bytes(b"file,group\n\xff,g\n")
    with pytest.raises(DatasetError, match="is not UTF-8"):
        read_magnetic_tile(tiles)


def test_set_is_not_written_over_another(tiles: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds a groups\.csv already"):
        write_generated(tiles, count=2, seed=4)


def test_mask_of_another_size_is_named(tiles: Path) -> None:
    mask = next((tiles / "MT_Crack/Imgs").glob("*.png"))
    cv2.imwrite(str(mask), np.full((70, 80), 255, np.uint8))
    sample = next(each for each in read_magnetic_tile(tiles).samples if each.picture_class == "crack")
    with pytest.raises(DatasetError, match=rf"{mask.name}\) is 80 x 70 px; it must be as large"):
        sample.class_bits((90, 80))


def test_picture_that_cannot_be_judged_is_named(
    tiles: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")
    inspector = Inspector.load(bundle, device="cpu")
    sample = read_magnetic_tile(tiles).samples[0]
    sample.image.path.write_bytes(b"not an image")
    for compare in (score, compare_samples):
        with pytest.raises(DatasetError, match=sample.image.path.name):
            compare(inspector, [sample])


@pytest.mark.parametrize("text", ["{", "[1]", '{"one": "crack"}', "3", '{"1": null}', '{"1": 5}'])
def test_unusable_classes_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.json cannot be used"):
        read_shards(tmp_path)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    return bytes(cv2.imencode(kind, pixels)[1])


def _facts(**changes: object) -> str:
    """The JSON of a defective image."""
    facts = {"defective": True, "group": "g", "source": "set", "classes": ["crack"]}
    return json.dumps(facts | changes)


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
    dataset = read_shards(tmp_path)
    assert dataset.classes == ("crack", "pit")
    good, pit, roll = dataset.samples
    assert (good.defective, good.picture_class) == (False, "good")
    assert pit.pixels().shape == (64, 64)
    np.testing.assert_array_equal(pit.class_bits((64, 64)), mask)
    assert roll.defective
    assert roll.class_bits((64, 64)) is None  # an image-level label: no pixel is known
    (tmp_path / "large-000.tar").unlink()
    with pytest.raises(DatasetError, match="holds no shard"):
        read_shards(tmp_path)


def test_broken_shard_and_classes_are_named(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"1": "crack"}')
    (tmp_path / "large-000.tar").write_bytes(b"x" * 600)
    with pytest.raises(DatasetError, match="not a plain tar shard"):
        read_shards(tmp_path)
    (tmp_path / "classes.json").write_text('{"1": "crack", "3": "pit"}')
    with pytest.raises(DatasetError, match="without a gap"):
        read_shards(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "as a whole: Invalid JSON"),
        ("[1]", "as a whole: Input should be an object"),
        ('{"defective": true}', r"group: Field required \(2 such places\)"),
        (_facts(defective=1), "defective: Input should be a valid boolean"),
        (_facts(group=None), "group: Input should be a valid string"),
        (_facts(group=""), "group: String should have at least 1 character"),
        (_facts(classes=[1]), "classes.0: Input should be a valid string"),
        (_facts(classes="crack"), "classes: Input should be a valid array"),
        (_facts(classes=[]), ".*must name the class of a defective image, and none of a good"),
        (_facts(defective=False), ".*must name the class of a defective image, and none of a good"),
    ],
)
def test_facts_of_a_shard_that_cannot_be_used_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.json").write_text('{"1": "crack"}')
    with tarfile.open(tmp_path / "large-000.tar", "w") as tar:
        _add(tar, "roll.jpg", _encoded(np.zeros((64, 64), np.uint8), ".jpg"))
        _add(tar, "roll.json", text.encode())
    with pytest.raises(DatasetError, match=rf"roll\.json: {message}"):
        read_shards(tmp_path)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of three good images, a.jpg, a.json, b.jpg, ..."""
    (tmp_path / "classes.json").write_text('{"1": "crack"}')
    with tarfile.open(tmp_path / "set-000.tar", "w") as tar:
        for key in "abc":
            _add(tar, f"{key}.jpg", _encoded(np.zeros((64, 64), np.uint8), ".jpg"))
            _add(tar, f"{key}.json", _facts(defective=False, classes=[]).encode())
    assert len(read_shards(tmp_path).samples) == 3
    return tmp_path / "set-000.tar"


def test_shard_loses_no_picture_in_silence_wherever_it_is_cut(shard: Path) -> None:
    whole = shard.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for length in range(0, len(whole), 256):
        shard.write_bytes(whole[:length])
        if length >= -(-end // 512) * 512 + 1024:  # nothing but padding is missing
            assert len(read_shards(shard.parent).samples) == 3
        else:
            with pytest.raises(DatasetError, match=r"set-000\.tar is (cut|not a plain tar)"):
                read_shards(shard.parent)


def test_shard_with_a_damaged_header_is_refused(shard: Path) -> None:
    whole = shard.read_bytes()
    with tarfile.open(shard) as tar:
        starts = [member.offset for member in tar]
    for start in starts:
        for header in (bytes(512), whole[start : start + 150] + b"?" + whole[start + 151 : start + 512]):
            shard.write_bytes(whole[:start] + header + whole[start + 512 :])
            with pytest.raises(DatasetError, match=r"set-000\.tar is (cut|not a plain tar)"):
                read_shards(shard.parent)


def test_pictures_of_one_key_are_refused(shard: Path) -> None:
    with tarfile.open(shard, "a") as tar:
        _add(tar, "b.jpg", b"another")
    with pytest.raises(DatasetError, match=r"set-000\.tar holds b\.jpg twice"):
        read_shards(shard.parent)


def test_mask_of_a_good_picture_is_for_the_audit_alone(tiles: Path) -> None:
    mask = min((tiles / "MT_Free/Imgs").glob("*.png"))
    marked = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    assert marked is not None
    marked[5:15, 5:15] = 255
    cv2.imwrite(str(mask), marked)
    dataset = read_dataset(tiles)
    (fault,) = check(dataset, tiles / "audit.html").of("mask on a good image")
    assert fault.samples == (f"MT_Free/Imgs/{mask.stem}.jpg",)
    assert fault.found == "100 px marked"
    sample = next(each for each in dataset.samples if each.name in fault.samples)
    bits = sample.class_bits(marked.shape)
    assert bits is not None
    assert not bits.any()
    assert load_pictures([sample], 1.0)[0].bits is None


def test_published_part_of_a_shard_is_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"1": "crack"}')
    facts = {"group": "g", "source": "set", "defective": False}
    for name in ("set-000", "set-val", "set-test"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            _add(tar, "a.jpg", _encoded(np.zeros((64, 64), np.uint8), ".jpg"))
            _add(tar, "a.json", json.dumps(facts).encode())
    found = {sample.name: sample.split for sample in read_shards(tmp_path).samples}
    assert found == {"set-000/a": "train", "set-val/a": "validation", "set-test/a": "test"}
