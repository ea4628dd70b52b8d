"""Patch: replace each sublayer output in turn by that of another prompt, and see which ones change the answer."""

import rheostat as rh

PROMPT, OTHER = "The capital of Germany is", "The capital of France is"


def main() -> None:
    model = rh.load("smollm2-135m-instruct")
    places = [f"blocks.{block}.{point}" for block in range(model.n_blocks) for point in ("attn_out", "mlp_out")]
    theirs = model.capture(OTHER, places, positions="last")
    plans = [rh.Replace(place, theirs, positions="last") for place in places]
    run = model.run([PROMPT] * len(plans), plans=plans)
    berlin, paris = model.token_id(" Berlin"), model.token_id(" Paris")
    shift = (run.logits[:, 0, paris] - run.logits[:, 0, berlin]).tolist()
    for place, value in sorted(zip(places, shift, strict=True), key=lambda pair: -pair[1])[:3]:
        print(f"{place:20} log P(Paris) - log P(Berlin) = {value:+.2f}")
    flipped = [place for place, top in zip(places, run.logits[:, 0].argmax(-1), strict=True) if top == paris]
    print(f"{len(flipped)} of {len(places)} places makes ␣Paris the top token: {', '.join(flipped)}")


if __name__ == "__main__":
    main()
