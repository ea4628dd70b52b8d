"""`Settings`: what a server serves and where, from one TOML file; a mistake in it is named by its place."""

import ipaddress
import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.edit.impairment import Mode
from rheostat.edit.noise import Distribution

DirectionName = Annotated[str, Field(pattern=r"^[\w.+-]{1,64}$")]


class _Section(BaseModel):
    """A part of the file: frozen, and a setting that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImpairmentSettings(_Section):
    """What the dial does."""

    mode: Mode = "gaussian"
    site: str = "mlp_out"
    """Kind of site, damaged in every block."""
    distribution: Distribution = "normal"
    most: float = Field(default=1.0, gt=0)
    """The intensity that impairment 1 means: in standard deviations of each site where the dial is relative, else in
    units of the activation; of `magnitude` at most 1."""
    relative: bool = True
    """Whether noise is relative to each site's own standard deviation, measured when the server starts."""
    texts: Path | None = None
    """A text file to measure it on, one text a line; None: rheostat's own neutral ones."""
    default: Literal["none", "floor"] = "none"
    """What a request without the field `impairment` gets: 0 (refused where the key has a floor), or the key's floor."""


class Limits(_Section):
    """What one server takes on at a time."""

    rows: int = Field(default=16, ge=1, le=1024)
    """Texts that are written at the same time."""
    waiting: int = Field(default=64, ge=1, le=65536)
    """Texts that wait for a row; one more is refused."""
    prompt_tokens: int = Field(default=2048, ge=1)
    """Tokens of one prompt. While it is read nobody writes, and the keys and values of all rows get as much room as the
    longest text has."""
    tokens: int = Field(default=1024, ge=1)
    """Tokens that one text may ask for."""
    texts: int = Field(default=16, ge=1, le=1024)
    """Texts that one request may ask for: prompts × choices."""
    body_bytes: int = Field(default=1_000_000, ge=1000)
    body_seconds: float = Field(default=10.0, gt=0)
    """In which a request must have arrived."""
    seconds: float = Field(default=120.0, gt=0)
    """From a request's arrival to the end of its answer."""
    connections: int = Field(default=256, ge=1)
    grace_seconds: float = Field(default=10.0, ge=0)
    """How long running answers may go on after the server is told to stop."""


class Tls(_Section):
    """The certificate that the server shows."""

    certificate: Path
    private_key: Path

    def check(self) -> None:
        """See that the two files are a certificate and its key, in the clear.

        Raises:
            FileNotUsable: they are not.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.private_key, password=lambda: b"")  # never asks for one
        except (OSError, ValueError) as error:
            raise FileNotUsable(
                f"{self.certificate} and {self.private_key} ([tls] in the settings) are no certificate in PEM with its "
                f"private key, without passphrase: {error}"
            ) from error


class Settings(_Section):
    """Everything about a server."""

    model: str = "smollm2-135m-instruct"
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"
    attention: Literal["sdpa", "eager"] | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    """0: any free one."""
    folder: Path = Path("serve")
    """Where keys, audit log and secret lie; relative to the file of settings."""
    records: Path | None = None
    """Where records of evaluations lie whose curves the page shows; relative to the file of settings. None: nowhere."""
    impairment: ImpairmentSettings = ImpairmentSettings()
    limits: Limits = Limits()
    directions: dict[DirectionName, Path] = {}
    """Name → file that `Directions.save` wrote, relative to the file of settings: what keys may steer by."""
    tls: Tls | None = None

    @property
    def keys_path(self) -> Path:
        """The database of keys."""
        return self.folder / "keys.sqlite"

    @property
    def audit_path(self) -> Path:
        """The audit log."""
        return self.folder / "audit.jsonl"

    @property
    def secret_path(self) -> Path:
        """The secret that noise is drawn from."""
        return self.folder / "secret"

    def check_host(self, *, insecure: bool = False) -> None:
        """Refuse to be reached from other machines without encryption, and a certificate that cannot be used.

        Raises:
            FileNotUsable: certificate and key are none, or do not belong together.
            BadArgument: the host is not this machine's own, there is no certificate, and `insecure` is false.
        """
        if self.tls is not None:
            self.tls.check()
        if self.tls is None and not insecure and not _is_local(self.host):
            raise BadArgument(
                f"the host {self.host} can be reached from other machines, and keys would travel in clear. Give a "
                "certificate ([tls] in the settings), serve 127.0.0.1 behind a proxy that has one, or allow it: "
                "--insecure."
            )


def read_settings(path: Path) -> Settings:
    """Read a TOML file.

    Raises:
        FileNotUsable: it is missing or no TOML.
        BadArgument: a setting is unknown, or has a value that cannot be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as settings in TOML: {error}") from error
    found = checked(content, where=str(path))
    files: dict[str, object] = {"folder": path.parent / found.folder}
    if found.records is not None:
        files["records"] = path.parent / found.records
    if found.impairment.texts is not None:
        texts = path.parent / found.impairment.texts
        files["impairment"] = found.impairment.model_copy(update={"texts": texts})
    if found.directions:
        files["directions"] = {name: path.parent / one for name, one in found.directions.items()}
    if found.tls is not None:
        given = found.tls
        files["tls"] = Tls(certificate=path.parent / given.certificate, private_key=path.parent / given.private_key)
    return found.model_copy(update=files)


def checked(content: dict[str, object], *, where: str = "settings") -> Settings:
    """Make settings of data.

    Raises:
        BadArgument: a setting is unknown, or has a value that cannot be.
    """
    try:
        found = Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadArgument(f"{where}: {place}: {first['msg']}; given {first['input']!r}.") from error
    if found.impairment.mode == "magnitude" and found.impairment.most > 1:
        raise BadArgument(f"{where}: impairment.most: magnitude takes at most 1; given {found.impairment.most:g}.")
    return found


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
