"""Reads and writes objects under a prefix of a bucket: S3, Google Cloud Storage and Azure, through obstore.

Errors name the operation, the status and the error code of the store. They never repeat the text of the
client, because it may contain signed URLs, or answers in which a store echoes keys.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs
from anyio.to_thread import run_sync

from futureagi_async.errors import ExportError
from futureagi_async.export.files import create_file, export_errors, size_of_file, write_all

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

SCHEMES: Final = ("s3", "gs", "az")
_URL: Final = re.compile(r"(s3|gs|az)://([^/]*)(/.*)?", re.DOTALL | re.IGNORECASE)
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{2,221}")
_ENDPOINTS: Final = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "GOOGLE_BASE_URL",
)
"""Environment variables that determine the server of a bucket."""

_PREFIXES: Final = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_CLIENT_OPTIONS: Final = (
    *("allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "http1_only", "http2_only"),
    *("proxy_url", "proxy_ca_certificate", "proxy_excludes"),
)
"""Client options that obstore reads from variables such as ``AWS_ALLOW_HTTP``."""

INSTALL: Final = "pip install 'obstore>=0.8'"
_AT_ONCE_BYTES: Final = 16 * 1024**2
"""Larger objects are uploaded in chunks. obstore 0.12 can't make such an upload conditional."""
_CHUNK_BYTES: Final = 8 * 1024**2
_CHUNKS_AT_ONCE: Final = 3
_REQUEST_SECONDS: Final = 120.0
_RETRY_SECONDS: Final = 180.0
_RETRIES: Final = 6
_READ_BYTES: Final = 4 * 1024**2
_DELETES_A_REQUEST: Final = 1_000


@attrs.define(frozen=True)
class Address:
    """A prefix in a bucket, such as ``s3://bucket/exports/today/``."""

    scheme: str
    bucket: str
    prefix: str
    """The prefix without a slash at either end; empty for the bucket itself."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}{'/' if self.prefix else ''}"

    def key(self, name: str) -> str:
        """Return the key of an object below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def url(self, name: str) -> str:
        """Return the address of an object below the prefix."""
        return f"{self.scheme}://{self.bucket}/{self.key(name)}"

    def is_in_bucket_of(self, other: "Address") -> bool:
        """Whether another address is in the same bucket."""
        return (self.scheme, self.bucket) == (other.scheme, other.bucket)

    def server(self, environment: Mapping[str, str]) -> str:
        """Return the settings that distinguish buckets with the same name on different servers."""
        return " ".join(f"{name}={environment[name]}" for name in _ENDPOINTS if environment.get(name))


def is_address(text: str) -> bool:
    """Whether a text begins like the address of an object store."""
    return _URL.fullmatch(text) is not None


def parse_address(name: str, text: str) -> Address:
    """Return the address in the argument ``name``, or raise `ValueError`. The error repeats no secret."""
    matched = _URL.fullmatch(text)
    if matched is None:
        raise ValueError(f"{name} must begin with s3://, gs:// or az://.")
    scheme, bucket, path = matched[1].lower(), matched[2], matched[3] or ""
    if any(mark in text for mark in "?#") or "@" in bucket:
        raise ValueError(
            f"{name} must be {scheme}://bucket/prefix/ without keys or parameters. Set credentials in the "
            "environment, as for the tools of the cloud."
        )
    if not _BUCKET.fullmatch(bucket):
        why = (
            f"{bucket!r} is not the name of one: it needs 3 to 222 letters, digits, dots, hyphens or "
            "underscores"
            if bucket
            else f"not {text!r}"
        )
        raise ValueError(f"{name} must name a bucket, as in {scheme}://bucket/prefix/: {why}.")
    prefix = path.strip("/")
    bad = [part for part in prefix.split("/") if part in ("", ".", "..")] if prefix else []
    if bad or not prefix.isprintable() or "\\" in prefix:
        raise ValueError(
            f"{name} must have a prefix without empty parts, without . or .., and without \\ or control "
            f"characters, not {text!r}."
        )
    return Address(scheme, bucket, prefix)


