"""Clients of the platform, and its errors in words that help."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)

RETRIES = Config(retries={"mode": "adaptive", "max_attempts": 10})

FIXES = {
    "ExpiredToken": "the credentials have expired: log in again",
    "InvalidClientTokenId": "the keys are wrong, or of another partition than the region",
    "UnrecognizedClient": "the keys are wrong, or of another partition than the region",
    "AccessDenied": "allow the action that is named; jobs/policies has what each command needs",
    "ResourceLimitExceeded": "ask for a higher quota (Service Quotas), or take another instance",
    "NoSuchBucket": "make the bucket first, in the region of the jobs",
    "ThrottlingException": "try again in a minute",
    "ValidationException": "the platform's own words say what it refuses",
}


ABSENT = ("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException", "404")
ABSENCE = re.compile(r"could not (be )?find|not exist|not found|^no .* found", re.I)


class CommandError(Exception):
    """What ends a command: the cause, and what would work."""

    def __init__(self, cause: str, fix: str = "") -> None:
        super().__init__(cause)
        self.cause, self.fix = cause, fix

    def __str__(self) -> str:
        return f"{self.cause}\n  fix: {self.fix}" if self.fix else self.cause


@contextmanager
def explained() -> Iterator[None]:
    """Turns what boto3 raises into a CommandError."""
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", "?"), said.get("Message", str(error))
        fix = next((fix for word, fix in FIXES.items() if word in code), "")
        raise CommandError(f"{error.operation_name}: {code}: {message}", fix) from error
    except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
        raise CommandError(
            f"no credentials: {error}", "aws configure, AWS_PROFILE, or aws sso login"
        ) from error
    except NoRegionError as error:
        raise CommandError(
            "no region", "set region in the file, AWS_REGION, or aws configure"
        ) from error
    except EndpointConnectionError as error:
        raise CommandError(
            str(error), "is that a region, and can this machine reach it (proxy, VPC endpoints)?"
        ) from error
    except ParamValidationError as error:
        raise CommandError(f"the request is not valid: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"{error.filename or error}: {error.strerror or ''}".rstrip(": ")
        ) from error


class Aws:
    """Clients, made when they are first needed."""

    def __init__(self, region: str = "") -> None:
        self._session = boto3.session.Session(region_name=region or None)

    def _client(self, name: str) -> Any:
        return self._session.client(name, config=RETRIES)

    @property
    def region(self) -> str:
        return str(self.sagemaker.meta.region_name)

    @cached_property
    def sagemaker(self) -> Any:
        return self._client("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        return self._client("sagemaker-runtime")

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def logs(self) -> Any:
        return self._client("logs")

    @cached_property
    def cloudwatch(self) -> Any:
        return self._client("cloudwatch")

    @cached_property
    def autoscaling(self) -> Any:
        return self._client("application-autoscaling")


def missing(error: ClientError) -> bool:
    """Whether what was asked for is not there: the platform says so in several ways."""
    said = error.response.get("Error", {})
    return said.get("Code") in ABSENT or bool(ABSENCE.search(said.get("Message", "")))


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
