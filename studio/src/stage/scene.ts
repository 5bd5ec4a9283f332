// The stage: pictures, mask and tools as layers of Konva.
import Konva from "konva/lib/Core";
import { Circle } from "konva/lib/shapes/Circle";
import { Image } from "konva/lib/shapes/Image";
import { Line } from "konva/lib/shapes/Line";
import { Rect } from "konva/lib/shapes/Rect";
import type { Point } from "../mask/mask";

type Picture = CanvasImageSource & { width: number; height: number };

/** What is drawn. */
export interface Shown {
  /** Size of the picture that all lies over. */
  width: number;
  height: number;
  left: Picture;
  /** Beside the left one, or, with `split`, over it from there on. */
  right: Picture | undefined;
  /** A share of the stage's width. */
  split: number | undefined;
  overlay: { picture: Picture; width: number; height: number } | undefined;
  mask: OffscreenCanvas | undefined;
  style: "outline" | "tint";
}

/** Largest enlargement, in screen pixels a pixel. */
const LARGEST = 40;
/** From this enlargement on pixels are shown as squares. */
const SQUARES = 4;
const MARGIN = 24;
const OUTLINE = 2;

export class Scene {
  readonly stage: Konva.Stage;
  private readonly pictures = new Konva.Layer({ listening: false });
  private readonly above = new Konva.Layer({ listening: false });
  private readonly tools = new Konva.Layer({ listening: false });
  private readonly left = new Konva.Group();
  private readonly right = new Konva.Group();
  private readonly images = { left: new Image({ image: undefined }), right: new Image({ image: undefined }), overlay: new Image({ image: undefined }) };
  private readonly ring = new Circle({ stroke: "#fff", strokeWidth: 1.5, strokeScaleEnabled: false, shadowColor: "#000", shadowBlur: 3, visible: false });
  private readonly box = new Rect({ stroke: "#fff", strokeWidth: 1.5, dash: [5, 4], strokeScaleEnabled: false, shadowColor: "#000", shadowBlur: 3, visible: false });
  private readonly lasso = new Line({ stroke: "#fff", strokeWidth: 1.5, dash: [5, 4], strokeScaleEnabled: false, shadowColor: "#000", shadowBlur: 3, visible: false });
  private readonly scratch = new OffscreenCanvas(1, 1);
  private shown: Shown | undefined;
  private at = { x: 0, y: 0, scale: 1 };
  /** Whether the view was moved by hand; else it follows the stage's size. */
  private isMoved = false;
  /** The picture that the view was fitted to. */
  private fitted = "";

  constructor(
    container: HTMLDivElement,
    private readonly moved: (scale: number) => void,
  ) {
    this.stage = new Konva.Stage({ container, width: container.clientWidth, height: container.clientHeight });
    this.left.add(this.images.left, this.images.overlay);
    this.right.add(this.images.right);
    this.pictures.add(this.left, this.right);
    this.above.add(new Konva.Shape({ sceneFunc: (context) => this.drawMask(context._context) }));
    this.tools.add(this.ring, this.box, this.lasso);
    this.stage.add(this.pictures, this.above, this.tools);
  }

  destroy(): void {
    this.stage.destroy();
  }

  resize(width: number, height: number): void {
    if (width === 0 || height === 0) return;
    this.stage.size({ width, height });
    if (!this.isMoved) this.fit();
    else this.draw();
  }

  show(shown: Shown): void {
    this.shown = shown;
    const beside = `${shown.width} ${shown.height} ${this.isBeside}`;
    if (beside !== this.fitted) {
      this.fitted = beside;
      this.fit();
    } else this.draw();
  }

  /** Whether two pictures stand side by side. */
  private get isBeside(): boolean {
    return this.shown?.right !== undefined && this.shown.split === undefined;
  }

  private get pane(): number {
    return this.isBeside ? this.stage.width() / 2 : this.stage.width();
  }

  fit(): void {
    if (!this.shown) return;
    const { width, height } = this.shown;
    const margin = Math.min(MARGIN, this.pane * 0.04);
    const scale = Math.min((this.pane - 2 * margin) / width, (this.stage.height() - 2 * margin) / height, LARGEST);
    this.at = { scale, x: (this.pane - width * scale) / 2, y: (this.stage.height() - height * scale) / 2 };
    this.isMoved = false;
    this.draw();
  }

  /** Enlarges by a factor around a point of the stage, by default its middle. */
  zoom(factor: number, around?: Point): void {
    const center = around ?? { x: this.pane / 2, y: this.stage.height() / 2 };
    const pane = center.x > this.pane ? this.pane : 0;
    const scale = Math.min(LARGEST, Math.max(0.02, this.at.scale * factor));
    const by = scale / this.at.scale;
    this.at = { scale, x: center.x - pane - (center.x - pane - this.at.x) * by, y: center.y - (center.y - this.at.y) * by };
    this.isMoved = true;
    this.draw();
  }

