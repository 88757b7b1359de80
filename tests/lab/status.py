# SPDX-License-Identifier: Apache-2.0
"""Status objects: how the Kubernetes API says no.

Every failure the API server sends is a `Status` (meta/v1), with a reason a client may branch on and
a message for people. Texts and codes follow k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from typing import Any, Optional


class ApiError(Exception):
    """A request the API server refuses; `status()` is the body it answers with."""

    def __init__(self, code: int, reason: str, message: str,
                 details: Optional[dict[str, Any]] = None,
                 headers: Optional[dict[str, str]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body


def _details(resource: str, group: str, name: str = "") -> dict[str, Any]:
    details: dict[str, Any] = {"kind": resource}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    return details


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(user: str, verb: str, resource: str, group: str, namespace: str,
              name: str = "") -> ApiError:
    what = _qualified(resource, group) + (f' "{name}"' if name else "")
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return ApiError(403, "Forbidden",
                    f'{what} is forbidden: User "{user}" cannot {verb} resource "{resource}" '
                    f'in API group "{group}" {where}', _details(resource, group, name))


def not_found(resource: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{_qualified(resource, group)} "{name}" not found',
                    _details(resource, group, name))


def unknown_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed",
                    "the server does not allow this method on the requested resource")


def not_acceptable(why: str) -> ApiError:
    return ApiError(406, "NotAcceptable", why)


def already_exists(resource: str, group: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{_qualified(resource, group)} "{name}" already exists',
                    _details(resource, group, name))


def conflict(resource: str, group: str, name: str, why: str = "") -> ApiError:
    why = why or ("the object has been modified; please apply your changes to the latest version "
                  "and try again")
    return ApiError(409, "Conflict",
                    f"Operation cannot be fulfilled on {_qualified(resource, group)} "
                    f'"{name}": {why}',
                    _details(resource, group, name))


def expired(message: str) -> ApiError:
    """410: the client must list again (a watch or a continue token is too old)."""
    return ApiError(410, "Expired", message)


def invalid(resource: str, group: str, name: str, why: str) -> ApiError:
    return ApiError(422, "Invalid", f'{_qualified(resource, group)} "{name}" is invalid: {why}',
                    _details(resource, group, name))


def bad_request(why: str) -> ApiError:
    return ApiError(400, "BadRequest", why)


def too_large_version(requested: int, current: int) -> ApiError:
    """504 with cause ResourceVersionTooLarge: the client has seen a newer state than we have."""
    return ApiError(504, "Timeout",
                    f"Too large resource version: {requested}, current: {current}",
                    {"causes": [{"reason": "ResourceVersionTooLarge",
                                 "message": "Too large resource version"}],
                     "retryAfterSeconds": 1}, {"Retry-After": "1"})


_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    502: "BadGateway", 503: "ServiceUnavailable", 504: "Timeout",
}


def injected(code: int, retry_after: int) -> ApiError:
    """The answer of a `status` fault; 429 and 503 tell the client when to come back."""
    headers = {"Retry-After": str(retry_after)} if code in (429, 503) else {}
    details = {"retryAfterSeconds": retry_after} if headers else None
    return ApiError(code, _REASONS.get(code, "Unknown"), f"injected by the lab: HTTP {code}",
                    details, headers)
