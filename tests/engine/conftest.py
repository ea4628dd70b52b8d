"""Networks that rheostat has never seen: a transformer with parts under its own names, and a plain perceptron."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import rheostat as rh

WIDTH, HEADS, HIDDEN, WORDS = 8, 2, 12, 20


class OwnAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys, self.values, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        split = [part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.queries, self.keys, self.values)]
        mixed = nn.functional.scaled_dot_product_attention(*split, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class OwnBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.look = OwnAttention()
        self.think = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.look(self.before(x), mask)
        return x + self.think(self.between(x))


class OwnTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(32, WIDTH)
        self.stack = nn.ModuleList(OwnBlock() for _ in range(2))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, use_cache: bool) -> object:
        n = input_ids.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool).tril()
        mask = (causal & attention_mask[:, None, None].bool()) | torch.eye(n, dtype=torch.bool)
        x = self.words(input_ids) + self.places(position_ids)
        for block in self.stack:
            x = block(x, mask)
        return SimpleNamespace(logits=self.head(self.last(x)))


OWN_ANATOMY = rh.Anatomy(
    family="own",
    blocks="stack",
    final="last",
    unembed="head",
    taps=rh.block_taps(attn="look", attn_proj="look.out", mlp="think", mlp_proj="think.2", resid_mid="between:shared"),
    n_blocks=2,
    d_model=WIDTH,
    n_heads=HEADS,
    d_head=WIDTH // HEADS,
    d_mlp=HIDDEN,
    d_vocab=WORDS,
)


@pytest.fixture
def own_anatomy() -> rh.Anatomy:
    return OWN_ANATOMY


@pytest.fixture
def own_transformer() -> nn.Module:
    torch.manual_seed(0)
    return OwnTransformer().double().eval()


@pytest.fixture
def perceptron() -> rh.Model:
    """Two linear layers with a rectifier, and a third layer that no pass calls."""

    class Perceptron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.idle = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).relu())

    torch.manual_seed(0)
    return rh.load(Perceptron().double())
