"""A folder of images: find the copies among them, and make a small one of each.

    $ python examples/images.py
    12 images, 10 different: photo-10.png is photo-3.png, photo-11.png is photo-7.png
    12 small ones: 12 of 128 x 96

`python examples/images.py FOLDER` takes your own. Without one, it draws some. Needs Pillow (examples/requirements.txt).
"""

import hashlib
import io
import sys
from collections import Counter
from pathlib import Path

from PIL import Image

from sheaf import Cluster


def digest(path: str) -> str:
    """Of what is to be seen, however it is packed."""
    with Image.open(path) as image:
        return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def shrink(path: str) -> bytes:
    with Image.open(path) as image:
        image.thumbnail((128, 128))
        small = io.BytesIO()
        image.save(small, "png")
        return small.getvalue()


def draw(folder: Path) -> Path:
    """Ten images, and two copies."""
    folder.mkdir(exist_ok=True)
    for number, drawn in enumerate([*range(10), 3, 7]):
        Image.linear_gradient("L").rotate(36 * drawn).resize((640, 480)).save(folder / f"photo-{number}.png")
    return folder


def main(*folders: str) -> None:
    with Cluster.any() as cluster:
        folder = Path(folders[0]) if folders else draw(cluster.settings.data_dir / "photos")
        paths = sorted(map(str, folder.glob("*.png")), key=lambda path: (len(path), path))
        first: dict[str, str] = {}
        copies = []
        for path, found in zip(paths, cluster.map(digest, paths), strict=True):
            if first.setdefault(found, path) != path:
                copies.append(f"{Path(path).name} is {Path(first[found]).name}")
        print(f"{len(paths)} images, {len(first)} different: {', '.join(copies)}")
        small = list(cluster.map(shrink, paths))  # bytes come back as bytes, ready to be written to files
        sizes = Counter(Image.open(io.BytesIO(each)).size for each in small)
        described = ", ".join(f"{count} of {width} x {height}" for (width, height), count in sizes.items())
        print(f"{len(small)} small ones: {described}")


if __name__ == "__main__":
    main(*sys.argv[1:])
