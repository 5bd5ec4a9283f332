// The guided filter by which the service snaps a found mask to the picture's edges (src/picture/guided_filter.rs), so
// that the page can show at once what the service will make of other clusters. He, Sun, Tang, "Guided Image Filtering"
// (2013). Pictures are at most 512 pixels a side here.

export interface Rgb {
  width: number;
  height: number;
  /** Four bytes a pixel. */
  rgba: Uint8ClampedArray;
}

const EPSILON = 1e-4;
const EDIT_FROM = 0.4;
const PASSES = 2;
const PAIRS = [
  [0, 0],
  [0, 1],
  [0, 2],
  [1, 1],
  [1, 2],
  [2, 2],
] as const;

/** The filter for one picture and radius. */
export class GuidedFilter {
  private readonly colors: Float32Array[];
  private readonly means: Float32Array[];
  private readonly variances: Float32Array[];

  constructor(
    private readonly guide: Rgb,
    private readonly radius: number,
  ) {
    const { rgba } = guide;
    this.colors = [0, 1, 2].map((channel) => Float32Array.from({ length: rgba.length / 4 }, (_, i) => rgba[i * 4 + channel]! / 255));
    this.means = this.colors.map((it) => this.mean(it));
    this.variances = PAIRS.map(([i, j]) => {
      const mean = this.product(this.colors[i]!, this.colors[j]!);
      const [a, b] = [this.means[i]!, this.means[j]!];
      return mean.map((it, at) => it - a[at]! * b[at]! + (i === j ? EPSILON : 0));
    });
  }

  /** The mask (0 or 1 a pixel) with its border on the picture's edges. */
  refined(mask: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    let found = mask;
    for (let pass = 0; pass < PASSES; pass++) {
      const values = this.filtered(Float32Array.from(found));
      found = new Uint8Array(values.length);
      for (let i = 0; i < values.length; i++) found[i] = values[i]! > EDIT_FROM ? 1 : 0;
    }
    return found.includes(1) ? found : mask;
  }

  filtered(values: Float32Array): Float32Array {
    const value = this.mean(values);
    const [red, green, blue] = this.colors as [Float32Array, Float32Array, Float32Array];
    const [r, g, b] = this.means as [Float32Array, Float32Array, Float32Array];
    const [vr, vg, vb] = this.colors.map((it) => this.product(it, values)) as [Float32Array, Float32Array, Float32Array];
    const [rr, rg, rb, gg, gb, bb] = this.variances as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
    const [first, second, third, rests] = [0, 1, 2, 3].map(() => new Float32Array(values.length)) as [Float32Array, Float32Array, Float32Array, Float32Array];
    for (let i = 0; i < values.length; i++) {
      const mean = value[i]!;
      const x = vr[i]! - r[i]! * mean;
      const y = vg[i]! - g[i]! * mean;
      const z = vb[i]! - b[i]! * mean;
      // Cramer's rule for a symmetric system of three.
      const xx = rr[i]!;
      const xy = rg[i]!;
      const xz = rb[i]!;
      const yy = gg[i]!;
      const yz = gb[i]!;
      const zz = bb[i]!;
      const c00 = yy * zz - yz * yz;
      const c01 = xz * yz - xy * zz;
      const c02 = xy * yz - xz * yy;
      const c11 = xx * zz - xz * xz;
      const c12 = xy * xz - xx * yz;
      const c22 = xx * yy - xy * xy;
      const determinant = xx * c00 + xy * c01 + xz * c02;
      const a0 = (c00 * x + c01 * y + c02 * z) / determinant;
      const a1 = (c01 * x + c11 * y + c12 * z) / determinant;
      const a2 = (c02 * x + c12 * y + c22 * z) / determinant;
      first[i] = a0;
      second[i] = a1;
      third[i] = a2;
      rests[i] = mean - (a0 * r[i]! + a1 * g[i]! + a2 * b[i]!);
    }
    const [a0, a1, a2, rest] = [first, second, third, rests].map((it) => this.mean(it)) as [Float32Array, Float32Array, Float32Array, Float32Array];
    return rest.map((it, i) => it + a0[i]! * red[i]! + a1[i]! * green[i]! + a2[i]! * blue[i]!);
  }

  private product(a: Float32Array, b: Float32Array): Float32Array {
    return this.mean(a.map((it, i) => it * b[i]!));
  }

  /** Means over windows of 2 · radius + 1 a side, cut off at the border. */
  private mean(values: Float32Array): Float32Array {
    const { width, height } = this.guide;
    const rows = new Float32Array(values.length);
    const out = new Float32Array(values.length);
    for (let y = 0; y < height; y++) alongRow(values, rows, y * width, width, this.radius);
    alongColumns(rows, out, width, height, this.radius);
    return out;
  }
}

function alongRow(from: Float32Array, to: Float32Array, start: number, length: number, radius: number): void {
  let sum = 0;
  for (let i = 0; i < Math.min(radius, length); i++) sum += from[start + i]!;
  for (let center = 0; center < length; center++) {
    if (center + radius < length) sum += from[start + center + radius]!;
    if (center > radius) sum -= from[start + center - radius - 1]!;
    to[start + center] = sum / (Math.min(center + radius + 1, length) - Math.max(0, center - radius));
  }
}

/** All columns at once, row by row: one column after another would jump through memory. */
function alongColumns(from: Float32Array, to: Float32Array, width: number, height: number, radius: number): void {
  const sums = new Float64Array(width);
  for (let i = 0; i < Math.min(radius, height) * width; i++) sums[i % width]! += from[i]!;
  for (let center = 0; center < height; center++) {
    const [enters, leaves, row] = [(center + radius) * width, (center - radius - 1) * width, center * width];
    const count = Math.min(center + radius + 1, height) - Math.max(0, center - radius);
    for (let x = 0; x < width; x++) {
      let sum = sums[x]!;
      if (center + radius < height) sum += from[enters + x]!;
      if (center > radius) sum -= from[leaves + x]!;
      sums[x] = sum;
      to[row + x] = sum / count;
    }
  }
}
