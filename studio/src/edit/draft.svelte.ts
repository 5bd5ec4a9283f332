// The mask as it is being made: found, chosen by clusters, kept from another edit, or painted.
import { ClusterMasks, selectedBy } from "../mask/clusters";
import { EDITED, Mask, type Rect } from "../mask/mask";
import { canvas, grays, pixels, within } from "../ui/pixels";
import type { Found } from "./job.svelte";

/** Where the mask comes from; `kept` is the mask of an edit that was made. */
export type Origin = "none" | "found" | "clusters" | "kept" | "painted";

interface Said {
  origin: Origin;
  ids: number[];
}

/** Longest side at which a mask is painted. */
const LONGEST = 2048;
/** Longest side at which clusters are made a mask. */
const CLUSTERS_LONGEST = 512;

export class Draft {
  readonly width: number;
  readonly height: number;
  /** The mask as a picture: the accent's color, opaque where it is edited. */
  readonly canvas: OffscreenCanvas;
  origin = $state<Origin>("none");
  /** The chosen clusters. */
  ids = $state.raw<number[]>([]);
  /** Counts the changes, for whoever draws it. */
  version = $state(0);
  /** Softness of the composite, in pixels of the picture. */
  feather = $state(0);
  tau = $state(0);
  /** Name of a kept mask's file. */
  artifact: string | undefined;
  readonly mask: Mask<Said>;
  private readonly context: OffscreenCanvasRenderingContext2D;
  private found: Found | undefined;
  private masks: ClusterMasks | undefined;
  private proposed: Uint8Array<ArrayBuffer> | undefined;
  /** What was said when the gesture began. */
  private before: Said | undefined;

  constructor(
    private readonly bitmap: ImageBitmap,
    private readonly color: [number, number, number],
  ) {
    ({ width: this.width, height: this.height } = within(bitmap.width, bitmap.height, LONGEST));
    [this.canvas, this.context] = canvas(this.width, this.height);
    this.mask = new Mask(this.width, this.height, (rect) => this.paint(rect));
  }

  /** Pixels of the mask for one of the picture. */
  get scale(): number {
    return this.width / this.bitmap.width;
  }

  get isEmpty(): boolean {
    return this.version >= 0 && this.mask.isEmpty;
  }

  get area(): number {
    return this.version >= 0 ? this.mask.area() : 0;
  }

  get clusters() {
    return this.found?.clusters ?? [];
  }

  /** Takes a localization's proposal, unless something was painted meanwhile. */
  propose(found: Found, tau: number, refine: boolean, grow: number): void {
    this.knows(found, tau, refine, grow);
    if (this.origin === "painted") return;
    this.step({ origin: "found", ids: found.clusters.filter((it) => it.selected).map((it) => it.id) }, () => this.mask.replace(this.proposed!));
  }

  /** Takes a localization without its mask. */
  knows(found: Found, tau: number, refine: boolean, grow: number): void {
    const small = within(this.bitmap.width, this.bitmap.height, CLUSTERS_LONGEST);
    const scale = small.width / this.bitmap.width;
    const covered = { width: found.covered.width * scale, height: found.covered.height * scale };
    this.found = found;
    this.masks = new ClusterMasks(found.labels, pixels(this.bitmap, small.width, small.height), covered, refine, grow);
    this.proposed = grays(found.mask, this.width, this.height);
    this.tau = tau;
  }

  /** Takes the mask of an edit that was made. */
  keep(mask: ImageBitmap, artifact: string): void {
    this.artifact = artifact;
    this.step({ origin: "kept", ids: this.ids }, () => this.mask.replace(grays(mask, this.width, this.height)));
  }

  /** Takes a mask from a file. */
  upload(mask: ImageBitmap): void {
    const bytes = grays(mask, this.width, this.height);
    this.step({ origin: "painted", ids: this.ids }, () => this.mask.replace(bytes));
  }

  toggle(id: number): void {
    const ids = this.ids.includes(id) ? this.ids.filter((it) => it !== id) : [...this.ids, id].sort((a, b) => a - b);
    if (this.origin !== "painted" && this.origin !== "kept") return this.choose(ids);
    const cells = this.enlarged(this.masks!.cells([id]));
    const isAdded = ids.includes(id);
    const bytes = this.mask.bytes.map((it, at) => (cells[at]! ? (isAdded ? 255 : 0) : it));
    this.step({ origin: "painted", ids }, () => this.mask.replace(bytes));
  }

  /** Selects the clusters above tau; a change that is under way is one step of undo. */
  threshold(tau: number): void {
    this.tau = tau;
    this.choose(selectedBy(this.clusters, tau));
  }

  /** Begins a gesture; what follows until `end` is one step of undo. */
  begin(): void {
    if (this.before) return;
    this.before = { origin: this.origin, ids: this.ids };
    this.mask.begin();
  }

  end(): void {
    if (!this.before) return;
    this.mask.end(this.before);
    this.before = undefined;
    if (this.mask.isEmpty) this.origin = "none";
    this.version++;
  }

  /** One step that paints. */
  change(paint: (mask: Mask<Said>) => void): void {
    this.step({ origin: "painted", ids: this.ids }, () => paint(this.mask));
  }

  undo(): void {
    this.say(this.mask.undo({ origin: this.origin, ids: this.ids }));
  }

  redo(): void {
    this.say(this.mask.redo({ origin: this.origin, ids: this.ids }));
  }

  private say(said: Said | undefined): void {
    if (said) Object.assign(this, said);
    this.version++;
  }

  private choose(ids: number[]): void {
    const proposed = this.clusters.filter((it) => it.selected).map((it) => it.id);
    const isProposed = ids.length === proposed.length && ids.every((it) => proposed.includes(it));
    if (ids.join() === this.ids.join() && this.origin !== "painted") return;
    const bytes = isProposed ? this.proposed! : this.enlarged(this.masks!.mask(ids));
    this.step({ origin: ids.length === 0 ? "none" : isProposed ? "found" : "clusters", ids }, () => this.mask.replace(bytes));
  }

  private step(said: Said, paint: () => void): void {
    const isOwn = this.before === undefined;
    if (isOwn) this.begin();
    paint();
    Object.assign(this, said);
    this.version++;
    if (isOwn) this.end();
  }

  /** A mask of clusters at the size of this one, 0 or 255. */
  private enlarged(small: Uint8Array): Uint8Array<ArrayBuffer> {
    const { width, height } = within(this.bitmap.width, this.bitmap.height, CLUSTERS_LONGEST);
    const out = new Uint8Array(this.width * this.height);
    for (let y = 0; y < this.height; y++) {
      const row = Math.floor((y * height) / this.height) * width;
      for (let x = 0; x < this.width; x++) out[y * this.width + x] = small[row + Math.floor((x * width) / this.width)]! * 255;
    }
    return out;
  }

  private paint({ x0, y0, x1, y1 }: Rect): void {
    const image = this.context.createImageData(x1 - x0, y1 - y0);
    // A pixel at a time: this is done at every move of the hand.
    const pixels = new Uint32Array(image.data.buffer);
    const [color] = new Uint32Array(Uint8Array.of(...this.color, 255).buffer);
    const { bytes } = this.mask;
    for (let y = y0, at = 0; y < y1; y++) {
      for (let x = x0; x < x1; x++, at++) if (bytes[y * this.width + x]! >= EDITED) pixels[at] = color!;
    }
    this.context.putImageData(image, x0, y0);
  }
}
