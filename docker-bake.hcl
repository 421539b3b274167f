// All images of a release, for two platforms: scripts/release-images builds and publishes them. The stack itself is built by Compose.
variable "IMAGES" {
  default = "mlflow-replica"
}
variable "VERSION" {}
// Where the source is: a page that people can read.
variable "SOURCE" {
  default = ""
}

group "default" {
  targets = ["image"]
}

target "image" {
  name      = name
  matrix    = { name = ["bucket", "edge", "minio", "mlflow", "monitoring", "postgres", "proxy", "secrets", "sso", "trainer"] }
  context   = "services/${name}"
  platforms = ["linux/amd64", "linux/arm64"]
  // No tag: an image is pushed by its digest, and gets the version's tag once it has been scanned and signed.
  tags      = ["${IMAGES}-${name}"]
  output    = ["type=image,push-by-digest=true,name-canonical=true"]
  // As in compose.yaml: of these services, mlflow alone says its version itself.
  args = name == "mlflow" ? { VERSION = VERSION } : {}
  labels = {
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.source"   = SOURCE
    "org.opencontainers.image.licenses" = name == "minio" ? "AGPL-3.0-only" : "Apache-2.0"
  }
  attest = ["type=provenance,mode=max", "type=sbom"]
}
