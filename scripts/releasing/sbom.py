"""Writes an image's software bill of materials (CycloneDX 1.6, JSON): the program behind scripts/sbom."""

from __future__ import annotations

import json
import subprocess
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from releasing.image_contents import Part, parts_of_image
from releasing.version_facts import Refusal


def component(part: Part) -> Component:
    """Returns a package as the format has it; its address (purl) is what scanners look up."""
    namespace, _, name = part.name.rpartition("/") if part.kind == "golang" else ("", "", part.name)
    if part.kind == "deb":
        namespace = "debian"
    address = PackageURL(part.kind, namespace or None, name, part.version)
    return Component(
        type=ComponentType.LIBRARY,
        group=namespace or None,
        name=name,
        version=part.version,
        purl=address,
        bom_ref=f"{address}#{part.within}" if part.within else str(address),
    )


def bill(image: str, digest: str, parts: set[Part]) -> str:
    """Returns the bill as text, checked against the format's schema."""
    components = [component(part) for part in sorted(parts)]
    bom = Bom(components=components)
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=image, version=digest, bom_ref=image)
    bom.register_dependency(bom.metadata.component, components)
    # Imported here: it builds a grammar, which takes longer than all else of this program.
    from cyclonedx.validation.json import JsonStrictValidator

    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise Refusal(f"the bill of {image} is not in the format: {error}")
    return text


def main() -> None:
    """Prints the bill."""
    image = sys.argv[1]
    try:
        parts = parts_of_image(image)
        inspected = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, check=True)
        print(bill(image, json.loads(inspected.stdout)[0]["Id"], parts))
    except (Refusal, OSError) as error:
        sys.exit(f"sbom: error: {error}")


if __name__ == "__main__":
    main()
