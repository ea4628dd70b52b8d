"""Gradients through an edit: fit a vector that, added at one token of one block, makes the model answer Paris."""

import torch

import rheostat as rh

PROMPT, SITE, STEPS = "The capital of Germany is", "blocks.12.resid_post", 15


def main() -> None:
    model = rh.load("smollm2-135m-instruct")
    model.module.requires_grad_(False)
    paris = model.token_id(" Paris")
    vector = torch.zeros(model.d_model, requires_grad=True)
    optimizer = torch.optim.Adam([vector], lr=0.3)
    chances = []
    for _ in range(STEPS):
        run = model.run(PROMPT, rh.Add(SITE, vector, positions="last"), gradients=True)
        loss = -run.logits[0, -1].log_softmax(-1)[paris]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        chances.append((-loss).exp().item())
    print(f"probability of ␣Paris: {chances[0]:.3f} before, {chances[-1]:.3f} after {STEPS - 1} steps")


if __name__ == "__main__":
    main()
