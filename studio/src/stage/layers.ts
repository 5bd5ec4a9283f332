// Pictures that are laid over the picture: clusters, heat maps, previews in the mask, differences.
import type { Labels } from "../mask/clusters";
import type { Word } from "../edit/job.svelte";
import { canvas, pixels, within } from "../ui/pixels";
import { clusterColor, heatColor } from "../ui/colors";

/** Longer side of a cluster map, in pixels. */
const LARGE = 384;
/** Opacities of clusters. */
const [FAINT, CHOSEN, POINTED] = [70, 150, 215];

interface Regions {
  width: number;
  height: number;
  ids: Uint8Array;
  /** Whether another cluster begins beside or below. */
  borders: Uint8Array;
}

const regions = new WeakMap<Labels, Regions>();

/** Cells as regions with smooth borders: at each pixel the cluster that most of the four nearest cells' area has. */
function regionsOf(labels: Labels): Regions {
  const known = regions.get(labels);
  if (known) return known;
  const times = Math.max(1, Math.ceil(LARGE / Math.max(labels.width, labels.height)));
  const [width, height] = [labels.width * times, labels.height * times];
  const ids = new Uint8Array(width * height);
  const shares = new Float32Array(256);
  for (let y = 0; y < height; y++) {
    const v = Math.min(labels.height - 1, Math.max(0, (y + 0.5) / times - 0.5));
    for (let x = 0; x < width; x++) {
      const u = Math.min(labels.width - 1, Math.max(0, (x + 0.5) / times - 0.5));
      const [left, top] = [Math.floor(u), Math.floor(v)];
      const around: number[] = [];
      for (const [dx, dy] of [[0, 0], [1, 0], [0, 1], [1, 1]] as const) {
        const id = labels.ids[Math.min(labels.height - 1, top + dy) * labels.width + Math.min(labels.width - 1, left + dx)]!;
        shares[id]! += (dx ? u - left : 1 - u + left) * (dy ? v - top : 1 - v + top);
        around.push(id);
      }
      ids[y * width + x] = around.reduce((best, id) => (shares[id]! > shares[best]! ? id : best));
      for (const id of around) shares[id] = 0;
    }
  }
  const borders = ids.map((id, at) => ((at + 1) % width !== 0 && ids[at + 1] !== id) || (at + width < ids.length && ids[at + width] !== id) ? 1 : 0);
  const made = { width, height, ids, borders };
  regions.set(labels, made);
  return made;
}

/** Clusters in color: chosen ones strong, others faint, the one that is pointed at strongest. */
export function clusterLayer(labels: Labels, chosen: number[], pointed: number): OffscreenCanvas {
  const { width, height, ids, borders } = regionsOf(labels);
  const [made, context] = canvas(width, height);
  const image = context.createImageData(width, height);
  const colors = Array.from({ length: 256 }, (_, id) => [...clusterColor(Math.max(1, id)), id === pointed ? POINTED : chosen.includes(id) ? CHOSEN : FAINT]);
  ids.forEach((id, at) => image.data.set(borders[at] ? [255, 255, 255, 150] : colors[id]!, at * 4));
  context.putImageData(image, 0, 0);
  return made;
}

export function heatLayer(word: Word): OffscreenCanvas {
  const [made, context] = canvas(word.width, word.height);
  const image = context.createImageData(word.width, word.height);
  word.values.forEach((value, cell) => {
    image.data.set(heatColor(value / 255), cell * 4);
    image.data[cell * 4 + 3] = 60 + Math.round((value / 255) * 190);
  });
  context.putImageData(image, 0, 0);
  return made;
}

/** A mask's picture as one that is transparent where it is black. */
export function alphaOf(mask: ImageBitmap): OffscreenCanvas {
  const { width, height } = within(mask.width, mask.height, 768);
  const { rgba } = pixels(mask, width, height);
  const [made, context] = canvas(width, height);
  const image = context.createImageData(width, height);
  for (let at = 0; at < rgba.length; at += 4) image.data[at + 3] = rgba[at]!;
  context.putImageData(image, 0, 0);
  return made;
}

/** A preview where the mask is, nothing elsewhere. */
export function inMask(preview: ImageBitmap, alpha: OffscreenCanvas): OffscreenCanvas {
  const [made, context] = canvas(alpha.width, alpha.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(preview, 0, 0, alpha.width, alpha.height);
  context.globalCompositeOperation = "destination-in";
  context.drawImage(alpha, 0, 0);
  return made;
}

/** How two pictures of one size differ. */
export interface Difference {
  layer: OffscreenCanvas;
  /** Pixels outside the mask. */
  compared: number;
  /** Of those, pixels whose values differ. */
  differ: number;
  /** Largest difference of a value outside the mask. */
  largest: number;
}

/** Compares a result with its source, pixel by pixel. */
export function difference(source: ImageBitmap, result: ImageBitmap, mask: ImageBitmap): Difference {
  const { width, height } = source;
  const before = pixels(source, width, height).rgba;
  const after = pixels(result, width, height).rgba;
  const edited = pixels(mask, width, height).rgba;
  const [layer, context] = canvas(width, height);
  const image = context.createImageData(width, height);
  const heat = Array.from({ length: 256 }, (_, i) => heatColor(Math.min(1, i / 160)));
  let [compared, differ, largest] = [0, 0, 0];
  for (let at = 0; at < before.length; at += 4) {
    let most = 0;
    for (let c = 0; c < 4; c++) most = Math.max(most, Math.abs(before[at + c]! - after[at + c]!));
    image.data.set(heat[most]!, at);
    image.data[at + 3] = 255;
    if (edited[at]! > 0) continue;
    compared++;
    if (most > 0) differ++;
    largest = Math.max(largest, most);
  }
  context.putImageData(image, 0, 0);
  return { layer, compared, differ, largest };
}
