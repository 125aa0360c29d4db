"""The audit finds every fault planted in a generated set, and none in a clean one."""

import io
import json
import re
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.audit import Audit, check
from training.data.audit.leaks import SMALL_GROUP, InGroups
from training.data.audit.registration import register, turned
from training.data.audit.sheet import OF_EACH_LABEL
from training.data.audit.signatures import signature
from training.data.registry import read_dataset
from training.data.sample import Blob, Dataset, DatasetError, MaskFile, Sample

Grey = NDArray[np.uint8]
SIDE = 192


def surface(seed: int) -> Grey:
    """A rolled surface: grain, faint lines and a few stains, no two seeds alike."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 2.5)
    lines = cv2.GaussianBlur(random.normal(0, 1, (1, SIDE)).astype(np.float32), (0, 0), 1.5)
    stains = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 12)
    grey = 120 + 90 * grain + 15 * lines + 300 * stains
    return np.asarray(np.clip(grey, 5, 250), np.uint8)


def cell(seed: int) -> Grey:
    """A part of one design: strong bars in the same places on all of them, each surface its own."""
    grey = surface(seed).astype(np.float32)
    grey[20::48] = grey[22::48] = grey[:, 90:96] = 10
    grey[21::48] = 250
    return grey.astype(np.uint8)


def copied(grey: Grey, turn: int = 0, shift: tuple[int, int] = (0, 0), photographed: bool = False) -> Grey:
    """Crop `shift` px off two sides, turn; `photographed` anew, expose, add noise and encode otherwise."""
    down, right = shift
    part = grey[max(0, down) : SIDE + min(0, down), max(0, right) : SIDE + min(0, right)]
    part = np.ascontiguousarray(turned(part, turn))
    if not photographed:
        return part
    noise = np.random.default_rng(7).normal(0, 3, part.shape)
    exposed = np.clip(200 * (part / 255) ** 1.3 + 20 + noise, 0, 255).astype(np.uint8)
    return np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", exposed, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE),
        np.uint8,
    )


@dataclass
class Planted:
    """A set on disk, made image by image; each is its own group unless told otherwise."""

    root: Path
    samples: list[Sample] = field(default_factory=list)

    def add(
        self,
        name: str,
        grey: Grey,
        mask: NDArray[np.integer] | None = None,
        label: str = "good",
        split: Literal["train", "test"] = "train",
    ) -> None:
        image = self.root / f"{name}.png"
        cv2.imwrite(str(image), grey)
        if mask is not None:
            cv2.imwrite(str(self.root / f"{name}_mask.png"), mask.astype(np.uint8))
        annotation = None if mask is None else MaskFile(Blob(self.root / f"{name}_mask.png"))
        self.samples.append(
            Sample(name, f"group of {name}", "made", label, label != "good", Blob(image), annotation, split)
        )

    def write_shards(self) -> Path:
        """Write the set as shards, one for each part, and return their folder."""
        folder = self.root / "shards"
        folder.mkdir()
        (folder / "classes.json").write_text('{"1": "pit", "2": "scratch"}')
        for sample in self.samples:
            facts = {"defective": sample.defective, "group": sample.group, "source": sample.source}
            facts |= {"classes": [sample.picture_class] if sample.defective else []}
            files = {"jpg": sample.image.read(), "json": json.dumps(facts).encode()}
            if isinstance(sample.annotation, MaskFile):
                files["mask.png"] = sample.annotation.blob.read()
            with tarfile.open(folder / f"set-{sample.split}.tar", "a") as tar:
                for kind, data in files.items():
                    member = tarfile.TarInfo(f"{sample.name}.{kind}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return folder

    def check(self, **options: object) -> Audit:
        dataset = Dataset(("pit", "scratch"), self.samples)
        return check(dataset, self.root / "report.html", **options)  # type: ignore[arg-type]


def blob(number: int = 1, side: int = 20) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[50 : 50 + side, 60 : 60 + side] = number
    return mask


@pytest.fixture
def clean(tmp_path: Path) -> Planted:
    planted = Planted(tmp_path)
    for seed in range(17):
        planted.add(f"good{seed}", surface(seed), split="test" if seed % 4 == 0 else "train")
    for seed in range(24, 27):
        planted.add(f"pit{seed}", surface(seed), blob(), "pit")
    return planted


def names(audit: Audit, kind: str) -> set[frozenset[str]]:
    return {frozenset(fault.samples) for fault in audit.of(kind)}


def test_clean_set_has_no_fault(clean: Planted) -> None:
    audit = clean.check()
    assert audit.faults == ()
    assert audit.near_duplicates == ()
    assert "No faults" in (clean.root / "report.html").read_text()


def test_every_planted_fault_of_one_picture_is_named(clean: Planted) -> None:
    specked = blob()
    specked[5, 5] = specked[100, 100:103] = 1
    clean.add("cut", surface(40))
    cut = clean.root / "cut.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    clean.add("no mask", surface(41), blob(), "pit")
    (clean.root / "no mask_mask.png").write_bytes(b"no image")
    clean.add("small mask", surface(42), blob()[:100], "pit")
    clean.add("value 255", surface(43), blob(255), "pit")
    clean.add("value 3", surface(44), blob(3), "pit")
    clean.add("empty", surface(45), blob(0), "scratch")
    clean.add("marked", surface(46), blob(1))
    clean.add("other class", surface(47), blob(2), "pit")
    clean.add("specked", surface(48), specked, "pit")
    clean.add("blank", np.full((SIDE, SIDE), 17, np.uint8))
    dataset = read_dataset(clean.write_shards())
    audit = check(dataset, clean.root / "report.html")
    assert {(fault.kind, Path(fault.samples[0]).name) for fault in audit.faults} == {
        ("unreadable image", "cut"),
        ("unreadable mask", "no mask"),
        ("mask of another size", "small mask"),
        ("mask value that is no class", "value 255"),
        ("mask value that is no class", "value 3"),
        ("empty mask on a defective image", "empty"),
        ("mask on a good image", "marked"),
        ("label and mask name different classes", "other class"),
        ("speckle", "specked"),
        ("blank image", "blank"),
    }
    assert all(fault.remedy and fault.found for fault in audit.faults)
    assert "mask on a good image" in (clean.root / "report.html").read_text()
    audit = check(dataset, clean.root / "report.html", speckle_px=2)
    assert audit.of("speckle")[0].found == "1 regions of fewer than 2 px"


CHANGES = {
    **{f"turn {turn}": {"turn": turn} for turn in range(1, 8)},
    **{f"turn {turn}, shifted, new photograph": {"turn": turn, "shift": (15, -19)} for turn in range(8)},
    "cropped at two sides": {"shift": (-19, 19)},
}


def test_every_changed_copy_across_a_split_leaks(clean: Planted) -> None:
    expected = set()
    for number, (name, change) in enumerate(CHANGES.items()):
        clean.add(name, copied(surface(number), photographed="new" in name, **change), split="test")  # type: ignore[arg-type]
        clean.samples[number] = replace(clean.samples[number], split="train")
        expected.add(frozenset((f"good{number}", name)))
    audit = clean.check()
    assert names(audit, "copies across splits") == expected
    assert names(audit, "copies in different groups") == expected
    assert names(audit, "conflicting labels of copies") == set()
    for pair in audit.near_duplicates:  # the report lays the second as the first lies
        number = int(pair.first.removeprefix("good"))
        assert pair.registration.overlap > 0.75
        assert list(CHANGES)[number] == pair.second


@pytest.mark.parametrize("cropped", [6, 12, 19])
def test_crop_brought_back_to_full_size_is_a_copy(clean: Planted, cropped: int) -> None:
    part = copied(surface(3), turn=5, shift=(cropped, -cropped), photographed=True)
    clean.add("crop", np.asarray(cv2.resize(part, (SIDE, SIDE)), np.uint8), split="test")
    clean.samples[3] = replace(clean.samples[3], split="train")
    audit = clean.check()
    assert names(audit, "copies across splits") == {frozenset(("good3", "crop"))}
    assert audit.near_duplicates[0].registration.scale == pytest.approx((SIDE - cropped) / SIDE, abs=0.02)


def test_given_splits_count_instead_of_the_published_ones(clean: Planted) -> None:
    clean.add("turned", copied(surface(1), turn=1), split="test")
    every = [sample.name for sample in clean.samples]
    assert names(clean.check(), "copies across splits") == {frozenset(("good1", "turned"))}
    assert not clean.check(splits={"train": every}).of("copies across splits")
    divided = {"train": every[:-1], "calibration": every[-1:]}
    fault = clean.check(splits=divided).of("copies across splits")[0]
    assert fault.found == "in calibration, train"
    with pytest.raises(DatasetError, match="names elsewhere, which the set lacks"):
        clean.check(splits={"train": ["elsewhere"]})


def test_exact_duplicates_and_conflicting_labels(clean: Planted) -> None:
    clean.add("equal", surface(3))
    clean.add("called a pit", copied(surface(4), turn=6), blob(1), "pit")
    clean.add("drawn otherwise", surface(25), blob(1, side=30), "pit")
    audit = clean.check()
    equal, other = frozenset(("good3", "equal")), frozenset(("pit25", "drawn otherwise"))
    assert names(audit, "exact duplicate") == {equal, other}
    assert names(audit, "conflicting labels of copies") == {frozenset(("good4", "called a pit")), other}


def test_group_divided_by_a_split_is_named_even_if_its_pictures_differ(clean: Planted) -> None:
    for number in (5, 8):
        clean.samples[number] = replace(clean.samples[number], group="one part")
    assert names(clean.check(), "group across splits") == {frozenset(("good5", "good8"))}


def test_parts_of_one_design_are_no_copies(tmp_path: Path) -> None:
    planted = Planted(tmp_path)
    for seed in range(20):
        planted.add(f"cell{seed}", cell(seed))
    first, second = (signature(cell(seed), SIDE).working for seed in (0, 1))
    assert register(first, second, 0).correlation > 0.5  # the bars alone look alike
    planted.add("again", copied(cell(0), turn=2, shift=(6, 4), photographed=True))
    audit = planted.check()
    assert {(pair.first, pair.second) for pair in audit.near_duplicates} == {("cell0", "again")}


def test_published_split_with_turned_copies_leaks_in_nearly_every_test_picture(tmp_path: Path) -> None:
    planted = Planted(tmp_path)
    for seed in range(40):
        planted.add(f"train{seed}", surface(seed))
        if seed % 2:
            planted.add(f"test{seed}", copied(surface(seed), turn=1 + seed % 7), split="test")
    leaks = names(planted.check(), "copies across splits")
    assert leaks == {frozenset((f"train{seed}", f"test{seed}")) for seed in range(1, 40, 2)}


def test_pairs_are_counted_against_groups_that_were_not_read(clean: Planted) -> None:
    clean.add("twin", copied(surface(1), photographed=True, shift=(3, 2)))
    clean.add("stranger", copied(surface(2), turn=1))
    group = {"twin": "a", "good1": "a", "good9": "a"}  # the third does not look like the others
    clean.samples = [replace(sample, group=group.get(sample.name, sample.group)) for sample in clean.samples]
    found = clean.check().agreement
    assert found.every == found.small == InGroups(groups=1, whole=0, pairs=3, found=1, joined=1)
    assert (found.found_elsewhere, found.joined_elsewhere) == (1, 1)


def test_small_groups_are_counted_for_themselves(tmp_path: Path) -> None:
    planted = Planted(tmp_path)
    for seed, copies in ((1, 2), (2, SMALL_GROUP + 1)):
        for number in range(copies):
            planted.add(f"{seed}-{number}", copied(surface(seed), turn=number % 8))
    planted.samples = [replace(sample, group=sample.name[0]) for sample in planted.samples]
    found = planted.check().agreement
    assert found.small == InGroups(groups=1, whole=1, pairs=1, found=1, joined=1)
    assert (found.every.groups, found.every.pairs) == (2, 22)


def test_statistics_and_outliers(clean: Planted) -> None:
    clean.add("dark", np.asarray(surface(50) // 12, np.uint8))
    clean.add("wide", np.hstack([surface(51), surface(52)]), np.hstack([blob(2), blob(2)]), "scratch")
    statistics = clean.check().statistics
    pit, scratch = statistics.classes
    assert (pit.pictures, pit.regions, pit.pixels, pit.median_px) == (3, 3, 3 * 400, 400)
    assert (scratch.pictures, scratch.regions, scratch.least_px) == (1, 2, 400)
    assert statistics.sizes == {(SIDE, SIDE): 21, (SIDE, 2 * SIDE): 1}
    assert statistics.spreads[0].outliers == ("dark",)
    assert "dark" in statistics.spreads[1].outliers


def test_report_shows_the_pictures_and_escapes_names(clean: Planted) -> None:
    clean.add("<b>turned", copied(surface(1), turn=1), split="test")
    audit = clean.check()
    page = (clean.root / "report.html").read_text()
    assert "<b>turned" not in page
    of_faults = 3 * len(audit.faults)  # both, and the second turned as the first
    assert page.count("data:image/jpeg") == of_faults + OF_EACH_LABEL + 3  # good images and pits
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)  # nothing is fetched from elsewhere


def test_names_must_differ_and_an_empty_set_is_refused(clean: Planted) -> None:
    clean.samples.append(clean.samples[0])
    with pytest.raises(DatasetError, match="two images of one name"):
        clean.check()
    clean.samples.clear()
    with pytest.raises(DatasetError, match="no images"):
        clean.check()
