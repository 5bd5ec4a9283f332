// A mask that is drawn by hand: a byte a pixel, of which the service edits those of at least 128; with undo.
import { squaredDistances } from "./distance";
import { pack, unpack } from "./runs";

/** Half-open, in pixels. */
export interface Rect {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export interface Point {
  x: number;
  y: number;
}

interface Change<T> {
  rect: Rect;
  /** The bytes of `rect` before, XOR those after. */
  packed: Uint8Array;
  said: T;
}

/** From this value on a pixel is edited. */
export const EDITED = 128;
/** Bytes that undo takes at most: hundreds of strokes, or a few steps that put noise in place of noise. */
const BUDGET = 64 << 20;
/** Levels of a soft edge: few, so that undo stays small. */
const LEVELS = 16;

/** `T` is what the caller says of the mask beside its pixels; it is undone with them. */
export class Mask<T> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly undone: Change<T>[] = [];
  private readonly done: Change<T>[] = [];
  /** The bytes before the gesture that is under way, and what it has touched. */
  private before: Uint8Array | undefined;
  private touched: Rect | undefined;
  /** Pixels that are edited, once they were counted. */
  private count: number | undefined;

  constructor(
    readonly width: number,
    readonly height: number,
    private readonly changed: (rect: Rect) => void,
  ) {
    this.bytes = new Uint8Array(width * height);
  }

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  /** Bytes that undo and redo take. */
  get historyBytes(): number {
    return [...this.done, ...this.undone].reduce((sum, it) => sum + it.packed.length, 0);
  }

  get isEmpty(): boolean {
    return this.area() === 0;
  }

  /** Share of the picture that is edited, 0 to 1. */
  area(): number {
    if (this.count === undefined) {
      this.count = 0;
      for (let at = 0; at < this.bytes.length; at++) if (this.bytes[at]! >= EDITED) this.count++;
    }
    return this.count / this.bytes.length;
  }

  /** Begins a gesture; all until `end` is one step of undo. */
  begin(): void {
    this.before = this.bytes.slice();
    this.touched = undefined;
  }

  /** Ends a gesture; `undo` gives back what was said of the mask before. */
  end(said: T): void {
    const { before, touched } = this;
    this.before = this.touched = undefined;
    if (!before || !touched) return;
    const bytes = this.cut(touched, (at) => before[at]! ^ this.bytes[at]!);
    if (!bytes.some((it) => it !== 0)) return;
    this.done.push({ rect: touched, packed: pack(bytes), said });
    this.undone.length = 0;
    while (this.historyBytes > BUDGET) this.done.shift();
  }

  /** A dab of the brush, or of the eraser; `softness` 0 to 1 is the share of the radius over which it fades. */
  dab(center: Point, radius: number, softness: number, erase: boolean): void {
    const rect = this.within({
      x0: Math.floor(center.x - radius),
      y0: Math.floor(center.y - radius),
      x1: Math.ceil(center.x + radius) + 1,
      y1: Math.ceil(center.y + radius) + 1,
    });
    const soft = Math.max(radius * softness, 1e-6);
    const solid = Math.max(0, radius - soft) ** 2;
    for (let y = rect.y0; y < rect.y1; y++) {
      for (let x = rect.x0; x < rect.x1; x++) {
        const square = (x + 0.5 - center.x) ** 2 + (y + 0.5 - center.y) ** 2;
        if (square >= radius * radius) continue;
        const share = square <= solid ? 1 : (radius - Math.sqrt(square)) / soft;
        const value = Math.ceil(share * LEVELS) * (256 / LEVELS) - 1;
        const at = y * this.width + x;
        this.bytes[at] = erase ? Math.min(this.bytes[at]!, 255 - value) : Math.max(this.bytes[at]!, value);
      }
    }
    this.touch(rect);
  }

  /** Dabs from one point to another, close enough to be one line. */
  line(from: Point, to: Point, radius: number, softness: number, erase: boolean): void {
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    const count = Math.max(1, Math.ceil(length / Math.max(0.5, radius / 3)));
    for (let i = 1; i <= count; i++) {
      const share = i / count;
      this.dab({ x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share }, radius, softness, erase);
    }
  }

