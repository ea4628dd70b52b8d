"""Read: where does a small language model read "Germany" most clearly, among everything that its sublayers add?"""

import rheostat as rh

PROMPT = "The capital of Germany is"


def main() -> None:
    model = rh.load("smollm2-135m-instruct")
    reading = model.lens(PROMPT, track=[" Germany"], points=("attn_out", "mlp_out"))
    best = reading.tracked.nlargest(5, "probability")
    print(best[["block", "point", "shown", "probability", "rank"]].to_string(index=False))
    top = best.iloc[0]
    print(f"blocks.{top.block}.{top.point} reads {top.shown} with probability {top.probability:.2f}")


if __name__ == "__main__":
    main()
