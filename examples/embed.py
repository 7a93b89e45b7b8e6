"""Embed texts with a model that each process loads once, and find the nearest ones.

    $ python examples/embed.py
    256 numbers for each of 6 texts
    "The cat sat on the mat" is nearest to "A kitten sleeps on the rug"
    "Shares fell on Monday" is nearest to "The stock market lost three percent"
    "He scored in the last minute" is nearest to "The team won the match"

The model, 16 MB of word vectors, is in the package `wordllama` (examples/requirements.txt): nothing is downloaded.
"""

from collections.abc import Callable
from importlib.metadata import distribution

from sheaf import Cluster, task

TEXTS = [
    "The cat sat on the mat",
    "A kitten sleeps on the rug",
    "Shares fell on Monday",
    "The stock market lost three percent",
    "He scored in the last minute",
    "The team won the match",
]


def load_model() -> Callable[[str], list[float]]:
    from safetensors.numpy import load_file  # here, so that only the processes that embed carry it
    from tokenizers import Tokenizer

    package = distribution("wordllama")
    weights = package.locate_file("wordllama/weights/l2_supercat_256.safetensors")
    vectors = load_file(str(weights))["embedding.weight"].astype("float32")
    tokens = package.locate_file("wordllama/tokenizers/l2_supercat_tokenizer_config.json")
    words = Tokenizer.from_file(str(tokens))

    def embed(text: str) -> list[float]:
        mean = vectors[words.encode(text, add_special_tokens=False).ids].mean(axis=0)
        return (mean / (mean @ mean) ** 0.5).tolist()

    return embed


@task(setup=load_model)
def embed(text: str, model: Callable[[str], list[float]]) -> list[float]:
    return model(text)


def main() -> None:
    with Cluster.any() as cluster:
        vectors = dict(zip(TEXTS, cluster.map(embed, TEXTS), strict=True))

    def likeness(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    print(f"{len(vectors[TEXTS[0]])} numbers for each of {len(TEXTS)} texts")
    for text in TEXTS[::2]:
        nearest = max((other for other in TEXTS if other != text), key=lambda other: likeness(text, other))
        print(f'"{text}" is nearest to "{nearest}"')


if __name__ == "__main__":
    main()