  /** Fills a polygon by the even-odd rule. */
  polygon(points: Point[], erase: boolean): void {
    const xs = points.map((it) => it.x);
    const ys = points.map((it) => it.y);
    const rect = this.within({ x0: Math.floor(Math.min(...xs)), y0: Math.floor(Math.min(...ys)), x1: Math.ceil(Math.max(...xs)), y1: Math.ceil(Math.max(...ys)) });
    for (let y = rect.y0; y < rect.y1; y++) {
      const crossings: number[] = [];
      points.forEach((a, i) => {
        const b = points[(i + 1) % points.length]!;
        const middle = y + 0.5;
        if (a.y <= middle !== b.y <= middle) crossings.push(a.x + ((middle - a.y) / (b.y - a.y)) * (b.x - a.x));
      });
      crossings.sort((a, b) => a - b);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        const from = Math.max(0, Math.round(crossings[i]!));
        const to = Math.min(this.width, Math.round(crossings[i + 1]!));
        this.bytes.fill(erase ? 0 : 255, y * this.width + from, y * this.width + Math.max(from, to));
      }
    }
    this.touch(rect);
  }

  invert(): void {
    this.whole((it) => 255 - it);
  }

  clear(): void {
    this.whole(() => 0);
  }

  /** Takes over another mask of the same size. */
  replace(bytes: Uint8Array): void {
    this.whole((_, at) => bytes[at]!);
  }

  /** Grows the mask by so many pixels; shrinks it for a negative number. */
  grow(pixels: number): void {
    const by = Math.abs(pixels);
    const isFar = (it: number) => (pixels > 0 ? it >= EDITED : it < EDITED);
    const distances = squaredDistances(this.bytes, this.width, this.height, by, isFar);
    this.whole((it, at) => (distances[at]! <= by * by ? (pixels > 0 ? Math.max(it, 255) : 0) : it));
  }

  /** Undoes a step; `now` is what is said of the mask now, and comes back with `redo`. */
  undo(now: T): T | undefined {
    return this.back(this.done, this.undone, now);
  }

  redo(now: T): T | undefined {
    return this.back(this.undone, this.done, now);
  }

  private back(from: Change<T>[], to: Change<T>[], now: T): T | undefined {
    const change = from.pop();
    if (!change) return undefined;
    const { rect } = change;
    const width = rect.x1 - rect.x0;
    const bytes = unpack(change.packed, width * (rect.y1 - rect.y0));
    for (let i = 0; i < bytes.length; i++) {
      const at = (rect.y0 + Math.floor(i / width)) * this.width + rect.x0 + (i % width);
      this.bytes[at] = this.bytes[at]! ^ bytes[i]!;
    }
    to.push({ ...change, said: now });
    this.count = undefined;
    this.changed(rect);
    return change.said;
  }

  private whole(value: (it: number, at: number) => number): void {
    for (let at = 0; at < this.bytes.length; at++) this.bytes[at] = value(this.bytes[at]!, at);
    this.touch({ x0: 0, y0: 0, x1: this.width, y1: this.height });
  }

  private touch(rect: Rect): void {
    if (rect.x0 >= rect.x1 || rect.y0 >= rect.y1) return;
    this.count = undefined;
    const old = this.touched ?? rect;
    this.touched = { x0: Math.min(old.x0, rect.x0), y0: Math.min(old.y0, rect.y0), x1: Math.max(old.x1, rect.x1), y1: Math.max(old.y1, rect.y1) };
    this.changed(rect);
  }

  private within(rect: Rect): Rect {
    const cut = (it: number, end: number) => Math.min(Math.max(it, 0), end);
    return { x0: cut(rect.x0, this.width), y0: cut(rect.y0, this.height), x1: cut(rect.x1, this.width), y1: cut(rect.y1, this.height) };
  }

  private cut(rect: Rect, value: (at: number) => number): Uint8Array {
    const width = rect.x1 - rect.x0;
    const out = new Uint8Array(width * (rect.y1 - rect.y0));
    for (let i = 0; i < out.length; i++) out[i] = value((rect.y0 + Math.floor(i / width)) * this.width + rect.x0 + (i % width));
    return out;
  }
}