  pan(dx: number, dy: number): void {
    this.at = { ...this.at, x: this.at.x + dx, y: this.at.y + dy };
    this.isMoved = true;
    this.draw();
  }

  /** The point of the picture under one of the stage. */
  toPicture({ x, y }: Point): Point {
    const pane = x > this.pane ? this.pane : 0;
    return { x: (x - pane - this.at.x) / this.at.scale, y: (y - this.at.y) / this.at.scale };
  }

  toStage({ x, y }: Point): Point {
    return { x: x * this.at.scale + this.at.x, y: y * this.at.scale + this.at.y };
  }

  /** Draws the tool: the brush's ring, a box or a lasso under way. In pixels of the picture. */
  tool(tool: { ring?: Point & { radius: number }; box?: [Point, Point]; lasso?: Point[] }): void {
    const { ring, box, lasso } = tool;
    this.ring.visible(ring !== undefined);
    this.box.visible(box !== undefined);
    this.lasso.visible(lasso !== undefined);
    if (ring) this.ring.setAttrs({ ...this.toStage(ring), radius: ring.radius * this.at.scale });
    if (box) {
      const [a, b] = [this.toStage(box[0]), this.toStage(box[1])];
      this.box.setAttrs({ x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) });
    }
    if (lasso) this.lasso.points(lasso.map((it) => this.toStage(it)).flatMap((it) => [it.x, it.y]));
    this.tools.batchDraw();
  }

  private draw(): void {
    const { shown, at } = this;
    if (!shown) return;
    const { width, height, left, right, split, overlay } = shown;
    const place = { x: at.x, y: at.y, scaleX: at.scale, scaleY: at.scale };
    const ratio = this.stage.getLayers()[0]?.getCanvas().getPixelRatio() ?? 1;
    this.pictures.imageSmoothingEnabled(overlay !== undefined || (at.scale * ratio * width) / left.width < SQUARES);
    this.left.setAttrs(place);
    this.images.left.setAttrs({ image: left, width, height });
    this.images.overlay.visible(overlay !== undefined);
    if (overlay) this.images.overlay.setAttrs({ image: overlay.picture, width: overlay.width, height: overlay.height });
    this.right.visible(right !== undefined);
    if (right) {
      this.images.right.setAttrs({ image: right, width, height });
      this.right.setAttrs({ ...place, x: at.x + (this.isBeside ? this.pane : 0) });
    }
    // In coordinates of the groups.
    const cut = (group: Konva.Group, from: number, to: number) => {
      const x = (from - group.x()) / at.scale;
      group.clip({ x, y: -at.y / at.scale, width: (to - from) / at.scale, height: this.stage.height() / at.scale });
    };
    const all = this.stage.width();
    const border = split === undefined ? this.pane : split * all;
    cut(this.left, 0, right ? border : all);
    if (right) cut(this.right, border, all);
    this.pictures.batchDraw();
    this.above.batchDraw();
    this.moved(at.scale);
  }

  /** The mask: filled, or its border, which has the same width at every enlargement. */
  private drawMask(context: CanvasRenderingContext2D): void {
    const { shown, at } = this;
    if (!shown?.mask) return;
    const { mask, width, height, style } = shown;
    const [w, h] = [width * at.scale, height * at.scale];
    if (style === "tint") {
      context.save();
      context.globalAlpha = 0.45;
      context.imageSmoothingEnabled = w / mask.width < SQUARES;
      context.drawImage(mask, at.x, at.y, w, h);
      context.restore();
      return;
    }
    const ratio = window.devicePixelRatio;
    this.scratch.width = this.stage.width() * ratio;
    this.scratch.height = this.stage.height() * ratio;
    const pen = this.scratch.getContext("2d")!;
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = w / mask.width < SQUARES;
    const around = (radius: number) => {
      for (let turn = 0; turn < 8; turn++) {
        const angle = (turn / 8) * 2 * Math.PI;
        pen.drawImage(mask, at.x + Math.cos(angle) * radius, at.y + Math.sin(angle) * radius, w, h);
      }
    };
    // A light line outside the dark one, to be seen on any color.
    around(OUTLINE + 1);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "#fff";
    pen.fillRect(at.x - 2 * OUTLINE, at.y - 2 * OUTLINE, w + 4 * OUTLINE, h + 4 * OUTLINE);
    pen.globalCompositeOperation = "source-over";
    around(OUTLINE);
    pen.globalCompositeOperation = "destination-out";
    pen.drawImage(mask, at.x, at.y, w, h);
    context.drawImage(this.scratch, 0, 0, this.stage.width(), this.stage.height());
  }
}
