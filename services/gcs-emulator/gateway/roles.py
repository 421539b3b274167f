"""What each role allows: the storage permissions of Google's predefined roles that this project names.

Only the permissions which some request to this gateway can need are listed; the real roles also hold ones for folders,
projects and multipart uploads over the XML API, none of which exist here. Those that change policies can only be asked
for (`testPermissions`), as the preflight does.
"""

from collections.abc import Iterable

CREATE = "storage.objects.create"
DELETE = "storage.objects.delete"
GET = "storage.objects.get"
LIST = "storage.objects.list"
UPDATE = "storage.objects.update"
BUCKET_CREATE = "storage.buckets.create"
BUCKET_DELETE = "storage.buckets.delete"
BUCKET_GET = "storage.buckets.get"
BUCKET_LIST = "storage.buckets.list"
BUCKET_UPDATE = "storage.buckets.update"
BUCKET_SET_POLICY = "storage.buckets.setIamPolicy"
OBJECT_SET_POLICY = "storage.objects.setIamPolicy"

ROLES: dict[str, frozenset[str]] = {
    "roles/storage.objectCreator": frozenset({CREATE}),
    "roles/storage.objectViewer": frozenset({GET, LIST}),
    "roles/storage.objectUser": frozenset({CREATE, DELETE, GET, LIST, UPDATE}),
    "roles/storage.objectAdmin": frozenset({CREATE, DELETE, GET, LIST, UPDATE, OBJECT_SET_POLICY}),
    "roles/storage.legacyBucketReader": frozenset({BUCKET_GET, LIST}),
    "roles/storage.admin": frozenset(
        {CREATE, DELETE, GET, LIST, UPDATE, OBJECT_SET_POLICY}
        | {BUCKET_CREATE, BUCKET_DELETE, BUCKET_GET, BUCKET_LIST, BUCKET_UPDATE, BUCKET_SET_POLICY}
    ),
}
ALL_PERMISSIONS = frozenset().union(*ROLES.values())

_READ = frozenset({GET, LIST, BUCKET_GET, BUCKET_LIST})
_WRITE = _READ | {CREATE, DELETE, UPDATE, BUCKET_CREATE, BUCKET_DELETE}
# A token allows what its account's roles and its own scopes allow.
SCOPES: dict[str, frozenset[str]] = {
    "https://www.googleapis.com/auth/devstorage.read_only": _READ,
    "https://www.googleapis.com/auth/devstorage.read_write": _WRITE,
    "https://www.googleapis.com/auth/devstorage.full_control": ALL_PERMISSIONS,
    "https://www.googleapis.com/auth/cloud-platform": ALL_PERMISSIONS,
    "https://www.googleapis.com/auth/cloud-platform.read-only": _READ,
}


def of_roles(names: Iterable[str]) -> frozenset[str]:
    """Returns the permissions of several roles together; raises KeyError for a role that is not in the table."""
    return frozenset[str]().union(*(ROLES[name] for name in names))


def of_scopes(names: Iterable[str]) -> frozenset[str]:
    """Returns the permissions that a token with these scopes can carry; unknown scopes carry none."""
    return frozenset[str]().union(*(SCOPES.get(name, frozenset()) for name in names))
