"""Data manifests: where a data set comes from, under which licence, and how it is split."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lowfield_recon.configuration import load_configuration
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.resources import shipped_folder

SplitName = Literal["train", "validation", "test", "demo"]
Reader = Literal["ismrmrd", "fastmri", "m4raw", "raw", "photograph"]
_DOI = r"^10\.\d{4,9}/\S+$"
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x1f\\:]")


def check_relative_name(name: str) -> str:
    r"""Check that a file name stays inside the folder that it is meant for.

    Parameters
    ----------
    name
        Name with `/` between folders, as a manifest or an archive gives it.

    Returns
    -------
        The same name.

    Raises
    ------
    ValueError
        If it is empty or absolute, climbs up with `..`, or holds a backslash, a colon or a control
        character.

    Examples
    --------
    >>> check_relative_name("Figure_6A/scan.mat")
    'Figure_6A/scan.mat'
    >>> check_relative_name("../scan.mat")
    Traceback (most recent call last):
        ...
    ValueError: '../scan.mat' leads out of its folder; expected a plain relative name
    """
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or not path.parts
    if leads_out or _FORBIDDEN_CHARACTERS.search(name):
        raise ValueError(f"{name!r} leads out of its folder; expected a plain relative name")
    return name


def check_url(url: str) -> str:
    """Check that an address is plain HTTP or HTTPS without a password in it.

    Parameters
    ----------
    url
        The address.

    Returns
    -------
        The same address.

    Raises
    ------
    ValueError
        If its scheme is another one, it names no host, carries credentials, or holds a space.

    Examples
    --------
    >>> check_url("file:///etc/hostname")
    Traceback (most recent call last):
        ...
    ValueError: 'file:///etc/hostname' is no plain http or https address
    """
    parts = urlsplit(url)
    is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not is_plain or re.search(r"\s", url):
        raise ValueError(f"{url!r} is no plain http or https address")
    return url


Url = Annotated[str, AfterValidator(check_url)]
FileName = Annotated[str, AfterValidator(check_relative_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Origin(_Strict):
    """Where a data set is published."""

    homepage: Url | None = None
    """Page that describes it."""
    doi: Annotated[str, Field(pattern=_DOI)] | None = None
    """Digital object identifier of the data, else of the paper that describes them."""


class SourceFile(_Strict):
    """The published file that a shipped file was made from."""

    repository: Url
    file: Text
    sha256: Sha256


class Archive(_Strict):
    """How an archive is unpacked."""

    kind: Literal["zip", "tar"]
    """`tar` includes .tar.gz, .tgz and .tar.xz."""
    members: tuple[Text, ...] = ("*",)
    """Shell patterns of the members that are wanted."""


class DataFile(_Strict):
    """One file of a data set; what is null is not known."""

    name: FileName
    """Name inside the data set's folder."""
    url: Url | None = None
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    archive: Archive | None = None
    subject: Text | None = None
    """Who was scanned: files of one subject never fall into two splits."""
    split: SplitName | None = None
    reader: Reader | None = None
    contents: Text | None = None
    license: Text | None = None
    license_file: FileName | None = None
    citation: Text | None = None
    source: SourceFile | None = None
    command: Text | None = None
    """Command that makes the file from `source`."""
    assumptions: tuple[Text, ...] = ()


class Split(_Strict):
    """Who belongs to training, validation and test."""

    unit: Literal["subject", "image"]
    rule: Text
    """The rule in words, and whose it is."""
    subject_pattern: Text | None = None
    """Regular expression with a group `subject`, searched in the file's name."""
    train: tuple[Text, ...] = ()
    """Shell patterns of file names."""
    validation: tuple[Text, ...] = ()
    test: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _pattern_names_the_subject(self) -> Split:
        if self.subject_pattern is not None:
            try:
                groups = re.compile(self.subject_pattern).groupindex
            except re.error as error:
                raise ValueError(f"subject_pattern is no regular expression ({error})") from error
            if "subject" not in groups:
                raise ValueError("subject_pattern needs a group (?P<subject>...)")
        return self


class DataManifest(_Strict):
    """One data set."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: Text
    description: Text
    source: Origin
    license: Text | None
    """SPDX identifier where there is one, else the terms in words."""
    license_url: Url | None = None
    citation: Text
    access: Literal["open", "registration", "shipped"]
    registration: Text | None = None
    """What to do where registration is needed."""
    folder: FileName | None = None
    """Folder of the installation that holds a shipped data set."""
    reader: Reader | None = None
    checksums_from: Text | None = None
    """Who stated the checksums and sizes."""
    split: Split | None = None
    assumptions: tuple[Text, ...] = ()
    """What is assumed about the files, and their known defects."""
    notes: tuple[Text, ...] = ()
    """What is not known, and why."""
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _states_what_its_access_needs(self) -> DataManifest:
        if self.access == "registration" and self.registration is None:
            raise ValueError("access 'registration' needs 'registration': the words what to do")
        if self.access == "shipped" and self.folder is None:
            raise ValueError("access 'shipped' needs 'folder'")
        if self.access == "open" and all(file.url is None for file in self.files):
            raise ValueError("access 'open' needs at least one file with a 'url'")
        names = [file.name for file in self.files]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"files: '{repeated[0]}' is listed twice")
        return self

    @model_validator(mode="after")
    def _says_what_is_not_known(self) -> DataManifest:
        is_unknown = self.license is None or any(
            file.sha256 is None and file.md5 is None for file in self.files
        )
        if is_unknown and not self.notes:
            raise ValueError("a licence or a checksum is null: say in 'notes' why")
        if self.checksums_from is None and any(file.sha256 or file.md5 for file in self.files):
            raise ValueError("checksums are given: say in 'checksums_from' who stated them")
        return self

    @property
    def size_bytes(self) -> int | None:
        """Sum of the files' sizes; None where one is not known."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def manifest_names() -> tuple[str, ...]:
    """List the data sets that have a manifest.

    Returns
    -------
        Their names, sorted.

    Examples
    --------
    >>> "m4raw" in manifest_names()
    True
    """
    return tuple(sorted(path.stem for path in shipped_folder("data_manifests").glob("*.yaml")))


def load_manifest(name: str) -> DataManifest:
    """Read the manifest of a data set.

    Parameters
    ----------
    name
        One of `manifest_names()`.

    Returns
    -------
        The checked manifest.

    Raises
    ------
    UsageError
        If there is no such data set, or its manifest is not valid.

    Examples
    --------
    >>> load_manifest("kodak").split.unit
    'image'
    >>> load_manifest("m4row")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: data set 'm4row': there is none of that name. Did you mean \
'm4raw'? Known: bsds500, fastmri_brain, fastmri_knee, kodak, m4raw, osi2_50mt, samples, set12, \
set14, set5, ulf_0055t.
    """
    known = manifest_names()
    if name not in known:
        raise UsageError(
            f"data set '{name}': there is none of that name. {nearest_name(name, known)}"
        )
    manifest = load_configuration(shipped_folder("data_manifests") / f"{name}.yaml", DataManifest)
    if manifest.name != name:
        raise UsageError(f"{name}.yaml: its name is '{manifest.name}'; expected '{name}'.")
    return manifest
