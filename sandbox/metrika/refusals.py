"""Metrika's error answers: `{"errors": [{"error_type", "message"}], "code", "message"}` with the status of each."""

from dataclasses import dataclass
from typing import Any

# Metrika's documentation, "Errors" (intro/errors.md).
STATUS_BY_ERROR_TYPE = {
    "invalid_parameter": 400,
    "missing_parameter": 400,
    "invalid_uploading": 400,
    "limit_exceeded": 400,
    "unauthorized": 401,
    "invalid_token": 403,
    "access_denied": 403,
    "not_found": 404,
    "method_not_allowed": 405,  # not in the list; Metrika's own answer to a wrong method is unknown
    "quota_requests_by_ip": 429,
    "quota_parallel_requests": 429,
    "quota_requests_by_uid": 429,
    "quota_requests_by_counter_id": 429,
    "internal_error": 500,  # not in the list either: an answer outside the documented ones
    "backend_error": 503,
    "timeout": 504,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error answer of the management API."""

    status: int
    error_type: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """The body, its fields in the documented order."""
        return {
            "errors": [{"error_type": self.error_type, "message": self.message}],
            "code": self.status,
            "message": self.message,
        }


def refusal(error_type: str, message: str, *, status: int | None = None) -> Refusal:
    """The refusal of a documented type; `status` overrides its usual HTTP status (420 instead of 429)."""
    return Refusal(status=status or STATUS_BY_ERROR_TYPE[error_type], error_type=error_type, message=message)


INVALID_TOKEN = refusal("invalid_token", "Invalid oauth_token")
INVALID_TOKEN_401 = refusal("unauthorized", "Invalid oauth_token")
ACCESS_DENIED = refusal("access_denied", "Access is denied")
NO_SUCH_OBJECT = refusal("invalid_parameter", "No object with specified ID.")
