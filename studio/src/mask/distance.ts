// Distances to the nearest marked pixel, as the service measures them (src/picture/distance.rs): Meijster, Roerdink and
// Hesselink, "A general algorithm for computing distance transforms in linear time" (2000).

/** Squared distances between pixel centers; beyond `reach` they are (reach + 1)². */
export function squaredDistances(
  bytes: Uint8Array,
  width: number,
  height: number,
  reach: number,
  isMarked: (it: number) => boolean,
): Uint32Array {
  const cap = reach + 1;
  const columns = alongColumns(bytes, width, height, cap, isMarked);
  const out = new Uint32Array(width * height).fill(cap * cap);
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      const own = columns[row + x]!;
      if (own >= cap) continue;
      // What a pixel's column knows reaches only so far along the row: growth is by few pixels.
      for (let dx = -reach; dx <= reach; dx++) {
        const to = x + dx;
        if (to < 0 || to >= width) continue;
        const square = own * own + dx * dx;
        if (square < out[row + to]!) out[row + to] = square;
      }
    }
  }
  return out;
}

function alongColumns(bytes: Uint8Array, width: number, height: number, cap: number, isMarked: (it: number) => boolean): Uint16Array {
  const out = new Uint16Array(width * height);
  for (let x = 0; x < width; x++) {
    let distance = cap;
    for (let y = 0; y < height; y++) {
      distance = isMarked(bytes[y * width + x]!) ? 0 : Math.min(cap, distance + 1);
      out[y * width + x] = distance;
    }
    for (let y = height - 1, below = cap; y >= 0; y--) {
      below = Math.min(out[y * width + x]!, below + 1);
      out[y * width + x] = below;
    }
  }
  return out;
}
