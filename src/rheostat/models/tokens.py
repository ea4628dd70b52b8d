"""Text to tokens and back: rows with character offsets, single tokens, and a form that cannot be misread."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rheostat.base.errors import BadArgument, EmptyPrompt, NotOneToken

Prompt = str | Sequence[int]
"""A text, or the token ids of one."""


@dataclass(frozen=True)
class Row:
    """One prompt in the model's tokens, special tokens included."""

    ids: tuple[int, ...]
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] | None = None
    """Per token, the span of characters of `text` that it covers; (0, 0) for special tokens."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shown(self) -> str:
        """The prompt for people: its text, or its token ids."""
        return self.text if self.text is not None else str(list(self.ids))


class Tokens:
    """The vocabulary of one model."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, prompt: Prompt) -> Row:
        """Turn a prompt into a row; the special tokens that the tokenizer adds (such as BOS) count as tokens.

        A text that spells out its BOS token, as chat templates do, does not get a second one.

        Raises:
            EmptyPrompt: there is no token.
        """
        if isinstance(prompt, str):
            _check_text(prompt)
        if not isinstance(prompt, str):
            row = Row(tuple(int(token) for token in prompt))
            outside = [token for token in row.ids if not 0 <= token < len(self.tokenizer)]
            if outside:
                raise BadArgument(
                    f"token ids {outside[:3]} lie outside the vocabulary of {len(self.tokenizer)} tokens."
                )
        elif self.tokenizer.is_fast:
            encoding = self.tokenizer(prompt, return_offsets_mapping=True)
            row = Row(tuple(encoding["input_ids"]), prompt, tuple(tuple(span) for span in encoding["offset_mapping"]))
        else:
            row = Row(tuple(self.tokenizer(prompt)["input_ids"]), prompt)
        if isinstance(prompt, str) and self._bos is not None and row.ids[:2] == (self._bos, self._bos):
            row = Row(row.ids[1:], row.text, row.offsets[1:] if row.offsets is not None else None)
        if not row.ids or prompt == "":
            raise EmptyPrompt(f"the prompt {prompt!r} holds no token. Give at least one word.")
        return row

    def spell(self, text: str) -> list[int]:
        """Return the tokens of a text as it stands behind other text, without special ones; none for an empty text.

        Where the tokenizer puts a space before every text (SentencePiece's dummy prefix, as of Llama 2), that space is
        left out: ` Paris` is `▁Paris`, and `Paris` is `Paris`.
        """
        _check_text(text)
        for before, spelled in self._before if text else ():
            both = self._pieces(before + text)
            if both[: len(spelled)] == spelled:
                return both[len(spelled) :]
        return self._pieces(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def token_id(self, text: str) -> int:
        """Return the id of the one token that spells `text` exactly; a leading space is part of most tokens.

        Raises:
            NotOneToken: the text is several tokens, or none.
        """
        ids = self.spell(text)
        if len(ids) == 1:
            return ids[0]
        pieces = " | ".join(self.show(token) for token in ids) or "nothing"
        spaced = f" {text.strip()}"
        hint = (
            ""
            if not text.strip() or text == spaced or len(self.spell(spaced)) != 1
            else f" Did you mean {spaced!r}, with its leading space?"
        )
        raise NotOneToken(f"{text!r} is not one token but {len(ids)}: {pieces}.{hint}")

    def text(self, token: int) -> str:
        """Return the text of one token as it stands in running text: ` Berlin` keeps its space.

        Bytes that are no whole character stand as escapes.
        """
        return self._bytes(token).decode("utf-8", errors="backslashreplace")

    def show(self, token: int) -> str:
        """Return a token so that it cannot be misread: `␣` for a space, escapes for control characters and stray bytes.

        A `␣` or a backslash of the token itself is escaped, so that two tokens with different bytes never look alike.
        """
        if token in self._special:
            return str(self.tokenizer.convert_ids_to_tokens(token))
        shown = []
        for character in self._bytes(token).decode("utf-8", errors="surrogateescape"):
            if character == " ":
                shown.append("␣")
            elif 0xDC80 <= ord(character) <= 0xDCFF:
                shown.append(f"\\x{ord(character) - 0xDC00:02x}")
            elif character == "␣" or (0x80 <= ord(character) <= 0xFF and not character.isprintable()):
                shown.append(f"\\u{ord(character):04x}")  # `\\xa0` is the stray byte
            elif character == "\\" or not character.isprintable():
                shown.append(character.encode("unicode_escape").decode())
            else:
                shown.append(character)
        return "".join(shown)

    @cached_property
    def _bos(self) -> int | None:
        token: int | None = getattr(self.tokenizer, "bos_token_id", None)
        return token

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.all_special_ids)

    @cached_property
    def _byte_level(self) -> bool:
        """Whether the vocabulary spells bytes as printable characters (GPT-2's scheme) instead of ▁ and <0xNN>."""
        pieces = self.tokenizer.convert_ids_to_tokens(self.tokenizer("a b", add_special_tokens=False)["input_ids"])
        return any("Ġ" in piece for piece in pieces)

    @cached_property
    def _before(self) -> tuple[tuple[str, list[int]], ...]:
        """What texts are spelled behind, with its tokens; nothing where the tokenizer puts no space before a text."""
        spelled = {text: self._pieces(text) for text in ("\n", "a", "1", ".")}
        said = {text: b"".join(map(self._bytes, ids)).decode(errors="replace") for text, ids in spelled.items()}
        return tuple((text, spelled[text]) for text in spelled if said[text] == f" {text}")

    def _pieces(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _bytes(self, token: int) -> bytes:
        piece = self.tokenizer.convert_ids_to_tokens(token)
        if piece is None:
            return f"<unused {token}>".encode()
        if self._byte_level:
            return b"".join(
                bytes([_BYTE_OF[character]]) if character in _BYTE_OF else character.encode() for character in piece
            )
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        return str(piece).replace("▁", " ").encode()


def _check_text(text: str) -> None:
    """Refuse a text that no tokenizer takes: one with bytes that the terminal or a file could not decode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadArgument(f"the text {text!r} holds bytes that are no UTF-8, at character {error.start}.") from error


def _byte_of_character() -> dict[str, int]:
    """Invert GPT-2's table of printable stand-ins for the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    for offset, byte in enumerate(byte for byte in range(256) if byte not in set(printable)):
        table[chr(256 + offset)] = byte
    return table


_BYTE_OF = _byte_of_character()
