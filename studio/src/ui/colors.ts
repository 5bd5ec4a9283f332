// Colors of clusters and heat maps: those of the contact sheet (src/drawing/palette.rs).

export type Color = [number, number, number];

const OKABE_ITO: Color[] = [
  [0xd5, 0x5e, 0x00],
  [0x56, 0xb4, 0xe9],
  [0x00, 0x9e, 0x73],
  [0xf0, 0xe4, 0x42],
  [0x00, 0x72, 0xb2],
  [0xe6, 0x9f, 0x00],
  [0xcc, 0x79, 0xa7],
  [0x00, 0x00, 0x00],
];
const STEPS: [number, number][] = [
  [255, 0.5],
  [0, 0.25],
  [0, 0.5],
];
const GRAYS = [240, 170, 100];
const INFERNO = [
  0x000004, 0x040312, 0x0b0724, 0x150b37, 0x210c4a, 0x2f0a5b, 0x3d0965, 0x4a0c6b, 0x57106e, 0x64156e, 0x71196e,
  0x7d1e6d, 0x8a226a, 0x972766, 0xa32c61, 0xb0315b, 0xbc3754, 0xc63d4d, 0xd04545, 0xda4e3c, 0xe35933, 0xeb6429,
  0xf1711f, 0xf67e14, 0xf98c0a, 0xfb9b06, 0xfcaa0f, 0xfbba1f, 0xf9c932, 0xf5d949, 0xf2e865, 0xf3f586, 0xfcffa4,
];

const mix = (from: Color, to: Color, share: number) => from.map((it, i) => Math.round(it + (to[i]! - it) * share)) as Color;

/** The color of a cluster, from 1. */
export function clusterColor(id: number): Color {
  const first = (id - 1) % 32;
  if (first < OKABE_ITO.length) return OKABE_ITO[first]!;
  const [step, hue] = [Math.floor((first - 8) / 7), (first - 8) % 7];
  const toward = STEPS[step];
  if (!toward) return [GRAYS[hue]!, GRAYS[hue]!, GRAYS[hue]!];
  return mix(OKABE_ITO[hue]!, [toward[0], toward[0], toward[0]], toward[1]);
}

/** The color of a value in 0..1. */
export function heatColor(value: number): Color {
  const position = Math.min(1, Math.max(0, value)) * (INFERNO.length - 1);
  const below = Math.min(INFERNO.length - 2, Math.floor(position));
  const rgb = (hex: number): Color => [hex >> 16, (hex >> 8) & 255, hex & 255];
  return mix(rgb(INFERNO[below]!), rgb(INFERNO[below + 1]!), position - below);
}

export const css = (color: Color) => `rgb(${color.join(" ")})`;

/** Black or white, whichever stands out more. */
export function inkOn([r, g, b]: Color): string {
  const linear = [r, g, b].map((it) => (it / 255 <= 0.04045 ? it / 255 / 12.92 : ((it / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]! > 0.179 ? "#000" : "#fff";
}