class Version(NamedTuple):
    """The version of an object."""

    e_tag: str | None
    version: str | None

    @property
    def condition(self) -> dict[str, str]:
        """Return the condition of a put for obstore."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Listed(NamedTuple):
    """The objects and folders directly in a folder."""

    sizes: dict[str, int]
    """The sizes of the objects, by name."""
    folders: list[str]


class ConflictError(Exception):
    """An object already exists, or has another version than expected."""


class ObjectStore:
    """Reads and writes objects below an address. All methods except `put_file` block."""

    def __init__(self, address: Address, *, retry_seconds: float = _RETRY_SECONDS) -> None:
        self.address = address
        self._obstore = _import_obstore()
        self._store = _connect(address, retry_seconds)

    def read(self, name: str, most: int) -> tuple[bytes, Version] | None:
        """Return a small object and its version; ``None`` if there is none."""
        with store_errors(self.address, "read", name):
            if (found := self._get(name)) is None:
                return None
            meta = found.meta
            if meta["size"] > most:
                raise ExportError(f"Can't use {self.address.url(name)}: it is too large for a manifest.")
            return bytes(found.bytes()), Version(meta["e_tag"], meta["version"])

    def list(self, folder: str = "") -> Listed:
        """Return the objects and folders directly below the address, or directly in a folder there."""
        prefix = self.address.key(folder).rstrip("/")
        begin = len(prefix) + 1 if prefix else 0
        with store_errors(self.address, "list"):
            found = self._obstore.list_with_delimiter(self._store, prefix or None)
            return Listed(
                {each["path"][begin:]: each["size"] for each in found["objects"]},
                [path[begin:].rstrip("/") for path in found["common_prefixes"]],
            )

    def modified(self, folder: str) -> Iterator[tuple[str, datetime]]:
        """Yield the name and the last modification of each object in a folder and its subfolders."""
        begin = len(self.address.key(""))
        with store_errors(self.address, "list"):
            for some in self._obstore.list(self._store, self.address.key(folder)):
                yield from ((each["path"][begin:], each["last_modified"]) for each in some)

    def download(self, name: str, path: Path) -> bool:
        """Copy an object to a new file, some megabytes at a time. Return whether the object exists."""
        with store_errors(self.address, "read", name):
            try:
                found = self._obstore.get(self._store, self.address.key(name))
            except FileNotFoundError:
                return False
            descriptor = create_file(path)
            try:
                for piece in found.stream(min_chunk_size=_READ_BYTES):
                    with export_errors(path):
                        write_all(descriptor, [bytes(piece)])
            finally:
                os.close(descriptor)
        return True

    def put(self, name: str, content: bytes, replaced: Version | None) -> Version:
        """Put a small object if none exists, or replace the version ``replaced``.

        Raises `ConflictError` if an object exists, or has another version.
        """
        mode = "create" if replaced is None else replaced.condition
        with store_errors(self.address, "write", name):
            made = self._obstore.put(
                self._store, self.address.key(name), content, mode=mode, use_multipart=False
            )
        return Version(made["e_tag"], made["version"])

    async def put_file(self, name: str, path: Path) -> None:
        """Put a file under a name that depends on its content, so an existing object is the same file.

        Small files are put only if no object exists. Larger files are uploaded in chunks, without this
        condition; they appear whole under their name, or not at all.
        """
        size = await run_sync(size_of_file, path)
        with store_errors(self.address, "write", name):
            if size <= _AT_ONCE_BYTES:
                try:
                    await self._obstore.put_async(
                        self._store, self.address.key(name), path, mode="create", use_multipart=False
                    )
                except self._obstore.exceptions.AlreadyExistsError:
                    await self._check_same(name, size)
            elif await self._size_async(name) is None:
                await self._obstore.put_async(
                    self._store,
                    self.address.key(name),
                    path,
                    use_multipart=True,
                    chunk_size=_CHUNK_BYTES,
                    max_concurrency=_CHUNKS_AT_ONCE,
                )
            else:
                await self._check_same(name, size)

    async def copy(self, key: str, name: str, size: int) -> None:
        """Let the store copy an object of the same bucket. Its name depends on its content."""
        with store_errors(self.address, "write", name):
            if await self._size_async(name) is None:
                await self._obstore.copy_async(self._store, key, self.address.key(name))
            else:
                await self._check_same(name, size)

    def _get(self, name: str) -> Any:
        """Open an object; return ``None`` if there is none. A missing bucket raises an error."""
        try:
            return self._obstore.get(self._store, self.address.key(name))
        except FileNotFoundError as error:
            if _is_bucket_missing(str(error)):
                raise
            return None

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of an object; ``None`` if there is none. Reads some megabytes at a time."""
        digest = hashlib.sha256()
        with store_errors(self.address, "read", name):
            if (found := self._get(name)) is None:
                return None
            for piece in found.stream(min_chunk_size=_READ_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects. Missing objects are no error."""
        with store_errors(self.address, "remove"):
            for start in range(0, len(names), _DELETES_A_REQUEST):
                some = names[start : start + _DELETES_A_REQUEST]
                try:
                    self._obstore.delete(self._store, [self.address.key(name) for name in some])
                except FileNotFoundError as error:
                    if _is_bucket_missing(str(error)):
                        raise

    async def _size_async(self, name: str) -> int | None:
        try:
            return int((await self._obstore.head_async(self._store, self.address.key(name)))["size"])
        except FileNotFoundError:
            return None

    async def _check_same(self, name: str, size: int) -> None:
        found = await self._size_async(name)
        if found != size:
            raise ExportError(
                f"{self.address.url(name)} already exists with {found} bytes instead of {size}: no export "
                "wrote it. Remove it, and run the export again."
            )


def _import_obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        raise ExportError(f"Object stores need obstore (the extra [cloud]): {INSTALL}.") from error
    return obstore


def check_obstore() -> None:
    """Raise `ExportError` with what to install if obstore is not installed."""
    _import_obstore()


def _connect(address: Address, retry_seconds: float) -> "S3Store | GCSStore | AzureStore":
    """Return a store of obstore. It reads credentials and endpoint from the environment."""
    from obstore import store

    options: dict[str, Any] = {
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=retry_seconds)},
        "client_options": {
            "timeout": timedelta(seconds=min(_REQUEST_SECONDS, retry_seconds)),
            **_client_options(address.scheme, os.environ),
        },
    }
    with store_errors(address, "open"):
        if address.scheme == "gs":
            return store.GCSStore(address.bucket, **options)
        if address.scheme == "az":
            return store.AzureStore(address.bucket, **options)
        if (provider := _profile_credentials(os.environ)) is not None:
            options["credential_provider"] = provider
        return store.S3Store(address.bucket, **options)


def _client_options(scheme: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the client options from the environment: obstore ignores these if other options are passed."""
    prefix = _PREFIXES[scheme]
    named = {name: environment.get(f"{prefix}_{name.upper()}") for name in _CLIENT_OPTIONS}
    return {name: value for name, value in named.items() if value}


def _profile_credentials(environment: Mapping[str, str]) -> Any:
    """Return credentials from ``~/.aws`` by boto3, because obstore does not read these files.

    ``None`` if the environment has keys (boto3 prefers them too), or if no profile is configured.
    """
    if environment.get("AWS_ACCESS_KEY_ID") or environment.get("AWS_SKIP_SIGNATURE"):
        return None
    named = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    files = [
        environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        environment.get("AWS_CONFIG_FILE", "~/.aws/config"),
    ]
    if not named and not any(Path(file).expanduser().is_file() for file in files):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ModuleNotFoundError as error:
        if not named:
            return None
        raise ExportError(
            "AWS_PROFILE needs boto3, which reads profiles. Install it: pip install boto3"
        ) from error
    try:
        return Boto3CredentialProvider()
    except Exception as error:  # noqa: BLE001 - botocore has many classes for that
        if not named:
            return None
        raise ExportError(
            f"The profile in AWS_PROFILE has no usable credentials ({type(error).__name__}). "
            "Check them with: aws sts get-caller-identity"
        ) from None


@contextmanager
def store_errors(address: Address, verb: str, name: str = "") -> Iterator[None]:
    """Turn an error of the store into an `ExportError` that says what to do, or into a `ConflictError`."""
    try:
        yield
    except (ExportError, ConflictError):
        raise
    except Exception as error:
        failure = _failure(error, address, verb, name)
        if failure is None:
            raise
        raise failure from None


_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_REFUSED_CREDENTIALS: Final = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"),
    *("AuthenticationFailed", "InvalidAuthenticationInfo", "AuthFailure", "InvalidSecurity", "InvalidGrant"),
}
_OTHER_REGION: Final = {
    *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
}
_CREDENTIALS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
_NO_CREDENTIALS: Final = (
    *("MissingAccessKeyId", "MissingSecretAccessKey", "Account must be specified"),
    *(
        "169.254.169.254",
        "169.254.170.2",
        "metadata.google",
        "token request",
    ),  # requested if no other credentials are set
)
_TRY_LATER: Final = ("408", "429", "500", "502", "503", "504")
_NO_ANSWER: Final = (
    "error sending request",
    "timed out",
    "error decoding response",
    "request or response body",
)
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")


