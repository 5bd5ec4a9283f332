// What the stage shows, and the tool in the hand.

/** `side`: beside plain InstructPix2Pix. */
export type View = "picture" | "clusters" | "word" | "result" | "compare" | "difference" | "side";
export type Tool = "choose" | "brush" | "eraser" | "box" | "lasso" | "pan";

export class ViewState {
  view = $state<View>("picture");
  /** Index of the word whose heat map is shown. */
  word = $state(0);
  tool = $state<Tool>("choose");
  maskStyle = $state<"outline" | "tint">("outline");
  /** The brush's diameter, a share of the picture's shorter side. */
  size = $state(0.1);
  softness = $state(0);
  /** Where before ends and after begins, a share of the stage's width. */
  split = $state(0.5);
  /** Screen pixels for one of the picture. */
  scale = $state(1);
  /** The cluster that is pointed at. */
  cluster = $state(0);
}
