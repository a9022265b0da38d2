"""Schemes of URLs: their services, with the environment variables and the credentials of each."""

from __future__ import annotations

from typing import NamedTuple


class Scheme(NamedTuple):
    """The service of a scheme.

    Attributes:
        container: Word for the first part of its URLs, such as "bucket".
        prefix: Beginning of the names of its environment variables.
        advice: What to do if credentials are missing or rejected.
        endpoints: Variables with the address of the service, the most specific first.
        credentials: Variables that give credentials, without the prefix.
        parameters: Other variables whose values are sent, without the prefix.
        metadata_service: Address of the instance metadata service, which gives a virtual machine
            its credentials.
        metadata_variable: Variable with another address of it, without the prefix.
    """

    container: str
    prefix: str
    advice: str
    endpoints: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    metadata_service: str = ""
    metadata_variable: str = ""

    @property
    def variables(self) -> str:
        """Its environment variables, as a pattern for messages."""
        return f"{self.prefix}*"

    @property
    def allow_http(self) -> str:
        """Variable that allows an endpoint without encryption."""
        return f"{self.prefix}ALLOW_HTTP"

    @property
    def skip_signature(self) -> str:
        """Variable that allows requests without credentials."""
        return f"{self.prefix}SKIP_SIGNATURE"


WEB = Scheme("host", "SSL_", "only files that need no login are read")
"""Web servers."""

BUCKETS = {
    "s3": Scheme(
        "bucket",
        "AWS_",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        endpoints=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        credentials=(
            "ACCESS_KEY_ID",
            "CONTAINER_CREDENTIALS_FULL_URI",
            "CONTAINER_CREDENTIALS_RELATIVE_URI",
            "WEB_IDENTITY_TOKEN_FILE",
        ),
        parameters=("SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION"),
        metadata_service="http://169.254.169.254",
        metadata_variable="METADATA_ENDPOINT",
    ),
    "gs": Scheme(
        "bucket",
        "GOOGLE_",
        "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
        endpoints=("GOOGLE_BASE_URL",),
        credentials=(
            "APPLICATION_CREDENTIALS",
            "BEARER_TOKEN",
            "SERVICE_ACCOUNT",
            "SERVICE_ACCOUNT_KEY",
            "SERVICE_ACCOUNT_PATH",
        ),
        metadata_service="http://metadata.google.internal",
    ),
    "az": Scheme(
        "container",
        "AZURE_",
        "set AZURE_STORAGE_ACCOUNT_KEY or another AZURE_STORAGE_* variable",
        endpoints=("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        credentials=(
            "CLIENT_ID",
            "FEDERATED_TOKEN_FILE",
            "IDENTITY_ENDPOINT",
            "MSI_ENDPOINT",
            "STORAGE_ACCESS_KEY",
            "STORAGE_ACCOUNT_KEY",
            "STORAGE_CLIENT_ID",
            "STORAGE_MASTER_KEY",
            "STORAGE_SAS_KEY",
            "STORAGE_SAS_TOKEN",
            "STORAGE_TOKEN",
            "STORAGE_USE_EMULATOR",
            "USE_AZURE_CLI",
        ),
        parameters=("CLIENT_SECRET", "TENANT_ID", "STORAGE_ACCOUNT_NAME"),
        metadata_service="http://169.254.169.254",
    ),
}
"""Schemes of objects in buckets, which can be listed and written."""

SCHEMES = {**BUCKETS, "https": WEB, "http": WEB}
"""All schemes that are read. `http` is read from loopback addresses only."""
