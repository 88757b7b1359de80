# SPDX-License-Identifier: Apache-2.0
"""The forms in which the API gives an object: whole, or its metadata only.

As k8s.io/apiserver does it (endpoints/handlers/response.go): the first media type of Accept that
can be served wins; a form for lists asked of one object, or the other way round, is 406.
"""

from __future__ import annotations

import status
from store import Object

_GROUP = {"g": "meta.k8s.io", "v": "v1"}
_KIND = "PartialObjectMetadata"


def represent(accept: str, body: Object) -> Object:
    """What a GET of this object or list is answered with; raises 406."""
    for clause in (accept or "*/*").split(","):
        media, *rest = [part.strip() for part in clause.split(";")]
        given = dict(part.partition("=")[::2] for part in rest)
        if media not in ("application/json", "application/*", "*/*"):
            continue
        if "as" not in given:
            return body
        if given["as"] not in (_KIND, _KIND + "List") or _GROUP.items() - given.items():
            continue
        if given["as"].endswith("List") != ("items" in body):
            raise status.not_acceptable(f"you requested {given['as']}, but the requested object "
                                        f"is a {body['kind']}")
        return _metadata_list(body) if "items" in body else _metadata(body)
    raise status.not_acceptable("only the following media types are accepted: application/json")


def _metadata(obj: Object) -> Object:
    return {"kind": _KIND, "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _metadata_list(body: Object) -> Object:
    return {"kind": _KIND + "List", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"],
            "items": [_metadata(item) for item in body["items"]]}