def _is_bucket_missing(text: str) -> bool:
    return any(word in text for word in _NO_BUCKET)


def _failure(error: Exception, address: Address, verb: str, name: str) -> Exception | None:
    """Return the error to raise in place of an error of obstore; ``None`` for any other error."""
    kind, text = type(error).__name__, str(error)
    is_obstore = type(error).__module__.startswith("obstore") or isinstance(error, FileNotFoundError)
    if not is_obstore:
        return None
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return ConflictError()
    what = f"Can't {verb} {address.url(name) if name else address}"
    return ExportError(f"{what}: {_reason(kind, text, address)}")


def _reason(kind: str, text: str, address: Address) -> str:
    """Return what the store's answer means, and what to do."""
    status, code = _STATUS.search(text), _CODE.search(text)
    said = " ".join(found[1] for found in (status, code) if found is not None)
    said = f" ({said})" if said else ""
    place = "container" if address.scheme == "az" else "bucket"
    if _is_bucket_missing(text):
        return f"there is no {place} {address.bucket!r}. Create it, or correct the name."
    if any(word in text for word in _NO_CREDENTIALS):
        return f"no credentials were found. To set them, {_CREDENTIALS[address.scheme]}."
    if "incorrectly configured region" in text or (code and code[1] in _OTHER_REGION):
        return f"the {place} is in another region. Set AWS_REGION to that region."
    if kind == "UnauthenticatedError" or (code and code[1] in _REFUSED_CREDENTIALS):
        return f"the credentials were refused{said}. To correct them, {_CREDENTIALS[address.scheme]}."
    if kind == "PermissionDeniedError":
        return f"permission was denied{said}. Allow to list, read, write and delete objects there."
    if "builder error" in text:
        return "its endpoint begins with http://. To allow that, set AWS_ALLOW_HTTP=true."
    if status is not None and status[1] in _TRY_LATER:
        return f"the store failed, also after retries{said}. Try again later."
    if any(word in text for word in _NO_ANSWER):
        return "the store can't be reached or answers too slowly. Check the network and the endpoint."
    return f"the store refused the request{said or f' ({kind})'}."
