// Clusters that pass a threshold, and the mask of some clusters, as the service makes it.
import type { Cluster } from "../gen/retouch/v1/edit_pb";
import { squaredDistances } from "./distance";
import { GuidedFilter, type Rgb } from "./guided_filter";

/** A cluster's id for each cell. */
export interface Labels {
  width: number;
  height: number;
  ids: Uint8Array;
}

export interface Size {
  width: number;
  height: number;
}

/** Ids of the clusters with a score above tau; the best one alone if none or all have it (src/edit/selection.rs). */
export function selectedBy(clusters: Pick<Cluster, "id" | "score">[], tau: number): number[] {
  const passed = clusters.filter((it) => it.score > tau);
  if (passed.length > 0 && passed.length < clusters.length) return passed.map((it) => it.id);
  // Clusters come by falling score; of equals the last one is the best to the service.
  const best = clusters.filter((it) => it.score >= clusters[0]!.score).at(-1)!;
  return [best.id];
}

/** The cell under a pixel. */
export function cellAt(labels: Labels, covered: Size, x: number, y: number): number {
  const column = Math.min(labels.width - 1, Math.floor((x * labels.width) / covered.width));
  const row = Math.min(labels.height - 1, Math.floor((y * labels.height) / covered.height));
  return row * labels.width + column;
}

/** Largest distance between the picture's edges and the cells' borders, in cells (src/editing/settle_mask.rs). */
const REFINE_CELLS = 3;

/** Makes masks of clusters as the service does, for one picture. */
export class ClusterMasks {
  private readonly filter: GuidedFilter | undefined;
  private readonly radius: number;

  /** `covered` is what the cells cover, in pixels of `guide`; `grow` a share of its shorter side. */
  constructor(
    private readonly labels: Labels,
    private readonly guide: Rgb,
    private readonly covered: Size,
    refine: boolean,
    grow: number,
  ) {
    const cell = Math.min(covered.width / labels.width, covered.height / labels.height);
    this.filter = refine ? new GuidedFilter(guide, Math.max(1, Math.round(REFINE_CELLS * cell))) : undefined;
    this.radius = Math.round(grow * Math.min(guide.width, guide.height));
  }

  /** The cells of some clusters: 0 or 1 a pixel. */
  cells(ids: number[]): Uint8Array<ArrayBuffer> {
    const { width, height } = this.guide;
    const mask = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (ids.includes(this.labels.ids[cellAt(this.labels, this.covered, x, y)]!)) mask[y * width + x] = 1;
      }
    }
    return mask;
  }

  /** The mask of some clusters: 0 or 1 a pixel. */
  mask(ids: number[]): Uint8Array<ArrayBuffer> {
    const cells = this.cells(ids);
    if (ids.length === 0) return cells;
    const mask = this.filter?.refined(cells) ?? cells;
    if (this.radius === 0) return mask;
    const { width, height } = this.guide;
    const distances = squaredDistances(mask, width, height, this.radius, (it) => it > 0);
    return mask.map((_, i) => (distances[i]! <= this.radius ** 2 ? 1 : 0));
  }
}
