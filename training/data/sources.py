"""Sources of public images: licence and citation for the model card."""

from collections import Counter
from collections.abc import Iterable

from app.inspection.bundle.bundle import DataSource
from training.data.sample import Sample

GENERATED = "generated"
NO_LICENCE = "none stated by its authors"

# source name -> (licence, citation)
_FACTS = {
    "magnetic-tile": (
        NO_LICENCE + " (free to use, citation asked for)",
        "Huang, Qiu, Guo, Wang, Yuan: Surface defect saliency of magnetic tile, The Visual Computer 2020; "
        "github.com/abin24/Magnetic-tile-defect-datasets.",
    ),
    GENERATED: ("Apache-2.0 (made by this project)", "training/data/synthesis/tiles.py"),
    "Severstal": (
        "rules of the Kaggle competition (no open licence; read them before any use beyond research)",
        "Severstal: Steel Defect Detection, 2019; kaggle.com/c/severstal-steel-defect-detection",
    ),
    "DAGM 2007": (
        NO_LICENCE + " (called publicly available by its authors)",
        "Weakly Supervised Learning for Industrial Optical Inspection, DAGM 2007 symposium",
    ),
    "KolektorSDD": (
        "CC BY-NC-SA 4.0",
        "Tabernik, Šela, Skvarč, Skočaj: Segmentation-based deep-learning approach for surface-defect "
        "detection, Journal of Intelligent Manufacturing 2020; vicos.si/resources/kolektorsdd",
    ),
    "KolektorSDD2": (
        "CC BY-NC-SA 4.0",
        "Božič, Tabernik, Skočaj: Mixed supervision for surface-defect detection, Computers in Industry "
        "2021; vicos.si/resources/kolektorsdd2",
    ),
    "MVTec AD": (
        "CC BY-NC-SA 4.0",
        "Bergmann, Batzner, Fauser, Sattlegger, Steger: The MVTec Anomaly Detection Dataset, International "
        "Journal of Computer Vision 129, 2021",
    ),
    "NEU_Seg": (NO_LICENCE, "github.com/DHW-Master/NEU_Seg"),
    "CRACK500": (
        NO_LICENCE,
        "Yang et al.: Feature pyramid and hierarchical boosting network, 2019 (CRACK500)",
    ),
    "DeepPCB": ("MIT", "github.com/tangsanli5201/DeepPCB"),
    "pv_vision": ("BSD-3-Clause", "github.com/hackingmaterials/pv_vision"),
    "BSData": ("CC BY-SA 4.0", "github.com/2Obe/BSData"),
    "teng2023": (NO_LICENCE, "github.com/teng2023/Crack-segmentation"),
    "X-SDD": ("Apache-2.0", "github.com/Fighter20092392/X-SDD-A-New-benchmark"),
}


def data_sources(samples: Iterable[Sample], generated: int) -> tuple[DataSource, ...]:
    """Count the images of each source, with licence and citation, `unknown` for other sources."""
    counts = Counter(sample.source for sample in samples)
    if generated:
        counts[GENERATED] = generated
    return tuple(
        DataSource(name=name, pictures=count, licence=licence, citation=citation)
        for name, count in sorted(counts.items())
        for licence, citation in [_FACTS.get(name, ("unknown", "unknown"))]
    )
