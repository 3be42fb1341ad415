"""Certificates of the tests, good ones and bad ones, by trustme; and the files that programs read."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Files:
    """A certificate, with its chain unless told otherwise, and its key."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        return str(self.certificate), str(self.key)


class Workshop:
    """An authority, `Acme Root`, the file that trusts it, and what it signs."""

    def __init__(self, folder: Path, organization: str = "Acme") -> None:
        self._folder = folder
        self.ca = trustme.CA(organization_name=organization, organization_unit_name="Root")
        self.intermediate = self.ca.create_child_ca()
        self.trusted = folder / f"{organization}.pem"
        self.ca.cert_pem.write_to_path(str(self.trusted))
        self._count = 0

    def make(self, *names: str, ca: trustme.CA | None = None, with_chain: bool = True, **times: Any) -> Files:
        """A certificate for `names`; `times` are `not_before` and `not_after`."""
        issued = (ca or self.ca).issue_cert(*names, **times)
        self._count += 1
        stem = self._folder / f"{self.trusted.stem}{self._count}"
        files = Files(stem.with_suffix(".crt"), stem.with_suffix(".key"))
        pems = issued.cert_chain_pems if with_chain else issued.cert_chain_pems[:1]
        files.certificate.write_bytes(b"".join(pem.bytes() for pem in pems))
        issued.private_key_pem.write_to_path(str(files.key))
        return files
