"""Print name, version and licence of every Python package installed here, then their licence texts."""

import re
from importlib.metadata import Distribution, distributions

TEXTS = re.compile(r"(licen[cs]e|copying|notice|third.?party)", re.IGNORECASE)
OURS = "passline"


def licence(package: Distribution) -> str:
    """The licence by SPDX expression, else by classifier, else the first line of the field `License`."""
    about = package.metadata
    classified = [each.split(" :: ")[-1] for each in about.get_all("Classifier", []) if "License ::" in each]
    stated = about.get("License-Expression") or "; ".join(classified) or (about.get("License") or "").strip()
    return stated.partition("\n")[0] or "see the text below"


def texts(package: Distribution) -> list[tuple[str, str]]:
    """Name and content of every licence file in the package's metadata."""
    files = [each for each in package.files or () if ".dist-info" in str(each) and TEXTS.search(each.name)]
    return [(str(each), each.read_text(encoding="utf-8")) for each in files]


def main() -> None:
    """Print the list, then the texts."""
    packages = sorted(distributions(), key=lambda each: each.name.lower())
    packages = [each for each in packages if each.name != OURS]
    for each in packages:
        print(f"{each.name} {each.version}: {licence(each)}")
    for each in packages:
        for name, content in texts(each):
            print(f"\n{'=' * 80}\n{name}\n{'=' * 80}\n{content.rstrip()}")


if __name__ == "__main__":
    main()
