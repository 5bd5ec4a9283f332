// What the pointer and the keyboard do on the stage.
import type { Draft } from "../edit/draft.svelte";
import type { Point } from "../mask/mask";
import type { ViewState } from "../ui/view.svelte";
import { cellAt, type Labels, type Size } from "../mask/clusters";
import type { Scene } from "./scene";

export interface Hands {
  scene: Scene;
  view: ViewState;
  draft: () => Draft | undefined;
  /** The clusters that can be pointed at. */
  cells: () => { labels: Labels; covered: Size } | undefined;
  /** Hears where on the stage something is pointed at. */
  pointed: (at: Point) => void;
}

/** A tap that moves less than this is no drag, in screen pixels. */
const TAP = 5;
/** A step of the keyboard, a share of the picture's shorter side. */
const STEP = 0.02;

export class Gestures {
  private readonly pointers = new Map<number, Point>();
  private last: Point | undefined;
  private from: Point | undefined;
  private path: Point[] = [];
  private isDrawing = false;
  private isDragged = false;
  /** The point that the keyboard moves, in pixels of the picture. */
  private spot: Point | undefined;

  constructor(private readonly hands: Hands) {}

  down(event: PointerEvent, at: Point): void {
    this.pointers.set(event.pointerId, at);
    this.spot = undefined;
    this.isDragged = false;
    if (this.pointers.size === 2) this.drop();
    if (this.pointers.size > 1) return;
    this.last = this.from = at;
    const { view } = this.hands;
    const isPan = view.tool === "pan" || view.tool === "choose" || event.button === 1;
    if (!isPan && event.button === 0) this.start(this.hands.scene.toPicture(at), pressure(event));
  }

  move(event: PointerEvent, at: Point): void {
    const { scene, view } = this.hands;
    this.hands.pointed(at);
    const before = this.pointers.get(event.pointerId);
    if (before && this.pointers.size === 2) return this.pinch(event.pointerId, before, at);
    if (before) this.pointers.set(event.pointerId, at);
    const point = scene.toPicture(at);
    if (this.isDrawing) this.draw(point, pressure(event));
    else if (before && this.last) {
      if (this.from && Math.hypot(at.x - this.from.x, at.y - this.from.y) > TAP) this.isDragged = true;
      if (this.isDragged) scene.pan(at.x - this.last.x, at.y - this.last.y);
    } else view.cluster = view.tool === "choose" ? this.clusterAt(point) : 0;
    this.last = at;
    this.hint(point);
  }

  up(event: PointerEvent, at: Point): void {
    const was = this.pointers.size;
    this.pointers.delete(event.pointerId);
    if (this.isDrawing) this.finish();
    else if (was === 1 && !this.isDragged && this.hands.view.tool === "choose") this.choose(this.hands.scene.toPicture(at));
    this.last = undefined;
  }

  leave(): void {
    this.hands.view.cluster = 0;
    if (!this.isDrawing) this.hands.scene.tool({});
  }

  wheel(event: WheelEvent, at: Point): void {
    event.preventDefault();
    this.hands.scene.zoom(2 ** (-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), at);
  }

  /** Keys on the stage; returns whether one was meant. */
  key(event: KeyboardEvent): boolean {
    const { scene, view } = this.hands;
    const draft = this.hands.draft();
    if (!draft) return false;
    const arrows: Record<string, Point> = { ArrowLeft: { x: -1, y: 0 }, ArrowRight: { x: 1, y: 0 }, ArrowUp: { x: 0, y: -1 }, ArrowDown: { x: 0, y: 1 } };
    const arrow = arrows[event.key];
    if (arrow) {
      if (view.tool === "pan") scene.pan(-arrow.x * 40, -arrow.y * 40);
      else this.walk(arrow, draft, event.shiftKey ? 4 : 1);
      return true;
    }
    if (event.key === " " || event.key === "Enter") {
      this.press(event.key === "Enter");
      return true;
    }
    if (event.key === "Escape" && this.isDrawing) {
      this.finish();
      return true;
    }
    return false;
  }

  /** Enter and space: chooses a cluster, begins or ends a stroke or a box, adds a corner to a lasso (Enter closes it). */
  private press(isEnter: boolean): void {
    const { view } = this.hands;
    const spot = this.spot;
    if (!spot) return;
    if (view.tool === "choose") this.choose(spot);
    else if (!this.isDrawing) this.start(spot, 1);
    else if (view.tool === "lasso" && !isEnter) this.path.push(spot);
    else this.finish();
  }

