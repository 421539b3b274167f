"""What a release is made of, and what may be released: the programs of scripts/release, release-files, bundle, sbom."""
