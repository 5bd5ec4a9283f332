"""Records SSIM, PSNR and mean change of two small pictures within a region, as scikit-image and NumPy compute them.

The pictures are given by formulas that the Rust test repeats, so that only the metrics are recorded.

Usage: python tests/record/metrics.py
"""

import numpy as np
import skimage
from skimage.metrics import structural_similarity

assert skimage.__version__ == "0.26.0", skimage.__version__

WIDTH, HEIGHT = 23, 17


def pictures():
    y, x, c = np.mgrid[0:HEIGHT, 0:WIDTH, 0:3]
    one = (x * 11 + y * 7 + c * 40) % 256
    other = (one + (x * y + 5 * c) % 29) % 256
    return one.astype(np.uint8), other.astype(np.uint8)


def main():
    one, other = pictures()
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    region = (x - 11) ** 2 + (y - 8) ** 2 <= 49
    _, ssim = structural_similarity(
        one, other, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    difference = np.abs(one.astype(float) - other.astype(float))
    for name, where in {"all": np.ones_like(region), "region": region}.items():
        inside = difference[where]
        mean_square = np.square(inside).mean()
        figures = {
            "pixels": int(where.sum()),
            "ssim": ssim[where].mean(),
            "mean": inside.mean(),
            "mean_square": mean_square,
            "psnr": 10 * np.log10(255**2 / mean_square),
            "share": (inside.max(axis=1) > 8).mean(),
        }
        print(name, {key: round(float(value), 9) for key, value in figures.items()})


if __name__ == "__main__":
    main()