  private walk(arrow: Point, draft: Draft, times: number): void {
    const { width, height } = { width: draft.width / draft.scale, height: draft.height / draft.scale };
    const step = Math.max(1, Math.min(width, height) * STEP) * times;
    const from = this.spot ?? { x: width / 2, y: height / 2 };
    const spot = { x: Math.min(width, Math.max(0, from.x + arrow.x * step)), y: Math.min(height, Math.max(0, from.y + arrow.y * step)) };
    this.spot = spot;
    this.hands.pointed(this.hands.scene.toStage(spot));
    if (this.isDrawing && this.hands.view.tool !== "lasso") this.draw(spot, 1);
    else if (this.isDrawing) this.hands.scene.tool({ lasso: [...this.path, spot] });
    this.hands.view.cluster = this.hands.view.tool === "choose" ? this.clusterAt(spot) : 0;
    if (!this.isDrawing) this.hint(spot);
  }

  private start(point: Point, pen: number): void {
    const draft = this.hands.draft();
    if (!draft) return;
    this.isDrawing = true;
    this.path = [point];
    if (this.isBrush) {
      draft.begin();
      this.dab(point, point, pen);
    }
  }

  private draw(point: Point, pen: number): void {
    const before = this.path.at(-1)!;
    this.path.push(point);
    const { scene, view } = this.hands;
    if (this.isBrush) this.dab(before, point, pen);
    else if (view.tool === "box") scene.tool({ box: [this.path[0]!, point] });
    else scene.tool({ lasso: this.path });
  }

  private finish(): void {
    const { scene, view } = this.hands;
    const draft = this.hands.draft();
    this.isDrawing = false;
    if (!draft) return;
    if (this.isBrush) draft.end();
    else {
      const [a, b] = [this.path[0]!, this.path.at(-1)!];
      const corners = view.tool === "box" ? [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }] : this.path;
      if (corners.length > 2) draft.change((mask) => mask.polygon(corners.map((it) => scaled(it, draft.scale)), false));
    }
    scene.tool({});
    this.path = [];
  }

  /** Two fingers: the stroke that the first one began is none. */
  private drop(): void {
    if (!this.isDrawing) return;
    this.isDrawing = false;
    const draft = this.hands.draft();
    if (this.isBrush && draft) {
      draft.end();
      draft.undo();
    }
    this.hands.scene.tool({});
  }

  private pinch(id: number, before: Point, at: Point): void {
    const other = [...this.pointers].find(([it]) => it !== id)?.[1];
    this.pointers.set(id, at);
    this.isDragged = true;
    if (!other) return;
    const length = (a: Point) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
    this.hands.scene.zoom(length(at) / length(before), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
    this.hands.scene.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
  }

  private dab(from: Point, to: Point, pen: number): void {
    const draft = this.hands.draft();
    if (!draft) return;
    const { softness, tool } = this.hands.view;
    const radius = Math.max(0.6, this.radius(draft) * draft.scale * pen);
    const erase = tool === "eraser";
    draft.change((mask) => mask.line(scaled(from, draft.scale), scaled(to, draft.scale), radius, softness, erase));
  }

  private choose(point: Point): void {
    const id = this.clusterAt(point);
    if (id > 0) this.hands.draft()?.toggle(id);
  }

  private clusterAt({ x, y }: Point): number {
    const cells = this.hands.cells();
    const draft = this.hands.draft();
    if (!cells || !draft || x < 0 || y < 0 || x >= draft.width / draft.scale || y >= draft.height / draft.scale) return 0;
    return cells.labels.ids[cellAt(cells.labels, cells.covered, x, y)] ?? 0;
  }

  private hint(point: Point): void {
    const draft = this.hands.draft();
    if (this.isDrawing && !this.isBrush) return;
    const radius = draft && this.isBrush ? this.radius(draft) : this.spot ? 4 : 0;
    this.hands.scene.tool(radius > 0 ? { ring: { ...point, radius } } : {});
  }

  /** The brush's radius in pixels of the picture. */
  private radius(draft: Draft): number {
    return (this.hands.view.size * Math.min(draft.width, draft.height)) / draft.scale / 2;
  }

  private get isBrush(): boolean {
    return this.hands.view.tool === "brush" || this.hands.view.tool === "eraser";
  }
}

const scaled = ({ x, y }: Point, by: number): Point => ({ x: x * by, y: y * by });

/** A pen's pressure as a share of the brush. */
const pressure = (event: PointerEvent) => (event.pointerType === "pen" ? 0.4 + 0.6 * event.pressure : 1);
